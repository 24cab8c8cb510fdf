"""`muslin validate`: files, offline. The same checks that the server makes of one object, with lines and mends."""

from __future__ import annotations

import json

from muslin.cli import files, output
from muslin.cli.parsing import Parser

EXAMPLES = """
muslin validate -f policies/ -R           in a pipeline: exit code 1 on any fault
muslin validate -f policy.yaml -o json    every fault as data
"""
MORE = """\
What depends on other objects (is there such a tier? does a pool overlap another?) only the server can say:
muslin apply --dry-run asks it."""


def run(arguments: list[str]) -> int:
    parser = Parser("validate", "Check files without a server.", usage="-f FILE... [-o json]", examples=EXAMPLES,
                    more=MORE)
    files.options(parser)
    output.option(parser, "json: every fault as data")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    contents = files.read(words.filename, recursive=words.recursive)
    if form == "json":
        faults = [
            {"file": fault.file, "line": fault.line, "column": fault.column, "field": fault.field, "what": fault.what,
             "why": fault.why, "mend": fault.mend, "reason": str(fault.reason)}
            for fault in contents.faults
        ]
        print(json.dumps({"ok": not faults, "objects": len(contents.objects), "faults": faults}, indent=2))
        return 1 if faults else 0
    for fault in contents.faults:
        print(fault)
    good, bad = len(contents.objects), len(contents.faults)
    print(f"{good} good object{'s' * (good != 1)}" + (f", {bad} fault{'s' * (bad != 1)}" if bad else ""))
    return 1 if bad else 0

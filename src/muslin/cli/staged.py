"""`muslin staged`: what staged policies would change, if they were enforced."""

from __future__ import annotations

import json
from typing import Any

from muslin.cli import changes, output, worlds
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser

EXAMPLES = """
muslin staged                             all staged policies at once
muslin staged --offline -f policies/      of files
muslin staged -o json                     by classes, as data
"""
MORE = """\
Reckoned from the model, for all ports and protocols: what would be gained and lost if every staged policy were enforced
(and those with stagedAction Delete were gone). Enforced they are by applying them as policies that are not staged."""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("staged", "What would staged policies change?", usage="[options]", examples=EXAMPLES, more=MORE)
    worlds.options(parser)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    if worlds.is_offline(words):
        from muslin.offline.compare import staged

        found = staged(worlds.world(words.filename, quiet=words.quiet))
    else:
        found = connect(words).get("/muslin/v1/staged")
    if form == "json":
        print(json.dumps(found, indent=2))
        return 0
    for line in changes.lines(found):
        print(line)
    told = changes.summary(found)
    print(f"if the staged policies were enforced, {told}" if found["changes"] else
          "if the staged policies were enforced, nobody would gain or lose a connection (or there are none)")
    return 0

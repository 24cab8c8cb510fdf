"""`muslin patch`: some fields of one object, said as a merge patch or as operations."""

from __future__ import annotations

import json
from pathlib import Path

from muslin.cli import output
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused
from muslin.cli.naming import Kinds, path_of, scope, targets
from muslin.cli.parsing import Parser, Words, is_dry
from muslin.client.blocking import JSON_PATCH, MERGE_PATCH

EXAMPLES = """
muslin patch ippool workloads -p '{"spec":{"disabled":true}}'
muslin patch gnp web -p 'spec: {order: 50}'                     YAML is fine too
muslin patch gnp web -p '{"spec":{"order":null}}'               null removes a field
muslin patch gnp web --type json -p '[{"op":"remove","path":"/spec/ingress/0"}]'
"""
FORMS = {"merge": MERGE_PATCH, "json": JSON_PATCH}


def run(arguments: list[str]) -> int:
    parser = Parser("patch", "Change some fields of an object.", usage="KIND NAME -p PATCH [options]",
                    examples=EXAMPLES)
    parser.positional("words", nargs="*", metavar="KIND")
    parser.add_argument("-p", "--patch", default="", metavar="TEXT", help="the change, JSON or YAML")
    parser.add_argument("--patch-file", default="", metavar="FILE", help="the change, from a file")
    parser.add_argument("-t", "--type", default="merge", metavar="FORM",
                        help="merge (RFC 7386, lists are replaced whole) or json (RFC 6902, a list of operations)")
    scope(parser, every=False)
    parser.force()
    parser.dry_run("say what would happen, after the server's checks")
    output.option(parser)
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json", "yaml", "name"))
    change = _change(words)
    client = connect(words)
    chosen = targets(Kinds(client), words.words)
    if len(chosen) != 1 or not chosen[0].name:
        raise Misused("patch changes one object: muslin patch KIND NAME -p PATCH")
    path = path_of(chosen[0], words)
    before = client.get(path)
    query = {"fieldManager": "muslin", "fieldValidation": "Strict", **({"dryRun": "All"} if is_dry(words) else {})}
    after = client.patch(path, change, kind=FORMS[words.type], **query)
    if form != "table":
        output.show([after], form, words.output, one=True)
        return 0
    same = before.get("spec") == after.get("spec") and before["metadata"] == after["metadata"]
    print(f"{output.name(after)} {'unchanged' if same else 'patched'}{' (dry run)' if is_dry(words) else ''}")
    return 0


def _change(words: Words) -> object:
    """Raises Misused."""
    if words.type not in FORMS:
        more = ": Kubernetes' strategic merge has no meaning for these kinds" if words.type == "strategic" else ""
        raise Misused(f"--type {words.type}{more}: write merge or json")
    if bool(words.patch) == bool(words.patch_file):
        raise Misused("give the change, by -p or by --patch-file")
    try:
        text = words.patch or Path(words.patch_file).read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{words.patch_file}: {error.strerror}") from None
    change = _parsed(text)
    wanted = list if words.type == "json" else dict
    if not isinstance(change, wanted):
        shape = "a list of operations" if wanted is list else "an object, such as {\"spec\":{\"order\":50}}"
        raise Misused(f"the patch is not {shape}: {text[:60]}")
    return change


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        from muslin.model.documents.compose import documents

        found = list(documents(text))
        if faults := [fault for document in found for fault in document.faults]:
            raise Misused(f"the patch is neither JSON nor YAML: {faults[0].what}, {faults[0].mend}") from None
        return found[0].root.value if len(found) == 1 and found[0].root else None

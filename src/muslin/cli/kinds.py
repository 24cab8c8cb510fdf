"""`muslin kinds`: what the server has."""

from __future__ import annotations

import json

from muslin.cli import output, screen
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.client.kinds import served

EXAMPLES = """
muslin kinds
muslin explain gnp.spec.ingress           what the fields of one mean
"""


def run(arguments: list[str]) -> int:
    parser = Parser("kinds", "The kinds of objects there are.", examples=EXAMPLES)
    output.option(parser, "table, name or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "name", "json"))
    found = served(connect(words))
    if form == "json":
        print(json.dumps([kind._asdict() for kind in found], indent=2))
    elif form == "name":
        print("\n".join(kind.plural for kind in found))
    else:
        head = ["NAME", "SHORT NAMES", "KIND", "NAMESPACED", "APIVERSION"]
        rows = [[kind.plural, ",".join(kind.short), kind.kind, screen.cell(kind.namespaced), kind.group_version]
                for kind in found]
        print("\n".join(screen.columns([head, *rows])))
    return 0

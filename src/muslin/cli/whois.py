"""`muslin whois`: whose is this address?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from muslin.cli import output, worlds
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser, Words
from muslin.cli.screen import DIM, paint
from muslin.errors import Invalid

EXAMPLES = """
muslin whois 10.65.0.7
muslin whois fd65::7 -o json
muslin whois 10.1.2.3 --offline -f cluster.yaml
"""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("whois", "Whose is this address?", usage="ADDRESS... [options]", examples=EXAMPLES)
    parser.positional("words", nargs="*", metavar="ADDRESS")
    worlds.options(parser)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    if not words.words:
        raise Misused("which address? muslin whois 10.65.0.7")
    found = _asked(words)
    if form == "json":
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return 0
    for one in found:
        print("\n".join(lines(one)))
    return 0


def _asked(words: Words) -> list[Json]:
    if not worlds.is_offline(words):
        client = connect(words)
        return [client.get("/muslin/v1/whois", address=address) for address in words.words]
    import msgspec

    from muslin.explain.whois import whois

    world = worlds.world(words.filename, quiet=words.quiet)
    found = []
    for address in words.words:
        try:
            one = whois(world.graph, address, world.resources.values())
        except Invalid as error:
            raise Refused(str(error)) from None
        text = one.text + (" (the address is made up: no file names one)" if one.address in world.made_up else "")
        found.append({**msgspec.to_builtins(one), "text": text})
    return found


def lines(found: Json) -> Iterator[str]:
    """One sentence, and below it labels and whatever else there is."""
    yield found["text"]
    for holder in found["holders"]:
        labels = {name: value for name, value in (holder.get("labels") or {}).items()
                  if not name.startswith(("projectcalico.org/", "pcns.", "pcsa."))}
        if labels:
            told = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
            yield paint(f"  {holder.get('title') or holder['name']}: {told}", DIM)
        if holder.get("interface"):
            yield paint(f"  behind {holder['interface']} of {holder['host']}", DIM)
    block = found.get("block")
    if block and block.get("handle"):
        yield paint(f"  {block['state']} under handle {block['handle']}", DIM)

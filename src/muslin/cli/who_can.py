"""`muslin who-can reach db tcp/5432`: everybody whose packet would arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from muslin.cli import output, worlds
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser, Words
from muslin.cli.screen import BOLD, DIM, RED, paint
from muslin.cli.why import question, within
from muslin.errors import Invalid

EXAMPLES = """
muslin who-can reach db tcp/5432
muslin who-can reach shop/db tcp/5432 -6
muslin who-can reach 8.8.8.8 udp/53       who may ask this server outside
muslin who-can reach db tcp/5432 --offline -f policies/
"""
MORE = "Workloads by classes, and the outside by its prefixes. `muslin why SOURCE db tcp/5432` says by which rule."
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("who-can", "Who can reach a workload by this port?",
                    usage="reach DESTINATION PROTOCOL[/PORT] [options]", examples=EXAMPLES, more=MORE)
    parser.positional("words", nargs="*", metavar="DESTINATION")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="of a workload named without one")
    parser.add_argument("-4", "--ipv4", action="store_true", help="by IPv4 only")
    parser.add_argument("-6", "--ipv6", action="store_true", help="by IPv6 only")
    worlds.options(parser)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    asked = words.words[1:] if words.words[:1] == ["reach"] else words.words
    if len(asked) != 2:
        raise Misused("write whom, and by what: muslin who-can reach db tcp/5432\n  see: muslin who-can --help")
    query = {**question(asked[1]), "destination": within(asked[0], words.namespace)}
    if words.ipv4 is not words.ipv6:
        query["family"] = "6" if words.ipv6 else "4"
    found = _offline(words, query) if worlds.is_offline(words) else connect(words).get("/muslin/v1/who-can", **query)
    print(json.dumps(found, indent=2) if form == "json" else "\n".join(lines(found)))
    return 0


def _offline(words: Words, query: dict[str, str]) -> Json:
    import msgspec

    from muslin.explain import cluster
    from muslin.explain.question import protocol_of

    world = worlds.world(words.filename, quiet=words.quiet)
    family = int(query.get("family", 0))
    try:
        end = world.directory.resolve(query["destination"])
        protocol = protocol_of(query["protocol"], family or 4)
    except (Invalid, ValueError) as error:
        raise Refused(worlds.offline_words(str(error))) from None
    if end.sort == "host":
        raise Refused(f"{end.name} is a host: ask packet by packet, muslin why WHO host/{end.name} tcp/22")
    found = cluster.who_can(
        world.graph, [end.key] if end.key else list(end.addresses), protocol, int(query.get("port", 0)),
        families=(family,) if family else cluster.FAMILIES)
    return {"destination": end.shown(end.addresses[0] if end.addresses else ""), **msgspec.to_builtins(found)}


def lines(found: Json) -> Iterator[str]:
    """One line a class, the same workloads of both families once."""
    end = found["destination"]
    title = "/".join(filter(None, (end["namespace"], end["name"])))
    senders: dict[str, tuple[str, set[int]]] = {}
    for reach in found["reaches"]:
        one = found["classes"][reach["source"]]
        key = " ".join(one.get("members") or ()) or f"outside {one['title']}"
        name = f"outside: {one['title']}" if one["kind"] == "outside" else one["title"]
        senders.setdefault(key, (name, set()))[1].add(one["family"])
    if not senders:
        yield f"{paint('nobody', RED)} can reach {paint(title, BOLD)} {found['port']}"
        return
    yield f"{paint(title, BOLD)} {found['port']} can be reached by"
    both = {found["classes"][number]["family"] for number in found["destinations"]} == {4, 6}
    for name, families in senders.values():
        only = paint(f"  (IPv{next(iter(families))} only)", DIM) if both and len(families) == 1 else ""
        yield f"  {name}{only}"

"""`muslin matrix`: who reaches whom, and by which ports."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from muslin.cli import grid, output, worlds
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser, Words
from muslin.cli.why import PORTLESS, question

EXAMPLES = """
muslin matrix                             by the ports that policies speak of
muslin matrix --ports tcp/80,udp/53,icmp -n shop
muslin matrix --outside                   with the world outside, by the prefixes that policies name
muslin matrix -o json                     a verdict for every pair of workloads, family and port
muslin matrix -o json --by class          the same by classes: for large clusters
muslin matrix --offline -f policies/      of files, with no cluster
muslin matrix --probe                     in a lab: computed beside real packets
"""
MORE = """\
Workloads that fare alike are one row. A cell has what is open: 80 is tcp/80, udp/53, ping; ⁴ and ⁶: by one family only.
--probe sends packets between all workloads of a lab on this machine and ends with 1 where any fares otherwise than
computed."""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("matrix", "Who reaches whom, and by which ports?", usage="[options]", examples=EXAMPLES, more=MORE)
    parser.add_argument("--ports", default="", metavar="LIST", help="tcp/80,udp/53,icmp (default: those of policies)")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="workloads of this namespace only")
    parser.add_argument("--outside", action="store_true", help="the rest of the world too")
    parser.add_argument("--by", default="", metavar="class", help="-o json: by class, or by workload (default)")
    parser.add_argument("--probe", nargs="?", const="*", default="", metavar="LAB",
                        help="send real packets in a lab, and compare")
    worlds.options(parser)
    output.option(parser, "table, wide (all rows across, all names) or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "wide", "json"))
    if words.by not in ("", "class", "workload"):
        raise Misused(f"--by {words.by}: write class or workload")
    asked = ports(words.ports)
    if words.probe:
        return _probe(words.probe, asked)
    by = words.by or ("workload" if form == "json" else "class")
    found = _offline(words, asked, by) if worlds.is_offline(words) else _online(words, asked, by)
    if words.namespace and not (found.get("classes") or found.get("workloads")):
        raise Refused(f"there is no workload in namespace {words.namespace!r}")
    if form == "json":
        print(json.dumps(found, indent=2))
    elif by == "workload":
        raise Misused("--by workload is for -o json: a table goes by classes")
    else:
        print("\n".join(grid.lines(found, wide=form == "wide")))
    return 0


def ports(text: str) -> list[str]:
    """Words such as tcp/80. Raises Misused."""
    found: list[str] = []
    protocol = ""
    for word in filter(None, (part.strip() for part in text.split(","))):
        full = f"{protocol}/{word}" if word.isdigit() and protocol else word
        parts = question(full)
        protocol = parts["protocol"]
        names = ["icmp", "icmpv6"] if protocol in PORTLESS else [full.lower()]
        found += [name for name in names if name not in found]
    return found


def _online(words: Words, asked: list[str], by: str) -> Json:
    query = {"ports": ",".join(asked), "namespace": words.namespace, "by": by,
             **({"outside": "true"} if words.outside else {})}
    found: Json = connect(words).get("/muslin/v1/matrix", **{name: value for name, value in query.items() if value})
    return found


def _offline(words: Words, asked: list[str], by: str) -> Json:
    from muslin.net import protocol_number
    from muslin.offline.matrices import by_class, by_workload

    world = worlds.world(words.filename, quiet=words.quiet)
    chosen = []
    for word in asked:
        protocol, _, port = word.partition("/")
        chosen.append((protocol_number(protocol), int(port or 0)))
    if by == "class":
        return by_class(world, chosen, words.namespace, outside=words.outside)
    return by_workload(world, chosen, words.namespace)


def _probe(name: str, asked: list[str]) -> int:
    from muslin.cli.lab import the_one
    from muslin.lab.verbs import probe

    services = [(protocol, int(port or 0)) for protocol, _, port in (word.partition("/") for word in asked)
                if protocol != "icmpv6"]
    if strange := [protocol for protocol, _ in services if protocol not in ("tcp", "udp", "icmp")]:
        raise Misused(f"--probe sends tcp, udp and icmp, not {strange[0]}")
    return asyncio.run(probe(the_one("" if name == "*" else name), services))

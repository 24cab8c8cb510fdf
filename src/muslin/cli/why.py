"""`muslin why`: would this packet pass, which line decides, and which way does it go?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from muslin.cli import output, witnesses, worlds
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused, meant
from muslin.cli.parsing import Parser, Words
from muslin.cli.screen import BOLD, DIM, GREEN, RED, paint
from muslin.cli.worlds import offline_words
from muslin.errors import Invalid

EXAMPLES = """
muslin why web db tcp/5432                workloads by name, where it is the only one
muslin why shop/web prod/db tcp/5432      or NAMESPACE/NAME
muslin why 8.8.8.8 web tcp/80 -6          addresses; -4 or -6 says which family
muslin why web host/h1 icmp               a host; icmp is a ping, icmp/3/4 a type and its code
muslin why web db tcp/postgres            a port by the name that the destination gives it
muslin why web db tcp/80 --steps          every policy and rule on the way, and why it did not match
muslin why web db tcp/80 --live           what the kernels hold and have counted, and whether it has drifted
muslin why web db tcp/80 --trace          one packet sent, rule by rule to where it died (as root, on the host)
muslin why web db tcp/80 --offline -f .   of the policies and pods in files, with no cluster at all
helm template . | muslin why web db tcp/80 --offline -f -
"""
MORE = """\
The answer is computed from what the hosts are told, by code that shares nothing with what writes the kernel's rules.
File and line are known for policies that came by `muslin apply`. --exit-code: 0 allowed, 1 denied."""
WITH_PORTS = ("tcp", "udp", "sctp", "udplite")
PORTLESS = ("icmp", "icmpv6", "ping")
NEAR_MISSES = 3
UNSCHEDULED = "unscheduled"
"""Where pods of files stand that are on no node yet: there is no way to tell of."""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("why", "Would this packet pass, and which rule decides?",
                    usage="SOURCE DESTINATION PROTOCOL[/PORT] [options]", examples=EXAMPLES, more=MORE)
    parser.positional("words", nargs="*", metavar="SOURCE")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="of workloads named without one")
    parser.add_argument("--source-port", type=int, default=0, metavar="PORT", help="default: one that no rule means")
    parser.add_argument("-4", "--ipv4", action="store_true", help="ask of IPv4 (default where both ends have it)")
    parser.add_argument("-6", "--ipv6", action="store_true", help="ask of IPv6")
    parser.add_argument("--steps", action="store_true", help="show every policy and rule on the way")
    parser.add_argument("--exit-code", action="store_true", help="end with 1 when the packet is denied")
    parser.add_argument("--live", action="store_true", help="ask the kernels too: are they as reckoned? (drift if not)")
    parser.add_argument("--trace", action="store_true", help="send one such packet, and see where it dies")
    worlds.options(parser)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    if len(words.words) != 3:
        raise Misused("write from where, to where, and what: muslin why web db tcp/5432\n  see: muslin why --help")
    source, destination, packet = words.words
    query = question(packet, names=True)
    query["source"], query["destination"] = (within(end, words.namespace) for end in (source, destination))
    if words.source_port:
        query["source_port"] = str(words.source_port)
    if words.ipv4 or words.ipv6:
        query["family"] = "6" if words.ipv6 else "4"
    found = _offline(words, query) if worlds.is_offline(words) else connect(words).get("/muslin/v1/why", **query)
    for asked in ("live", "trace"):
        if getattr(words, asked):
            if worlds.is_offline(words):
                raise Misused(f"--{asked} asks the kernels of hosts, --offline has none: leave one of them out")
            found[asked] = getattr(witnesses, asked)(found)
    print(json.dumps(found, indent=2) if form == "json" else "\n".join(lines(found, steps=words.steps)))
    return 1 if words.exit_code and found["verdict"] != "Allow" else 0


def _offline(words: Words, query: dict[str, str]) -> Json:
    from muslin.explain import question as asked
    from muslin.explain.question import Question

    world = worlds.world(words.filename, quiet=words.quiet)
    try:
        source, destination = (world.directory.resolve(query[end]) for end in ("source", "destination"))
        port = query.get("port", "0")
        number = int(port) if port.isdigit() else asked.port_named(world.graph, destination, query["protocol"], port)
        icmp = (int(query["icmp_type"]), int(query.get("icmp_code", 0))) if "icmp_type" in query else None
        packet = asked.packet_of(
            Question(protocol=query["protocol"], port=number, source_port=int(query.get("source_port", 0)),
                     family=int(query.get("family", 0)), icmp=icmp), source, destination)
    except (Invalid, ValueError) as error:
        raise Refused(offline_words(str(error))) from None
    found = asked.decided(world, source, destination, packet)
    told = asked.answer(world, source, destination, packet, found, where=world.where)
    for end in (told["source"], told["destination"]):
        end["made_up"] = end["address"] in world.made_up
    told["mtu"] = {"hosts": {}, "smallest": 0}  # only agents know
    return told


def question(text: str, *, names: bool = False) -> dict[str, str]:
    """protocol and port of `tcp/80`, `icmp`, `112`. `names`: there is one destination, so that `tcp/http` and
    `icmp/3/4` can be asked, too. Raises Misused."""
    protocol, slash, port = text.partition("/")
    if protocol.isdigit():
        if slash and not port.isdigit():
            raise Misused(f"port {port!r}: write a number, such as 6/80")
        return {"protocol": protocol, **({"port": port} if slash else {})}
    known = protocol.lower()
    if known not in (*WITH_PORTS, *PORTLESS):
        raise Misused(f"protocol {protocol!r} is not known: write tcp/80, udp/53, icmp, or a protocol's number"
                      f"{meant(protocol, (*WITH_PORTS, *PORTLESS))}")
    if names and known in WITH_PORTS and port[:1].isalpha():
        return {"protocol": known, "port": port}
    kind, _, code = port.partition("/")
    if names and known in PORTLESS and kind.isdigit() and (code.isdigit() or not code):
        return {"protocol": known, "icmp_type": kind, **({"icmp_code": code} if code else {})}
    if known in WITH_PORTS and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise Misused(f"{text!r}: write {known}/PORT, with a port from 1 to 65535")
    if known in PORTLESS and slash:
        raise Misused(f"{text!r}: {known} has no ports, write {known}")
    return {"protocol": known, **({"port": port} if slash else {})}


def lines(found: Json, *, steps: bool) -> Iterator[str]:
    """The screen."""
    allowed = found["verdict"] == "Allow"
    word = paint("allowed", GREEN) if allowed else paint("denied", RED)
    yield f"{word}  {_end(found['source'])} -> {_end(found['destination'])}, {_what(found)}"
    yield ""
    yield from _way(found, steps=steps)
    if not any(hop["at"] == UNSCHEDULED for hop in found.get("route") or ()):
        yield from _route(found, allowed=allowed)
    if (found.get("mtu") or {}).get("smallest"):
        yield f"mtu: {found['mtu']['smallest']}"
    if "live" in found:
        yield from witnesses.live_lines(found["live"])
    if "trace" in found:
        yield from witnesses.trace_lines(found["trace"])


OWN_GATES = {"egress": ("untracked", "output"), "ingress": ("untracked", "pre-DNAT", "input")}
"""Where a host is asked about what it sends and gets itself."""


def _way(found: Json, *, steps: bool) -> Iterator[str]:
    """In the order of the packet: whoever sends, what the hosts between ask and change, whoever receives."""
    between = [one for one in found.get("gates") or [] if one["gate"] not in ("sender", "receiver")]
    own: dict[str, list[Json]] = {}
    for key, end in (("egress", found["source"]), ("ingress", found["destination"])):
        own[key] = [one for one in between if end["kind"] == "host" and one["host"] == end["host"]
                    and one["gate"] in OWN_GATES[key] and one not in own.get("egress", ())]
        between = [one for one in between if one not in own[key]]
    yield from _end_asked("leaving", "egress", found, own["egress"], steps=steps)
    for gate in between:
        yield from _gate(f"host {gate['host']}, {_at(gate)}", gate, found, steps=steps)
    for one in found.get("translations") or []:
        yield f"host {one['host']}: {one['text']}"
    yield from _end_asked("entering", "ingress", found, own["ingress"], steps=steps)


def _end_asked(word: str, key: str, found: Json, own: list[Json], *, steps: bool) -> Iterator[str]:
    end = found["source" if key == "egress" else "destination"]
    if end["kind"] != "host":
        yield from _direction(f"{word} {_name(end)}", found.get(key), found, key, steps=steps)
        return
    for gate in own:
        yield from _gate(f"{word} host {end['name']}, {_at(gate)}", gate, found, steps=steps)
    if own:
        return
    if key == "ingress" and found["verdict"] == "Deny":
        why = "not asked, the packet does not come that far"
    elif key == "ingress" and found["source"]["host"] == end["host"] and found["source"]["kind"] == "workload":
        why = "a workload's own policy and endpointToHostAction say it all"
    else:
        why = "no host endpoint covers it"
    yield f"{word} host {end['name']}: {paint(why, DIM)}"


def _at(gate: Json) -> str:
    return f"{gate['gate']} of {gate['interface']}" if gate.get("interface") else str(gate["gate"])


def _gate(title: str, gate: Json, found: Json, *, steps: bool) -> Iterator[str]:
    by = gate["decided_by"]
    colour = {"Allow": GREEN, "Deny": RED}.get(gate["outcome"], DIM)
    yield f"{title}: {paint(gate['outcome'], colour)} by {by['text']}"
    yield from _details({**gate, "verdict": gate["outcome"]}, found, steps=steps)


def _route(found: Json, *, allowed: bool) -> Iterator[str]:
    route = found.get("route") or []
    if not route:
        return
    yield ""
    yield "route:" if allowed else "the route it would take:"
    width = max(len(hop["at"]) for hop in route)
    for hop in route:
        yield f"  {hop['at']:<{width}}  {hop['what']}"
        yield from (paint(f"  {'':<{width}}    told by {one['text']}", DIM) for one in hop.get("by") or [])


def _direction(title: str, decision: Json | None, found: Json, key: str, *, steps: bool) -> Iterator[str]:
    if decision is None:
        yield f"{title}: {paint('it is outside, no policy of ours', DIM)}"
        return
    decided = decision["decided_by"]
    colour = GREEN if decision["verdict"] == "Allow" else RED
    stopped = key == "ingress" and (found.get("egress") or {}).get("verdict") == "Deny"
    verdict = ("would be " if stopped else "") + paint(decision["verdict"], colour)
    yield f"{title}: {verdict} by {paint(decided['text'], BOLD)}"
    yield from _details(decision, found, steps=steps)


def _details(decision: Json, found: Json, *, steps: bool) -> Iterator[str]:
    """Where the rule stands, the steps if they are wanted, else what nearly let it pass."""
    decided = decision["decided_by"]
    if decided.get("file"):
        yield f"    {decided['file']}" + (f":{decided['line']}" if decided.get("line") else "")
    if steps:
        yield from (f"    {paint(line, DIM)}" for line in decision.get("text") or [])
    elif decision["verdict"] == "Deny":
        names = {end["address"]: _name(end) for end in (found["source"], found["destination"])}
        yield from (f"    {paint(line, DIM)}" for line in near_misses(decision, names))


def near_misses(decision: Json, names: Mapping[str, str]) -> list[str]:
    """Rules that would have let it pass, but for one thing: most often the answer to why it was denied. `names`: of the
    packet's addresses."""
    found = []
    for step in decision.get("steps") or []:
        mismatches = step.get("mismatches") or []
        if step.get("action") == "Allow" and len(mismatches) == 1 and step.get("origin"):
            origin, mismatch = step["origin"], mismatches[0]
            name = "/".join(part for part in (origin.get("namespace"), origin["name"]) if part)
            found.append(f"nearly allowed by {origin['kind']} {name}, {origin.get('direction', 'ingress')} rule "
                         f"{origin.get('rule')}: {mismatch['field']} is {mismatch['wanted']}, "
                         f"the packet has {_named(mismatch['found'], names)}")
    return found[:NEAR_MISSES]


def _named(found: str, names: Mapping[str, str]) -> str:
    name = names.get(found, found)
    return found if name == found else f"{name} ({found})"


def _end(end: Json) -> str:
    address = f"{end['address']}, made up" if end.get("made_up") else end.get("address")
    on = end.get("host") and end["host"] != UNSCHEDULED
    where = ", ".join(part for part in (address, f"on {end['host']}" if on else "") if part)
    return f"{_name(end)} ({where})" if where and where != _name(end) else _name(end)


def _what(found: Json) -> str:
    """`tcp/80` of the packet `10.0.0.1 -> 10.0.0.2 tcp/80`."""
    ends = f"{found['source'].get('address')} -> {found['destination'].get('address')} "
    return str(found.get("packet", "")).removeprefix(ends)


def _name(end: Json) -> str:
    name = end.get("name") or end.get("address")
    return f"{end['namespace']}/{name}" if end.get("namespace") else str(name)


def within(end: str, namespace: str) -> str:
    """A bare name in the namespace; addresses and NAMESPACE/NAME stay."""
    bare = namespace and "/" not in end and end != "outside" and ":" not in end and not end.replace(".", "").isdigit()
    return f"{namespace}/{end}" if bare else end

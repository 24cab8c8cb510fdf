"""Packets for a world: most are built from one of its rules, at the edge of each field or one step outside.

A generator that does not aim finds nothing (a mutant that was off by one lived until this one did). What is aimed at
is told by `Tally`: how often a rule with a certain field decided, and which gates of a host were asked, so that a
generator that has gone blind is found out.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from prove import site
from prove.flight import Flight, Packet
from prove.oracle import EGRESS, INGRESS, Reading, World, policies, rule_matches
from prove.worlds import NAMED, PORTS

Object = dict[str, Any]

OTHERS = (4, 97, 103)
"""Protocols without ports, and of which conntrack reads nothing (GRE it does, and our payload would be an invalid
one). IP in IP is one that no workload may send."""
WITH_PORTS = (6, 17, 132, 136)
ICMP_TYPES = {1: (8, 13), 58: (128, 139)}
"""Questions, which conntrack follows. What neighbour discovery says is never tracked, and so never translated."""
LINK = ((58, 135), (58, 133), (58, 134), (58, 130), (58, 128), (17, 67), (17, 547), (17, 68))
"""(protocol, ICMP type or port) of what workloads send to the other end of their link."""


def flights(random: Random, objects: list[Object], count: int, *, plain: bool = False) -> Iterator[Flight]:
    """`plain`: only to and from workloads, as worlds without host endpoints have it."""
    targets: dict[str, list[Target]] = {}
    for target in _targets(World(objects)):
        targets.setdefault(target.sort, []).append(target)
    failsafes = [
        each for found in objects if found["kind"] == "FelixConfiguration"
        for field in ("failsafeInboundHostPorts", "failsafeOutboundHostPorts") for each in found["spec"].get(field, ())
    ]
    pool = _Pool(objects)
    for _ in range(count):
        if not plain and random.random() < 0.04:
            yield _link(random)
            continue
        if targets and random.random() < 0.75:
            sort = random.choices([*targets], [OFTEN[sort] for sort in targets])[0]
            made = _aimed(random, random.choice(targets[sort]), pool, plain=plain)
        else:
            about_failsafe = not plain and random.random() < 0.5
            made = _flight(random, _of_failsafe(random, failsafes) if about_failsafe else {}, pool, plain=plain,
                           arrives=random.choice(("up0", "up1", site.HOST, site.HOST)) if about_failsafe else "")
        if made is not None:
            yield made


class Target(NamedTuple):
    """A rule, and what it takes to meet it."""

    rule: Object
    hits: Callable[[Packet], bool]
    arrives: tuple[str, ...] = ()
    """Where a packet must come from to meet it; empty: anywhere."""
    sort: str = "plain"


OFTEN = {"plain": 8, "doNotTrack ingress": 2, "doNotTrack egress": 2, "preDNAT ingress": 2,
         "applyOnForward ingress": 2, "applyOnForward egress": 2}
"""So that rare sorts of policy are aimed at where there are any."""
TRIES = 8
STEP_ASIDE = 0.4
"""How often one field of a packet that hits its target is taken from another try."""


def _targets(world: World) -> Iterator[Target]:
    """All rules of policies and profiles; those of policies want an endpoint that the policy applies to."""
    for policy in policies(world, staged=True):
        for direction in policy.directions:
            for rule in policy.spec.get(direction, ()):
                sort = next((word for word in ("doNotTrack", "preDNAT", "applyOnForward") if policy.spec.get(word)), "")
                name = f"{sort} {direction}" if sort else "plain"
                yield Target(rule, _hits(world, rule, policy, direction), _from(policy, direction), name)
    for profile in world.of("Profile"):
        for direction in (INGRESS, EGRESS):
            for rule in profile["spec"].get(direction, ()):
                yield Target(rule, lambda packet, rule=rule: rule_matches(world, rule, "", packet))  # type: ignore[misc]


def _from(policy: Reading, direction: str) -> tuple[str, ...]:
    """Policies that only host endpoints have, or that speak of them: at the interfaces of the host."""
    if not policy.spec.get("applyOnForward") and "side" not in policy.spec.get("selector", ""):
        return ()
    if direction == INGRESS:
        return tuple(site.INTERFACES)
    return (site.HOST,) if policy.spec.get("doNotTrack") else (site.HOST, *site.INTERFACES, *site.WORKLOADS)


def _hits(world: World, rule: Object, policy: Reading, direction: str) -> Callable[[Packet], bool]:
    def hits(packet: Packet) -> bool:
        own = packet.destination if direction == INGRESS else packet.source
        here = [each for each in world.at(own) if each["kind"] == "WorkloadEndpoint" and policy.applies(each)]
        wanted = own in LOCALS and not policy.spec.get("applyOnForward")
        return (bool(here) or not wanted) and rule_matches(world, rule, policy.namespace, packet)

    return hits


def _aimed(random: Random, target: Target, pool: _Pool, *, plain: bool) -> Flight | None:
    """A packet that hits, if a few tries find one; or that misses it by one field."""
    last = None
    for _ in range(TRIES):
        arrives = random.choice(target.arrives) if target.arrives else ""
        made = _flight(random, target.rule, pool, plain=plain, arrives=arrives)
        if made is None:
            continue
        if target.hits(made.packet):
            return _aside(random, made, last) if random.random() < STEP_ASIDE else made
        last = made
    return last


def _aside(random: Random, made: Flight, other: Flight | None) -> Flight:
    """One field as it is in another packet that was aimed at the same rule: at an edge, or one step outside."""
    if other is None or other.packet.protocol != made.packet.protocol or other.packet.version != made.packet.version:
        return made
    fields = ["destination_port", "source_port", "icmp_code"]
    if other.arrives == made.arrives:
        fields += ["source", "destination"]
    field = random.choice(fields)
    packet = made.packet._replace(**{field: getattr(other.packet, field)})
    return made if packet.source == packet.destination else made._replace(packet=packet)


class _Pool:
    """Addresses worth trying: everybody who is known, the edges of every prefix of the sets, one step outside each."""

    def __init__(self, objects: list[Object]) -> None:
        self.known = [address for both in (*site.LOCAL.values(), *site.REMOTE.values()) for address in both]
        for each in objects:
            for net in each.get("spec", {}).get("nets", ()):
                self.known += _edges(net)
        self.known += site.OUTSIDE

    def choose(self, random: Random, words: Object, family: int) -> str | None:
        edges = [edge for net in (*words.get("nets", ()), *words.get("notNets", ())) for edge in _edges(net)]
        found = edges if edges and random.random() < 0.7 else self.known
        usable = [each for each in found if (":" in each) == (family == 6) and _travels(each)]
        return random.choice(usable) if usable else None


OWN = {address for both in site.INTERFACES.values() for address in both}
LOCALS = {address for both in site.LOCAL.values() for address in both}


def _flight(random: Random, rule: Object, pool: _Pool, *, plain: bool, arrives: str = "") -> Flight | None:
    family = rule.get("ipVersion") or random.choice((4, 4, 6))
    anywhere = (*site.WORKLOADS, "up0", "up0", *(() if plain else ("up1", "up0", site.HOST)))
    arrives = arrives or random.choice(anywhere)
    source = _source(random, rule, pool, arrives, family)
    destination = _destination(random, rule, pool, arrives, family, plain=plain)
    if source is None or destination is None or source == destination:
        return None
    protocol = _protocol(random, rule, family)
    icmp = rule.get("icmp") or rule.get("notICMP") or {}
    types: tuple[int | None, ...] = ICMP_TYPES.get(protocol, (None,))
    wanted = icmp.get("type") if icmp.get("type") in types and random.random() < 0.7 else None
    ported = protocol in WITH_PORTS
    packet = Packet(
        source, destination, protocol,
        _aimed_port(random, rule.get("destination", {})) if ported else 0,
        _aimed_port(random, rule.get("source", {})) if ported else 0,
        wanted if wanted is not None else random.choice(types),
        random.choice((0, 1, icmp.get("code", 0))) if protocol in (1, 58) else 0,
    )
    cuttable = arrives != site.HOST and protocol != 58
    return Flight(arrives, packet, random.choice((1, 2)) if cuttable and random.random() < 0.06 else 0)


def _source(random: Random, rule: Object, pool: _Pool, arrives: str, family: int) -> str | None:
    six = family == 6
    if arrives == site.HOST:
        return random.choice(list(site.INTERFACES.values()))[six]
    if arrives in site.WORKLOADS:
        if random.random() < 0.06:
            strange = ("10.65.9.3", "10.65.9.4", "203.0.113.1") if not six else ("fd65:9::3", "fd65:9::4", "fd65::99")
            return random.choice((*strange, *(both[six] for both in site.LOCAL.values())))
        return site.WORKLOADS[arrives][six]
    found = pool.choose(random, rule.get("source", {}), family)
    return None if found in LOCALS or found in OWN else found


def _destination(
    random: Random, rule: Object, pool: _Pool, arrives: str, family: int, *, plain: bool
) -> str | None:
    six = family == 6
    others = [both[six] for interface, both in site.WORKLOADS.items() if interface != arrives]
    sort = random.choices(("workload", "outside", "host", "floating"), (5, 3, *((0, 0) if plain else (3, 1))))[0]
    if arrives.startswith("up") and plain:
        sort = "workload"
    if sort == "workload":
        return random.choice(others)
    if sort == "host" and arrives != site.HOST:
        return random.choice(list(site.INTERFACES.values()))[six]
    if sort == "floating" and arrives != site.HOST:
        return random.choice([both[six] for name, both in site.FLOATING.items() if f"mus{name}" != arrives])
    found = pool.choose(random, rule.get("destination", {}), family)
    if found is None or found in LOCALS or found in OWN:
        return None
    return found if site.exit_to(found) != arrives else None


def _link(random: Random) -> Flight:
    """What a workload sends to the other end of its link, or something much like it."""
    arrives = random.choice(list(site.WORKLOADS))
    own = site.WORKLOADS[arrives]
    protocol, what = random.choice(LINK)
    if protocol == 58:
        source = random.choice((own[1], "fe80::9", "fd65::99"))
        return Flight(arrives, Packet(source, site.GATEWAY[1], 58, icmp_type=what))
    from_port = random.choice({67: (68, 68, 67), 547: (546, 546, 547), 68: (68,)}[what])
    if what == 547 or random.random() < 0.3:
        source = random.choice((own[1], "fe80::9", "fd65::99"))
        return Flight(arrives, Packet(source, site.GATEWAY[1], 17, what, from_port))
    source = random.choice((own[0], "0.0.0.0", "10.65.0.99"))
    return Flight(arrives, Packet(source, "255.255.255.255", 17, what, from_port))


def _of_failsafe(random: Random, failsafes: list[Object]) -> Object:
    """A rule that says what a failsafe says, in either direction, so that packets are aimed at it."""
    found = random.choice([*failsafes, {"protocol": "TCP", "port": 22}, {"protocol": "UDP", "port": 53},
                           {"protocol": "TCP", "port": 179}, {"protocol": "UDP", "port": 68}])
    net = {"nets": [found["net"]]} if found.get("net") else {}
    inwards, answer = random.random() < 0.5, random.random() < 0.3
    sides = {"source": net if inwards else {}, "destination": {} if inwards else net}
    port = "source" if answer else "destination"
    return {"protocol": found["protocol"], **sides, port: {**sides[port], "ports": [found["port"]]}}


def _protocol(random: Random, rule: Object, family: int) -> int:
    numbers = {"TCP": 6, "UDP": 17, "SCTP": 132, "UDPLite": 136, "ICMP": 1, "ICMPv6": 58}
    known = rule.get("protocol", rule.get("notProtocol"))
    if known is None and ("icmp" in rule or "notICMP" in rule):
        known = 1 if family == 4 else 58
    if known is not None and random.random() < 0.9:
        number = numbers.get(known) or int(known)
    else:
        number = random.choice((6, 6, 17, 1, 58, 132, 136, *OTHERS))
    if {1: 4, 58: 6}.get(number, family) != family:
        number = 1 if family == 4 else 58
    return number


def _aimed_port(random: Random, words: Object) -> int:
    edges: list[int] = []
    for entry in (*words.get("ports", ()), *words.get("notPorts", ())):
        first, _, last = str(entry).partition(":")
        if first.isdigit():
            edges += [int(first) - 1, int(first), int(last or first), int(last or first) + 1]
        else:
            edges += [number for name, _, number in NAMED if name == entry]
    edges = [port for port in edges if 1 <= port <= 65535]
    if not edges or random.random() < 0.2:
        return random.choice((*PORTS, random.randint(1024, 65535), 4789))
    return random.choice(edges)


def _edges(net: str) -> list[str]:
    network = ipaddress.ip_network(net)
    first, last = int(network[0]), int(network[-1])
    top = 2**network.max_prefixlen - 1
    make = type(network[0])
    return [str(make(edge)) for edge in (first - 1, first, first + 1, last, last + 1) if 0 < edge < top]


def _travels(address: str) -> bool:
    """Will a router forward from and to it?"""
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        return int(ip) >> 125 == 1 or ip in ipaddress.ip_network("fc00::/7")
    return 1 <= int(ip) >> 24 < 224 and int(ip) >> 24 != 127 and ip not in ipaddress.ip_network("169.254.0.0/16")


def apart(made: Iterator[Flight], translate: Any) -> list[Flight]:
    """Those that conntrack cannot take for another one's flow, or for the answer to it. `translate`: what becomes of a
    packet's ends under floating addresses, each way; all these are tuples that conntrack might know the flow by."""
    taken: set[object] = set()
    found = []
    for flight in made:
        tuples = {_flow(packet) for packet in (flight.packet, *translate(flight))}
        if flight.packet.icmp_type is not None or taken.isdisjoint(tuples):
            taken |= tuples
            found.append(flight)
    return found


def _flow(packet: Packet) -> object:
    if packet.destination_port:
        ends = {(packet.source, packet.source_port), (packet.destination, packet.destination_port)}
        return packet.protocol, frozenset(ends)
    return packet.protocol, frozenset({packet.source, packet.destination})


class Tally(Counter[str]):
    """How often which field of a rule decided, and what which gate said: what the packets really tried."""

    def count(self, flight: Flight, seen: list[str], trail: list[Object], comes_out: str) -> None:
        self[f"from {sort_of(flight.arrives)} to {sort_of(comes_out)}"] += 1
        self[f"protocol {flight.packet.protocol} v{flight.packet.version}"] += 1
        self["fragments"] += flight.fragments > 0
        self.update(seen)
        for rule in trail:
            self.update(f"rule {field}" for field in fields_of(rule))

    def lacking(self, least: dict[str, int]) -> dict[str, int]:
        """What was tried less often than it must be."""
        return {name: self[name] for name, wanted in least.items() if self[name] < wanted}


def sort_of(place: str) -> str:
    """Of an interface, the host, or nowhere."""
    if place in site.WORKLOADS:
        return "workload"
    return {"": "nowhere", site.HOST: "host"}.get(place, "outside")


def fields_of(rule: Object) -> Iterator[str]:
    for name, value in rule.items():
        if name in ("source", "destination"):
            yield from (f"{name}.{inner}" for inner in value)
        elif name == "action":
            yield str(value)
        else:
            yield name

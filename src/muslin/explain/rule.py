"""Does a rule speak of a packet? And if not, by which of its fields?

This is one of three readings of `intent.Rule`; the nftables and the iptables kernels are the others, and all must
agree. What the words of a rule leave open is decided here, as Calico decides it, for every reader:

All fields are ANDed.

 1. Family. `ip_version` must be the packet's. A list of prefixes (`nets`, `not_nets`, of either side) that is not
    empty must hold at least one of the packet's family, else the rule does not match: also for `not_nets`, because
    Calico leaves such a rule out of that family altogether. Prefixes of the other family in a mixed list say nothing.
    A set is different: members of the other family are simply not there, so a v6 packet is in no v4 set (`sets` does
    not match, `not_sets` does).
 2. Protocol. `protocol` equals, `not_protocol` differs. ICMP (1) and ICMPv6 (58) are two protocols.
 3. ICMP. `icmp` wants ICMP of the packet's own family (1 over IPv4, 58 over IPv6) and the type, and the code where one
    is given. `not_icmp` fails for exactly the packets that `icmp` would match, so it holds for every other protocol.
 4. Addresses. `nets`: in one. `not_nets`: in none. `sets`: in EVERY set (an empty one holds nobody). `not_sets`: in no
    set (an empty one excludes nobody).
 5. Ports. Only TCP, UDP, SCTP and UDPLite have any. `ports` or `named_ports`: one range or one named port must hold, so
    a packet without ports matches neither. `not_ports`, `not_named_ports`: none may hold, so a packet without ports
    passes. A named port is looked up with this side's address and the packet's protocol.
 6. A rule that names a set which is not there (or is of the wrong sort) denies every packet that reaches it, whatever
    its action and its other fields: nobody knows what it would have said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from muslin.explain.packet import ICMP, End, Facts
from muslin.intent import AddressSet, Icmp, Match, PortSet, Rule, SetId
from muslin.net import Cidr, protocol_name, version_of

Sets = Mapping[SetId, AddressSet | PortSet]

_FEW = 4


class Mismatch(msgspec.Struct, frozen=True):
    """A field that does not hold: what the rule wants there, and what the packet has. A set is called `set <id>`."""

    field: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.field} is {self.wanted}, the packet has {self.found}"


def missing_set(rule: Rule, sets: Sets) -> SetId | None:
    """A set that the rule needs and that is not there, if any."""
    for match in (rule.source, rule.destination):
        for name in (*match.sets, *match.not_sets):
            if not isinstance(sets.get(name), AddressSet):
                return name
        for name in (*match.named_ports, *match.not_named_ports):
            if not isinstance(sets.get(name), PortSet):
                return name
    return None


def mismatches(rule: Rule, facts: Facts, sets: Sets) -> Iterator[Mismatch]:
    """The fields that do not hold; none: the rule matches. Ask `missing_set` first."""
    if rule.ip_version is not None and rule.ip_version != facts.version:
        yield Mismatch("ipVersion", str(rule.ip_version), str(facts.version))
    protocol = facts.packet.protocol
    if rule.protocol is not None and rule.protocol != protocol:
        yield Mismatch("protocol", protocol_name(rule.protocol), protocol_name(protocol))
    if rule.not_protocol is not None and rule.not_protocol == protocol:
        yield Mismatch("notProtocol", protocol_name(protocol), protocol_name(protocol))
    if rule.icmp is not None and not _is(rule.icmp, facts):
        yield Mismatch("icmp", _icmp_text(rule.icmp), _found_icmp(facts))
    if rule.not_icmp is not None and _is(rule.not_icmp, facts):
        yield Mismatch("notICMP", _icmp_text(rule.not_icmp), _found_icmp(facts))
    yield from _side("source", rule.source, facts.source, facts, sets)
    yield from _side("destination", rule.destination, facts.destination, facts, sets)


def _is(icmp: Icmp, facts: Facts) -> bool:
    found = facts.icmp
    return found is not None and found[0] == icmp.type and icmp.code in (None, found[1])


def _side(side: str, match: Match, end: End, facts: Facts, sets: Sets) -> Iterator[Mismatch]:
    yield from _addresses(side, match, end, facts.version, sets)
    yield from _ports(side, match, end, facts.packet.protocol, sets)


def _addresses(side: str, match: Match, end: End, version: int, sets: Sets) -> Iterator[Mismatch]:
    if match.nets and end.within.isdisjoint(match.nets):
        yield Mismatch(f"{side}.nets", _listed(match.nets), end.address)
    if match.not_nets:
        if hit := end.within.intersection(match.not_nets):
            yield Mismatch(f"{side}.notNets", max(hit, key=_length), end.address)
        elif all(version_of(net) != version for net in match.not_nets):
            yield Mismatch(f"{side}.notNets", f"IPv{10 - version} only", end.address)
    for name in match.sets:
        if end.within.isdisjoint(sets[name].members):
            yield Mismatch(f"{side}.selector", f"set {name}", end.address)
    for name in match.not_sets:
        if not end.within.isdisjoint(sets[name].members):
            yield Mismatch(f"{side}.notSelector", f"set {name}", end.address)


def _ports(side: str, match: Match, end: End, protocol: int, sets: Sets) -> Iterator[Mismatch]:
    if (match.ports or match.named_ports) and not (
        _in_ranges(match.ports, end.port) or _named(match.named_ports, end, protocol, sets)
    ):
        wanted = [*map(_range_text, match.ports), *(f"set {name}" for name in match.named_ports)]
        yield Mismatch(f"{side}.ports", _listed(wanted), _port_text(end))
    if _in_ranges(match.not_ports, end.port):
        yield Mismatch(f"{side}.notPorts", _listed(list(map(_range_text, match.not_ports))), _port_text(end))
    if named := _named(match.not_named_ports, end, protocol, sets):
        yield Mismatch(f"{side}.notPorts", f"set {named}", _port_text(end))


def _in_ranges(ranges: tuple[tuple[int, int], ...], port: int | None) -> bool:
    return port is not None and any(first <= port <= last for first, last in ranges)


def _named(names: tuple[SetId, ...], end: End, protocol: int, sets: Sets) -> SetId | None:
    """The first of these port sets that holds this end of the packet."""
    if end.port is None:
        return None
    return next((name for name in names if (end.host, protocol, end.port) in sets[name].members), None)


def _length(net: Cidr) -> int:
    return int(net.partition("/")[2])


def _range_text(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}:{ports[1]}"


def _port_text(end: End) -> str:
    return "no ports" if end.port is None else str(end.port)


def _icmp_text(icmp: Icmp) -> str:
    return f"type {icmp.type}" if icmp.code is None else f"type {icmp.type} code {icmp.code}"


def _found_icmp(facts: Facts) -> str:
    if facts.icmp is None:
        return protocol_name(facts.packet.protocol)
    return f"{protocol_name(ICMP[facts.version])} type {facts.icmp[0]} code {facts.icmp[1]}"


def _listed(items: list[str] | tuple[Cidr, ...]) -> str:
    shown = " or ".join(items[:_FEW])
    return shown if len(items) <= _FEW else f"{shown} or {len(items) - _FEW} more"

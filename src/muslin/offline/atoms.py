"""All packets between two ends, as few of them as decide for all.

A rule asks of a packet's protocol, ports and ICMP type whether they lie in ranges that are written in it. So between
two neighbouring bounds of all ranges nothing changes: one packet of each stretch stands for the rest, and "no packet
at all passes" is answered exactly by asking a dozen packets instead of 2^40.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from muslin.explain.packet import EPHEMERAL, ICMP, Packet
from muslin.intent import GroupId, HostIntent, Match, PolicyId, PortSet, Rule
from muslin.net import PROTOCOLS_WITH_PORTS, version_of
from muslin.offline.expectations import Service

_UNHEARD_OF = (253, 254)
"""Protocol numbers for experiments (RFC 3692): the first that no rule speaks of stands for all others."""
_UNHEARD_TYPES = (100, 101)
_ECHO = {4: 8, 6: 128}
_CODES = 256
_BUILT_IN_PORTS = (4789, 4790)
_TUNNELS = (4, 17)
"""What no policy can allow: see `explain.walk`. Its bounds are bounds too."""


@dataclass(slots=True)
class Bounds:
    """Where something changes, by the rules of some groups. Ports: the first of each stretch."""

    protocols: set[int] = field(default_factory=lambda: set(_TUNNELS))
    ports: set[int] = field(default_factory=lambda: {1, *_BUILT_IN_PORTS})
    source_ports: set[int] = field(default_factory=lambda: {EPHEMERAL})
    types: dict[int, set[int]] = field(default_factory=dict)
    """ICMP type -> codes that are spoken of."""

    def take(self, rule: Rule, intent: HostIntent) -> None:
        self.protocols.update(found for found in (rule.protocol, rule.not_protocol) if found is not None)
        for icmp in (rule.icmp, rule.not_icmp):
            if icmp is not None:
                self.types.setdefault(icmp.type, set()).update(() if icmp.code is None else (icmp.code,))
        self.source_ports |= _firsts(rule.source, intent, 0)
        self.ports |= _firsts(rule.destination, intent, 1)


def _firsts(match: Match, intent: HostIntent, least: int) -> set[int]:
    found = set()
    for first, last in (*match.ports, *match.not_ports):
        found |= {first, last + 1}
    for name in (*match.named_ports, *match.not_named_ports):
        members = intent.sets.get(name)
        if isinstance(members, PortSet):
            for _, _, port in members.members:
                found |= {port, port + 1}
    made = {max(port, least) for port in found if port <= 65535}
    return made | {least} if made else made


def bounds(asked: Iterable[tuple[HostIntent, GroupId]]) -> Bounds:
    """Of all rules of these groups."""
    found = Bounds()
    for intent, group_id in asked:
        group = intent.groups.get(group_id)
        if group is None:
            continue
        names: list[PolicyId] = [*group.profiles, *(policy for stage in group.stages for policy in stage.policies)]
        for name in names:
            policy = intent.policies.get(name)
            for rule in (*policy.ingress, *policy.egress) if policy is not None else ():
                found.take(rule, intent)
    return found


def packets(found: Bounds, source: str, destination: str, services: Iterable[Service], *,
            every: bool) -> Iterator[Packet]:
    """One packet of each stretch within the services; of all stretches when none is given. Not `every`: those that a
    client sends who wants the service: an echo request, from a port that the kernel picks."""
    version = version_of(source)
    chosen = list(services)
    if not chosen:
        spoken_of = found.protocols | PROTOCOLS_WITH_PORTS | {*ICMP.values()}
        chosen = [Service(number) for number in sorted(spoken_of)]
        chosen += [Service(number) for number in _UNHEARD_OF if number not in found.protocols][:1]
    for service in chosen:
        protocol = service.protocol or ICMP[version]
        if protocol == ICMP[10 - version]:
            continue
        if protocol in PROTOCOLS_WITH_PORTS:
            yield from _with_ports(found, source, destination, protocol, service, every)
        elif protocol == ICMP[version]:
            yield from _icmp(found, source, destination, protocol, every or service.protocol != 0)
        else:
            yield Packet(source, destination, protocol)


def _with_ports(found: Bounds, source: str, destination: str, protocol: int, service: Service,
                every: bool) -> Iterator[Packet]:
    first, last = (service.first, service.last) if not service.whole else (1, 65535)
    ports = {first, *(port for port in found.ports if first <= port <= last)}
    from_ports = found.source_ports if every else {EPHEMERAL}
    for port in sorted(ports):
        for source_port in sorted(from_ports, key=lambda one: one != EPHEMERAL):
            yield Packet(source, destination, protocol, destination_port=port, source_port=source_port)


def _icmp(found: Bounds, source: str, destination: str, protocol: int, every: bool) -> Iterator[Packet]:
    """An echo request, which is what people mean by icmp; `every`: of every type."""
    version = 4 if protocol == ICMP[4] else 6
    yield Packet(source, destination, protocol)
    if not every:
        return
    others = [number for number in _UNHEARD_TYPES if number not in found.types][:1]
    for kind in (*sorted({*found.types, _ECHO[version]}), *others):
        codes = found.types.get(kind, set())
        unheard = next(code for code in range(_CODES) if code not in codes)
        for code in sorted({*codes, unheard}):
            yield Packet(source, destination, protocol, icmp_type=kind, icmp_code=code)



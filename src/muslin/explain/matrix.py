"""Who reaches whom: every workload against every other, without walking a policy a million times.

A decision looks at an address only to ask in which sets and prefixes it lies. So two addresses that lie in the same
ones are the same to every rule of a host: they are one class. A cluster of a thousand workloads has a handful of
classes, and each (policy list, class, class, protocol, port) is decided once, by the same walk that answers `why`.
All else is a lookup.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from muslin.explain.decision import Outcome
from muslin.explain.packet import EPHEMERAL, ICMP, Packet, covering, facts_of
from muslin.explain.walk import egress_steps, group_steps
from muslin.intent import Action, AddressSet, Direction, Endpoint, EndpointKey, GroupId, HostIntent, SetId
from muslin.net import Cidr, host_cidr, is_host, version_of

Port = tuple[int, int]
"""(protocol number, destination port); the port is 0 for protocols without ports."""


class Cell(NamedTuple):
    source: EndpointKey
    destination: EndpointKey
    family: int
    protocol: int
    port: int
    verdict: Action


def verdicts(intents: Iterable[HostIntent], ports: Sequence[Port]) -> Iterator[Cell]:
    """A cell for every ordered pair of different workloads on these hosts, family that both have an address of, and
    port. ICMP (1) is asked in IPv4 only, ICMPv6 (58) in IPv6 only, both as an echo request."""
    hosts = [_Host(intent, ports) for intent in intents]
    for family in (4, 6):
        asked = [port for port in ports if port[0] != ICMP[10 - family]]
        ends = [(host, end, address) for host in hosts for end, address in host.workloads(family)]
        for source_host, source, source_address in ends:
            for destination_host, destination, destination_address in ends:
                if source is destination:
                    continue
                for port in asked:
                    allowed = source_host.egress(
                        source.egress, source_address, destination_address, port
                    ) and destination_host.ingress(destination.ingress, source_address, destination_address, port)
                    verdict = Action.ALLOW if allowed else Action.DENY
                    yield Cell(source.key, destination.key, family, port[0], port[1], verdict)


class _Host:
    """One host's intent, its classes of addresses, and what was already decided."""

    def __init__(self, intent: HostIntent, ports: Sequence[Port]) -> None:
        self._intent = intent
        self._asked = frozenset(ports) | {(protocol, EPHEMERAL) for protocol, _ in ports}
        self._nets = frozenset(_nets_of(intent))
        self._address_sets = {name: found for name, found in intent.sets.items() if isinstance(found, AddressSet)}
        self._port_members = _port_members(intent, self._asked)
        self._lengths = _lengths((self._nets, *(found.members for found in self._address_sets.values())))
        self._classes: dict[str, int] = {}
        self._numbers: dict[Hashable, int] = {}
        self._decided: dict[tuple[Direction, GroupId, int, int, Port], bool] = {}

    def workloads(self, family: int) -> Iterator[tuple[Endpoint, str]]:
        """Endpoints with their first address of the family."""
        for endpoint in self._intent.endpoints.values():
            address = next((found for found in endpoint.addresses if version_of(found) == family), None)
            if address is not None:
                yield endpoint, address.partition("/")[0]

    def egress(self, group: GroupId, source: str, destination: str, port: Port) -> bool:
        return self._decide(Direction.EGRESS, group, source, destination, port)

    def ingress(self, group: GroupId, source: str, destination: str, port: Port) -> bool:
        return self._decide(Direction.INGRESS, group, source, destination, port)

    def _decide(self, direction: Direction, group: GroupId, source: str, destination: str, port: Port) -> bool:
        key = (direction, group, self._class_of(source), self._class_of(destination), port)
        decided = self._decided.get(key)
        if decided is None:
            facts = facts_of(Packet(source, destination, *port))
            if direction is Direction.EGRESS:
                steps = egress_steps(self._intent, group, facts)
            else:
                steps = group_steps(self._intent, group, direction, facts)
            decided = self._decided[key] = [*steps][-1].outcome is Outcome.ALLOW
        return decided

    def _class_of(self, address: str) -> int:
        found = self._classes.get(address)
        if found is None:
            found = self._classes[address] = self._numbers.setdefault(self._memberships(address), len(self._numbers))
        return found

    def _memberships(self, address: str) -> Hashable:
        """All that rules can learn of the address."""
        family = version_of(address)
        within = covering(address, self._lengths[family])
        sets = frozenset(
            name for name, found in self._address_sets.items() if not within.isdisjoint(found.members)
        )
        return family, within & self._nets, sets, self._port_members.get(host_cidr(address), frozenset())


def _nets_of(intent: HostIntent) -> Iterator[Cidr]:
    for policy in intent.policies.values():
        for rule in (*policy.ingress, *policy.egress):
            for match in (rule.source, rule.destination):
                yield from match.nets
                yield from match.not_nets


def _port_members(intent: HostIntent, asked: frozenset[Port]) -> dict[Cidr, frozenset[tuple[SetId, Port]]]:
    """Which of the asked ports have a name at which address."""
    found: dict[Cidr, set[tuple[SetId, Port]]] = {}
    for name, members in intent.sets.items():
        if not isinstance(members, AddressSet):
            for host, protocol, port in members.members:
                if (protocol, port) in asked:
                    found.setdefault(host, set()).add((name, (protocol, port)))
    return {host: frozenset(names) for host, names in found.items()}


def _lengths(lists: Iterable[frozenset[Cidr]]) -> dict[int, list[int]]:
    """Per family, the prefix lengths that occur at all; single addresses always do."""
    found = {4: {32}, 6: {128}}
    for nets in lists:
        for net in nets:
            if not is_host(net):
                found[version_of(net)].add(int(net.partition("/")[2]))
    return {family: sorted(lengths) for family, lengths in found.items()}

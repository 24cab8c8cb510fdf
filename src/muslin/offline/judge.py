"""Expectations against a world: which are met, and for those that are not, packets that show it.

Every side of an expectation is some classes of addresses, every service some sorts of traffic (`explain.pairs`); so an
expectation is exact, of all ports and protocols there are, and a thousand of them take a moment. What is not met is
asked once more as `why` would be, for a packet that shows it: so the two must agree, and the rule is named.
Hosts are no classes; what goes to and from them is asked packet by packet, one of every sort. So is everything where
there are host endpoints, whose policy for forwarded packets the classes do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product

from muslin.errors import Broken, Invalid
from muslin.explain import ends, question
from muslin.explain.algebra import Mask, bits
from muslin.explain.census import census
from muslin.explain.decision import Path
from muslin.explain.ends import End
from muslin.explain.gates import own_rules
from muslin.explain.packet import Packet
from muslin.explain.pairs import Pairs
from muslin.intent import Action, EndpointKey
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, contains, host_cidr, version_of
from muslin.offline.company import Company, company
from muslin.offline.expectations import Expectation, Service
from muslin.offline.world import World

MOST_SHOWN = 2
_LAST = 65535
_NEVER = tuple(map(Cidr, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/3", "4000::/2", "8000::/2",
                          "c000::/3", "e000::/4", "f000::/5", "f800::/6", "fe00::/7")))
"""What no packet of the outside comes from: everything but unicast addresses. Each a prefix that is whole or out."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A packet that fares otherwise than expected."""

    source: End
    destination: End
    packet: Packet
    found: Path


@dataclass(slots=True)
class Outcome:
    """`pairs`: how many pairs of ends it is about. `against`: of how many it is not true. `shown`: some of those."""

    expectation: Expectation
    pairs: int = 0
    against: int = 0
    shown: list[Counterexample] = field(default_factory=list)
    fault: str = ""

    @property
    def met(self) -> bool:
        return not self.fault and not self.against


Side = dict[int, tuple[End, ...]]
"""Class -> ends in it that are meant."""


def judge(world: World, expected: Sequence[Expectation]) -> list[Outcome]:
    """One outcome for each, in order."""
    known = cache(company)
    meant: list[tuple[Company, Company] | str] = []
    for one in expected:
        try:
            meant.append((known(one.source, one.namespace, world.directory),
                          known(one.destination, one.namespace, world.directory)))
        except (Invalid, ValueError) as error:
            meant.append(str(error))
    all_sides = [side for pair in meant if not isinstance(pair, str) for side in pair]
    nets = {net for side in all_sides for net in side.nets}
    hosts = any(end.sort == ends.HOST for side in all_sides for end in side.ends)
    court = _Court(world, nets, hosts=hosts)
    return [Outcome(one, fault=sides) if isinstance(sides, str) else court.judge(one, *sides)
            for one, sides in zip(expected, meant, strict=True)]


class _Court:
    def __init__(self, world: World, nets: Iterable[Cidr], *, hosts: bool) -> None:
        """`hosts`: somebody asks about hosts themselves, so that what they are asked tells packets apart."""
        self._world = world
        self._hosts_say = any(key.kind == "HostEndpoint" for key in world.resources)
        self._own = {host_cidr(address) for addresses in world.hosts.values() for address in addresses}
        asked, counted = {*nets, *_NEVER, *self._own}, census(world.graph, hosts=hosts)
        more = own_rules(world.graph) if hosts else ()
        self._pairs = {family: Pairs(counted, family, [net for net in asked if version_of(net) == family], more)
                       for family in (4, 6)}
        self._sides: dict[tuple[int, int], Side] = {}
        self._class_of: dict[int, dict[EndpointKey, list[int]]] = {4: {}, 6: {}}
        for family, pairs in self._pairs.items():
            for number, found in enumerate(pairs.classes):
                for key in dict.fromkeys(key for key, _ in found.members):
                    self._class_of[family].setdefault(key, []).append(number)

    def judge(self, expectation: Expectation, sources: Company, destinations: Company) -> Outcome:
        outcome = Outcome(expectation)
        for family, pairs in self._pairs.items():
            if expectation.family in (0, family):
                sides = self._side(sources, family), self._side(destinations, family)
                if self._hosts_say:
                    self._by_packets(outcome, pairs, *(_all_of(side) for side in sides))
                else:
                    self._by_classes(outcome, pairs, *sides)
                self._by_packets(outcome, pairs, *(
                    [*_all_of(side), *(end for end in meant.ends if end.sort == ends.HOST)]
                    for side, meant in zip(sides, (sources, destinations), strict=True)), hosts=True)
        if not outcome.pairs:
            outcome.fault = _nothing(sources, destinations)
        return outcome

    # --- workloads and the outside -------------------------------------------------------------------------------

    def _by_classes(self, outcome: Outcome, pairs: Pairs, sources: Side, destinations: Side) -> None:
        expectation = outcome.expectation
        wanted = _sorts(pairs, expectation)
        asked = against = 0
        for destination, receivers in destinations.items():
            senders = pairs.senders(destination)
            for source, some in sources.items():
                number = _different(some, receivers)
                if not number or (pairs.classes[source].outside and pairs.classes[destination].outside):
                    continue
                asked += number
                passing = pairs.passing(source, destination) if senders >> source & 1 else 0
                wrong = wanted & ~passing if expectation.allow else wanted & passing
                if wrong:
                    against += number
                if wrong and len(outcome.shown) < MOST_SHOWN:
                    self._show(outcome, pairs, wrong, some, receivers)
        outcome.pairs = max(outcome.pairs, asked)
        outcome.against = max(outcome.against, against)

    def _show(self, outcome: Outcome, pairs: Pairs, wrong: Mask, some: Sequence[End], others: Sequence[End]) -> None:
        """Packets of pairs that are enough to see it."""
        sort = next(bits(wrong))
        ports = _range(outcome.expectation.services, pairs, sort)
        for source, destination in product(some, others):
            if len(outcome.shown) >= MOST_SHOWN:
                return
            addresses = source.address(pairs.family), destination.address(pairs.family)
            if source == destination or not all(addresses):
                continue
            packet = pairs.packet(sort, *addresses, *ports)
            found = question.decided(self._world, source, destination, packet)
            if (found.verdict is Action.ALLOW) is outcome.expectation.allow:
                raise Broken(f"{outcome.expectation.title}: {packet} alone is {found.verdict}, but not in its class")
            outcome.shown.append(Counterexample(source, destination, packet, found))

    def _side(self, meant: Company, family: int) -> Side:
        key = id(meant), family  # companies are made once, and may be of a thousand ends
        found = self._sides.get(key)
        if found is None:
            found = self._sides[key] = {number: tuple(some) for number, some in self._gathered(meant, family).items()}
        return found

    def _gathered(self, meant: Company, family: int) -> dict[int, list[End]]:
        found: dict[int, list[End]] = {}
        for end in meant.ends:
            if end.key is not None:
                for number in self._class_of[family].get(end.key, ()):
                    found.setdefault(number, []).append(end)
        if meant.nets or meant.outside:
            for number in range(len(self._pairs[family].classes)):
                if some := self._at_addresses(meant, family, number):
                    found.setdefault(number, []).extend(some)
        return found

    def _at_addresses(self, meant: Company, family: int, number: int) -> list[End]:
        """Ends of a class that prefixes, or the outside, mean."""
        one = self._pairs[family].classes[number]
        if one.outside:
            hosts = not self._own.isdisjoint(one.nets)
            if not hosts and (self._is_outside(one.nets) if meant.outside else not one.nets.isdisjoint(meant.nets)):
                return [End(sort=ends.OUTSIDE, name=one.sample, addresses=(one.sample,))]
            return []
        return [self._world.directory.resolve(address) for _, address in one.members
                if any(contains(net, host_cidr(address)) for net in meant.nets)]

    def _is_outside(self, nets: Iterable[Cidr]) -> bool:
        return not any(net in _NEVER for net in nets)

    # --- hosts ----------------------------------------------------------------------------------------------------

    def _by_packets(self, outcome: Outcome, pairs: Pairs, sources: Iterable[End], destinations: Iterable[End], *,
                    hosts: bool = False) -> None:
        """`hosts`: pairs of which one is a host; else the others, those of the outside to each other left out."""
        for source, destination in product(sources, destinations):
            sorts = {source.sort, destination.sort}
            if source != destination and (ends.HOST in sorts) is hosts and sorts != {ends.OUTSIDE}:
                self._by_packet(outcome, pairs, source, destination)

    def _by_packet(self, outcome: Outcome, pairs: Pairs, source: End, destination: End) -> None:
        addresses = source.address(pairs.family), destination.address(pairs.family)
        if not all(addresses):
            return
        outcome.pairs += 1
        expectation = outcome.expectation
        for sort in bits(_sorts(pairs, expectation)):
            packet = pairs.packet(sort, *addresses, *_range(expectation.services, pairs, sort))
            found = question.decided(self._world, source, destination, packet)
            if (found.verdict is Action.ALLOW) is not expectation.allow and not _passes_anyhow(found):
                outcome.against += 1
                if len(outcome.shown) < MOST_SHOWN:
                    outcome.shown.append(Counterexample(source, destination, packet, found))
                return


def _passes_anyhow(found: Path) -> bool:
    """What a workload needs of its host to have a network at all, and nobody can deny: DHCP, neighbour discovery."""
    return found.egress is not None and (found.egress.decided_by.kind, found.egress.decided_by.name) == ("Host", "link")


def _all_of(side: Side) -> list[End]:
    return list(dict.fromkeys(end for some in side.values() for end in some))


def _sorts(pairs: Pairs, expectation: Expectation) -> Mask:
    """What is expected to pass, or not to. `allow: ... any` does not mean tunnels, which nobody can allow."""
    every = not expectation.allow
    found = 0 if expectation.services else pairs.everything & ~(0 if every else pairs.tunnels)
    for service in expectation.services:
        if service.protocol == 0:
            found |= pairs.pings(every=every)
        elif service.protocol in PROTOCOLS_WITH_PORTS:
            first, last = (0, _LAST) if service.whole else (service.first, service.last)
            spoken = pairs.ports(service.protocol, first, last, every=every)
            found |= spoken if every or first == last else spoken & ~pairs.tunnels
        else:
            found |= pairs.protocol(service.protocol)
    return found


def _range(services: Iterable[Service], pairs: Pairs, sort: int) -> tuple[int, int]:
    """The ports that an expectation speaks of, among those of the sort."""
    traffic = pairs.traffic[sort]
    for service in services:
        if service.protocol == traffic.protocol and not service.whole and any(
                low <= service.last and service.first <= high for low, high in traffic.ports):
            return service.first, service.last
    return 1, _LAST


def _different(some: Sequence[End], others: Sequence[End]) -> int:
    """How many pairs of two different ends there are."""
    if len(some) == 1:
        return len(others) - (some[0] in others)
    if len(others) == 1:
        return len(some) - (others[0] in some)
    return len(some) * len(others) - len({end.called for end in some} & {end.called for end in others})


def _nothing(sources: Company, destinations: Company) -> str:
    """Why no pair of ends is left."""
    if sources == destinations and len(sources.ends) == 1:
        return "both sides mean the same workload: an expectation is about two"
    if not (sources.ends or destinations.ends):
        return "nothing of ours is at either side: one of them must be a workload or a host"
    return "no pair of ends has an address of one family: say other ends, or leave ipv4 and ipv6 out"

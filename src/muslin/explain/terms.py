"""What rules mean, for all classes of addresses and all sorts of traffic at once.

A rule becomes a few terms: for these sorts of traffic it means these classes at either side. One, in most cases;
several where a port has a name, because for each port it means other classes. Worked out once for each rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import compress
from operator import or_
from typing import NamedTuple

from muslin.explain.census import Census
from muslin.explain.classes import AddressClass, PortName, Standing
from muslin.explain.spoken import Mask, PortLine, Spoken, mask_of
from muslin.explain.traffic import Sample
from muslin.intent import Action, Direction, Match, PolicyId, Rule, SetId
from muslin.net import Cidr, version_of

_MANY = 16
_ONES = bytes.maketrans(b"01", b"\x00\x01")


class Term(NamedTuple):
    """What a rule says for some sorts of traffic: which classes it means at either side."""

    sorts: Mask
    source: Mask
    destination: Mask
    action: Action


class Terms:
    """Of one census, in one family. `standings`: what it knows of each class."""

    def __init__(
        self, census: Census, standings: Sequence[Standing], classes: Sequence[AddressClass],
        samples: Sequence[Sample], family: int,
    ) -> None:
        self._census = census
        self._classes = classes
        self._standings = standings
        self._spoken = Spoken(samples, family)
        self._family = family
        self.everybody: Mask = mask_of(number for number, found in enumerate(standings) if found.present)
        self._sets: dict[SetId, Mask] = {}
        self._ports: dict[PortName, Mask] = {}
        self._numbers: dict[SetId, set[tuple[int, int]]] = {}
        self._nets: dict[Cidr, Mask] = {}
        self._gather()
        self._addresses: dict[Match, Mask] = {}
        self._of_policies: dict[tuple[PolicyId, Direction], list[Term]] = {}
        self._of_rules: dict[tuple[Rule, ...], list[Term]] = {}

    @property
    def everything(self) -> Mask:
        """All sorts of traffic."""
        return self._spoken.everything

    @property
    def tunnels(self) -> Mask:
        """Sorts that no workload may send."""
        return self._spoken.tunnels

    def of_policy(self, name: PolicyId, direction: Direction) -> list[Term]:
        key = (name, direction)
        found = self._of_policies.get(key)
        if found is None:
            policy = self._census.policies[name]
            rules = policy.ingress if direction is Direction.INGRESS else policy.egress
            found = self._of_policies[key] = [term for rule in rules for term in self._rule(rule)]
        return found

    def of_rules(self, rules: tuple[Rule, ...]) -> list[Term]:
        found = self._of_rules.get(rules)
        if found is None:
            found = self._of_rules[rules] = [term for rule in rules for term in self._rule(rule)]
        return found

    def _rule(self, rule: Rule) -> Iterator[Term]:
        """Several terms where port names mean other classes for other ports."""
        if rule.action is Action.LOG:
            return
        source, destination = self._side(rule.source), self._side(rule.destination)
        spoken = self._spoken.by(rule) if source and destination else 0
        if not spoken:
            return
        special = self._special(rule.source, self._spoken.source) | self._special(
            rule.destination, self._spoken.destination)
        plain = spoken & ~special
        for match, line in ((rule.source, self._spoken.source), (rule.destination, self._spoken.destination)):
            if match.named_ports:
                plain &= line.within(match.ports)
        if plain:
            yield Term(plain, source, destination, rule.action)
        found: dict[tuple[Mask, Mask], Mask] = {}
        for number in bits(spoken & special):
            sample = self._spoken.samples[number]
            by = source & self._port_side(rule.source, sample.source_port, sample.protocol)
            to = destination & self._port_side(rule.destination, sample.port, sample.protocol)
            if by and to:
                found[by, to] = found.get((by, to), 0) | 1 << number
        for (by, to), sorts in found.items():
            yield Term(sorts, by, to, rule.action)

    def _special(self, match: Match, line: PortLine) -> Mask:
        """Sorts of traffic whose port bears one of these names for somebody."""
        found = 0
        for name in (*match.named_ports, *match.not_named_ports):
            for protocol, port in self._numbers.get(name, ()):
                found |= self._spoken.of_protocol(protocol) & line.at(port)
        return found

    def _side(self, match: Match) -> Mask:
        """Classes whose addresses are meant, whatever the port."""
        found = self._addresses.get(match)
        if found is None:
            found = self._addresses[match] = self._of_addresses(match)
        return found

    def _of_addresses(self, match: Match) -> Mask:
        found = self.everybody
        if match.nets:
            found &= reduce(or_, (self._nets.get(net, 0) for net in match.nets), 0)
        if match.not_nets:
            if all(version_of(net) != self._family for net in match.not_nets):
                return 0
            found &= ~reduce(or_, (self._nets.get(net, 0) for net in match.not_nets), 0)
        for name in match.sets:
            found &= self._sets.get(name, 0)
        for name in match.not_sets:
            found &= ~self._sets.get(name, 0)
        return found

    def _port_side(self, match: Match, port: int | None, protocol: int) -> Mask:
        """Classes that the ports and port names of a side mean."""
        found = self.everybody
        if match.named_ports and not _in_ranges(match.ports, port):
            found = self._named(match.named_ports, port, protocol)
        return found & ~self._named(match.not_named_ports, port, protocol)

    def _named(self, names: tuple[SetId, ...], port: int | None, protocol: int) -> Mask:
        if port is None:
            return 0
        return reduce(or_, (self._ports.get((name, protocol, port), 0) for name in names), 0)

    def _gather(self) -> None:
        for number, (found, standing) in enumerate(zip(self._classes, self._standings, strict=True)):
            bit = 1 << number
            for set_id in standing.sets:
                self._sets[set_id] = self._sets.get(set_id, 0) | bit
            for name in standing.ports:
                self._ports[name] = self._ports.get(name, 0) | bit
                self._numbers.setdefault(name[0], set()).add(name[1:])
            for net in found.nets:
                self._nets[net] = self._nets.get(net, 0) | bit


def bits(mask: Mask) -> Iterator[int]:
    """Numbers of the bits that are set, the smallest first. By text where there are many: see `transposed`."""
    if mask.bit_count() > _MANY:
        digits = format(mask, "b")[::-1].encode().translate(_ONES)
        yield from compress(range(len(digits)), digits)
        return
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _in_ranges(ranges: tuple[tuple[int, int], ...], port: int | None) -> bool:
    return port is not None and any(low <= port <= high for low, high in ranges)

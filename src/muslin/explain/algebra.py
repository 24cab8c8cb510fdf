"""A policy list and all addresses at once.

`walk` follows one packet through the rules. Here the other end of the packet is every class of addresses at the same
time: a set of classes is a whole number with a bit for each, a rule takes the bits that it matches out of those that
are still undecided, and a list of a hundred rules has answered for two thousand classes after two hundred operations on
numbers. The sorts of traffic (`traffic`) are kept apart in the same way: a rule speaks for some of them, so a policy
list knows only a few blocks of sorts for which its rules are the same.

This is the law of `intent.policy` once more, and `walk` is its check: see the property tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import compress
from operator import or_
from typing import NamedTuple

from muslin.explain.census import Census
from muslin.explain.classes import AddressClass, PortName
from muslin.explain.spoken import Mask, PortLine, Spoken, mask_of
from muslin.explain.traffic import Sample
from muslin.intent import Action, Direction, GroupId, Match, PolicyId, Rule, SetId
from muslin.net import Cidr, version_of

__all__ = ["Mask", "Outcomes", "Reading", "bits", "transposed"]

_MANY = 16
_ONES = bytes.maketrans(b"01", b"\x00\x01")

Outcomes = tuple[tuple[Mask, Mask], ...]
"""(sorts, classes that are allowed for them), the sorts of no two overlapping, together all of them."""


class Term(NamedTuple):
    """What a rule says for some sorts of traffic: which classes it means at either side. None: it denies all."""

    sorts: Mask
    source: Mask
    destination: Mask
    action: Action


class Reading:
    """One census, read for one family: what each class may send and receive."""

    def __init__(
        self, census: Census, which: int, classes: Sequence[AddressClass], samples: Sequence[Sample], family: int
    ) -> None:
        self._census = census
        self._classes = classes
        self._standings = [found.standings[which] for found in classes]
        self._spoken = Spoken(samples, family)
        self._family = family
        self.everybody: Mask = mask_of(number for number, found in enumerate(self._standings) if found.present)
        self._sets: dict[SetId, Mask] = {}
        self._ports: dict[PortName, Mask] = {}
        self._numbers: dict[SetId, set[tuple[int, int]]] = {}
        self._nets: dict[Cidr, Mask] = {}
        self._gather()
        self._addresses: dict[Match, Mask] = {}
        self._terms: dict[tuple[PolicyId, Direction], list[Term]] = {}

    def egress(self, number: int) -> Outcomes:
        """To whom a class may send."""
        standing = self._standings[number]
        if not standing.present:
            return ((self._spoken.everything, 0),)
        if standing.egress is None:
            return ((self._spoken.everything, self.everybody),)
        return self._outcomes(standing.egress, Direction.EGRESS, number)

    def ingress(self, number: int) -> Outcomes:
        """From whom a class may receive."""
        standing = self._standings[number]
        if not standing.present:
            return ((self._spoken.everything, 0),)
        if standing.ingress is None:
            return ((self._spoken.everything, self.everybody),)
        return self._outcomes(standing.ingress, Direction.INGRESS, number)

    # --- groups -----------------------------------------------------------------------------------------------------

    def _outcomes(self, group_id: GroupId, direction: Direction, number: int) -> Outcomes:
        group = self._census.groups[group_id]
        bit = 1 << number
        stages = [[self._concerned(name, direction, bit) for name in stage.policies if not self._is_staged(name)]
                  for stage in group.stages]
        profiles = [self._concerned(name, direction, bit) for name in group.profiles]
        found: dict[Mask, Mask] = {}
        for sorts in self._blocks([term for part in (*stages, profiles) for terms in part for term in terms]):
            undecided, allowed = self.everybody, 0
            for stage, policies in zip(group.stages, stages, strict=True):
                if not policies:
                    continue
                yes, passed, left = _run(policies, direction, sorts, undecided)
                allowed |= yes
                undecided = passed | (left if stage.default_action is Action.PASS else 0)
            for terms in profiles:
                yes, passed, left = _run([terms], direction, sorts, undecided)
                allowed |= yes
                undecided = passed | left
            if group.end is Action.ALLOW:
                allowed |= undecided
            if direction is Direction.EGRESS and sorts & self._spoken.tunnels:
                found[0] = found.get(0, 0) | (sorts & self._spoken.tunnels)
                sorts &= ~self._spoken.tunnels
            found[allowed] = found.get(allowed, 0) | sorts
        return tuple(sorted((sorts, allowed) for allowed, sorts in found.items() if sorts))

    def _blocks(self, terms: list[Term]) -> list[Mask]:
        """Sorts of traffic for which the same terms speak."""
        blocks = [self._spoken.everything]
        for spoken in {term.sorts for term in terms}:
            split = []
            for block in blocks:
                inside = block & spoken
                if inside and inside != block:
                    split += [inside, block ^ inside]
                else:
                    split.append(block)
            blocks = split
        return blocks

    def _concerned(self, name: PolicyId, direction: Direction, bit: Mask) -> list[Term]:
        """The terms of a policy that speak of this class at its own side."""
        key = (name, direction)
        terms = self._terms.get(key)
        if terms is None:
            policy = self._census.policies[name]
            rules = policy.ingress if direction is Direction.INGRESS else policy.egress
            terms = self._terms[key] = [term for rule in rules for term in self._rule(rule)]
        if direction is Direction.INGRESS:
            return [term for term in terms if term.destination & bit]
        return [term for term in terms if term.source & bit]

    def _is_staged(self, name: PolicyId) -> bool:
        return self._census.policies[name].staged

    # --- rules ------------------------------------------------------------------------------------------------------

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


def _run(
    policies: list[list[Term]], direction: Direction, sorts: Mask, undecided: Mask
) -> tuple[Mask, Mask, Mask]:
    """(allowed, passed, left over) of those that are undecided, after these policies."""
    allowed = passed = 0
    inwards = direction is Direction.INGRESS
    for terms in policies:
        for term in terms:
            if not term.sorts & sorts:
                continue
            hit = undecided & (term.source if inwards else term.destination)
            if not hit:
                continue
            undecided ^= hit
            if term.action is Action.ALLOW:
                allowed |= hit
            elif term.action is Action.PASS:
                passed |= hit
    return allowed, passed, undecided


def transposed(rows: Sequence[Mask], width: int) -> list[Mask]:
    """Bit i of row j becomes bit j of row i. By text, which the interpreter does 20 times as fast as bit by bit."""
    if not rows or not width:
        return [0] * width
    columns = zip(*(format(row, f"0{width}b") for row in reversed(rows)), strict=True)
    found = [int("".join(column), 2) for column in columns]
    found.reverse()
    return found


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

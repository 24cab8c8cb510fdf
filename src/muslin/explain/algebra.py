"""A policy list and all addresses at once.

`walk` follows one packet through the rules. Here the other end of the packet is every class of addresses at the same
time: a set of classes is a whole number with a bit for each, a rule takes the bits that it matches out of those that
are still undecided, and a list of a hundred rules has answered for two thousand classes after two hundred operations on
numbers. The sorts of traffic (`traffic`) are kept apart in the same way: a rule speaks for some of them, so a policy
list knows only a few blocks of sorts for which its rules are the same.

What a host asks of everything that passes through it (`census.Gates`) is asked here too, of the end that is on it: as
`journey` does, and in its order. Between workloads of one host the way to the fabric is not asked.

This is the law of `intent.policy` and `intent.endpoint` once more, and `course` is its check: see the property tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from muslin.explain.census import Arrival, Census
from muslin.explain.classes import AddressClass
from muslin.explain.spoken import Mask, mask_of
from muslin.explain.terms import Term, Terms, bits
from muslin.explain.traffic import Sample
from muslin.intent import Action, Direction, GroupId

__all__ = ["Mask", "Outcomes", "Reading", "bits", "transposed"]

Outcomes = tuple[tuple[Mask, Mask], ...]
"""(sorts, classes that are allowed for them), the sorts of no two overlapping, together all of them."""


class _List(NamedTuple):
    """A policy list as one class meets it: for each stage that counts its policies' terms and what its end is."""

    stages: list[tuple[list[list[Term]], Action]]
    profiles: list[list[Term]]
    end: Action
    tunnels: bool
    """Is it what a workload sends?"""


class _Early(NamedTuple):
    """What is asked of a packet that arrives, before anything else."""

    untracked: _List | None
    pre_dnat: _List | None
    forward: _List | None
    failsafes: list[Term]
    answers: list[Term]


class Reading:
    """One census, read for one family: what each class may send and receive."""

    def __init__(
        self, census: Census, which: int, classes: Sequence[AddressClass], samples: Sequence[Sample], family: int
    ) -> None:
        self._census = census
        self._standings = [found.standings[which] for found in classes]
        self._terms = Terms(census, self._standings, classes, samples, family)
        self.everybody = self._terms.everybody

    def egress(self, number: int) -> Outcomes:
        """To whom a class may send."""
        standing = self._standings[number]
        if not standing.present:
            return ((self._terms.everything, 0),)
        if standing.egress is None:
            return ((self._terms.everything, self.everybody),)
        own = self._list(standing.egress, Direction.EGRESS, number, sends=True)
        gates = standing.gates
        if gates is None:
            return self._outcomes([own], inwards=False)
        local: list[_List | _Early] = [self._early(gates.arrival, number, sends=True), own]
        remote = list(local)
        if gates.uplink_departure:
            remote.append(self._list(gates.uplink_departure, Direction.EGRESS, number, sends=True))
        return self._where(number, self._outcomes(local, inwards=False), self._outcomes(remote, inwards=False))

    def ingress(self, number: int) -> Outcomes:
        """From whom a class may receive."""
        standing = self._standings[number]
        if not standing.present:
            return ((self._terms.everything, 0),)
        if standing.ingress is None:
            return ((self._terms.everything, self.everybody),)
        own = self._list(standing.ingress, Direction.INGRESS, number)
        gates = standing.gates
        if gates is None:
            return self._outcomes([own], inwards=True)
        local = [own]
        if gates.departure:
            local.append(self._list(gates.departure, Direction.EGRESS, number))
        return self._where(number, self._outcomes(local, inwards=True), self._outcomes(
            [self._early(gates.uplink_arrival, number), *local], inwards=True))

    def _where(self, number: int, local: Outcomes, remote: Outcomes) -> Outcomes:
        """What holds for workloads of the same host, and what for all others."""
        own = self._standings[number].gates
        same = mask_of(other for other, found in enumerate(self._standings)
                       if own is not None and own.host and found.gates is not None and found.gates.host == own.host)
        found: dict[Mask, Mask] = {}
        for sorts, here in local:
            for others, there in remote:
                if both := sorts & others:
                    allowed = here & same | there & ~same
                    found[allowed] = found.get(allowed, 0) | both
        return _told(found)

    # --- policy lists -----------------------------------------------------------------------------------------------

    def _list(self, group_id: GroupId, direction: Direction, number: int, *, sends: bool = False) -> _List:
        """`sends`: the class is the source, whatever the list's direction."""
        group, bit = self._census.groups[group_id], 1 << number

        def concerned(names: Iterable[str]) -> list[list[Term]]:
            """The terms that speak of this class at its own side."""
            return [[term for term in self._terms.of_policy(name, direction)  # type: ignore[arg-type]
                     if (term.source if sends else term.destination) & bit] for name in names]

        stages = []
        for stage in group.stages:
            enforced = [name for name in stage.policies if not self._census.policies[name].staged]
            if enforced:
                stages.append((concerned(enforced), stage.default_action))
        return _List(stages, concerned(group.profiles), group.end, sends and direction is Direction.EGRESS
                     and group_id == self._standings[number].egress)

    def _early(self, arrival: Arrival, number: int, *, sends: bool = False) -> _Early:
        def listed(group: GroupId) -> _List | None:
            return self._list(group, Direction.INGRESS, number, sends=sends) if group else None

        def own(terms: list[Term]) -> list[Term]:
            return [term for term in terms if (term.source if sends else term.destination) >> number & 1]

        return _Early(listed(arrival.untracked), listed(arrival.pre_dnat), listed(arrival.forward),
                      own(self._terms.of_rules(arrival.failsafes)), own(self._terms.of_rules(arrival.answers)))

    def _outcomes(self, lists: Sequence[_List | _Early], *, inwards: bool) -> Outcomes:
        """What passes all of them. `inwards`: the others are the sources."""
        found: dict[Mask, Mask] = {}
        for sorts in self._blocks({term.sorts for one in lists for term in _spoken_by(one)}):
            allowed, barred = self.everybody, 0
            for one in lists:
                if isinstance(one, _Early):
                    allowed &= _let_in(one, sorts, self.everybody, inwards=inwards)
                    continue
                allowed &= _decided(one, sorts, self.everybody, inwards=inwards)[0]
                barred |= sorts & self._terms.tunnels if one.tunnels else 0
            if barred:
                found[0] = found.get(0, 0) | barred
            if sorts & ~barred:
                found[allowed] = found.get(allowed, 0) | sorts & ~barred
        return _told(found)

    def _blocks(self, spoken_of: set[Mask]) -> list[Mask]:
        """Sorts of traffic for which the same terms speak."""
        blocks = [self._terms.everything]
        for spoken in spoken_of:
            split = []
            for block in blocks:
                inside = block & spoken
                if inside and inside != block:
                    split += [inside, block ^ inside]
                else:
                    split.append(block)
            blocks = split
        return blocks


def _told(found: dict[Mask, Mask]) -> Outcomes:
    return tuple(sorted((sorts, allowed) for allowed, sorts in found.items() if sorts))


def _spoken_by(one: _List | _Early) -> Iterable[Term]:
    if isinstance(one, _List):
        for policies, _ in one.stages:
            for terms in policies:
                yield from terms
        for terms in one.profiles:
            yield from terms
        return
    for part in (one.untracked, one.pre_dnat, one.forward):
        if part is not None:
            yield from _spoken_by(part)
    yield from one.failsafes
    yield from one.answers


def _let_in(early: _Early, sorts: Mask, everybody: Mask, *, inwards: bool) -> Mask:
    """Gates 1 and 2 of `intent.endpoint`, and what forward policy the packet meets after them."""
    undecided, accepted = everybody, 0
    if early.untracked is not None:
        safe = _meant([*early.failsafes, *early.answers], sorts, inwards=inwards)
        accepted, passed = _decided(early.untracked, sorts, undecided & ~safe, inwards=inwards)
        undecided = undecided & safe | passed
    if early.pre_dnat is not None:
        safe = _meant(early.failsafes, sorts, inwards=inwards)
        allowed, passed = _decided(early.pre_dnat, sorts, undecided & ~safe, inwards=inwards)
        accepted |= allowed
        undecided = undecided & safe | passed
    if early.forward is not None:
        undecided = _decided(early.forward, sorts, undecided, inwards=inwards)[0]
    return accepted | undecided


def _meant(terms: list[Term], sorts: Mask, *, inwards: bool) -> Mask:
    found = 0
    for term in terms:
        if term.sorts & sorts:
            found |= term.source if inwards else term.destination
    return found


def _decided(one: _List, sorts: Mask, undecided: Mask, *, inwards: bool) -> tuple[Mask, Mask]:
    """(allowed, passed by the list's end) of those that are undecided; the rest is denied."""
    allowed = 0
    for policies, default in one.stages:
        yes, passed, left = _run(policies, sorts, undecided, inwards=inwards)
        allowed |= yes
        undecided = passed | (left if default is Action.PASS else 0)
    for terms in one.profiles:
        yes, passed, left = _run([terms], sorts, undecided, inwards=inwards)
        allowed |= yes
        undecided = passed | left
    if one.end is Action.ALLOW:
        return allowed | undecided, 0
    return allowed, undecided if one.end is Action.PASS else 0


def _run(policies: list[list[Term]], sorts: Mask, undecided: Mask, *, inwards: bool) -> tuple[Mask, Mask, Mask]:
    """(allowed, passed, left over) of those that are undecided, after these policies."""
    allowed = passed = 0
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

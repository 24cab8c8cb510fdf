"""A policy, cut into the pieces that a group calls.

A packet should not walk past rules of other ports. So a policy is not one chain but several, each with those of its
rules, in order, that some packets must walk; a group picks by the packet's protocol and port (see merging):

    rule 0  tcp 80   from a                    web/0      what port 80 meets
    rule 1  tcp 80-81 from b                   web/0-1    (rules in a piece keep all their tests)
    rule 2  from c                             web/1      what port 81 meets
    rule 3  udp 53                             web/2      what everybody meets
                                               web/3      what port 53 meets

A stretch is a run of rules whose reach is known, or of rules whose reach is not: order matters only where two rules can
meet one packet, so that within a stretch of the first sort each port has its own rules, and nothing else of the policy.
Pass is never part of a stretch: it is written into the group (see chains). In a profile Pass is `return` from the
profile's chain, so that a profile with one stays one piece. Of Log rules a group must know, since it may have a packet
meet other rules twice, which changes nothing.

Pieces are named by the numbers of their lines, which say nothing of ports: a port that changes moves elements of maps
and no chain. All groups share the pieces; only those are written that some group calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from enum import Enum
from functools import reduce
from itertools import groupby

import msgspec

from muslin.intent import Action, Direction, Policy, PolicyId, Rule, SetId
from muslin.net import Cidr, bounds
from muslin.render.fields import Equal, Field, InSet, OneOf
from muslin.render.fields import Match as Test
from muslin.render.matching import WORDS, Row, Scope, SetShape, missing_sets, rows
from muslin.render.nft import names
from muslin.render.nft.alike import Content, Entry, is_told_by_reach
from muslin.render.nft.alike import joined as joined_alike
from muslin.render.nft.crowds import Peer, Sure
from muslin.render.nft.places import Gate, Place
from muslin.render.nft.reach import Reach, cut, reach, room
from muslin.render.nft.words import DROP, RETURN, Chain, Counter, Log, NamedSet, Statement
from muslin.render.nft.words import Rule as Line
from muslin.render.prefixes import Range, common, joined, others

LOG_PREFIX = "calico-packet"
LEFT = 64
"""Stretches of addresses that `notNets` may leave, for a rule to be looked up by them."""
_LAST = {4: 2**32 - 1, 6: 2**128 - 1}
Numbers = tuple[int, ...]


class Piece(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Some of a policy's lines, as a chain of a place."""

    policy: PolicyId
    gate: Gate
    family: int
    lines: Numbers
    whole: bool = False

    @property
    def chain(self) -> str:
        name = names.policy_chain(self.policy, self.gate, self.family)
        return name if self.whole else names.piece_chain(name, self.lines)


class Stretch(msgspec.Struct, frozen=True):
    """Lines of a policy that follow one another. `reached`: disjoint, what meets which of them; None: all meets all."""

    lines: Numbers
    reached: tuple[tuple[Reach, Numbers], ...] | None = None


class Inline(msgspec.Struct, frozen=True):
    """A line that only makes sense in the group's own chain: Pass."""

    line: Line


class Outline(msgspec.Struct, frozen=True):
    """All that a group must know of a policy at one place. `peers`: by line, whom it wants at the other end, "" for
    anybody; `sure`: whether that is all. `rules`: by line, how many rules of the policy it is (see alike). `logs`:
    lines that log."""

    steps: tuple[Stretch | Inline, ...] = ()
    peers: tuple[Peer, ...] = ()
    sure: tuple[Sure, ...] = ()
    rules: tuple[int, ...] = ()
    logs: frozenset[int] = frozenset()


def form(outline: Outline) -> tuple[object, ...]:
    """What is left of it where nobody asks for ports."""
    steps = ((step.lines, step.reached is None) if isinstance(step, Stretch) else step for step in outline.steps)
    return (tuple(steps), outline.peers, outline.sure, outline.rules, outline.logs)


class Written(msgspec.Struct, frozen=True):
    """A policy at one place. `listed`: the sets that its lines bring along."""

    lines: tuple[Line, ...]
    outline: Outline
    listed: Mapping[NamedSet, Content] = {}

    def chain(self, piece: Piece) -> Chain:
        return Chain(piece.chain, tuple(self.lines[number] for number in piece.lines))

    def rest(self, policy: PolicyId, place: Place, called: Iterable[Piece]) -> Piece | None:
        """What is left of the policy beside these, apart from what groups write themselves."""
        gone = {number for piece in called for number in piece.lines}
        own = tuple(number for step in self.outline.steps if isinstance(step, Stretch) for number in step.lines)
        left = tuple(number for number in own if number not in gone)
        whole = len(left) == len(self.lines)
        return Piece(policy, place.gate, place.family, left, whole) if left else None


def rules_of(policy: Policy, direction: Direction) -> tuple[Rule, ...]:
    return policy.ingress if direction is Direction.INGRESS else policy.egress


def written(policy: Policy, place: Place, shapes: Mapping[SetId, SetShape], unspoken: Set[int]) -> Written:
    """`unspoken`: families of which no address set holds anything."""
    scope = Scope(place.family, shapes, names, place.family in unspoken)
    found = [entry for rule in rules_of(policy, place.direction) for entry in _entries(rule, place, scope)]
    if policy.id.startswith("Profile/") and any(entry.passes for entry in found):
        count = len(found)
        outline = Outline((Stretch(tuple(range(count))),), ("",) * count, (Sure.NEVER,) * count, (1,) * count)
        return Written(tuple(entry.line for entry in found), outline)
    found = list(joined_alike(found, names.policy_chain(policy.id, place.gate, place.family)))
    steps: list[Stretch | Inline] = []
    for sort, run in groupby(enumerate(found), key=lambda each: _sort(each[1])):
        entries = list(run)
        if sort is _Sort.PASS:
            steps += [Inline(entry.line) for _, entry in entries]
        elif sort is _Sort.UNKNOWN:
            steps.append(Stretch(tuple(number for number, _ in entries)))
        else:
            steps += _stretches([(number, entry.reached or ()) for number, entry in entries])
    outline = Outline(tuple(steps), tuple(entry.peer for entry in found), tuple(entry.sure for entry in found),
                      tuple(entry.rules for entry in found),
                      frozenset(number for number, entry in enumerate(found) if entry.logs))
    return Written(tuple(entry.line for entry in found), outline,
                   dict(entry.listed for entry in found if entry.listed is not None))


class _Sort(Enum):
    PASS, UNKNOWN, KNOWN = range(3)


def _sort(entry: Entry) -> _Sort:
    return _Sort.PASS if entry.passes else _Sort.UNKNOWN if entry.reached is None else _Sort.KNOWN


def _stretches(numbered: list[tuple[int, tuple[Reach, ...]]]) -> list[Stretch]:
    reached = tuple(cut((each, number) for number, reaches in numbered for each in reaches))
    if sum(len(numbers) for numbers in {numbers for _, numbers in reached}) <= room(len(numbered)):
        return [Stretch(tuple(number for number, _ in numbered), reached)]
    half = len(numbered) // 2
    return _stretches(numbered[:half]) + _stretches(numbered[half:])


def missing(what: str) -> Line:
    return Line((Counter(), DROP), names.printable(f"missing: {what}", names.COMMENT_LIMIT))


def _entries(rule: Rule, place: Place, scope: Scope) -> Iterator[Entry]:
    if absent := missing_sets(rule, scope.shapes):
        line = missing(f"set {absent[0]}, {names.comment(rule.origin)}")
        yield Entry((), line.statements, line.comment, rule.origin)
        return
    found = rows(rule, scope)
    if not found:
        return
    ending, comment = _ending(rule, place), names.comment(rule.origin)
    logs = rule.action is Action.LOG
    for row in found:
        if rule.action is Action.PASS:
            yield Entry(row, ending, comment, rule.origin, passes=True)
            continue
        reached, peer = reach(row), _peer(row, place)
        sure = Sure.NEVER if logs else _sure(row, reached, peer, place)
        yield Entry(row, ending, comment, rule.origin, reached, logs=logs, peer=peer, sure=sure)


def _peer(row: Row, place: Place) -> Peer:
    """By a set, if it names one: that is mostly the smaller. Nobody in particular, where there is too much to tell."""
    end = end_of(place)
    for test in row:
        match test:
            case InSet(fields=(each,), set=name, negated=False) if each is end and not names.is_net_set(name):
                return name
    named = [found for test in row if (found := _named(test, end)) is not None]
    wanted = [ranges for ranges, negated in named if not negated]
    left = [others(ranges, _LAST[place.family]) for ranges, negated in named if negated]
    if not wanted and sum(map(len, left)) > LEFT:
        return ""
    return reduce(common, (*wanted, *left)) if named else ""


def _named(test: Test, end: Field) -> tuple[tuple[Range, ...], bool] | None:
    """The addresses of that end that a test names, and whether they are those that it does not want."""
    match test:
        case Equal(field=field, value=str() as prefix, negated=negated) if field is end:
            return joined([bounds(Cidr(prefix))[1:]]), negated
        case OneOf(fields=(field,), elements=prefixes, negated=negated) if field is end:
            return joined(bounds(Cidr(str(prefix)))[1:] for prefix in prefixes), negated
    return None


def _sure(row: Row, reached: object, peer: Peer, place: Place) -> Sure:
    if not peer or isinstance(peer, str):
        return Sure.NEVER
    rest = [test for test in row if _named(test, end_of(place)) is None]
    if not rest:
        return Sure.ALWAYS
    return Sure.AT_ITS_PORTS if reached is not None and all(map(is_told_by_reach, rest)) else Sure.NEVER


def end_of(place: Place) -> Field:
    """The peer's address."""
    words = WORDS[place.family]
    return (words.source if place.direction is Direction.INGRESS else words.destination).address


def _ending(rule: Rule, place: Place) -> tuple[Statement, ...]:
    match rule.action:
        case Action.ALLOW:
            return (Counter(), *place.allow)
        case Action.DENY:
            return place.deny
        case Action.PASS:
            return (Counter(), RETURN)
        case Action.LOG:
            prefix = f"{rule.log_prefix or LOG_PREFIX}: "
            limit = (place.manner.log_limit,) if place.manner.log_limit else ()
            return (Counter(), *limit, Log(names.printable(prefix, names.LOG_PREFIX_LIMIT)))

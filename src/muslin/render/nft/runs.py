"""Which rules of a chain are looked up, and by what.

Rules that follow one another, over the borders of policies and tiers, are looked up by port where all say which ports
they speak of, and are worth it: in one block, or in several where ranges lie over each other. Where that would be one
lookup after another (rules without ports stand between, or ranges fill block after block), and each of them speaks of
somebody in particular, all of them are looked up by peer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from muslin.intent import PolicyId
from muslin.render.nft.crowds import Sure, laid
from muslin.render.nft.pieces import Numbers, Outline, Stretch
from muslin.render.nft.reach import Reach, cut, room
from muslin.render.nft.words import Rule as Line

SMALL = 8
"""Rules from which a lookup by port is worth its price: to walk seven costs a packet as much."""
SCATTERED, LOOKUP = 12, 3
"""Rules that are walked before it is better to look all up by peer, where that can be; and those that one lookup by
port counts for."""

Part = tuple[PolicyId, Numbers]
"""Lines of a policy."""
Reached = list[tuple[Reach, tuple[Part, ...]]]


class Called(msgspec.Struct, frozen=True):
    """A stretch of a policy. Those of one chain are alive as long as it is written."""

    policy: PolicyId
    stretch: Stretch
    outline: Outline


def is_peered(item: Line | Called) -> bool:
    """Does each of its rules want somebody in particular?"""
    return isinstance(item, Called) and all(item.outline.peers[line] for line in item.stretch.lines)


class Blocks:
    """Remembers them while a chain is written: it is asked twice."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ...], list[tuple[list[Called], Reached]]] = {}

    def of(self, calls: list[Called]) -> list[tuple[list[Called], Reached]]:
        """As few as fit, each with what is reached in it."""
        key = tuple(map(id, calls))
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = list(_blocks(calls))
        return found


def is_scattered(calls: Sequence[Called], blocks: Blocks) -> bool:
    """Would a packet meet one lookup after another, if these were looked up by port? And more of them than rules, if it
    were by peer, and could it be?"""
    met = 0
    for known, run in groupby(calls, key=is_known):
        some = list(run)
        is_sorted = known and not is_small(some)
        met += LOOKUP * len(blocks.of(some)) if is_sorted else sum(len(call.stretch.lines) for call in some)
    if met <= SCATTERED:
        return False
    lines = [(call.outline, line) for call in calls for line in call.stretch.lines]
    peers = [outline.peers[line] for outline, line in lines]
    spans = laid(peers, lambda number: lines[number][0].sure[lines[number][1]] is Sure.ALWAYS)
    if spans is None:
        return False
    named = Counter(peer for peer in peers if isinstance(peer, str))
    most = max((len(each.numbers) for each in spans), default=0) + max(named.values(), default=0)
    return met > LOOKUP + most


def is_small(calls: Sequence[Called]) -> bool:
    """Is a lookup worth nothing here?"""
    lines = [call.outline.rules[line] for call in calls for line in call.stretch.lines]
    return len(lines) == 1 or sum(lines) < SMALL


def is_known(item: Line | Called) -> bool:
    return isinstance(item, Called) and item.stretch.reached is not None


def _blocks(calls: list[Called]) -> Iterator[tuple[list[Called], Reached]]:
    reached = _reached(calls)
    filled = {who for _, who in reached if len(who) > 1}
    lines = sum(len(call.stretch.lines) for call in calls)
    if len(calls) == 1 or sum(len(who) for who in filled) <= room(lines):
        yield calls, reached
    else:
        half = len(calls) // 2
        yield from _blocks(calls[:half])
        yield from _blocks(calls[half:])


def _reached(calls: Iterable[Called]) -> Reached:
    return cut((reached, (call.policy, lines)) for call in calls for reached, lines in call.stretch.reached or ())

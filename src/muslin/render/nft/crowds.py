"""Rules that follow one another and each want somebody in particular: a crowd. It is looked up by peer (see peers).

Whom a rule wants is a set of single addresses, or what its prefixes leave: `nets` without `notNets`. A rule with
`notNets` alone wants nearly the whole world, and many such lie over each other nearly everywhere. But mostly it asks
for nothing else, and of all rules that want an address, those behind the first that is sure of it are never met.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from muslin.render.nft.reach import room
from muslin.render.nft.words import NamedSet, Span
from muslin.render.prefixes import Range, swept

CROWD = 6
"""Rules from which a map is worth its price."""
EACH = 256
PREFIXES = 2048
"""Different ones, of one crowd."""
FEW = 6
"""Rules that an address meets by itself, in any case."""

Peer = str | tuple[Range, ...]
"""Whom a rule speaks of: a set of single addresses, or addresses as numbers, disjoint and in order. Neither: "",
anybody."""
Numbers = tuple[int, ...]
Size = Callable[[str], int]
"""How many addresses a set holds."""


class Sure(Enum):
    """Does a rule decide about whoever has one of the addresses that it wants? `AT_ITS_PORTS`: where its ports have
    been looked up."""

    NEVER, AT_ITS_PORTS, ALWAYS = range(3)


class Laid(NamedTuple):
    """Addresses that the same rules want. `ends`: the last of these is sure."""

    span: Span
    numbers: Numbers
    ends: bool = False


class Crowd(msgspec.Struct, frozen=True):
    """Rules in order: whom each speaks of, and the chain that it is, "" where nobody ever comes to it; and their
    addresses over each other. `mapped`: few enough members. `once`: whom the map answers does not come back to it."""

    map: NamedSet
    rules: tuple[tuple[Peer, str], ...]
    laid: tuple[Laid, ...] = ()
    mapped: bool = True
    once: bool = False

    @property
    def sets(self) -> tuple[str, ...]:
        """As often as they are named."""
        return tuple(peer for peer, _ in self.rules if isinstance(peer, str))


def fits(sets: Sequence[str], size: Size) -> bool:
    return sum(size(name) for name in sets) <= EACH * len(sets)


def laid(peers: Sequence[Peer], is_sure: Callable[[int], bool]) -> tuple[Laid, ...] | None:
    """Their addresses over each other: disjoint, in order, each with the numbers of those that want it, up to one that
    is sure. Where that would be too much, addresses that more than `FEW` want meet all of them. None: it still is."""
    named = [(number, peer) for number, peer in enumerate(peers) if isinstance(peer, tuple)]
    if len({each for _, peer in named for each in peer}) > PREFIXES:
        return None
    most = room(len(peers))
    found = _within(_met(named, is_sure, len(named)), most)
    if found is not None:
        return found
    everyone = tuple(number for number, _ in named)
    few = _met(named, is_sure, FEW)
    return _within((Laid(each.span, everyone) if len(each.numbers) > FEW else each for each in few), most)


def at(spans: Sequence[Laid], address: int) -> Laid | None:
    place = bisect_right(spans, address, key=lambda each: each.span.first)
    return spans[place - 1] if place and address <= spans[place - 1].span.last else None


def _within(spans: Iterable[Laid], most: int) -> tuple[Laid, ...] | None:
    """Neighbours that meet the same are one; None: so many lines would not be enough for all that is met."""
    found: list[Laid] = []
    seen: set[Numbers] = set()
    lines = 0
    for each in spans:
        if each.numbers not in seen:
            seen.add(each.numbers)
            lines += len(each.numbers)
            if lines > most:
                return None
        before = found[-1] if found else None
        if before and before.span.last + 1 == each.span.first and before[1:] == each[1:]:
            found[-1] = before._replace(span=Span(before.span.first, each.span.last))
        else:
            found.append(each)
    return tuple(found)


def _met(named: Iterable[tuple[int, tuple[Range, ...]]], is_sure: Callable[[int], bool], most: int) -> Iterator[Laid]:
    """From border to border; of more than `most` rules that is one too many."""
    for ends, active in swept((each, number) for number, peer in named for each in peer):
        yield _of_these(Span(*ends), active, is_sure, most)


def _of_these(span: Span, active: Iterable[int], is_sure: Callable[[int], bool], most: int) -> Laid:
    found: list[int] = []
    for number in active:
        found.append(number)
        if (ends := is_sure(number)) or len(found) > most:
            return Laid(span, tuple(found), ends)
    return Laid(span, tuple(found))

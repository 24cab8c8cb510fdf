"""Ports that a policy speaks of now, or no more, in the maps of all lists that look it up.

A policy that a hundred lists hold is in a hundred maps. To merge all of these lists again, because one port is another
now, takes a hundred times what merging takes. Mostly the port is nobody else's: an element goes, another comes, and
each leads to the same piece. Where that can be seen in the map, nothing else is looked at. Where there is more to it,
the list is merged again:

    seen in the policy     two of its stretches change (both can be in one map, and come to one port), a wide range
                           changes, a piece comes or goes, a crowd
    seen in the map        somebody else speaks of the port, a neighbour leads to the same place, it comes to too many
    known of the block     (`LookedUp`) it knows wide ranges of that protocol
    not seen anywhere,     the run has several blocks: it could be one now, or be cut elsewhere; the block has so many
    so never plain         ports that ranges are not listed: how many, its map does not tell; the stretch is in two
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from muslin.render.nft.crowds import CROWD
from muslin.render.nft.pieces import Numbers, Outline, Stretch
from muslin.render.nft.ranges import LISTED, MANY
from muslin.render.nft.reach import Reach
from muslin.render.nft.words import Element, Mapped
from muslin.render.nft.words import Rule as Line

Cell = tuple[int, int]
"""A protocol and a port."""
Cells = Mapping[Cell, Numbers]
"""The lines of a policy that speak of them."""


class Move(NamedTuple):
    """Of the stretch with these lines."""

    stretch: Numbers
    gone: Cells
    new: Cells


class LookedUp(NamedTuple):
    """Where a stretch is looked up: the map of the only block of a run, which lists ranges, and protocols of which the
    block knows wide ones."""

    map: str
    wide: frozenset[int]


def moves(before: Outline, after: Outline) -> list[Move] | None:
    """Between two outlines of one form, of one stretch at most. None: there is more to it. Two stretches can be in one
    map and come to one port, where neither would find the other: what is plain is asked of the map as it was."""
    found: list[Move] = []
    for old, new in zip(before.steps, after.steps, strict=True):
        if not isinstance(old, Stretch) or not isinstance(new, Stretch) or old.reached == new.reached:
            continue
        if found or _wide(old) != _wide(new):
            return None
        left, right = _cells(old), _cells(new)
        changed = {cell for cell in left.keys() | right.keys() if left.get(cell) != right.get(cell)}
        gone, come = ({cell: side[cell] for cell in changed if cell in side} for side in (left, right))
        if {*gone.values()} != {*come.values()} or any(len(numbers) >= CROWD for numbers in gone.values()):
            return None
        found.append(Move(new.lines, gone, come))
    return found


def _wide(stretch: Stretch) -> list[tuple[Reach, Numbers]]:
    return [(reached, numbers) for reached, numbers in stretch.reached or () if reached.width > LISTED]


def _cells(stretch: Stretch) -> dict[Cell, Numbers]:
    """Without ranges that are wide."""
    return {
        (protocol, port): numbers for (protocol, first, last), numbers in stretch.reached or ()
        if last - first < LISTED for port in range(first, last + 1)
    }


def is_plain(move: Move, where: LookedUp, content: Mapping[Element, Mapped], to: Mapping[Numbers, Mapped]) -> bool:
    """Is the whole change of this map that these elements go and those come? `to`: where lines of the policy lead. It
    is asked of the map as it is: nothing else may move there before this has."""
    if len(content) + len(move.new) > MANY:
        return False
    if any(protocol in where.wide for protocol, _ in (*move.gone, *move.new)):
        return False
    if any(content.get(cell) != to[numbers] for cell, numbers in move.gone.items()):
        return False
    return all(
        (cell not in content or cell in move.gone) and not _joins(cell, to[numbers], content, move.gone)
        for cell, numbers in move.new.items())


def _joins(cell: Cell, to: Mapped, content: Mapping[Element, Mapped], gone: Container[Cell]) -> bool:
    """Is there a neighbour that stays and leads to the same? The two might be more than can be listed."""
    protocol, port = cell
    beside = [(protocol, port + step) for step in (-1, 1)]
    return any(content.get(each) == to for each in beside if each not in gone)


def is_whole(before: Sequence[Line], after: Sequence[Line], given: Iterable[Move] | None) -> bool:
    """Are these moves all that has changed in the policy, but for what the lines that move say themselves? Then a
    packet that finds new elements, but old lines behind them, is judged as before or as after: at a port that went it
    meets nothing of the policy that differs, and at one that came the old lines do not match it. (Where a port leads to
    other lines than before, it would miss both: an element that is another one now is no move, see `Book`.)"""
    if given is None:
        return False
    moved = {number for move in given for numbers in move.gone.values() for number in numbers}
    lines = enumerate(zip(before, after, strict=True))
    return all(number in moved or one == other for number, (one, other) in lines)

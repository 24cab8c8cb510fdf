"""Prefixes and ranges that overlap, made disjoint.

nftables refuses a set whose intervals overlap, and users write them freely (a /32 beside its /8). Two prefixes are
either apart or one holds the other, so the ones that no other holds are disjoint and cover exactly the same
addresses: nothing needs to be cut or joined, and a member that comes or goes changes few elements.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from muslin.net import Cidr, bounds

Range = tuple[int, int]


def maximal(prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The prefixes of one family that no other of them holds, in address order."""
    found: list[Cidr] = []
    end = -1
    for _, last, prefix in sorted((bounds(prefix)[1], -bounds(prefix)[2], prefix) for prefix in set(prefixes)):
        if -last > end:
            found.append(prefix)
            end = -last
    return tuple(found)


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same numbers as ranges in order, none overlapping or touching another."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def others(ranges: Iterable[Range], last: int) -> tuple[Range, ...]:
    """All numbers up to `last` that these disjoint ranges, in order, leave."""
    found, start = [], 0
    for first, end in ranges:
        if first > start:
            found.append((start, first - 1))
        start = end + 1
    return (*found, (start, last)) if start <= last else tuple(found)


def common(one: Sequence[Range], other: Sequence[Range]) -> tuple[Range, ...]:
    """The numbers in both; the ranges of each are disjoint and in order."""
    found, left, right = [], 0, 0
    while left < len(one) and right < len(other):
        first, last = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if first <= last:
            found.append((first, last))
        if one[left][1] == last:
            left += 1
        else:
            right += 1
    return tuple(found)


def swept(ranges: Iterable[tuple[Range, int]]) -> Iterator[tuple[Range, Sequence[int]]]:
    """Numbered ranges over each other: each stretch from border to border that any of them holds, with the numbers of
    those that do, in order. What holds one stretch is the same list, changed, for the next."""
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for (first, last), number in ranges:
        begins.setdefault(first, []).append(number)
        ends.setdefault(last + 1, []).append(number)
    active: list[int] = []
    borders = sorted(begins.keys() | ends.keys())
    for place, border in enumerate(borders):
        for number in ends.get(border, ()):
            active.remove(number)
        for number in begins.get(border, ()):
            insort(active, number)
        if active:
            yield (border, borders[place + 1] - 1), active

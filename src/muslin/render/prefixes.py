"""Prefixes and ranges that overlap, made disjoint.

nftables refuses a set whose intervals overlap, and users write them freely (a /32 beside its /8). Two prefixes are
either apart or one holds the other, so the ones that no other holds are disjoint and cover exactly the same
addresses: nothing needs to be cut or joined, and a member that comes or goes changes few elements.
"""

from __future__ import annotations

from collections.abc import Iterable

from muslin.net import Cidr, bounds


def maximal(prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The prefixes of one family that no other of them holds, in address order."""
    found: list[Cidr] = []
    end = -1
    for _, last, prefix in sorted((bounds(prefix)[1], -bounds(prefix)[2], prefix) for prefix in set(prefixes)):
        if -last > end:
            found.append(prefix)
            end = -last
    return tuple(found)


def joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same numbers as ranges in order, none overlapping or touching another."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)

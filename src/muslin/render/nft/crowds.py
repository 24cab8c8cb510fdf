"""Rules that follow one another and each want somebody in particular: a crowd. It is looked up by peer (see peers)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from muslin.net import Cidr, bounds
from muslin.render.nft.reach import Reach, cut, room
from muslin.render.nft.words import NamedSet, Span

CROWD = 6
"""Rules from which a map is worth its price."""
EACH = 256
PREFIXES = 2048
"""Of one crowd."""

Peer = str | tuple[Cidr, ...]
"""Whom a rule speaks of: a set of single addresses, or prefixes. Neither: "", anybody."""
Numbers = tuple[int, ...]
Size = Callable[[str], int]
"""How many addresses a set holds."""


class Crowd(msgspec.Struct, frozen=True):
    """Rules in order: whom each speaks of, and the chain that it is. `mapped`: few enough members."""

    map: NamedSet
    rules: tuple[tuple[Peer, str], ...]
    mapped: bool = True

    @property
    def sets(self) -> tuple[str, ...]:
        """As often as they are named."""
        return tuple(peer for peer, _ in self.rules if isinstance(peer, str))


def fits(sets: Sequence[str], size: Size) -> bool:
    return sum(size(name) for name in sets) <= EACH * len(sets)


def laid(peers: Sequence[Peer]) -> list[tuple[Span, Numbers]] | None:
    """The prefixes over each other: disjoint, each with the numbers of those that hold it. None: it would be too
    much."""
    named = [(number, prefix) for number, peer in enumerate(peers) if isinstance(peer, tuple) for prefix in peer]
    if len(named) > PREFIXES:
        return None
    found = cut((Reach(version, first, last), number) for number, (version, first, last) in (
        (number, bounds(prefix)) for number, prefix in named))
    if sum(len(numbers) for numbers in {numbers for _, numbers in found}) > room(len(peers)):
        return None
    return [(Span(first, last), numbers) for (_, first, last), numbers in found]

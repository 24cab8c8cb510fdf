"""Which of many changes does a kernel refuse? A batch is taken as a whole or not at all, and the refusal names a line
at best. So halves of the batch are tried, until what is refused is one change alone; the rest is in force by then.

    search(keys)  --next-->  try these besides what is cleared  --answered(refused)-->  search
                                                       None: `culprits` are known, and all the others are cleared

With c culprits among n it takes at most 2 c log2(n) tries. There is a budget, so that a kernel that refuses everything
does not keep us for ever: what is still suspected when it is spent counts as refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

K = TypeVar("K")

TRIES_PER_HALVING = 8
"""Enough for four culprits."""


@dataclass(frozen=True, slots=True)
class Search(Generic[K]):
    """`suspects`: groups of keys, each of which is tried next as a whole."""

    suspects: tuple[tuple[K, ...], ...]
    tries: int
    cleared: tuple[K, ...] = ()
    culprits: tuple[K, ...] = ()

    @property
    def next(self) -> tuple[K, ...] | None:
        return self.suspects[0] if self.suspects else None

    def answered(self, *, refused: bool) -> Search[K]:
        asked, *others = self.suspects
        rest = tuple(others)
        if not refused:
            found = replace(self, suspects=rest, cleared=self.cleared + asked)
        elif len(asked) == 1:
            found = replace(self, suspects=rest, culprits=self.culprits + asked)
        else:
            found = replace(self, suspects=(*_halves(asked), *rest))
        return _within_budget(replace(found, tries=self.tries - 1))


def search(keys: Sequence[K]) -> Search[K]:
    """All of them together were refused."""
    asked = tuple(keys)
    found = Search(_halves(asked), TRIES_PER_HALVING * (1 + len(asked).bit_length()))
    return found if len(asked) > 1 else replace(found, suspects=(), culprits=asked)


def _halves(keys: tuple[K, ...]) -> tuple[tuple[K, ...], ...]:
    middle = len(keys) // 2
    return keys[:middle], keys[middle:]


def _within_budget(found: Search[K]) -> Search[K]:
    if found.tries > 0:
        return found
    left = tuple(key for group in found.suspects for key in group)
    return replace(found, suspects=(), culprits=found.culprits + left)

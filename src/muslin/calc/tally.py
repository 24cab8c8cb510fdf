"""Counted references, and which keys appeared or vanished since the last look.

A host needs a set as long as one of its policies does, a policy as long as one of its groups does. In one flush a key
may be dropped and taken up again; only the difference between the two looks counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Tally(Generic[K]):
    __slots__ = ("_before", "_counts")

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}
        self._before: dict[K, bool] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    def __iter__(self) -> Iterator[K]:
        return iter(self._counts)

    def add(self, keys: Iterable[K]) -> None:
        for key in keys:
            self._before.setdefault(key, key in self._counts)
            self._counts[key] = self._counts.get(key, 0) + 1

    def drop(self, keys: Iterable[K]) -> None:
        for key in keys:
            self._before.setdefault(key, True)
            if self._counts[key] == 1:
                del self._counts[key]
            else:
                self._counts[key] -= 1

    def settle(self) -> tuple[list[K], list[K]]:
        """(appeared, vanished) since the last call."""
        appeared = [key for key, was in self._before.items() if not was and key in self._counts]
        vanished = [key for key, was in self._before.items() if was and key not in self._counts]
        self._before.clear()
        return appeared, vanished

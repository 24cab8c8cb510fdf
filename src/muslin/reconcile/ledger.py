"""What should be there, beside what is there, and always the difference.

         wanted                            actual
        +--------------------+--------------------+
        |  missing           |  equal: settled    |  stray
        |  put               |  nothing to do     |  drop
        |                    |  unequal: put      |
        |                    |  in place of it    |
        +--------------------+--------------------+

Both maps are told change by change or whole; the set of keys that differ is kept with them, so that asking what is to
be done costs what is to be done, not what there is. `actual` holds only what we recognise as our own: a stranger's
things are never told here, therefore never stray, therefore never dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Ledger(Generic[K, V]):
    """None is no value: it means absent."""

    def __init__(self) -> None:
        self._wanted: dict[K, V] = {}
        self._actual: dict[K, V] = {}
        self._differing: dict[K, None] = {}

    def want(self, key: K, value: V | None) -> None:
        _set(self._wanted, key, value)
        self._compare(key)

    def want_all(self, wanted: Mapping[K, V]) -> None:
        """Exactly these, nothing else."""
        changed = _changed(self._wanted, wanted)
        self._wanted = dict(wanted)
        for key in changed:
            self._compare(key)

    def found(self, key: K, value: V | None) -> None:
        """It is so now: read from the kernel, or just done."""
        _set(self._actual, key, value)
        self._compare(key)

    def found_all(self, actual: Mapping[K, V]) -> tuple[K, ...]:
        """The whole of it was read. Returns the drift: what we took for settled, and is no more."""
        changed = _changed(self._actual, actual)
        settled = [key for key in changed if key not in self._differing]
        self._actual = dict(actual)
        for key in changed:
            self._compare(key)
        return tuple(key for key in settled if key in self._differing)

    @property
    def differing(self) -> tuple[K, ...]:
        """In the order in which they came to differ."""
        return tuple(self._differing)

    def wanted(self, key: K) -> V | None:
        return self._wanted.get(key)

    def actual(self, key: K) -> V | None:
        return self._actual.get(key)

    def _compare(self, key: K) -> None:
        if self._wanted.get(key) == self._actual.get(key):
            self._differing.pop(key, None)
        else:
            self._differing.setdefault(key)


def _set(values: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


def _changed(old: Mapping[K, V], new: Mapping[K, V]) -> list[K]:
    gone = [key for key in old if key not in new]
    return gone + [key for key, value in new.items() if old.get(key) != value]

"""A store as it would be: what is written here is read here, and is in the store only when it is saved, all or nothing.

Whoever makes several writes that belong together makes them on a draft, with the same code that writes to a store: so
there is nothing to take back when the third of them fails, and others see all of it at once. A part of it may fail
alone, see `attempt`.

A save expects, of every key that it writes, the revision that the draft began with: who wrote one of them meanwhile
makes it a Conflict. Revisions given before that are the draft's own, below zero.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from muslin.store.contract import Entry, Event, Page, Store, Write
from muslin.store.memory import require_expected

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Drafted:
    """`base`: the revision in the store below, 0 for none. `entry` None: deleted."""

    base: int
    entry: Entry | None


class Draft(Store):
    """Not for watching, nor for the past: these are the store's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._drafted: dict[str, _Drafted] = {}
        self._places: set[str] = set()
        """What keys begin with that were written here, up to their last slash: few, where keys are many."""
        self._before_part: dict[str, _Drafted | None] | None = None
        """What the keys were that the present part has written."""
        self._numbers = count(-1, -1)

    async def save(self) -> None:
        """Raises Conflict; then nothing was written, and the draft is of no more use."""
        if self._drafted:
            await self._store.commit([
                Write(key, value, self._drafted[key].base) for key, value in self.changes().items()
            ])

    def changes(self) -> dict[str, bytes | None]:
        """What it would write, by keys; None: delete."""
        return {key: one.entry.value if one.entry else None for key, one in self._drafted.items()}

    async def attempt(self, part: Callable[[Store], Awaitable[Result]]) -> Result:
        """What the part returns. What it wrote is taken back when it raises. One at a time."""
        self._before_part = {}
        try:
            return await part(self)
        except BaseException:
            for key, before in self._before_part.items():
                if before is None:
                    self._drafted.pop(key, None)
                else:
                    self._drafted[key] = before
            raise
        finally:
            self._before_part = None

    async def get(self, key: str) -> Entry | None:
        one = self._drafted.get(key)
        return one.entry if one is not None else await self._store.get(key)

    async def list(self, prefix: str, *, revision: int | None = None, limit: int = 0, after: str = "") -> Page:
        """The past is the store's."""
        near = any(place.startswith(prefix) or prefix.startswith(place) for place in self._places)
        mine = {key: one.entry for key, one in self._drafted.items()
                if key.startswith(prefix) and key > after} if near else {}
        if revision is not None or not mine:
            return await self._store.list(prefix, revision=revision, limit=limit, after=after)
        page = await self._store.list(prefix, after=after)
        both: dict[str, Entry | None] = {**{entry.key: entry for entry in page.entries}, **mine}
        entries = [entry for _, entry in sorted(both.items()) if entry is not None]
        more = bool(limit) and len(entries) > limit
        return Page(tuple(entries[:limit] if more else entries), page.revision, more)

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        found = [await self.get(write.key) for write in writes]
        for write, before in zip(writes, found, strict=True):
            require_expected(write.key, before, write.expect)
        return tuple(self._apply(write, before) for write, before in zip(writes, found, strict=True))

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        async for batch in self._store.watch(prefix, after=after):
            yield batch

    async def revision(self) -> int:
        return await self._store.revision()

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        """Nothing to close: the store stays open."""

    def _apply(self, write: Write, before: Entry | None) -> int | None:
        known = self._drafted.get(write.key)
        base = known.base if known else before.revision if before else 0
        if write.value is None and before is None:
            return None
        number = next(self._numbers)
        if self._before_part is not None:
            self._before_part.setdefault(write.key, known)
        self._places.add(write.key[: write.key.rfind("/") + 1])
        if write.value is not None:
            created = before.created if before else number
            self._drafted[write.key] = _Drafted(base, Entry(write.key, write.value, number, created))
        elif base:
            self._drafted[write.key] = _Drafted(base, None)
        else:
            del self._drafted[write.key]  # made here, gone here
        return number

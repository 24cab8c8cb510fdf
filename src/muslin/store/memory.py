"""A store that is gone with its process: for tests, for trying out, and as the plainest reading of the contract."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import AsyncGenerator, Sequence

from muslin.errors import Conflict
from muslin.store.contract import Compacted, Entry, Event, Page, Store, Write
from muslin.store.history import History

LAST = "\U0010ffff"
"""Above every key."""


_EVENTS_KEPT = 10_000
"""At least, and at most twice as many; a watch that is further behind begins anew."""


class MemoryStore(Store):
    """Of history at least the newest events are kept (see `_EVENTS_KEPT`), until `compact`."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._history = History(0, limit=_EVENTS_KEPT)

    async def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    async def list(self, prefix: str, *, revision: int | None = None, limit: int = 0, after: str = "") -> Page:
        current = self._history.revision
        at = current if revision is None else revision
        self._require(at)
        past = self._undone(prefix, at)
        entries: list[Entry] = []
        for key in self._keys_of(prefix, after, past):
            entry = past[key] if key in past else self._entries[key]
            if entry is None:
                continue
            if limit and len(entries) == limit:
                return Page(tuple(entries), at, more=True)
            entries.append(entry)
        return Page(tuple(entries), at, more=False)

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        for write in writes:
            require_expected(write.key, self._entries.get(write.key), write.expect)
        revisions: list[int | None] = []
        events: list[Event] = []
        for write in writes:
            happened = self._apply(write, self._history.revision + len(events) + 1)
            revisions.append(happened.revision if happened else None)
            if happened:
                events.append(happened)
        self._history.append(events)
        return tuple(revisions)

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        self._require(after)
        async for batch in self._history.follow(prefix, after, self._older):
            yield batch

    async def revision(self) -> int:
        return self._history.revision

    async def compact(self, revision: int) -> None:
        self._history.forget(min(revision, self._history.revision))

    async def close(self) -> None:
        self._history.close()

    def _apply(self, write: Write, revision: int) -> Event | None:
        key, value, before = write.key, write.value, self._entries.get(write.key)
        if value is None:
            if before is None:
                return None
            del self._entries[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if before is None:
                insort(self._keys, key)
            self._entries[key] = Entry(key, value, revision, before.created if before else revision)
        return event(key, revision, value, before)

    async def _older(self, position: int) -> Sequence[Event]:
        raise Compacted(position, self._history.oldest)

    def _require(self, revision: int) -> None:
        if not self._history.oldest <= revision <= self._history.revision:
            raise Compacted(revision, self._history.oldest)

    def _undone(self, prefix: str, revision: int) -> dict[str, Entry | None]:
        """What the keys written after `revision` held at `revision`."""
        past: dict[str, Entry | None] = {}
        for change in self._history.newest_first(revision):
            if change.key.startswith(prefix):
                past[change.key] = (
                    None
                    if change.previous is None
                    else Entry(change.key, change.previous, change.previous_revision, change.created)
                )
        return past

    def _keys_of(self, prefix: str, after: str, past: dict[str, Entry | None]) -> Sequence[str]:
        first, end = span(prefix, after)
        present = self._keys[bisect_left(self._keys, first) : bisect_left(self._keys, end)]
        deleted = [key for key in past if key not in self._entries and key >= first]
        return sorted([*present, *deleted]) if deleted else present


def span(prefix: str, after: str) -> tuple[str, str]:
    """The keys under `prefix` beyond key `after`, as first <= key < end."""
    return max(prefix, after + "\0" if after else ""), prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else LAST


def require_expected(key: str, before: Entry | None, expect: int | None) -> None:
    """Raises Conflict unless `before` is what the writer expects to replace."""
    found = before.revision if before else 0
    if expect is not None and expect != found:
        raise Conflict(f"{key}: expected revision {expect}, found {found}")


def event(key: str, revision: int, value: bytes | None, before: Entry | None) -> Event:
    """The event of writing `value` (None: deleting) where `before` was."""
    if before is None:
        return Event(key, revision, value, None, revision)
    return Event(key, revision, value, before.value, before.created, before.revision)

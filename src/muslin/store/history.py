"""The newest events, in memory, and the watchers that wait for more.

A watcher must neither miss an event nor hold up a writer. So it owns no queue: it owns a position, a revision, and
reads on from there whenever it has time. As long as its position lies in this history it reads from memory; a watcher
that fell further behind reads from the store's log; one that fell behind the log is told `Compacted`.

Every revision is exactly one event, so the event of revision R lies at index R - oldest - 1: no search.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from muslin.store.contract import Event

BATCH = 1000
"""At most so many events at once, so that one watcher does not hold the loop."""

Older = Callable[[int], Awaitable[Sequence[Event]]]
"""Up to BATCH events, at least one, directly after a revision which this history no longer holds. Raises Compacted."""


def size_of(event: Event) -> int:
    """Bytes that it keeps in memory."""
    return len(event.value or b"") + len(event.previous or b"")


class History:
    """Events with revision in (oldest, revision]. Of more than twice `limit`, or twice `most` bytes, the older half is
    forgotten; 0: all are kept until `forget`. A block of addresses has 12 kB, and is written twice for each workload:
    counted by number alone, a history would grow for an hour and hold a hundred megabytes."""

    def __init__(self, revision: int, *, limit: int = 0, most: int = 0) -> None:
        self.oldest = revision
        self.revision = revision
        self.closed = False
        self._limit = limit
        self._most = most
        self._size = 0
        self._events: list[Event] = []
        self._moved = asyncio.Event()

    def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._events.extend(events)
        self.revision = events[-1].revision
        self._size += sum(map(size_of, events))
        if self._limit and len(self._events) > 2 * self._limit:
            self.forget(self.revision - self._limit)
        if self._most and self._size > 2 * self._most:
            self.forget(self._within(self._most))
        self._wake()

    def forget(self, revision: int) -> None:
        """Events up to and with `revision` are gone."""
        if revision > self.oldest:
            self._size -= sum(map(size_of, self._events[: revision - self.oldest]))
            del self._events[: revision - self.oldest]
            self.oldest = revision

    def _within(self, size: int) -> int:
        """The revision after which there are at most so many bytes."""
        for event in reversed(self._events):
            size -= size_of(event)
            if size < 0:
                return event.revision
        return self.oldest

    def after(self, revision: int, count: int) -> Sequence[Event]:
        """At most `count` events after `revision`, which must not lie before `oldest`."""
        start = revision - self.oldest
        return self._events[start : start + count]

    def newest_first(self, after: int) -> Sequence[Event]:
        return self._events[after - self.oldest :][::-1]

    def close(self) -> None:
        """Every watch ends."""
        self.closed = True
        self._wake()

    async def follow(self, prefix: str, position: int, older: Older) -> AsyncGenerator[tuple[Event, ...], None]:
        """Batches of the events under `prefix` after `position`, until the store is closed."""
        while not self.closed:
            events = await older(position) if position < self.oldest else self.after(position, BATCH)
            if not events:
                await self._moved.wait()
                continue
            position = events[-1].revision
            if chosen := tuple(event for event in events if event.key.startswith(prefix)):
                yield chosen

    def _wake(self) -> None:
        self._moved.set()
        if not self.closed:
            self._moved = asyncio.Event()

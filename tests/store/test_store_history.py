"""The newest events in memory: bounded by number and by bytes, and a watcher behind them reads on from the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

from muslin.store.contract import Event
from muslin.store.history import History
from muslin.store.sqlite import BYTES_IN_MEMORY, SqliteStore

KB = 1024


def written(revision: int, size: int) -> Event:
    """Half of it before, half of it now."""
    return Event("/block", revision, bytes(size // 2), bytes(size - size // 2), 1, revision - 1)


def kept(history: History) -> int:
    """Bytes of the events that it still has."""
    events = history.after(history.oldest, history.revision)
    assert [event.revision for event in events] == list(range(history.oldest + 1, history.revision + 1))
    return sum(len(event.value or b"") + len(event.previous or b"") for event in events)


def test_large_events_are_forgotten_sooner_than_small_ones() -> None:
    history = History(0, limit=1000, most=64 * KB)
    for revision in range(1, 1001):
        history.append([written(revision, 20)])
    assert history.oldest == 0
    for revision in range(1001, 2001):
        history.append([written(revision, 12 * KB)])
        assert kept(history) <= 128 * KB
    assert kept(history) > 32 * KB
    assert history.revision == 2000


def test_what_was_forgotten_by_hand_does_not_count() -> None:
    history = History(0, limit=1000, most=64 * KB)
    for revision in range(1, 101):
        history.append([written(revision, KB)])
        history.forget(revision - 10)
    assert history.revision - history.oldest == 10


def test_one_event_that_is_larger_than_all_that_is_kept_leaves_a_watcher_whole(tmp_path: Path) -> None:
    """It is read again from the log."""

    async def scene() -> None:
        store = SqliteStore(tmp_path / "s.db", synchronous="OFF")
        try:
            sizes = [BYTES_IN_MEMORY // 3, 10, 3 * BYTES_IN_MEMORY, 20, BYTES_IN_MEMORY // 3]
            for size in (*sizes, *sizes):
                await store.put("/big", bytes(size))
            seen: list[Event] = []
            async for batch in store.watch("/", after=0):
                seen += batch
                if len(seen) == 2 * len(sizes):
                    break
            assert [len(event.value or b"") for event in seen] == sizes * 2
            assert [event.revision for event in seen] == list(range(1, 2 * len(sizes) + 1))
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_watcher_that_is_far_behind_takes_no_more_into_memory_at_once_than_is_kept_there(tmp_path: Path) -> None:
    """There may be hundreds of them, and a thousand events may be blocks of addresses of 12 kB, twice each."""
    size, count = BYTES_IN_MEMORY // 8, 40

    async def scene() -> None:
        store = SqliteStore(tmp_path / "s.db", synchronous="OFF")
        try:
            for number in range(count):
                await store.put(f"/{number}", bytes(size))
            seen = 0
            async for batch in store.watch("/", after=0):
                assert [event.revision for event in batch] == list(range(seen + 1, seen + len(batch) + 1))
                if not seen:
                    assert len(batch) * size <= BYTES_IN_MEMORY
                seen += len(batch)
                if seen == count:
                    break
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(scene(), 30))

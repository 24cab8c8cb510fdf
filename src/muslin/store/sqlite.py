"""One file that holds everything: the default store, for one machine.

SQLite gives one atomic commit at a time and makes it durable with an fsync, and an fsync costs more than everything
else together. So concurrent writers share one: whoever comes while a commit is under way waits in the next batch. Each
write still succeeds or conflicts by itself.

Two tables. `entry` holds the present. `log` holds one row per revision with the value that was there BEFORE: the value
written is the next row's "before", or the present one, so every value is stored once. From the log come watches of the
past and lists at an old revision; its tail is compacted as it grows.

One process owns the file (a lock beside it says so); others may read it with the sqlite3 tool at any time.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from muslin.errors import Conflict, Invalid, Transient
from muslin.store.contract import Compacted, Entry, Event, Page, Store, Write
from muslin.store.history import BATCH, History, size_of
from muslin.store.memory import event, require_expected, span

KEEP = 10_000
"""So many revisions of history survive the automatic compaction."""
SLICE = 1000
"""Compaction waits for so many more, and forgets them at once (a few milliseconds)."""
IN_MEMORY = 4096
BYTES_IN_MEMORY = 4 << 20
"""So many events, and bytes of them, are kept in memory for watchers that are nearly up to date."""
SHORT = 32
"""A list of so many entries is read where it is asked for."""
SHARE = 512
"""At most so many writes share one commit, so that the first does not wait for the last."""

LAYOUT = 1
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entry (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY, key TEXT NOT NULL, deleted INTEGER NOT NULL, created INTEGER NOT NULL,
    previous BLOB, previous_revision INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO mark VALUES ('layout', {LAYOUT}), ('revision', 0), ('oldest', 0);
"""
ONE = "SELECT key, value, revision, created FROM entry WHERE key = ?"
PRESENT = """
SELECT key, value, revision, created FROM entry WHERE key >= :first AND key < :end ORDER BY key LIMIT :limit
"""
FEW = """
SELECT NULL, NULL, value, NULL FROM mark WHERE name = 'revision'
UNION ALL SELECT * FROM (
    SELECT key, value, revision, created FROM entry WHERE key >= ? AND key < ? ORDER BY key LIMIT ?)
"""
"""The store's revision, and entries at it: one statement sees one moment, without a transaction."""
PAST = """
SELECT key, previous, previous_revision, created FROM log
WHERE previous IS NOT NULL AND revision IN (
    SELECT min(revision) FROM log WHERE revision > :at AND key >= :first AND key < :end GROUP BY key)
UNION ALL
SELECT key, value, revision, created FROM entry WHERE revision <= :at AND key >= :first AND key < :end
ORDER BY key LIMIT :limit
"""
EVENTS = """
SELECT l.key, l.revision,
       CASE WHEN l.deleted THEN NULL ELSE coalesce(
           (SELECT n.previous FROM log n WHERE n.key = l.key AND n.revision > l.revision ORDER BY n.revision LIMIT 1),
           (SELECT e.value FROM entry e WHERE e.key = l.key)) END,
       l.previous, l.created, l.previous_revision
FROM log l WHERE l.revision > ? ORDER BY l.revision LIMIT ?
"""

Result = TypeVar("Result")


Outcome = tuple[int | None, ...] | Conflict
"""The new revisions of what was committed as one, or a lost race."""
Waiting = tuple[Sequence[Write], "asyncio.Future[Outcome]"]


class SqliteStore(Store):
    """Opening creates the file (mode 0600: it may hold passwords). Raises Invalid when it cannot be ours.

    Each connection belongs to one thread: reads of one key, and short lists, happen at once, on the loop's (a hop to
    another thread would cost ten times the query); long lists and commits have one thread each.
    """

    def __init__(self, path: Path, *, keep: int = KEEP, synchronous: str = "FULL") -> None:
        self._path = path
        self._keep = keep
        self._lock = _lock(path)
        try:
            self._writer = _connect(path, synchronous)
            self._writer.executescript(SCHEMA)
            self._reader, self._lister = _connect(path, synchronous), _connect(path, synchronous)
            marks = _marks(self._writer)
        except sqlite3.Error as error:
            os.close(self._lock)
            raise Invalid(f"{path} is not a store of muslin: {error}. Name a new file, or restore a backup") from None
        if marks["layout"] != LAYOUT:
            os.close(self._lock)
            raise Invalid(f"{path} was written by another release (layout {marks['layout']}): use that release")
        self._oldest = marks["oldest"]
        self._assigned = marks["revision"]
        self._history = History(marks["revision"], limit=IN_MEMORY, most=BYTES_IN_MEMORY)
        self._pending: list[Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._writing = ThreadPoolExecutor(1, "store-writer")
        self._listing = ThreadPoolExecutor(1, "store-lister")

    async def get(self, key: str) -> Entry | None:
        try:
            row = self._reader.execute(ONE, (key,)).fetchone()
        except sqlite3.Error as error:
            raise Transient(f"{self._path} cannot be read: {error}") from error
        return Entry(*row) if row else None

    async def list(self, prefix: str, *, revision: int | None = None, limit: int = 0, after: str = "") -> Page:
        first, end = span(prefix, after)
        if revision is None and (short := self._short(first, end, limit)) is not None:
            return short
        return await self._in(self._listing, partial(self._page, self._lister, first, end, revision, limit))

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append((writes, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_pending())
        outcome = await future
        if isinstance(outcome, Conflict):
            raise outcome
        return outcome

    async def watch(self, prefix: str, *, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        if not self._oldest <= after <= self._assigned:
            raise Compacted(after, self._oldest)
        async for batch in self._history.follow(prefix, after, self._older):
            yield batch

    async def revision(self) -> int:
        return self._history.revision

    async def compact(self, revision: int) -> None:
        oldest = min(revision, self._history.revision)
        if oldest > self._oldest:
            await self._in(self._writing, partial(self._forget, oldest))
            self._oldest = oldest
            self._history.forget(oldest)

    async def close(self) -> None:
        while self._committing and not self._committing.done():
            await asyncio.wait([self._committing])
        self._history.close()
        for thread in (self._writing, self._listing):
            thread.shutdown()
        for connection in (self._reader, self._lister, self._writer):
            connection.close()
        os.close(self._lock)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except sqlite3.Error as error:
            raise Transient(f"{self._path}: {error}") from error

    def _short(self, first: str, end: str, limit: int) -> Page | None:
        """None: there is more than should be read on the loop's thread."""
        count = min(limit, SHORT) or SHORT
        try:
            (_, _, revision, _), *rows = self._reader.execute(FEW, (first, end, count + 1)).fetchall()
        except sqlite3.Error as error:
            raise Transient(f"{self._path}: {error}") from error
        more = len(rows) > count
        return Page(tuple(Entry(*row) for row in rows[:count]), revision, more) if not more or limit == count else None

    # -- in the thread of the connection

    def _page(self, connection: sqlite3.Connection, first: str, end: str, revision: int | None, limit: int) -> Page:
        connection.execute("BEGIN")
        try:
            marks = _marks(connection)
            at = marks["revision"] if revision is None else revision
            if not marks["oldest"] <= at <= marks["revision"]:
                raise Compacted(at, marks["oldest"])
            arguments = {"first": first, "end": end, "at": at, "limit": limit + 1 if limit else -1}
            rows = connection.execute(PRESENT if at == marks["revision"] else PAST, arguments).fetchall()
        finally:
            connection.execute("COMMIT")
        more = bool(limit) and len(rows) > limit
        return Page(tuple(Entry(*row) for row in (rows[:limit] if more else rows)), at, more)

    async def _older(self, position: int) -> Sequence[Event]:
        events = await self._in(self._listing, partial(self._logged, position))
        if not events or events[0].revision != position + 1:
            raise Compacted(position, max(self._oldest, position + 1))
        return events

    def _logged(self, position: int) -> Sequence[Event]:
        """As many as may be in memory for each watcher that is far behind, and at least one."""
        events: list[Event] = []
        size = 0
        rows = self._lister.execute(EVENTS, (position, BATCH))
        try:
            for row in rows:
                events.append(Event(*row))
                size += size_of(events[-1])
                if size >= BYTES_IN_MEMORY:
                    break
        finally:
            rows.close()  # a reader that stays open would keep the write-ahead log from being cut
        return events

    # -- writing

    async def _commit_pending(self) -> None:
        while self._pending:
            batch = self._share()
            try:
                commit = partial(self._commit, [writes for writes, _ in batch])
                outcomes, events, oldest = await self._in(self._writing, commit)
            except Transient as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            self._oldest = oldest
            self._history.append(events)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    def _share(self) -> Sequence[Waiting]:
        """Those that wait longest, as many as share a commit."""
        count = size = 0
        for writes, _ in self._pending:
            size += len(writes)
            if count and size > SHARE:
                break
            count += 1
        batch, self._pending = self._pending[:count], self._pending[count:]
        return batch

    # -- in the writer's thread

    def _commit(self, batch: Sequence[Sequence[Write]]) -> tuple[Sequence[Outcome], Sequence[Event], int]:
        """In one transaction, though each for itself: what became of each, their events, the oldest revision left."""
        outcomes: list[Outcome] = []
        events: list[Event] = []
        with _transaction(self._writer):
            for writes in batch:
                try:
                    found = [self._before(write) for write in writes]
                except Conflict as conflict:
                    outcomes.append(conflict)
                    continue
                revisions: list[int | None] = []
                for write, before in zip(writes, found, strict=True):
                    happened = self._apply(write, before, self._history.revision + len(events) + 1)
                    revisions.append(happened.revision if happened else None)
                    if happened:
                        events.append(happened)
                outcomes.append(tuple(revisions))
            if not events:
                return outcomes, events, self._oldest
            revision = self._assigned = events[-1].revision
            self._mark("revision", revision)
            oldest = self._oldest if revision - self._oldest < self._keep + SLICE else revision - self._keep
            if oldest != self._oldest:
                self._drop(oldest)
        return outcomes, events, oldest

    def _before(self, write: Write) -> Entry | None:
        row = self._writer.execute(ONE, (write.key,)).fetchone()
        before = Entry(*row) if row else None
        require_expected(write.key, before, write.expect)
        return before

    def _apply(self, write: Write, before: Entry | None, revision: int) -> Event | None:
        run = self._writer.execute
        if write.value is None:
            if before is None:
                return None
            run("DELETE FROM entry WHERE key = ?", (write.key,))
        else:
            created = before.created if before else revision
            run("REPLACE INTO entry VALUES (?, ?, ?, ?)", (write.key, write.value, revision, created))
        happened = event(write.key, revision, write.value, before)
        run("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)",
            (revision, write.key, write.value is None, happened.created, happened.previous, happened.previous_revision))
        return happened

    def _forget(self, oldest: int) -> None:
        with _transaction(self._writer):
            self._drop(oldest)

    def _drop(self, oldest: int) -> None:
        self._writer.execute("DELETE FROM log WHERE revision <= ?", (oldest,))
        self._mark("oldest", oldest)

    def _mark(self, name: str, value: int) -> None:
        self._writer.execute("UPDATE mark SET value = ? WHERE name = ?", (value, name))


class _transaction:  # noqa: N801 (reads as a statement)
    """BEGIN ... COMMIT, or ROLLBACK when the block raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.executescript(
        f"PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};"
        "PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;"
    )
    return connection


def _marks(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, value FROM mark").fetchall())


def _lock(path: Path) -> int:
    """Own the file for as long as the descriptor is open. Raises Invalid when another process does."""
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Invalid(f"the store {path} cannot be opened: {error.strerror}. Check the path and who you are") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise Invalid(
            f"the store {path} belongs to a running server (process {owner or 'unknown'}): "
            "stop that one first, or talk to it"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock

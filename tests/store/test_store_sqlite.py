"""What only a file can promise: it is there again, it has one owner, and it does not grow for ever."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from muslin.errors import Conflict, Invalid, Transient
from muslin.store import Compacted, Store, open_store
from muslin.store.sqlite import SqliteStore


def with_store(path: Path, scene: Callable[[SqliteStore], Awaitable[None]], keep: int = 10_000) -> None:
    async def all_of_it() -> None:
        store = SqliteStore(path, keep=keep)
        try:
            await asyncio.wait_for(scene(store), 30)
        finally:
            await store.close()

    asyncio.run(all_of_it())


def test_the_file_remembers_entries_revisions_and_history(tmp_path: Path) -> None:
    """A server that restarts goes on counting, and its watchers go on where they were."""

    async def before(store: SqliteStore) -> None:
        await store.put("/a", b"1")
        await store.put("/b", b"1")
        await store.put("/a", b"2")
        await store.delete("/b")

    async def after(store: SqliteStore) -> None:
        assert await store.revision() == 4
        entry = await store.get("/a")
        assert entry is not None
        assert (entry.value, entry.revision, entry.created) == (b"2", 3, 1)
        assert [e.key for e in (await store.list("/", revision=2)).entries] == ["/a", "/b"]
        async for batch in store.watch("/", after=1):
            assert [(e.key, e.value) for e in batch] == [("/b", b"1"), ("/a", b"2"), ("/b", None)]
            break
        assert await store.put("/c", b"") == 5

    with_store(tmp_path / "s.db", before)
    with_store(tmp_path / "s.db", after)


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """put() returns after the commit is durable: kill -9 at any moment after it loses nothing."""
    program = f"""
import asyncio, os, signal
from pathlib import Path
from muslin.store.sqlite import SqliteStore
async def main():
    store = SqliteStore(Path({str(tmp_path / "s.db")!r}))
    await asyncio.gather(*(store.put(f"/{{n}}", b"x") for n in range(50)))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9

    async def after(store: SqliteStore) -> None:
        assert len((await store.list("/")).entries) == 50
        assert await store.revision() == 50

    with_store(tmp_path / "s.db", after)


def test_a_second_server_on_the_same_file_is_told_who_owns_it(tmp_path: Path) -> None:
    """Two writers with two revision counters would overwrite each other."""

    async def scene(_: SqliteStore) -> None:
        with pytest.raises(Invalid, match=r"belongs to a running server \(process \d+\)"):
            SqliteStore(tmp_path / "s.db")

    with_store(tmp_path / "s.db", scene)
    SqliteStore(tmp_path / "s.db")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """It may hold BGP passwords."""

    async def scene(store: SqliteStore) -> None:
        await store.put("/a", b"secret")
        assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0] * len(list(tmp_path.iterdir()))

    with_store(tmp_path / "s.db", scene)


def test_people_may_read_it_with_the_sqlite3_tool_meanwhile(tmp_path: Path) -> None:
    async def scene(store: SqliteStore) -> None:
        await store.put("/a", b"1")
        with sqlite3.connect(f"file:{tmp_path / 's.db'}?mode=ro", uri=True) as other:
            assert other.execute("SELECT key, value FROM entry").fetchall() == [("/a", b"1")]
        await store.put("/a", b"2")

    with_store(tmp_path / "s.db", scene)


def test_history_is_compacted_by_itself_and_some_is_kept(tmp_path: Path) -> None:
    async def scene(store: SqliteStore) -> None:
        await asyncio.gather(*(store.put(f"/{n % 5}", str(n).encode()) for n in range(4000)))
        with pytest.raises(Compacted) as gone:
            await store.list("/", revision=10)
        assert 1000 <= 4000 - gone.value.oldest <= 3100
        assert len((await store.list("/", revision=gone.value.oldest)).entries) == 5
        with pytest.raises(Compacted):
            await anext(store.watch("/", after=10))

    with_store(tmp_path / "s.db", scene, keep=1000)


def test_a_lost_race_does_not_spoil_the_writes_that_share_its_commit(tmp_path: Path) -> None:
    async def scene(store: SqliteStore) -> None:
        await store.put("/b", b"")
        a, b, c = await asyncio.gather(
            store.put("/a", b"1"), store.put("/b", b"2", expect=0), store.put("/c", b"3"), return_exceptions=True
        )
        assert (a, c) == (2, 3)
        assert isinstance(b, Conflict)

    with_store(tmp_path / "s.db", scene)


@pytest.mark.parametrize("content", [b"this is not a database, it is a long sentence" * 50, b"\x00" * 4096])
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(Invalid, match="is not a store of muslin"):
        SqliteStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("url", ["etcd://x", "sqlite://", "sqlite:///", "nonsense", "/var/lib/x.db", "", "memory"])
def test_a_name_that_is_no_store_says_what_to_write(url: str) -> None:
    with pytest.raises(Invalid, match="sqlite:///"):
        open_store(url)


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite://{}", "sqlite:{}"])
def test_a_store_opens_by_any_spelling_of_its_path(tmp_path: Path, form: str) -> None:
    async def scene() -> None:
        store: Store = open_store(form.format(tmp_path / "s.db"))
        await store.close()

    asyncio.run(scene())
    assert (tmp_path / "s.db").exists()


def test_a_bare_name_lies_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def scene() -> None:
        await open_store("sqlite:///s.db").close()

    asyncio.run(scene())
    assert (tmp_path / "s.db").exists()


def test_a_full_disk_refuses_the_write_and_spoils_nothing(tmp_path: Path) -> None:
    """Transient: it may work in a moment. What was there stays, and what comes after room was made is stored."""

    async def scene(store: SqliteStore) -> None:
        await store.put("/a", b"1")
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Transient, match="full"):
            await store.put("/big", b"x" * 1_000_000)
        assert await store.revision() == 1
        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert await store.put("/b", b"2") == 2
        assert [entry.key for entry in (await store.list("/")).entries] == ["/a", "/b"]
        async for batch in store.watch("/", after=0):
            assert [event.key for event in batch] == ["/a", "/b"]
            break

    with_store(tmp_path / "s.db", scene)


def test_a_file_of_another_release_is_left_alone(tmp_path: Path) -> None:
    with_store(tmp_path / "s.db", lambda store: store.put("/a", b"1"))
    with sqlite3.connect(tmp_path / "s.db") as later:
        later.execute("UPDATE mark SET value = 2 WHERE name = 'layout'")
    with pytest.raises(Invalid, match="another release"):
        SqliteStore(tmp_path / "s.db")

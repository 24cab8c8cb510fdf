"""What every store promises, asked of every store. A new engine is done when it passes this file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.errors import Conflict
from muslin.store import Compacted, Event, Store, Write
from muslin.store.memory import MemoryStore
from muslin.store.sqlite import SqliteStore

Opener = Callable[[], Store]
Scene = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return MemoryStore if request.param == "memory" else lambda: SqliteStore(tmp_path / "store.db", synchronous="OFF")


@asynccontextmanager
async def opened(opener: Opener) -> AsyncIterator[Store]:
    store = opener()
    try:
        yield store
    finally:
        await store.close()


def play(opener: Opener, scene: Scene) -> None:
    async def all_of_it() -> None:
        async with opened(opener) as store:
            await asyncio.wait_for(scene(store), 30)

    asyncio.run(all_of_it())


async def take(store: Store, prefix: str, after: int, count: int) -> list[Event]:
    """The first `count` events of a watch."""
    events: list[Event] = []
    async for batch in store.watch(prefix, after=after):
        events.extend(batch)
        if len(events) >= count:
            return events
    return events


def brief(events: list[Event]) -> list[tuple[str, bytes | None]]:
    return [(event.key, event.value) for event in events]


def test_what_was_put_is_read_back_with_its_revisions(opener: Opener) -> None:
    """`created` stays through updates, `revision` moves: resourceVersion and creation are told from them."""

    async def scene(store: Store) -> None:
        first = await store.put("/a/1", b"one")
        second = await store.put("/a/1", b"two")
        entry = await store.get("/a/1")
        assert entry is not None
        assert (entry.value, entry.revision, entry.created) == (b"two", second, first)
        assert await store.get("/a/2") is None

    play(opener, scene)


def test_revisions_are_one_counter_without_gaps(opener: Opener) -> None:
    """A gap would be an event that a watcher waits for and never gets."""

    async def scene(store: Store) -> None:
        start = await store.revision()
        assert [await store.put(f"/k{n}", b"") for n in range(3)] == [start + 1, start + 2, start + 3]
        assert await store.delete("/k1") == start + 4
        assert await store.revision() == start + 4

    play(opener, scene)


def test_values_are_bytes_and_keys_any_text(opener: Opener) -> None:
    """Nothing is interpreted: binary, empty and large values, quotes and letters beyond ASCII in keys."""

    async def scene(store: Store) -> None:
        for key, value in {"/'--;": b"\x00\xff", "/ä/ö": b"", "/%2f*": b"x" * 3_000_000}.items():
            await store.put(key, value)
            entry = await store.get(key)
            assert entry is not None
            assert entry.value == value

    play(opener, scene)


@pytest.mark.parametrize("expect", [0, 999], ids=["absent", "another revision"])
def test_a_put_that_expects_something_else_conflicts_and_writes_nothing(opener: Opener, expect: int) -> None:
    """Compare-and-swap is what keeps two writers from undoing each other."""

    async def scene(store: Store) -> None:
        revision = await store.put("/a", b"mine")
        with pytest.raises(Conflict):
            await store.put("/a", b"yours", expect=expect)
        entry = await store.get("/a")
        assert entry is not None
        assert entry.value == b"mine"
        assert await store.revision() == revision

    play(opener, scene)


def test_a_put_with_the_right_expectation_succeeds(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        created = await store.put("/a", b"1", expect=0)
        await store.put("/a", b"2", expect=created)
        with pytest.raises(Conflict):
            await store.put("/b", b"", expect=created)
        assert await store.get("/b") is None

    play(opener, scene)


def test_delete_obeys_its_expectation(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        first = await store.put("/a", b"1")
        second = await store.put("/a", b"2")
        with pytest.raises(Conflict):
            await store.delete("/a", expect=first)
        assert await store.delete("/a", expect=second) == second + 1
        assert await store.get("/a") is None

    play(opener, scene)


def test_deleting_what_is_not_there_is_none_or_a_conflict(opener: Opener) -> None:
    """Without an expectation it is already as wished; with one, the writer is mistaken."""

    async def scene(store: Store) -> None:
        assert await store.delete("/a") is None
        with pytest.raises(Conflict):
            await store.delete("/a", expect=7)
        assert await store.revision() == 0

    play(opener, scene)


def test_writes_that_are_committed_as_one_are_all_there_or_none(opener: Opener) -> None:
    """And each has a revision of its own, in their order."""

    async def scene(store: Store) -> None:
        one, two = await store.put("/a", b"1"), await store.put("/b", b"2")
        with pytest.raises(Conflict):
            await store.commit((Write("/c", b"3", 0), Write("/a", b"9", one), Write("/b", None, one)))
        page = await store.list("/")
        assert [(entry.key, entry.value) for entry in page.entries] == [("/a", b"1"), ("/b", b"2")]
        assert page.revision == two
        writes = (Write("/c", b"3", 0), Write("/a", b"9", one), Write("/b", None, two), Write("/none", None))
        assert await store.commit(writes) == (two + 1, two + 2, two + 3, None)
        page = await store.list("/")
        assert [(entry.key, entry.value) for entry in page.entries] == [("/a", b"9"), ("/c", b"3")]
        assert brief(await take(store, "/", two, 3)) == [("/c", b"3"), ("/a", b"9"), ("/b", None)]
        assert await store.commit(()) == ()

    play(opener, scene)


def test_what_is_committed_as_one_and_what_is_written_alone_do_not_spoil_each_other(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        counters = [f"/{letter}" for letter in "abc"]

        async def count(*keys: str) -> None:
            while True:
                found = [await store.get(key) for key in keys]
                try:
                    await store.commit([
                        Write(key, str(int(one.value) + 1 if one else 1).encode(), one.revision if one else 0)
                        for key, one in zip(keys, found, strict=True)])
                    return
                except Conflict:
                    continue

        await asyncio.gather(*(count(*counters[number % 3:]) for number in range(30)))
        page = await store.list("/")
        assert [entry.value for entry in page.entries] == [b"10", b"20", b"30"]
        assert page.revision == 60

    play(opener, scene)


def test_a_key_that_is_created_again_is_new(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        await store.delete("/a")
        again = await store.put("/a", b"2", expect=0)
        entry = await store.get("/a")
        assert entry is not None
        assert entry.created == entry.revision == again

    play(opener, scene)


def test_a_list_holds_its_prefix_in_key_order_and_nothing_of_the_neighbours(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        for key in ("/p/b", "/p/a", "/pp/a", "/o/z", "/p", "/p/a/c", "/p0"):
            await store.put(key, key.encode())
        page = await store.list("/p/")
        assert [entry.key for entry in page.entries] == ["/p/a", "/p/a/c", "/p/b"]
        assert page.revision == await store.revision()
        assert not page.more
        assert len((await store.list("")).entries) == 7
        assert (await store.list("/nothing/")).entries == ()

    play(opener, scene)


def test_pages_at_one_revision_are_one_picture_whatever_is_written_meanwhile(opener: Opener) -> None:
    """kubectl lists 500 at a time; a policy created meanwhile must not shift the rest."""

    async def scene(store: Store) -> None:
        for n in range(7):
            await store.put(f"/p/{n}", b"old")
        first = await store.list("/p/", limit=3)
        await store.put("/p/4", b"new")
        await store.delete("/p/5")
        await store.put("/p/55", b"new")
        await store.put("/p/5", b"new")
        second = await store.list("/p/", limit=3, after=first.entries[-1].key, revision=first.revision)
        third = await store.list("/p/", limit=3, after=second.entries[-1].key, revision=first.revision)
        assert [e.key for page in (first, second, third) for e in page.entries] == [f"/p/{n}" for n in range(7)]
        assert {e.value for page in (second, third) for e in page.entries} == {b"old"}
        assert [page.more for page in (first, second, third)] == [True, True, False]
        assert second.entries[1].revision == 5

    play(opener, scene)


def test_a_page_that_ends_exactly_at_the_last_entry_has_no_more(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        for n in range(4):
            await store.put(f"/p/{n}", b"")
        assert not (await store.list("/p/", limit=4)).more
        assert not (await store.list("/p/", limit=2, after="/p/1")).more
        assert (await store.list("/p/", limit=1, after="/p/1")).more

    play(opener, scene)


def test_a_watch_from_a_list_misses_nothing_and_repeats_nothing(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        await store.put("/p/a", b"1")
        page = await store.list("/p/")
        await store.put("/p/a", b"2")
        await store.put("/q/a", b"elsewhere")
        await store.put("/p/b", b"1")
        await store.delete("/p/a")
        events = await take(store, "/p/", page.revision, 3)
        assert brief(events) == [("/p/a", b"2"), ("/p/b", b"1"), ("/p/a", None)]
        assert [event.previous for event in events] == [b"1", None, b"2"]
        assert [event.revision for event in events] == [2, 4, 5]
        assert [event.created for event in events] == [1, 4, 1]
        assert [event.previous_revision for event in events] == [1, 0, 2]

    play(opener, scene)


def test_a_watch_that_waits_is_woken_by_a_write(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        waiting = asyncio.create_task(take(store, "/p/", 0, 1))
        await asyncio.sleep(0)
        await store.put("/q/a", b"elsewhere")
        await store.put("/p/a", b"1")
        assert brief(await waiting) == [("/p/a", b"1")]

    play(opener, scene)


def test_a_watch_of_the_past_is_replayed_with_the_values_of_then(opener: Opener) -> None:
    """Also far beyond what is kept in memory."""

    async def scene(store: Store) -> None:
        await asyncio.gather(*(store.put(f"/p/{n % 10}", str(n).encode()) for n in range(9000)))
        events = await take(store, "/p/", 0, 9000)
        assert brief(events) == [(f"/p/{n % 10}", str(n).encode()) for n in range(9000)]
        assert [event.previous for event in events[10:]] == [str(n).encode() for n in range(8990)]

    play(opener, scene)


def test_the_past_before_a_compaction_is_gone_and_the_present_stays(opener: Opener) -> None:
    """Who asks for it is told to list again, never given half of it."""

    async def scene(store: Store) -> None:
        for n in range(5):
            await store.put("/p/a", str(n).encode())
        await store.compact(3)
        with pytest.raises(Compacted) as gone:
            await take(store, "/p/", 2, 1)
        assert gone.value.oldest == 3
        with pytest.raises(Compacted):
            await store.list("/p/", revision=2)
        assert brief(await take(store, "/p/", 3, 2)) == [("/p/a", b"3"), ("/p/a", b"4")]
        assert [entry.value for entry in (await store.list("/p/", revision=3)).entries] == [b"2"]
        assert [entry.value for entry in (await store.list("/p/")).entries] == [b"4"]

    play(opener, scene)


def test_a_compaction_never_reaches_beyond_the_present(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        await store.compact(10_000)
        waiting = asyncio.create_task(take(store, "/", await store.revision(), 1))
        await store.put("/a", b"2")
        assert brief(await waiting) == [("/a", b"2")]

    play(opener, scene)


def test_a_revision_that_has_not_been_yet_is_refused(opener: Opener) -> None:
    """A client that comes from another store (restored from a backup) would otherwise wait and miss events."""

    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        with pytest.raises(Compacted):
            await take(store, "/", 5, 1)
        with pytest.raises(Compacted):
            await store.list("/", revision=5)

    play(opener, scene)


def test_of_concurrent_creators_exactly_one_wins(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        outcomes = await asyncio.gather(
            *(store.put("/a", str(n).encode(), expect=0) for n in range(20)), return_exceptions=True
        )
        winners = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, int)]
        assert len(winners) == 1
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
        entry = await store.get("/a")
        assert entry is not None
        assert entry.value == str(winners[0]).encode()

    play(opener, scene)


def test_concurrent_counting_by_compare_and_swap_loses_no_count(opener: Opener) -> None:
    async def count(store: Store) -> None:
        while True:
            entry = await store.get("/n")
            assert entry is not None
            try:
                await store.put("/n", str(int(entry.value) + 1).encode(), expect=entry.revision)
                return
            except Conflict:
                continue

    async def scene(store: Store) -> None:
        await store.put("/n", b"0")
        await asyncio.gather(*(count(store) for _ in range(40)))
        entry = await store.get("/n")
        assert entry is not None
        assert entry.value == b"40"

    play(opener, scene)


def test_no_watcher_loses_or_repeats_an_event_while_many_write(opener: Opener) -> None:
    """Watchers start at any moment of the storm, at the revision they last saw."""

    async def write(store: Store, writer: int) -> None:
        for n in range(40):
            await store.put(f"/p/{writer}/{n % 7}", f"{writer}.{n}".encode())

    async def scene(store: Store) -> None:
        early = asyncio.create_task(take(store, "/p/", 0, 400))
        writers = [asyncio.create_task(write(store, writer)) for writer in range(10)]
        await store.put("/q", b"")
        middle = await store.revision()
        late = asyncio.create_task(take(store, "/p/", middle, 400 - sum(e.revision <= middle for e in await early)))
        await asyncio.gather(*writers)
        events = await early
        revisions = [event.revision for event in events]
        assert revisions == sorted(set(revisions))
        assert len(events) == 400
        assert await late == [event for event in events if event.revision > middle]

    play(opener, scene)


def test_closing_ends_every_watch(opener: Opener) -> None:
    async def scene(store: Store) -> None:
        waiting = asyncio.create_task(take(store, "/", 0, 1))
        await asyncio.sleep(0)
        await store.close()
        assert await waiting == []

    async def all_of_it() -> None:
        await scene(opener())

    asyncio.run(all_of_it())


Step = tuple[str, str, Any]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["/p/a", "/p/b", "/p/c", "/q"]), st.binary(max_size=2)),
        st.tuples(st.just("delete"), st.sampled_from(["/p/a", "/p/b", "/p/c", "/q"]), st.none()),
    ),
    max_size=25,
)


@given(steps=STEPS, back=st.integers(0, 25), compact=st.integers(0, 25))
@settings(max_examples=40)
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_any_list_of_the_past_equals_the_picture_taken_then(
    engine: str, steps: list[Step], back: int, compact: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And the events after it, applied to it, give the present: the whole contract in one property."""
    folder = tmp_path_factory.mktemp("past")
    opener: Opener = MemoryStore if engine == "memory" else lambda: SqliteStore(folder / "s.db", synchronous="OFF")

    async def scene(store: Store) -> None:
        pictures = {0: (await store.list("/p/")).entries}
        for act, key, value in steps:
            await (store.put(key, value) if act == "put" else store.delete(key))
            pictures[await store.revision()] = (await store.list("/p/")).entries
        present = await store.revision()
        then = max(0, present - back)
        if compact <= then:
            await store.compact(compact)
        page = await store.list("/p/", revision=then)
        assert page.entries == pictures[then]
        rebuilt = {entry.key: entry.value for entry in page.entries}
        for event in await take(store, "", then, present - then) if present > then else []:
            if event.key.startswith("/p/"):
                assert event.previous == rebuilt.pop(event.key, None)
                if event.value is not None:
                    rebuilt[event.key] = event.value
        assert rebuilt == {entry.key: entry.value for entry in pictures[present]}

    play(opener, scene)

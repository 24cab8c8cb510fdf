"""A draft: many writes that are one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.errors import Conflict
from muslin.store import Draft, Store
from muslin.store.memory import MemoryStore


def play(scene: Callable[[Store], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await asyncio.wait_for(scene(MemoryStore()), 30)

    asyncio.run(all_of_it())


async def held(store: Store, prefix: str = "/") -> dict[str, bytes]:
    return {entry.key: entry.value for entry in (await store.list(prefix)).entries}


def test_what_is_drafted_is_read_in_the_draft_and_in_the_store_only_when_it_is_saved() -> None:
    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        await store.put("/b", b"1")
        before, draft = await store.revision(), Draft(store)
        await draft.put("/a", b"2")
        await draft.put("/c", b"2", expect=0)
        await draft.delete("/b")
        assert await held(draft) == {"/a": b"2", "/c": b"2"}
        assert await draft.get("/b") is None
        assert await held(store) == {"/a": b"1", "/b": b"1"}
        await draft.save()
        assert await held(store) == {"/a": b"2", "/c": b"2"}
        assert await store.revision() == before + 3, "one write for each key"

    play(scene)


def test_writes_of_a_draft_expect_what_it_has_written() -> None:
    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        draft = Draft(store)
        second = await draft.put("/a", b"2")
        with pytest.raises(Conflict):
            await draft.put("/a", b"3", expect=0)
        third = await draft.put("/a", b"3", expect=second)
        with pytest.raises(Conflict):
            await draft.delete("/a", expect=second)
        await draft.delete("/a", expect=third)
        assert await draft.delete("/a") is None
        await draft.put("/a", b"4", expect=0)
        await draft.save()
        assert await held(store) == {"/a": b"4"}

    play(scene)


def test_a_draft_of_what_somebody_changed_meanwhile_writes_nothing() -> None:
    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        draft = Draft(store)
        await draft.put("/a", b"2")
        await draft.put("/b", b"2")
        await store.put("/a", b"somebody's")
        with pytest.raises(Conflict):
            await draft.save()
        assert await held(store) == {"/a": b"somebody's"}

    play(scene)


def test_what_was_made_and_went_in_a_draft_never_was() -> None:
    async def scene(store: Store) -> None:
        draft = Draft(store)
        await draft.put("/a", b"1")
        await draft.delete("/a")
        await store.put("/a", b"somebody's")
        await draft.save()
        assert await held(store) == {"/a": b"somebody's"}

    play(scene)


def test_a_part_that_fails_leaves_the_rest_of_its_draft() -> None:
    """Also where it wrote what parts before it had written, made or removed."""

    async def good(store: Store) -> str:
        await store.put("/a", b"2")
        await store.put("/b", b"2", expect=0)
        await store.delete("/c")
        return "done"

    async def bad(store: Store) -> None:
        await store.delete("/b")
        await store.put("/b", b"spoilt")
        await store.delete("/a")
        await store.put("/c", b"spoilt", expect=0)
        await store.put("/d", b"spoilt")
        await store.put("/e", b"spoilt")
        await store.delete("/e")
        assert await held(store) == {"/b": b"spoilt", "/c": b"spoilt", "/d": b"spoilt"}
        raise Conflict("no")

    async def scene(store: Store) -> None:
        await store.put("/a", b"1")
        await store.put("/c", b"1")
        draft = Draft(store)
        assert await draft.attempt(good) == "done"
        for _ in range(2):
            with pytest.raises(Conflict):
                await draft.attempt(bad)
            assert await held(draft) == {"/a": b"2", "/b": b"2"}
        await draft.put("/b", b"3")
        await draft.save()
        assert await held(store) == {"/a": b"2", "/b": b"3"}

    play(scene)


KEYS = st.sampled_from(("/a", "/b/1", "/b/2", "/b/3", "/c"))
WRITES = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=2))), max_size=8)


@given(WRITES, WRITES, st.sampled_from(("/", "/b/")), st.integers(0, 3), st.sampled_from(("", "/b/1", "/b/2")))
def test_a_draft_lists_what_the_store_lists_when_it_is_saved(
    first: list[tuple[str, bytes | None]], second: list[tuple[str, bytes | None]], prefix: str, limit: int, after: str,
) -> None:
    async def write(store: Store, writes: list[tuple[str, bytes | None]]) -> None:
        for key, value in writes:
            await (store.delete(key) if value is None else store.put(key, value))

    async def scene(store: Store) -> None:
        await write(store, first)
        draft = Draft(store)
        await write(draft, second)
        drafted = await draft.list(prefix, limit=limit, after=after)
        await draft.save()
        saved = await store.list(prefix, limit=limit, after=after)
        assert [(one.key, one.value) for one in drafted.entries] == [(one.key, one.value) for one in saved.entries]
        assert drafted.more == saved.more

    play(scene)

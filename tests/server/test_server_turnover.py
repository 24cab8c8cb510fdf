"""Steps of many calls, planned on one draft and committed as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import repeat

import pytest

from muslin.errors import Invalid, Transient
from muslin.server.turnover import Step, Turnover
from muslin.store import Store, Write
from muslin.store.memory import MemoryStore


class Commits(MemoryStore):
    """Counts what is written together. `rivals`: keys that somebody else writes, one before each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.rivals: Iterator[str] = iter(())
        self.broken: Exception | None = None

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        if rival := next(self.rivals, None):
            await super().commit((Write(rival, b"7"),))
        if self.broken:
            raise self.broken
        await asyncio.sleep(0)
        found = await super().commit(writes)
        self.sizes.append(len(writes))
        return found


def play(scene: Callable[[Commits, Turnover], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        store = Commits()
        await asyncio.wait_for(scene(store, Turnover(store)), 30)

    asyncio.run(all_of_it())


def count(key: str, error: Exception | None = None) -> Step[int]:
    """One more under a key, and then perhaps an error."""

    async def step(store: Store) -> int:
        entry = await store.get(key)
        number = int(entry.value) + 1 if entry else 1
        await store.put(key, str(number).encode(), expect=entry.revision if entry else 0)
        if error is not None:
            raise error
        return number

    return step


async def held(store: Store, key: str) -> bytes | None:
    entry = await store.get(key)
    return entry.value if entry else None


def test_whatever_comes_while_a_commit_is_under_way_shares_the_next() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        first = asyncio.ensure_future(turnover.do([count("/a")]))
        while not turnover._working:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(turnover.do([count("/a"), count(f"/{number}")])) for number in range(20)]
        assert await first == [1]
        assert [number for number, _ in await asyncio.gather(*others)] == list(range(2, 22))
        assert await held(store, "/a") == b"21"
        assert store.sizes == [1, 21], "each key once"

    play(scene)


def test_one_that_fails_writes_nothing_and_the_others_all() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        wrong = Invalid("no")
        assert await turnover.do([count("/a"), count("/a", wrong), count("/a")]) == [1, wrong, 2]
        assert await held(store, "/a") == b"2"

    play(scene)


def test_what_another_writer_changed_meanwhile_is_planned_anew() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        store.rivals = iter(("/c", "/a", "/a"))
        assert await turnover.do([count("/b"), count("/a")]) == [1, 1], "a key that none of them writes"
        assert await turnover.do([count("/b"), count("/a")]) == [2, 8]
        assert await held(store, "/a") == b"8"

    play(scene)


def test_who_loses_every_race_is_told_to_try_again() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        store.rivals = repeat("/a")
        [outcome] = await turnover.do([count("/a")])
        assert isinstance(outcome, Transient)
        assert await held(store, "/a") == b"7"

    play(scene)


def test_a_store_that_fails_is_everybodys_failure_and_the_next_are_served() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        store.broken = Transient("the disk is full")
        one, two = await turnover.do([count("/a"), count("/b")])
        assert isinstance(one, Transient)
        assert isinstance(two, Transient)
        store.broken = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await turnover.do([count("/a")])
        store.broken = None
        assert await turnover.do([count("/a")]) == [1]
        assert await turnover.do([]) == []

    play(scene)


def test_a_bug_in_one_step_is_its_askers_and_nobody_waits_for_ever() -> None:
    async def scene(store: Commits, turnover: Turnover) -> None:
        bad = asyncio.ensure_future(turnover.do([count("/a"), count("/b", ZeroDivisionError())]))
        good = asyncio.ensure_future(turnover.do([count("/a")]))
        with pytest.raises(ZeroDivisionError):
            await bad
        assert await good == [2]
        assert await held(store, "/b") is None

    play(scene)

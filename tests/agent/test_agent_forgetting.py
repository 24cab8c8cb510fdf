"""Flows of addresses that come and go: few walks for many; who asks goes on after the first walk that began later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection

import pytest

from muslin.agent.forgetting import Forgetting
from muslin.errors import Transient


class Walks:
    """Each waits for `go`; what it was asked for is noted when it begins."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.go = threading.Semaphore(0)
        self.refuse = False

    def __call__(self, addresses: Collection[str], floating: Collection[str]) -> None:
        self.asked.append({*addresses, *floating})
        assert self.go.acquire(timeout=10)
        if self.refuse:
            raise Transient("the table is busy")


def play(scene: Callable[[Forgetting, Walks], Awaitable[None]]) -> Walks:
    walks = Walks()

    async def whole() -> None:
        async with asyncio.timeout(20):
            await scene(Forgetting(walks), walks)

    asyncio.run(whole())
    return walks


async def begun(walks: Walks, number: int) -> None:
    while len(walks.asked) < number:
        await asyncio.sleep(0.001)


def test_what_is_asked_while_a_walk_is_under_way_goes_with_the_next_one() -> None:
    async def scene(forgetting: Forgetting, walks: Walks) -> None:
        first = forgetting.ask(["10.0.0.1"])
        await begun(walks, 1)
        others = [forgetting.ask([f"10.0.0.{number}"]) for number in range(2, 52)]
        again = forgetting.ask(["10.0.0.1"])
        walks.go.release()
        await first
        assert not again.done(), "its flows may be others since then"
        walks.go.release()
        await asyncio.gather(*others, again)
        assert not forgetting.pending

    assert [len(asked) for asked in play(scene).asked] == [1, 51]


def test_a_way_waits_for_what_was_asked_early_and_asks_for_the_rest() -> None:
    async def scene(forgetting: Forgetting, walks: Walks) -> None:
        forgetting.ask_early(["10.0.0.1"])
        await begun(walks, 1)
        waiting = asyncio.create_task(forgetting.wait_for_way(["10.0.0.1"]))
        both = asyncio.create_task(forgetting.wait_for_way(["10.0.0.2"]))
        walks.go.release()
        await waiting
        assert not both.done()
        walks.go.release()
        await both

    assert play(scene).asked == [{"10.0.0.1"}, {"10.0.0.2"}]


@pytest.mark.parametrize("otherwise", ["not_coming", "ask"], ids=["it does not come", "its last holder goes only now"])
def test_what_was_asked_early_counts_no_more_once(otherwise: str) -> None:
    async def scene(forgetting: Forgetting, walks: Walks) -> None:
        for _ in range(3):
            walks.go.release()
        forgetting.ask_early(["10.0.0.1"])
        await forgetting.wait()
        getattr(forgetting, otherwise)(["10.0.0.1"])
        await forgetting.wait_for_way(["10.0.0.1"])

    assert len(play(scene).asked) >= 2


@pytest.mark.slow
def test_a_walk_that_fails_is_told_and_done_again() -> None:
    async def scene(forgetting: Forgetting, walks: Walks) -> None:
        walks.refuse = True
        walks.go.release()
        with pytest.raises(Transient, match="busy"):
            await forgetting.wait_for_way(["10.0.0.1"])
        assert "busy" in forgetting.fault
        assert forgetting.pending
        walks.refuse = False
        walks.go.release()
        await forgetting.wait()
        assert not forgetting.fault
        assert not forgetting.pending

    assert play(scene).asked == [{"10.0.0.1"}] * 2

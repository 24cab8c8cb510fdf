"""Removals of workloads gather while a call is under way, both steps in one call, and each gets its own answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from muslin.agent import removals as removals_room
from muslin.agent.gathering import Refused
from muslin.agent.removals import Removals
from muslin.agent.upstream import Upstream

HELD = {"code": 503, "reason": "ServiceUnavailable", "message": "the store is gone"}


class Server:
    """Answers when `open` is set; refuses what is named `held`."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.open = asyncio.Event()

    async def call(self, method: str, path: str, body: Any) -> Any:
        assert (method, path) == ("DELETE", "/muslin/v1/workloads")
        self.calls.append(body["items"])
        await self.open.wait()
        return {"items": [{"status": HELD} if "held" in item.values() else {} for item in body["items"]]}


def test_steps_of_many_workloads_go_in_one_call_and_one_that_is_refused_fails_alone() -> None:
    async def play() -> None:
        server = Server()
        removals = Removals(cast(Upstream, server))
        first = asyncio.ensure_future(removals.endpoint("shop", "a"))
        while not server.calls:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(step) for step in (
            removals.endpoint("shop", "b"), removals.addresses("muslin.shop.c"), removals.addresses("held"))]
        await asyncio.sleep(0)
        server.open.set()
        await first
        *done, refused = await asyncio.gather(*others, return_exceptions=True)
        assert done == [None, None]
        assert isinstance(refused, Refused)
        assert "the store is gone" in str(refused)
        assert server.calls == [
            [{"namespace": "shop", "name": "a"}],
            [{"namespace": "shop", "name": "b"}, {"handle": "muslin.shop.c"}, {"handle": "held"}],
        ]

    asyncio.run(play())


def test_addresses_of_one_that_leaves_go_along_with_the_next_that_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where leaving takes so long that the next began long after."""
    monkeypatch.setattr(removals_room, "_CLOSELY", 0.0)

    async def play() -> None:
        server = Server()
        server.open.set()
        removals = Removals(cast(Upstream, server))
        with removals.under_way():
            await removals.addresses("of one that leaves alone")
            assert len(server.calls) == 1
            with removals.under_way():
                first = asyncio.ensure_future(removals.addresses("muslin.shop.a"))
                for _ in range(10):
                    await asyncio.sleep(0)
                assert len(server.calls) == 1, "another is about to come"
                await asyncio.gather(first, removals.endpoint("shop", "b"))
                assert server.calls[1:] == [[{"handle": "muslin.shop.a"}, {"namespace": "shop", "name": "b"}]]
                await removals.addresses("of one whom nobody follows")
                assert server.calls[2:] == [[{"handle": "of one whom nobody follows"}]]

    asyncio.run(play())


@pytest.mark.parametrize(("closely", "calls"), [(60.0, 2), (0.0, 3)])
def test_who_leaves_soon_after_another_is_taken_for_one_of_many(
    monkeypatch: pytest.MonkeyPatch, closely: float, calls: int
) -> None:
    """Also where each is gone before the next begins: they come every 20 ms, and leaving takes no longer."""
    monkeypatch.setattr(removals_room, "_CLOSELY", closely)
    monkeypatch.setattr(removals_room, "_PATIENCE", 60.0)

    async def play() -> None:
        server = Server()
        server.open.set()
        removals = Removals(cast(Upstream, server))
        with removals.under_way():
            await removals.addresses("of the first")
        with removals.under_way():
            second = asyncio.ensure_future(removals.addresses("of the second"))
            for _ in range(10):
                await asyncio.sleep(0)
        with removals.under_way():
            await removals.endpoint("shop", "third")
        await second
        assert len(server.calls) == calls

    asyncio.run(play())


def test_who_can_wait_does_not_go_alone_because_a_call_was_under_way_when_he_came(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals_room, "_PATIENCE", 60.0)

    async def play() -> None:
        server = Server()
        removals = Removals(cast(Upstream, server))
        with removals.under_way(), removals.under_way():
            first = asyncio.ensure_future(removals.endpoint("shop", "a"))
            while not server.calls:
                await asyncio.sleep(0)
            patient = asyncio.ensure_future(removals.addresses("muslin.shop.b"))
            await asyncio.sleep(0)
            server.open.set()
            await first
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(server.calls) == 1
            await asyncio.gather(patient, removals.endpoint("shop", "c"))
            assert server.calls[1:] == [[{"handle": "muslin.shop.b"}, {"namespace": "shop", "name": "c"}]]

    asyncio.run(play())


def test_more_than_fit_into_one_call_go_in_several_and_nobody_is_left_waiting() -> None:
    async def play() -> None:
        server = Server()
        removals = Removals(cast(Upstream, server))
        first = asyncio.ensure_future(removals.endpoint("shop", "a"))
        while not server.calls:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(removals.endpoint("shop", f"b{number}")) for number in range(150)]
        await asyncio.sleep(0)
        server.open.set()
        async with asyncio.timeout(10):
            await asyncio.gather(first, *others)
        assert [len(items) for items in server.calls] == [1, 64, 64, 22]

    asyncio.run(play())

"""Additions of workloads gather while a call is under way, and each gets its own answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from muslin.agent.additions import Additions
from muslin.agent.gathering import Refused
from muslin.agent.upstream import Upstream
from muslin.client.refusal import ApiError, Unreachable
from muslin.errors import Broken

TAKEN = {"code": 409, "reason": "AlreadyExists", "message": "taken"}


class Server:
    """Answers when `open` is set; an endpoint is an address or a refusal."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []
        self.open = asyncio.Event()
        self.answer: Any = None

    async def call(self, method: str, path: str, body: Any) -> Any:
        assert (method, path) == ("POST", "/muslin/v1/workloads")
        wanted = [item["endpoint"] for item in body["items"]]
        self.calls.append(wanted)
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        return {"items": [{"status": one} if isinstance(one, dict) else {"addresses": [one]} for one in wanted]}


def asked(server: Server, *endpoints: Any) -> list[Any]:
    async def play() -> list[Any]:
        additions = Additions(cast(Upstream, server))
        tasks = [asyncio.ensure_future(additions.ask(one, None)) for one in endpoints]
        while not server.calls:
            await asyncio.sleep(0)
        server.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(play())


def test_one_goes_at_once_and_those_that_come_meanwhile_go_together() -> None:
    async def play() -> None:
        server = Server()
        additions = Additions(cast(Upstream, server))
        first = asyncio.ensure_future(additions.ask(cast(Any, "10.0.0.0/32"), None))
        while not server.calls:
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(additions.ask(cast(Any, f"10.0.0.{number}/32"), None)) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        server.open.set()
        assert await first == ("10.0.0.0/32",)
        assert await asyncio.gather(*others) == [(f"10.0.0.{number}/32",) for number in (1, 2, 3)]
        assert [len(call) for call in server.calls] == [1, 3]

    asyncio.run(play())


def test_one_that_is_refused_is_refused_alone() -> None:
    good, bad = asked(Server(), "10.0.0.1/32", TAKEN)
    assert good == ("10.0.0.1/32",)
    assert isinstance(bad, Refused)
    assert not bad.is_there_already, "an address that somebody has is not an endpoint that is there"


@pytest.mark.parametrize("answer", [
    Unreachable("unix:x", "gone", "start it"), {"items": []}, {"items": 7}, {},
])
def test_all_of_a_call_that_fails_hear_of_it(answer: Any) -> None:
    server = Server()
    server.answer = answer
    found = asked(server, "10.0.0.1/32", "10.0.0.2/32")
    assert all(isinstance(one, Unreachable | Broken) for one in found), found
    assert len(found) == 2


@pytest.mark.parametrize("answer", [
    ZeroDivisionError("a bug"), {"items": [{"status": {"code": "odd"}}, {"status": {"code": []}}]},
])
def test_a_call_that_ends_as_nobody_foresaw_leaves_nobody_waiting_and_the_next_is_made(answer: Any) -> None:
    async def play() -> None:
        server = Server()
        additions = Additions(cast(Upstream, server))
        server.open.set()
        server.answer = answer
        found = await asyncio.gather(*(additions.ask(cast(Any, one), None) for one in ("10.0.0.1/32", "10.0.0.2/32")),
                                     return_exceptions=True)
        assert [type(one) for one in found] == [Broken, Broken]
        server.answer = None
        assert await additions.ask(cast(Any, "10.0.0.3/32"), None) == ("10.0.0.3/32",)

    asyncio.run(asyncio.wait_for(play(), 30))


@pytest.mark.parametrize("code", [404, 405])
def test_a_server_that_does_not_know_the_call_is_told_to_be_the_older_one(code: int) -> None:
    server = Server()
    server.answer = ApiError({"reason": "MethodNotAllowed", "message": "not allowed"}, code)
    [found] = asked(server, "10.0.0.1/32")
    assert isinstance(found, ApiError)
    assert found.code == code
    assert "older than this agent: upgrade the servers first" in str(found)


def test_what_else_a_server_refuses_is_told_as_it_is() -> None:
    server = Server()
    server.answer = ApiError({"message": "the disk is full"}, 503)
    [found] = asked(server, "10.0.0.1/32")
    assert str(found) == "the disk is full"

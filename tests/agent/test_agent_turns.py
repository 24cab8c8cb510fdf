"""Between the turns of an agent: what is true, what it keeps and what it undoes. With a kernel that only waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from muslin.agent import run, snapshot
from muslin.agent.forgetting import Forgetting
from muslin.agent.journal import Entry, Journal
from muslin.agent.kernel import Kernel
from muslin.agent.upstream import Upstream
from muslin.agent.worker import Worker
from muslin.agent.workloads import Workloads
from muslin.calc.host import Graph
from muslin.client.address import Identity
from muslin.client.refusal import Unreachable
from muslin.drivers.monitor import Monitor, Noticed
from muslin.intent import Delta, EndpointKey, EndpointState, HostIntent


class Patient:
    """A kernel that takes whatever it is given, as soon as `go` is set."""

    port = 0

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.taking = asyncio.Event()
        self.forgetting = Forgetting(lambda *_: None)
        self.leaving = set[str]()

    async def take(self, delta: Delta, intent: HostIntent, now: float) -> tuple[str, ...]:
        self.taking.set()
        await self.go.wait()
        return ()

    async def work(self, now: float) -> tuple[str, ...]:
        return ()

    async def scan(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        return ()

    async def scan_unannounced(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        return ()

    async def scan_all(self, now: float) -> tuple[str, ...]:
        return ()

    def concerns(self, noticed: Noticed) -> bool:
        return bool(noticed)

    def next_due(self, now: float) -> float | None:
        return None

    def states(self, intent: HostIntent) -> dict[EndpointKey, EndpointState]:
        return {}


def play(scene: Callable[[Worker, Patient], Awaitable[None]]) -> None:
    async def whole() -> None:
        monitor, kernel = Monitor(), Patient()
        worker = Worker(Graph(), cast(Kernel, kernel), monitor, None)
        working = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(10):
                await scene(worker, kernel)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            monitor.close()

    asyncio.run(whole())


def test_in_the_middle_of_a_turn_nothing_is_answered(tmp_path: Path) -> None:
    """The intent is ahead of the kernel then: who looked at it would call a workload ready too early."""

    async def scene(worker: Worker, kernel: Patient) -> None:
        worker.receive(Delta(snapshot=True, revision=7))
        await kernel.taking.wait()
        assert not worker.at_rest
        kernel.go.set()
        await worker.wait_turn()
        assert worker.at_rest

    play(scene)


def test_waiters_see_the_end_of_a_turn_though_the_next_one_is_due() -> None:
    """Else a host with much news would keep an addition waiting for ever."""

    async def scene(worker: Worker, kernel: Patient) -> None:
        worker.receive(Delta(snapshot=True, revision=7))
        await kernel.taking.wait()
        worker.receive(Delta(snapshot=True, revision=8))
        kernel.go.set()
        await worker.wait_turn()
        assert worker.at_rest

    play(scene)


def test_what_a_server_said_last_is_kept_though_it_is_gone(tmp_path: Path) -> None:
    """Else a start without a server would open again what its last words had closed."""

    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        keeping = asyncio.create_task(run._keep(tmp_path, worker))
        worker.connected("here")
        worker.receive(Delta(snapshot=True, revision=7))
        worker.disconnected("it died")
        while (kept := snapshot.load(tmp_path)) is None:
            await asyncio.sleep(0.01)
        assert kept.revision == 7
        keeping.cancel()

    play(scene)


def test_an_addition_that_was_asked_for_again_and_answered_is_not_undone(tmp_path: Path) -> None:
    """Its user comes back before the clean-up after the restart gets to it."""
    journal, asked = Journal(tmp_path), list[str]()
    keys = [EndpointKey(f"WorkloadEndpoint/default/h1-muslin-{name}-eth0") for name in "ab"]
    for key in keys:
        journal.write(Entry(key=key, interface="", handle=key))

    async def server(request: web.BaseRequest) -> web.Response:
        assert request.method == "DELETE"
        items = (await request.json())["items"]
        for name in [item["name"] for item in items if "name" in item]:
            asked.append(name)
            left = next((entry.key for entry in journal.entries() if entry.key.split("/")[2] != name), None)
            if left is not None:
                journal.remove(left)
        return web.json_response({"items": [{}] * len(items)})

    async def scene(worker: Worker, kernel: Patient) -> None:
        runner = web.ServerRunner(web.Server(server))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "s")).start()
        upstream = Upstream([f"unix:{tmp_path}/s"], Identity())
        try:
            await Workloads("h1", worker, upstream, journal).undo_interrupted()
        finally:
            await upstream.close()
            await runner.cleanup()
        assert len(asked) == 1
        assert journal.entries() == ()

    play(scene)


def test_who_answers_in_no_http_is_nobody(tmp_path: Path) -> None:
    """A wrong socket in the options must not end the agent: it would never come to use what it knew."""

    async def gibberish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-who\r\n\r\n")
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_unix_server(gibberish, tmp_path / "s")
        upstream = Upstream([f"unix:{tmp_path}/s"], Identity())
        try:
            with pytest.raises(Unreachable):
                await upstream.call("GET", "/healthz")
            with pytest.raises(Unreachable):
                _ = [line async for line in upstream.lines("/feed")]
        finally:
            await upstream.close()
            server.close()

    asyncio.run(scene())

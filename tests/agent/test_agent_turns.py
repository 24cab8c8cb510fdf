"""Between the turns of an agent: what is true, what it keeps and what it undoes. With a kernel that only waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from muslin.agent import feed
from muslin.agent import worker as worker_room
from muslin.agent.flows import Follower
from muslin.agent.forgetting import Forgetting
from muslin.agent.journal import Entry, Journal
from muslin.agent.kernel import Kernel
from muslin.agent.snapshot import Snapshot
from muslin.agent.upstream import Upstream
from muslin.agent.worker import Worker
from muslin.agent.workloads import Workloads
from muslin.calc.host import Graph
from muslin.client.address import Identity
from muslin.client.refusal import Unreachable
from muslin.client.workload import Request, endpoint_key
from muslin.drivers.links import Link
from muslin.drivers.monitor import Monitor, Noticed
from muslin.errors import Invalid
from muslin.intent import (
    AddressSet,
    Delta,
    Endpoint,
    EndpointKey,
    EndpointState,
    GroupId,
    HostIntent,
    MemberChange,
    Problem,
    Published,
    Route,
    RouteKind,
    SetId,
    Settings,
)
from muslin.net import Cidr
from muslin.render.nft import Flow


class Patient:
    """A kernel that takes whatever it is given, as soon as `go` is set."""

    port = 0

    def __init__(self) -> None:
        self.takes: list[Delta] = []
        self.go = asyncio.Event()
        self.taking = asyncio.Event()
        self.forgetting = Forgetting(lambda *_: None)
        self.leaving = set[str]()
        self.in_force = True
        self.usual = EndpointState(state="up")
        self.unusual: dict[EndpointKey, EndpointState] = {}
        self.links: tuple[Link, ...] = ()
        self.works = self.scans = 0
        """Turns in which there was nothing to take; in which something had been noticed."""

    async def take(self, delta: Delta, intent: HostIntent, now: float) -> tuple[str, ...]:
        self.takes.append(delta)
        self.taking.set()
        await self.go.wait()
        return ()

    async def work(self, now: float) -> tuple[str, ...]:
        self.works += 1
        return ()

    async def scan(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        self.scans += 1
        return ()

    async def scan_unannounced(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        return ()

    async def scan_all(self, now: float) -> tuple[str, ...]:
        return ()

    def remember(self, flows: Iterable[Flow], seconds: int) -> None:
        pass

    def concerns(self, noticed: Noticed) -> bool:
        return bool(noticed)

    def next_due(self, now: float) -> float | None:
        return None

    def states(self, intent: HostIntent, among: Set[EndpointKey] | None = None) -> dict[EndpointKey, EndpointState]:
        asked = intent.endpoints if among is None else among & intent.endpoints.keys()
        return dict.fromkeys(asked, self.usual) | {k: v for k, v in self.unusual.items() if k in intent.endpoints}

    def problems(self) -> tuple[Problem, ...]:
        return ()

    def orphans(self) -> tuple[Link, ...]:
        return self.links


class Herald:
    """A monitor that hears what the test says, each time one thing."""

    def __init__(self) -> None:
        self._mouth, self._ear = socket.socketpair()
        self.heard = 0

    def say(self) -> None:
        self._mouth.send(b".")

    def fileno(self) -> int:
        return self._ear.fileno()

    def drain(self, own_port: int) -> Noticed:
        self._ear.recv(64)
        self.heard += 1
        return Noticed(routes=True)

    def close(self) -> None:
        self._mouth.close()
        self._ear.close()


def play(scene: Callable[[Worker, Patient], Awaitable[None]], herald: Herald | None = None) -> None:
    async def whole() -> None:
        monitor, kernel = herald or Monitor(), Patient()
        worker = Worker(Graph(), cast(Kernel, kernel), cast(Monitor, monitor), None)
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


def workload(name: str) -> tuple[EndpointKey, Endpoint]:
    key = EndpointKey(f"WorkloadEndpoint/default/{name}")
    return key, Endpoint(key=key, interface=f"mus{name}", ingress=GroupId("1" * 16), egress=GroupId("2" * 16))


def test_states_of_all_are_known_though_only_those_that_may_differ_are_looked_at() -> None:
    """Endpoints come and go, fail and recover, and policy of all is not in the kernel for a while."""
    one, two, three = map(workload, ("one", "two", "three"))
    bad = EndpointState(state="pending", message="no interface")
    history: list[tuple[Delta, dict[EndpointKey, EndpointState], str]] = [
        (Delta(snapshot=True, revision=1, endpoints=dict([one, two])), {}, "up"),
        (Delta(revision=2, endpoints=dict([three])), {three[0]: bad, two[0]: bad}, "up"),
        (Delta(revision=3, endpoints={one[0]: None}), {three[0]: bad}, "up"),
        (Delta(revision=4, endpoints=dict([one])), {three[0]: bad}, "error"),
        (Delta(revision=5, endpoints={three[0]: None}), {}, "error"),
        (Delta(revision=6, endpoints={two[0]: None}), {}, "up"),
        (Delta(snapshot=True, revision=7, endpoints=dict([three])), {}, "up"),
    ]

    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        wanted: dict[EndpointKey, Endpoint] = {}
        for delta, kernel.unusual, usual in history:
            kernel.usual = EndpointState(state=usual)
            wanted = {} if delta.snapshot else wanted
            wanted = {key: one for key, one in (wanted | delta.endpoints).items() if one is not None}
            worker.receive(delta)
            await worker.wait_until(lambda: worker.applied == delta.revision)  # noqa: B023
            assert worker.states == dict.fromkeys(wanted, kernel.usual) | kernel.unusual

    play(scene)


def test_where_changes_come_all_the_time_what_only_goes_rides_with_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a container that goes and one that comes cost two turns."""
    monkeypatch.setattr(worker_room, "_BUSY", 60.0)
    monkeypatch.setattr(worker_room, "_RIDES_WITHIN", 60.0)
    one, two = map(workload, ("one", "two"))

    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        worker.receive(Delta(snapshot=True, revision=1, endpoints=dict([one])))
        await worker.wait_until(lambda: worker.applied == 1)
        worker.receive(Delta(revision=2, endpoints={one[0]: None}))
        for _ in range(10):  # more than a turn needs
            await asyncio.sleep(0)
        assert worker.applied == 1
        worker.receive(Delta(revision=3, endpoints=dict([two])))
        await worker.wait_until(lambda: worker.applied == 3)
        assert [set(delta.endpoints) for delta in kernel.takes] == [{one[0]}, {one[0], two[0]}]

    play(scene)


def test_what_was_taken_along_does_not_ask_for_a_turn_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "_BUSY", 60.0)
    monkeypatch.setattr(worker_room, "_RIDES_WITHIN", 0.01)
    one, two = map(workload, ("one", "two"))

    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        worker.receive(Delta(snapshot=True, revision=1, endpoints=dict([one])))
        await worker.wait_until(lambda: worker.applied == 1)
        worker.receive(Delta(revision=2, endpoints={one[0]: None}))
        worker.receive(Delta(revision=3, endpoints=dict([two])))
        await worker.wait_until(lambda: worker.applied == 3)
        later, works = asyncio.Event(), kernel.works
        asyncio.get_running_loop().call_later(0.01, later.set)  # due after the one that rides
        await later.wait()
        for _ in range(10):  # more than a turn needs
            await asyncio.sleep(0)
        assert kernel.works == works

    play(scene)


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_what_the_kernel_tells_gathers_before_it_is_heard(monkeypatch: pytest.MonkeyPatch, patience: float) -> None:
    """Of a veth that comes or goes it tells ten times; a stranger who flushes routes means them all."""
    herald = Herald()

    async def scene(worker: Worker, kernel: Patient) -> None:
        worker.receive(Delta(snapshot=True, revision=1))
        kernel.go.set()
        await worker.wait_until(lambda: worker.applied == 1)
        monkeypatch.setattr(worker_room, "_GATHERS", patience)
        herald.say()
        for _ in range(10):  # more than a turn needs
            await asyncio.sleep(0)
        assert herald.heard == (0 if patience else 1)
        if not patience:
            herald.say()
            await worker.wait_until(lambda: kernel.scans == 2)

    play(scene, herald)


def test_what_only_goes_is_taken_though_nobody_comes() -> None:
    one = workload("one")

    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        worker.receive(Delta(snapshot=True, revision=1, endpoints=dict([one])))
        await worker.wait_until(lambda: worker.applied == 1)
        worker.receive(Delta(revision=2, endpoints={one[0]: None}))
        await worker.wait_until(lambda: worker.applied == 2)
        assert kernel.takes[-1].endpoints == {one[0]: None}

    play(scene)


@pytest.mark.parametrize("delta", [
    Delta(endpoints=dict([workload("one")])),
    Delta(endpoints={EndpointKey("e"): None}, routes={Cidr("10.0.0.1/32"): Route(
        destination=Cidr("10.0.0.1/32"), kind=RouteKind.BLACKHOLE)}),
    Delta(endpoints={EndpointKey("e"): None}, sets={SetId("s"): MemberChange(added=frozenset([Cidr("10.0.0.1/32")]))}),
    Delta(endpoints={EndpointKey("e"): None}, sets={SetId("s"): AddressSet(id=SetId("s"))}),
    Delta(endpoints={EndpointKey("e"): None}, settings=Settings()),
    Delta(endpoints={EndpointKey("e"): None}, snapshot=True),
    Delta(sets={SetId("s"): MemberChange(removed=frozenset([Cidr("10.0.0.1/32")]))}),
])
def test_what_is_more_than_a_departure_does_not_wait(delta: Delta) -> None:
    assert not delta.only_departs
    gone = MemberChange(removed=frozenset([Cidr("10.0.0.1/32")]))
    assert Delta(endpoints={EndpointKey("e"): None}, sets={SetId("s"): gone, SetId("t"): None}).only_departs


class Counting(ThreadPoolExecutor):
    """Threads, and how often one was asked to do something."""

    asked = 0

    def submit(self, *words: Any, **more: Any) -> Any:
        self.asked += 1
        return super().submit(*words, **more)


def test_for_a_workload_that_comes_no_flows_are_looked_at(tmp_path: Path) -> None:
    """They were let in by today's policy. Nor need a thread find out that nothing is to be looked at."""
    one, two = map(workload, ("one", "two"))

    async def scene(worker: Worker, kernel: Patient) -> None:
        async def followed() -> None:
            while worker.unfollowed:
                await asyncio.sleep(0.01)

        asyncio.get_running_loop().set_default_executor(threads := Counting(1))
        kernel.go.set()
        following = asyncio.create_task(Follower(worker, cast(Kernel, kernel), tmp_path).run())
        worker.receive(Delta(snapshot=True, revision=1, endpoints=dict([one])))
        await worker.wait_until(lambda: worker.applied == 1)
        await followed()
        assert threads.asked == 1, "after a snapshot all are looked at"
        worker.receive(Delta(revision=2, endpoints=dict([two])))
        await worker.wait_until(lambda: worker.applied == 2)
        await followed()
        assert threads.asked == 1
        following.cancel()

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


def test_what_a_server_said_last_is_kept_before_the_kernel_hears_of_it(tmp_path: Path) -> None:
    """Whether it takes it or not, and though the server is gone: a start without one would open again what has been
    closed."""

    async def server(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(msgspec.json.encode(Delta(snapshot=True, revision=7)) + b"\n")
        return response

    async def scene(worker: Worker, kernel: Patient) -> None:
        runner = web.ServerRunner(web.Server(server))
        await runner.setup()
        await web.UnixSite(runner, str(tmp_path / "s")).start()
        upstream, kept = Upstream([f"unix:{tmp_path}/s"], Identity()), Snapshot(tmp_path, tmp_path / "behind")
        following = asyncio.create_task(feed.follow(upstream, "h1", worker, kept))
        try:
            await kernel.taking.wait()
            found = kept.load()
            assert found is not None
            assert (found.revision, worker.applied) == (7, -1)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await upstream.close()
            await runner.cleanup()

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


def test_a_link_that_is_just_being_removed_is_not_left_over() -> None:
    """Its endpoint goes first; whoever asks how this host is must not be told to remove it by hand."""
    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.links = tuple(Link(index=number, name=name, kind="veth")
                             for number, name in enumerate(("mus1", "mus2"), 1))
        assert worker.problems(0.0) == (), "they may be coming, before their endpoints"
        with worker.removal_of("mus1"):
            [told] = worker.problems(9.0)
            assert told.what.startswith("interface mus2 is left over")
        assert len(worker.problems(9.5)) == 1, "it is gone, and the kernel has not said so yet"
        assert len(worker.problems(19.0)) == 2

    play(scene)


def test_what_a_full_stream_holds_is_one_turn_and_no_stream_puts_turns_off_for_ever() -> None:
    """It comes in pieces, one every other pass of the loop."""

    async def scene(worker: Worker, kernel: Patient) -> None:
        async def stream(pieces: int) -> None:
            for number in range(pieces):
                worker.receive(Delta(revision=2 + number, routes={}))
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        worker.connected("here")
        worker.receive(Delta(snapshot=True, revision=1))
        await kernel.taking.wait()
        kernel.go.set()
        await worker.wait_until(lambda: worker.applied == 1)
        before = worker.taken
        await stream(10)
        await worker.wait_until(lambda: worker.applied == 11)
        assert worker.taken - before <= 2, "the first piece may find the worker waiting"
        endless = asyncio.create_task(stream(1_000_000))
        try:
            await worker.wait_until(lambda: worker.applied > 30)
        finally:
            endless.cancel()

    play(scene)


REQUEST = Request(name="libnetwork", namespace="docker", orchestrator="libnetwork", endpoint="e1")
KEY = endpoint_key("docker", REQUEST.endpoint_name("h1"))
TCP = Published(protocol=6, host_port=53, port=53)


class Written:
    """A server that hears of ports."""

    def __init__(self) -> None:
        self.written = asyncio.Event()

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "") -> Any:
        assert method == "PATCH"
        self.written.set()
        return {}


def with_ports(revision: int, *published: Published) -> Delta:
    return Delta(revision=revision, endpoints={KEY: Endpoint(
        key=KEY, interface="mus1", ingress=GroupId("1" * 16), egress=GroupId("2" * 16), published=published)})


def port(**more: Any) -> dict[str, Any]:
    return {"name": "published", "protocol": "TCP", "port": 53, "hostPort": 53, **more}


@pytest.mark.parametrize(("before", "ports", "after"), [
    ((TCP,), (port(), port(protocol="UDP")), (TCP, Published(protocol=17, host_port=53, port=53))),
    ((TCP,), (port(protocol="SCTP"),), (Published(protocol=132, host_port=53, port=53),)),
    ((TCP,), (port(hostIP="192.0.2.1"),), (Published(protocol=6, host_port=53, port=53, host_address="192.0.2.1"),)),
    ((TCP,), (port(hostIP="FD00:0::1"),), (Published(protocol=6, host_port=53, port=53, host_address="fd00::1"),)),
    ((TCP,), (), ()),
])
def test_nobody_is_told_of_ports_before_the_kernel_has_them(
    tmp_path: Path, before: tuple[Published, ...], ports: tuple[dict[str, Any], ...], after: tuple[Published, ...]
) -> None:
    async def scene(worker: Worker, kernel: Patient) -> None:
        kernel.go.set()
        server = Written()
        workloads = Workloads("h1", worker, cast(Upstream, server), Journal(tmp_path))
        worker.receive(with_ports(1, *before))
        await worker.wait_until(lambda: worker.applied == 1)
        publishing = asyncio.create_task(workloads.publish(REQUEST, ports))
        await server.written.wait()
        worker.receive(Delta(revision=2))
        await worker.wait_until(lambda: worker.applied == 2)
        for _ in range(10):  # more than an answer needs
            await asyncio.sleep(0)
        assert not publishing.done()
        worker.receive(with_ports(3, *after))
        await publishing

    play(scene)


def test_ports_that_no_intent_could_have_are_refused_before_they_are_written(tmp_path: Path) -> None:
    async def scene(worker: Worker, kernel: Patient) -> None:
        server = Written()
        workloads = Workloads("h1", worker, cast(Upstream, server), Journal(tmp_path))
        with pytest.raises(Invalid, match=r"spec\.ports"):
            await workloads.publish(REQUEST, (port(protocol="odd"),))
        assert not server.written.is_set()

    play(scene)

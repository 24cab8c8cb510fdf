r"""One agent, wired: which tasks there are, and who tells whom.

    server --feed--> worker --> kernel (nftables, links, routes)        api (unix socket) --> workloads
       ^       |          \--> speaker (BIRD)                                                    |
       |       +--> snapshot on disk, first                                                      |
       +---- report, node, workloads' resources and addresses <----------------------------------+

SIGTERM or a crash end the tasks and leave the kernel and BIRD as they are: traffic flows on, policy holds.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from aiohttp import web

from muslin.agent import api, feed, node
from muslin.agent.flow_list import FlowList
from muslin.agent.flows import Follower
from muslin.agent.journal import Journal
from muslin.agent.kernel import Kernel
from muslin.agent.options import AgentOptions
from muslin.agent.report import Reporter
from muslin.agent.snapshot import Snapshot
from muslin.agent.speaker import Speaker
from muslin.agent.upstream import Upstream
from muslin.agent.witness import Witness
from muslin.agent.worker import Worker
from muslin.agent.workloads import Workloads
from muslin.calc.host import Graph
from muslin.client.refusal import ApiError, Unreachable
from muslin.drivers.bird import Bird
from muslin.drivers.monitor import Monitor
from muslin.errors import Invalid, Transient

_SERVER_HAS = 2.0
"""Seconds in which a server may answer before the snapshot is taken instead."""
_AGAIN = 1.0

log = structlog.get_logger()


class Service(Protocol):
    """An orchestrator's door to this host's workloads: its paths of the agent's API, and what it does all the time."""

    def routes(self) -> list[web.RouteDef]: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Host:
    """What an agent gives to those who serve orchestrators on it."""

    workloads: Workloads
    upstream: Upstream
    options: AgentOptions
    reporter: Reporter


Services = Callable[[Host], Sequence[Service]]


def no_services(_: Host) -> Sequence[Service]:
    return ()


async def run(
    options: AgentOptions, stop: asyncio.Event | None = None, services: Services = no_services
) -> None:
    """Until `stop` is set; without one, until SIGTERM or SIGINT. The kernel stays as it is."""
    with only_one(options.state_path, options.node):
        await _run(options, stop, services)


@contextmanager
def only_one(directory: Path, node: str) -> Iterator[None]:
    """Two agents of one node, or in one network namespace, would undo each other's work for ever. Raises Invalid.

    An abstract socket's name belongs to the namespace; it and the lock die with their holder, however that dies.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock, socket.socket(socket.AF_UNIX) as name:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"an agent of node {node} runs already (it holds {directory}/lock)") from None
        try:
            name.bind("\0muslin-agent")
        except OSError:
            raise Invalid("another agent keeps this network namespace already: `ss -xlp` or `ps` shows it") from None
        yield


async def _run(options: AgentOptions, stop: asyncio.Event | None, services: Services) -> None:
    gc.set_threshold(20_000, 20, 50)  # what a turn makes is mostly kept: to look so often costs a tenth of the turn
    kernel = Kernel(options.dataplane, options.state_path / "mtu")
    monitor = Monitor(kernel.port)
    speaker = Speaker(Bird(options.node)) if options.bgp else None
    worker = Worker(Graph(), kernel, monitor, speaker)
    feeding, calling = (Upstream(options.servers, options.identity) for _ in range(2))
    kept = Snapshot(options.state_path, options.behind_path)
    reporter = Reporter(options.node, worker, speaker)
    workloads = Workloads(options.node, worker, calling, Journal(options.state_path))
    serving = services(Host(workloads, calling, options, reporter))
    follower = Follower(worker, kernel, options.state_path)
    app = api.application(workloads, reporter, Witness(options.node, worker, kernel), FlowList(worker, follower))
    for service in serving:
        app.router.add_routes(service.routes())
    runner = await api.listen(app, options.socket_path)
    log.info("started", node=options.node, servers=",".join(options.servers), socket=str(options.socket_path))
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(worker.run()),
                tasks.create_task(follower.run()),
                tasks.create_task(feed.follow(feeding, options.node, worker, kept)),
                tasks.create_task(_fall_back(kept, worker)),
                tasks.create_task(kept.run(lambda: worker.given)),
                tasks.create_task(reporter.run(calling)),
                tasks.create_task(node.register(options, calling, reporter)),
                tasks.create_task(_undo_interrupted(workloads, worker)),
                *(tasks.create_task(service.run()) for service in serving),
            ]
            if speaker is not None:
                running.append(tasks.create_task(speaker.run()))
            await (stop.wait() if stop is not None else _wait_signal())
            for task in running:
                task.cancel()
    except BaseExceptionGroup as crash:
        for error in crash.exceptions:
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.critical("crashed", why=repr(error), at=f"{place.filename}:{place.lineno}")
        raise
    finally:
        await runner.cleanup()
        options.socket_path.unlink(missing_ok=True)
        await feeding.close()
        await calling.close()
        monitor.close()
        kernel.close()
        log.info("stopped", node=options.node)


async def _wait_signal() -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _fall_back(kept: Snapshot, worker: Worker) -> None:
    """No server in time: what was last known, until one answers."""
    await asyncio.sleep(_SERVER_HAS)
    if worker.told:
        return
    delta = await asyncio.to_thread(kept.load)
    if delta is not None and not worker.told:  # a server that came and went meanwhile knew better
        log.warning("using_snapshot", revision=delta.revision)
        worker.receive(delta)


async def _undo_interrupted(workloads: Workloads, worker: Worker) -> None:
    while not worker.in_sync:
        await worker.wait_turn()
    while True:
        try:
            return await workloads.undo_interrupted()
        except (Unreachable, ApiError, Transient) as error:
            log.warning("interrupted_additions_remain", why=str(error))
            await asyncio.sleep(_AGAIN)

"""One server: its store, the calculation, its doors; from start to stop.

Started by `muslin server` and `muslin up`, or by hand: python -m muslin.server --store sqlite:///FILE.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from muslin import paths
from muslin.server import address_routes, builtin, discovery, openapi, reviews
from muslin.server.additions import Additions
from muslin.server.auto_host_endpoints import AutoHostEndpoints
from muslin.server.bodies import MOST
from muslin.server.changes import Changes
from muslin.server.feeds import Feeds
from muslin.server.foresight import Foresight
from muslin.server.hub import Hub
from muslin.server.listeners import Listener, Tls, insecure, listen, secure
from muslin.server.lockout import Guard
from muslin.server.matrix import Matrix
from muslin.server.metrics import Metrics
from muslin.server.names import Names
from muslin.server.objects import Objects
from muslin.server.removals import Removals
from muslin.server.resources import Resources
from muslin.server.shell import shell
from muslin.server.status import Status
from muslin.server.streams import Stopping
from muslin.server.turnover import Turnover
from muslin.server.watching import Watching
from muslin.server.why import Why
from muslin.store import Store, open_store

LINE = 64 << 10
"""Bytes of a URL or a header: selectors of hundreds of values are asked for."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """`listen`: `unix:PATH` and `HOST:PORT` (needs `tls`). `insecure_listen`: loopback only, "" for none."""

    store: str = field(default_factory=lambda: f"sqlite:///{paths.state_dir() / 'store.db'}")
    listen: Sequence[str] = field(default_factory=lambda: (f"unix:{paths.server_socket()}",))
    insecure_listen: str = ""
    tls: Tls | None = None

    def listeners(self) -> list[Listener]:
        """Raises Invalid."""
        plain = [insecure(self.insecure_listen)] if self.insecure_listen else []
        return [*map(secure, self.listen), *plain]


async def serve(options: ServerOptions, stop: asyncio.Event | None = None,
                started: asyncio.Event | None = None) -> None:
    """Until `stop` is set or this is cancelled. `started` is set when every listener answers. Raises Invalid."""
    options.listeners()  # what is wrong with them is said before a store is made
    store = open_store(options.store)
    try:
        await serve_store(store, options, stop, started)
    finally:
        await store.close()


async def serve_store(store: Store, options: ServerOptions, stop: asyncio.Event | None = None,
                      started: asyncio.Event | None = None) -> None:
    """As `serve`, from a store that is open, and stays so."""
    listeners, stop, started = options.listeners(), stop or asyncio.Event(), started or asyncio.Event()
    await builtin.ensure(store)
    gc.set_threshold(20_000, 20, 50)  # the many small dicts of a list are no garbage; look less often
    stopping, metrics = Stopping(), Metrics()
    hub = Hub(store, metrics)
    names = Names(hub, stopping)
    auto = AutoHostEndpoints(Objects(store))
    app = application(store, hub, metrics, stopping, auto)
    app.router.add_routes(names.routes())
    silent = logging.getLogger("muslin.server.http")  # the shell logs what is our fault; what is not HTTP is nobody's
    silent.setLevel(logging.CRITICAL)
    runner = web.AppRunner(app, access_log=None, logger=silent, shutdown_timeout=2, max_line_size=LINE,
                           max_field_size=LINE)
    await runner.setup()
    bound: list[Listener] = []
    try:
        for listener in listeners:
            await listen(runner, listener, options.tls)
            bound.append(listener)
            log.info("listening", at=str(listener))
        started.set()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(hub.run()), tasks.create_task(auto.run())]
            await stop.wait()
            for task in running:
                task.cancel()
    finally:
        stopping.stop()
        hub.wake_all()
        names.wake_all()
        await runner.cleanup()
        for listener in bound:
            if listener.path:
                listener.path.unlink(missing_ok=True)
        log.info("stopped")


def application(
    store: Store, hub: Hub, metrics: Metrics, stopping: Stopping, auto: AutoHostEndpoints,
) -> web.Application:
    """Everything that is answered."""
    began = time.monotonic()
    app = web.Application(middlewares=[shell(metrics)], client_max_size=MOST)
    guard = Guard(store)
    objects = Objects(store, guard)
    feeds = Feeds(hub, stopping, guard)
    status = Status(objects, hub, feeds, began, lambda: auto.problems)

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok" if hub.ready else "loading", status=200 if hub.ready else 503)

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app.router.add_routes([web.get(path, healthy) for path in ("/healthz", "/livez", "/readyz")])
    app.router.add_get("/metrics", measured)
    app.router.add_routes(discovery.routes())
    app.router.add_routes(openapi.routes())
    app.router.add_routes(reviews.routes())
    app.router.add_routes(feeds.routes())
    app.router.add_routes(status.routes())
    app.router.add_routes(Why(store, hub, feeds).routes())
    app.router.add_routes(Matrix(store, hub).routes())
    app.router.add_routes(Foresight(store, hub).routes())
    addresses = address_routes.register(app, store)
    turnover = Turnover(store)
    app.router.add_routes(Additions(objects, addresses, turnover).routes())
    app.router.add_routes(Removals(objects, addresses, turnover).routes())
    app.router.add_routes(Changes(objects, addresses, turnover, Turnover(store)).routes())
    app.router.add_routes(Resources(objects, Watching(objects, stopping, metrics), addresses).routes())
    return app

"""What hosts are told and what they say: GET /muslin/v1/hosts/HOST/feed and POST /muslin/v1/hosts/HOST/report; and how
far they are with objects that their services follow: GET /muslin/v1/followed/KIND.

The feed is one `intent.Delta` a line, the first a snapshot, and an empty line every 5 s so that each side notices when
the other is gone. Reports are kept in memory only, the last of each host: a host that is alive sends another.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
import structlog
from aiohttp import web

from muslin.intent import HostReport
from muslin.server.hub import Hub
from muslin.server.lockout import Guard
from muslin.server.refusals import bad_request
from muslin.server.requests import answer
from muslin.server.streams import Stopping, Stream

KEEP_ALIVE_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Heard:
    """`at` by the monotonic clock."""

    report: HostReport
    at: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


class Feeds:
    def __init__(self, hub: Hub, stopping: Stopping, guard: Guard) -> None:
        self.heard: dict[str, Heard] = {}
        self._hub = hub
        self._stopping = stopping
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/hosts/{host}/feed", self.feed, allow_head=False),
                web.post("/muslin/v1/hosts/{host}/report", self.report),
                web.get("/muslin/v1/followed/{kind}", self.followed)]

    async def feed(self, request: web.Request) -> web.StreamResponse:
        host = request.match_info["host"]
        self._guard.connected(host, request)
        async with Stream(request, "application/x-ndjson", self._stopping) as stream:
            subscriber = await self._hub.subscribe(host, stream.hang_up)
            log.info("host_connected", host=host)
            try:
                while not stream.over and not subscriber.dropped:
                    await stream.write(await subscriber.take(KEEP_ALIVE_SECONDS) or b"\n")
            finally:
                self._hub.unsubscribe(subscriber)
                log.info("host_disconnected", host=host)
        return stream.response

    async def followed(self, request: web.Request) -> web.Response:
        """Host -> name -> what is wrong there, "" when nothing is; "" for a name is the host's service itself. A host
        whose agent is gone is left out: nobody knows."""
        prefix = f"{request.match_info['kind']}/"
        found = {}
        for host in sorted(self._hub.connected & self.heard.keys()):
            states = self.heard[host].report.followed
            mine = {key.removeprefix(prefix): why for key, why in states.items() if key.startswith(prefix)}
            if mine:
                found[host] = mine
        return answer({"hosts": found})

    async def report(self, request: web.Request) -> web.Response:
        host = request.match_info["host"]
        try:
            report = msgspec.json.decode(await request.read(), type=HostReport)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request(f"the body is not a report of a host: {error}") from None
        if report.host != host:
            raise bad_request(f"the report is of {report.host!r}, the path says {host!r}")
        self.heard[host] = Heard(report, time.monotonic())
        return answer({})

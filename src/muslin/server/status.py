"""One screen of truth: who is connected, what is not in force yet, what is wrong, and what to do about each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from aiohttp import web

import muslin
from muslin.intent import HostReport, Problem
from muslin.model.kinds import BY_NAME
from muslin.model.meta import ResourceKey
from muslin.server.feeds import Feeds
from muslin.server.hub import Hub
from muslin.server.objects import Objects
from muslin.server.refusals import Json
from muslin.server.requests import answer
from muslin.store import layout

SILENT_SECONDS = 30
"""A connected host that has not reported for so long is ill: agents report every few seconds."""
FORGOTTEN_SECONDS = 60
"""After so long nobody asks for a host that is neither declared nor connected any more."""
ESTABLISHED = "Established"


class Status:
    def __init__(self, objects: Objects, hub: Hub, feeds: Feeds, began: float,
                 problems: Callable[[], tuple[Problem, ...]]) -> None:
        """`problems`: of the server's own tasks."""
        self._own = problems
        self._store = objects.store
        self._hub = hub
        self._feeds = feeds
        self._began = began

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/status", self.status)]

    async def status(self, _: web.Request) -> web.Response:
        hosts = [self._host(name) for name in sorted(await self._names())]
        faults = [
            {"object": str(key), "message": message, "mend": _mend(key)}
            for key, message in sorted(self._hub.faults.items())
        ]
        faults += [{"object": one.key, "message": one.what, "mend": one.mend} for one in self._own()]
        ok = self._hub.ready and not faults and not any(host["problems"] for host in hosts)
        return answer({"server": await self._server(), "hosts": hosts, "faults": faults, "ok": ok})

    async def _names(self) -> set[str]:
        """Hosts that are declared, that are connected, or that were heard of just now: others have been taken away."""
        nodes = await self._store.list(layout.prefix("Node"))
        declared = {key.name for entry in nodes.entries if (key := layout.parse(entry.key))}
        known = declared | self._hub.connected
        for host, heard in list(self._feeds.heard.items()):
            if host not in known and heard.age > FORGOTTEN_SECONDS:
                del self._feeds.heard[host]
        return known | set(self._feeds.heard)

    async def _server(self) -> Json:
        return {
            "version": muslin.__version__, "pid": os.getpid(), "uptime": round(time.monotonic() - self._began, 1),
            "ready": self._hub.ready, "revision": await self._store.revision(), "calculated": self._hub.revision,
            "rss": resident(), "objects": {kind: count for kind, count in sorted(self._hub.counts.items()) if count},
        }

    def _host(self, name: str) -> Json:
        heard = self._feeds.heard.get(name)
        connected = name in self._hub.connected
        report = heard.report if heard else HostReport(host=name)
        age = heard.age if heard else None
        told = self._hub.told.get(name, 0)
        problems = list(self._problems(report, connected, age))
        return {
            "name": name, "connected": connected, "in_sync": connected and report.in_sync, "applied": report.applied,
            "behind": max(0, told - report.applied) if connected and heard else 0, "bgp": report.bgp,
            "sessions": msgspec.to_builtins(report.sessions), "endpoints": msgspec.to_builtins(report.endpoints),
            "problems": msgspec.to_builtins(problems), "repairs": msgspec.to_builtins(report.repairs),
            "reported": None if age is None else round(age, 1), "version": report.version, "started": report.started,
            "rss": report.rss,
        }

    def _problems(self, report: HostReport, connected: bool, age: float | None) -> Iterator[Problem]:
        host = report.host
        if not connected:
            what = "its agent is not connected" if age is None else f"its agent has been gone for about {age:.0f} s"
            yield Problem(what=what, mend=f"start muslin agent on {host}; its kernel keeps the last policy meanwhile")
            return
        if age is None or age > SILENT_SECONDS:
            yield Problem(what="its agent is connected but does not report", mend=f"look at the agent's log on {host}")
            return
        if not report.in_sync:
            yield Problem(what="its kernel is not as it should be yet", mend="wait, then look at its agent's log")
        yield from report.problems
        if report.bgp == "down":
            yield Problem(what="BIRD is not running", mend=f"the agent starts it again; look at its log on {host}")
        for session in report.sessions:
            if session.state != ESTABLISHED:
                info = f" ({session.info})" if session.info else ""
                yield Problem(what=f"BGP with {session.peer} is {session.state or 'unknown'}{info}", key=session.name,
                              mend=f"check that {session.peer} is up, speaks BGP as AS {session.peer_as}, "
                                   "and that nothing drops TCP port 179")
        for key, state in sorted(report.endpoints.items()):
            if state.state != "up":
                yield Problem(what=f"{key} is {state.state}{f': {state.message}' if state.message else ''}", key=key,
                              mend="look whether its interface exists on the host")


def resident() -> int:
    """Bytes of memory that this process uses now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _mend(key: ResourceKey) -> str:
    kind = BY_NAME.get(key.kind)
    if kind is None:
        return f"look at the record of {key}"
    scope = f" -n {key.namespace}" if key.namespace else ""
    return f"muslin get {kind.singular} {key.name}{scope} -o yaml, correct it and apply it again"

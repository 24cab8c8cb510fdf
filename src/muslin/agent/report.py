"""What this host says of itself: the answer of `GET /v1/status`, and every few seconds to the server."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog

import muslin
from muslin.agent.speaker import Speaker
from muslin.agent.upstream import Upstream
from muslin.agent.worker import Worker
from muslin.client.refusal import ApiError, Unreachable
from muslin.intent import HostReport, Problem

_EVERY = 5.0
_EVERY_WHILE_SESSIONS_COME_UP = 1.0
_AFTER = 0.02
"""Seconds: whoever waits for a workload goes first."""
_AT_MOST_EVERY = 0.1
_MORE_FOR_EACH = 0.0004
"""Seconds more for each endpoint: a report tells the state of every one, so what it costs here and at the server grows
with them, and must not come as often. One change after a pause is reported at once."""

log = structlog.get_logger()


class Reporter:
    def __init__(self, node: str, worker: Worker, speaker: Speaker | None) -> None:
        self._node = node
        self._worker = worker
        self._speaker = speaker
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.problems: dict[str, Problem] = {}
        """Of other tasks, by task."""
        self._followed: dict[str, dict[str, Problem | None]] = {}

    def follow(self, kind: str, states: dict[str, Problem | None] | None) -> None:
        """How far a service is with the objects of a kind; None: it follows none any more."""
        self._followed.pop(kind, None)
        if states is not None:
            self._followed[kind] = states
        self._worker.report_changed()

    def report(self) -> HostReport:
        worker, speaker = self._worker, self._speaker
        return HostReport(
            host=self._node,
            applied=max(worker.applied, 0),
            in_sync=worker.in_sync,
            started=self._started,
            version=muslin.__version__,
            rss=resident(),
            mtu=worker.mtu,
            endpoints=dict(worker.states),
            sessions=speaker.state.sessions if speaker else (),
            bgp=speaker.word if speaker else "",
            problems=(*self._connection(), *self.problems.values(), *(speaker.problems if speaker else ()),
                      *worker.problems(time.monotonic()), *self._wrong()),
            repairs=tuple(worker.repairs),
            followed={f"{kind}/{name}": problem.what if problem else "" for kind, states in self._followed.items()
                      for name, problem in states.items()},
        )

    def _wrong(self) -> tuple[Problem, ...]:
        """Each thing once: where the service itself is ill, all its objects are."""
        every = (problem for states in self._followed.values() for problem in states.values())
        return tuple(dict.fromkeys(problem for problem in every if problem is not None))

    def _connection(self) -> tuple[Problem, ...]:
        if not self._worker.why_disconnected:
            return ()
        return (Problem(what=f"no server: {self._worker.why_disconnected}", mend="start `muslin server`"),)

    async def run(self, upstream: Upstream) -> None:
        """Send it on every change, not too often, and every 5 s. A server that does not listen gets the next one.
        Never returns."""
        while True:
            changes = self._worker.changes
            if self._worker.server:
                try:
                    await upstream.call("POST", f"/muslin/v1/hosts/{self._node}/report", self.report())
                except (Unreachable, ApiError) as error:
                    log.debug("report_not_taken", why=str(error))
            await asyncio.sleep(_AT_MOST_EVERY + len(self._worker.states) * _MORE_FOR_EACH)
            try:
                settled = self._speaker is None or self._speaker.settled
                async with asyncio.timeout(_EVERY if settled else _EVERY_WHILE_SESSIONS_COME_UP):
                    await self._worker.wait_changed(changes)
                await asyncio.sleep(_AFTER)
            except TimeoutError:
                continue


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

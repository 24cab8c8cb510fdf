"""Containers of a restart policy that dockerd could not start because no agent ran.

At a boot dockerd is often there before us. It starts each container of a restart policy once, gets no network, and does
not try again. So when we can answer, dockerd is asked, for a minute, for such containers, and starts them: only those
that ran before, and whose last start failed at our door. Whoever stopped one by hand stopped a container that ran, and
dockerd forgot the failure when it started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from muslin.errors import MuslinError
from muslin.plugins.docker.daemon import Daemon

AFTER = (0.0, 2.0, 5.0, 10.0, 15.0, 15.0, 15.0)
"""Seconds between two looks: dockerd tries our door for a quarter of a minute before it gives a container up."""
NO_AGENT = "the agent of this host does not answer"
"""Of what our door says then."""
_POLICIES = ("always", "unless-stopped", "on-failure")
_NEVER = "0001-"
_EVERY = 1.0
Object = dict[str, Any]

log = structlog.get_logger()


class Reviving:
    """`socket`: our door, which dockerd names when it is not there."""

    def __init__(self, daemon: Callable[[], Daemon | None], why_not_ready: Callable[[], str], socket: str) -> None:
        self._daemon = daemon
        self._why_not_ready = why_not_ready
        self._socket = socket

    async def run(self) -> None:
        while self._daemon() is None or self._why_not_ready():
            await asyncio.sleep(_EVERY)
        for seconds in AFTER:
            await asyncio.sleep(seconds)
            try:
                await self._look()
            except MuslinError as error:
                log.info("docker_containers_not_known", why=str(error))

    async def _look(self) -> None:
        daemon = self._daemon()
        for container in await daemon.stopped() if daemon else ():
            try:
                found = await daemon.whole_container(container) if daemon else None
                if daemon and found and should_run(found, self._socket):
                    log.info("docker_container_started", container=found.get("Name"))
                    await daemon.start(container)
            except MuslinError as error:  # one that cannot start holds up no other
                log.warning("docker_container_not_started", container=container, why=str(error))


def should_run(container: Object, socket: str) -> bool:
    """As dockerd tells of it: would it run, had we been there?"""
    state = container.get("State") or {}
    policy = ((container.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    failure = str(state.get("Error") or "")
    return (policy in _POLICIES and not str(state.get("StartedAt") or _NEVER).startswith(_NEVER)
            and not state.get("Running") and (NO_AGENT in failure or socket in failure))

"""Endpoints and addresses of workloads that leave, given back to the server, many in one call where many go.

In two steps, because between them this host's kernel lets go: see `workloads`. While several are leaving, or one has
followed another closely, the second step of one can wait for the first step of the next, which is about to come: one
call instead of two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from muslin.agent.gathering import Gathering, Said
from muslin.agent.upstream import Upstream

_PATIENCE = 0.025
_CLOSELY = 0.05
"""Seconds between the beginnings of two that leave, so that a third is expected."""


class Removals:
    """What is gone already is no failure. Raises as `Gathering.ask`."""

    def __init__(self, upstream: Upstream) -> None:
        self._gathering = Gathering(upstream, "DELETE", Said)
        self._under_way = 0
        self._last = self._last_but_one = -math.inf
        """When they began to leave."""

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around both steps of one workload."""
        self._under_way += 1
        self._last_but_one, self._last = self._last, time.monotonic()
        try:
            yield
        finally:
            self._under_way -= 1

    async def endpoint(self, namespace: str, name: str) -> None:
        """It is removed. Its addresses stay ours."""
        await self._gathering.ask({"namespace": namespace, "name": name})

    async def addresses(self, handle: str) -> None:
        """All that the handle holds are anybody's."""
        await self._gathering.ask({"handle": handle}, _PATIENCE if self._expects_another else 0.0)

    @property
    def _expects_another(self) -> bool:
        follow = self._last - self._last_but_one < _CLOSELY and time.monotonic() - self._last < _CLOSELY
        return follow or self._under_way > 1

"""Endpoints and addresses of workloads that leave, given back to the server, many in one call where many go.

In two steps, because between them this host's kernel lets go: see `workloads`.
"""

from __future__ import annotations

from muslin.agent.gathering import Gathering, Said
from muslin.agent.upstream import Upstream


class Removals:
    """What is gone already is no failure. Raises as `Gathering.ask`."""

    def __init__(self, upstream: Upstream) -> None:
        self._gathering = Gathering(upstream, "DELETE", Said)

    async def endpoint(self, namespace: str, name: str) -> None:
        """It is removed. Its addresses stay ours."""
        await self._gathering.ask({"namespace": namespace, "name": name})

    async def addresses(self, handle: str) -> None:
        """All that the handle holds are anybody's."""
        await self._gathering.ask({"handle": handle})

"""Endpoints and addresses of new workloads, asked of the server, many in one call where many come."""

from __future__ import annotations

from muslin.agent.gathering import Gathering, Said
from muslin.agent.resources import Object
from muslin.agent.upstream import Upstream
from muslin.net import Cidr


class _Added(Said, frozen=True):
    addresses: tuple[str, ...] = ()


class Additions:
    def __init__(self, upstream: Upstream) -> None:
        self._gathering = Gathering(upstream, "POST", _Added)

    async def ask(self, endpoint: Object, addresses: Object | None) -> tuple[Cidr, ...]:
        """The endpoint is there, with these addresses, and its namespace is. `addresses` None: it has them already.

        Raises as `Gathering.ask`.
        """
        item = {"endpoint": endpoint} | ({"addresses": addresses} if addresses is not None else {})
        return tuple(map(Cidr, (await self._gathering.ask(item)).addresses))

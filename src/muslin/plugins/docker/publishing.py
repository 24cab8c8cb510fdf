"""Published ports lead to that endpoint of a container by which it has its default route, for its answers go that way.

dockerd hands the ports of a container to each of its endpoints, and says by two calls which one they are for:

    ProgramExternalConnectivity    ports found, written to the endpoint, waited for: they lead there now
    RevokeExternalConnectivity     they do not any more; another endpoint of the container may follow, and keeps the
                                   numbers that nobody had named
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog

from muslin.client.workload import Request
from muslin.errors import Invalid, MuslinError
from muslin.intent import Published
from muslin.net import protocol_name
from muslin.plugins.docker import ports, words
from muslin.plugins.docker.book import Book, Endpoint, Publication
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.leftovers import identity

Object = dict[str, Any]

log = structlog.get_logger()


class Door(Protocol):
    """What the agent's workloads offer."""

    async def publish(self, request: Request, ports: tuple[Object, ...]) -> None: ...

    def published(self, but: str) -> tuple[Published, ...]: ...


class Publishing:
    def __init__(self, door: Door, book: Book) -> None:
        self._door = door
        self._book = book
        self._turn = asyncio.Lock()
        """What dockerd asks at once must not race for ports."""

    def calls(self) -> dict[str, Callable[[Object], Awaitable[Object]]]:
        return {"NetworkDriver.ProgramExternalConnectivity": self._program,
                "NetworkDriver.RevokeExternalConnectivity": self._revoke}

    async def _program(self, call: Object) -> Object:
        asked = ports.wanted(call.get("Options") or {})
        if not asked:
            return {}
        for port in asked:
            if port.host_ip and not ports.is_here(port.host_ip):
                raise Refused(f"-p {port.host_ip}:{port.first}:{port.port}: {port.host_ip} is no address of this host"
                              " (net.ipv4.ip_nonlocal_bind=1 allows one that is to come)")
        async with self._turn:
            endpoint = self._book.pages.endpoints.get(call["EndpointID"])
            if endpoint is None:
                raise Refused(f"endpoint {call['EndpointID']} was never created here: start the container again")
            endpoint = msgspec.structs.replace(endpoint, published=self._settled(endpoint, asked))
            self._book.put(endpoint)
        try:
            await self._door.publish(identity(endpoint.id), words.ports(endpoint.published))
        except MuslinError:
            await self._take_back(endpoint.id)
            raise
        return {}

    async def _take_back(self, endpoint: str) -> None:
        """Ports that may be written to the endpoint are its own until they are not: nobody else gets them."""
        try:
            await self._door.publish(identity(endpoint), ())
        except Invalid:
            pass  # it is gone, and has none
        except MuslinError as error:
            log.warning("docker_ports_not_taken_back", endpoint=endpoint, why=str(error))
            return
        self._note(endpoint)

    def _note(self, endpoint: str, withdrawn: tuple[Publication, ...] = ()) -> None:
        """It has no ports, if it is there: it may be deleted meanwhile."""
        known = self._book.pages.endpoints.get(endpoint)
        if known is not None:
            self._book.put(msgspec.structs.replace(known, published=(), withdrawn=withdrawn or known.withdrawn))

    def _settled(self, endpoint: Endpoint, asked: tuple[ports.Wanted, ...]) -> tuple[Publication, ...]:
        every = self._book.pages.endpoints.values()
        others = [port for each in every if each.id != endpoint.id for port in each.published]
        others += map(_publication, self._door.published(words.ORCHESTRATOR))  # CNI's, say
        kept = [port for each in every if each.container_id == endpoint.container_id for port in each.withdrawn]
        mine = (*endpoint.published, *(port for port in kept if self._is_free(port, others)))
        return ports.settle(asked, mine, others, ports.in_use)

    def _is_free(self, port: Publication, others: list[Publication]) -> bool:
        return ports.is_free(port, others) and not ports.in_use(port.protocol, port.host_ip, port.host_port)

    async def _revoke(self, call: Object) -> Object:
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is not None and endpoint.published:
            await self._door.publish(identity(endpoint.id), ())
            self._note(endpoint.id, withdrawn=endpoint.published)
        return {}


def _publication(port: Published) -> Publication:
    return Publication(protocol=protocol_name(port.protocol).upper(), host_port=port.host_port, port=port.port,
                       host_ip=port.host_address)

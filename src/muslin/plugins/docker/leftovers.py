"""What calls of dockerd left behind that were broken off in their middle.

The agent or dockerd may be killed between any two steps: an address that the server gave and dockerd never heard of; a
container that was removed while no agent ran, so that dockerd could tell nobody and forgot it. Neither is told again.

So after whatever may leave something (the agent's start, dockerd's start, a call that failed) dockerd is asked, again
and again, which networks, endpoints and addresses it knows. What this host holds for it beyond those, and did for a
while, goes.
A dockerd that slept between two of its calls longer than that finds its address taken again (`Addresses.still_ours`);
and who asks for such an address by name need not wait (`reclaim`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from muslin.client.workload import Request, Workload
from muslin.errors import Invalid
from muslin.intent import EndpointKey
from muslin.model.names import parse_workload_endpoint_name
from muslin.net import Cidr, host_cidr
from muslin.plugins.docker import words
from muslin.plugins.docker.addresses import Addresses
from muslin.plugins.docker.book import Book
from muslin.plugins.docker.daemon import Daemon

LONG_ENOUGH = 5.0
"""Between two calls of dockerd about one endpoint are milliseconds."""
_ACTIVATE = "Plugin.Activate"
Object = dict[str, Any]

log = structlog.get_logger()


class Door(Protocol):
    """What the agent's workloads offer."""

    async def add(self, request: Request) -> Workload: ...

    async def detach(self, request: Request) -> None: ...

    @property
    def attached(self) -> tuple[EndpointKey, ...]: ...

    @property
    def why_not_ready(self) -> str: ...


class Leftovers:
    def __init__(self, door: Door, addresses: Addresses, book: Book,
                 remove_network: Callable[[str], Awaitable[None]]) -> None:
        self._door = door
        self._addresses = addresses
        self._book = book
        self._remove_network = remove_network
        self._suspected = True  # who was here before us may have died in the middle of a call
        self._unknown: dict[str, float] = {}
        """Endpoints, handles, networks and gateways that dockerd does not know -> since when."""

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """Around every call: a failure makes us look."""
        self._suspected |= call == _ACTIVATE  # dockerd has just started
        try:
            yield
        except BaseException:
            self._suspected = True
            raise

    async def look(self, daemon: Daemon) -> None:
        """Raises Transient, ApiError: not this time."""
        if not self._suspected or self._door.why_not_ready:
            return
        networks, endpoints, addresses = await _known(daemon)
        strangers = [each for each in self._endpoints() if each not in endpoints]
        removed = [each for each in self._book.pages.networks if each not in networks]
        unused = [each for each in self._book.pages.gateways if each not in self._book.used_gateways]
        lost = [handle for handle, held in (await self._addresses.held()).items()
                if not addresses & set(held) and not any(address in self._addresses.kept for address in held)]
        now = asyncio.get_running_loop().time()
        self._unknown = {each: self._unknown.get(each, now) for each in (*strangers, *lost, *removed, *unused)}
        old = {each for each, since in self._unknown.items() if now - since >= LONG_ENOUGH}
        for endpoint in old.intersection(strangers):
            await self._forget(endpoint)
        for handle in old.intersection(lost):
            released = await self._addresses.give_back(handle)
            log.warning("docker_address_left_behind", handle=handle, addresses=",".join(released))
        for network in old.intersection(removed):
            await self._remove_network(network)
            log.warning("docker_network_left_behind", network=network)
        for gateway in old.intersection(unused):
            self._book.give_gateway(gateway)
        self._suspected = bool(self._unknown)

    async def reclaim(self, address: Cidr, daemon: Daemon) -> bool:
        """An address that a container asks for, and that this host holds, was left behind: it is free now. What we gave
        away ourselves, since we started, dockerd has heard of."""
        handle = next((handle for handle, held in (await self._addresses.held()).items() if address in held), "")
        if not handle or self._addresses.given.get(address) == handle:
            return False
        _, endpoints, addresses = await _known(daemon)
        if address in addresses:
            return False
        for endpoint in [each for each in self._book.pages.endpoints.values() if address in each.addresses]:
            if endpoint.id not in endpoints:
                await self._forget(endpoint.id)
        await self._addresses.give_back(handle)
        log.warning("docker_address_left_behind", handle=handle, addresses=address)
        return True

    async def _forget(self, endpoint: str) -> None:
        await self._door.detach(identity(endpoint))
        self._book.forget(endpoint)
        log.warning("docker_endpoint_left_behind", endpoint=endpoint)

    def _endpoints(self) -> set[str]:
        """Those of Docker that this host has, by dockerd's names for them."""
        found = set(self._book.pages.endpoints)
        for key in self._door.attached:
            _, namespace, name = key.split("/")
            try:
                _, orchestrator, _, endpoint = parse_workload_endpoint_name(name)
            except Invalid:
                continue  # somebody's own name: none that we gave
            if (namespace, orchestrator) == (words.NAMESPACE, words.ORCHESTRATOR):
                found.add(endpoint)
        return found


def identity(endpoint: str) -> Request:
    """Calico's names for endpoints of libnetwork."""
    return Request(name=words.ORCHESTRATOR, namespace=words.NAMESPACE, orchestrator=words.ORCHESTRATOR,
                   endpoint=endpoint)


async def _known(daemon: Daemon) -> tuple[set[str], set[str], set[Cidr]]:
    """(networks, endpoints, addresses) that dockerd knows and that have anything to do with us."""
    networks: set[str] = set()
    endpoints: set[str] = set()
    addresses: set[Cidr] = set()
    for each in await daemon.networks():
        if words.DRIVER not in (each.get("Driver"), (each.get("IPAM") or {}).get("Driver")):
            continue
        networks.add(str(each.get("Id")))
        found: Object = await daemon.network(str(each.get("Id"))) or {}
        for container in (found.get("Containers") or {}).values():
            endpoints.add(str(container.get("EndpointID")))
            addresses |= _addresses(container.get("IPv4Address"), container.get("IPv6Address"))
        for config in (found.get("IPAM") or {}).get("Config") or ():
            addresses |= _addresses(*(config.get("AuxiliaryAddresses") or {}).values())
    return networks, endpoints, addresses


def _addresses(*texts: Any) -> set[Cidr]:
    return {host_cidr(str(text)) for text in texts if text}

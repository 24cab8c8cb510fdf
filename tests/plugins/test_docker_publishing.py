"""Which ports an endpoint has in the book when writing them to it fails, and which it has again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from muslin.client.workload import Request
from muslin.errors import Invalid, MuslinError, Transient
from muslin.intent import Published
from muslin.plugins.docker import ports
from muslin.plugins.docker.book import Book, Endpoint, Publication
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.publishing import Publishing


class Door:
    """Writes what it is told, then fails as it is told."""

    def __init__(self) -> None:
        self.written: dict[str, tuple[Any, ...]] = {}
        self.failures: list[MuslinError | None] = []
        self.others: tuple[Published, ...] = ()

    def published(self, but: str) -> tuple[Published, ...]:
        assert but == "libnetwork"
        return self.others

    async def publish(self, request: Request, ports: tuple[dict[str, Any], ...]) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if not isinstance(failure, Invalid):
            self.written[request.endpoint] = ports
        if failure is not None:
            raise failure


class World:
    def __init__(self, path: Path) -> None:
        self.door, self.book = Door(), Book(path / "book")
        self.calls = Publishing(self.door, self.book).calls()
        for name in ("one", "two"):
            self.book.put(Endpoint(id=name, network="n", addresses=("10.65.8.1/32",), container_id="c"))

    def program(self, endpoint: str, host_port: int = 0) -> tuple[Publication, ...]:
        wanted = {"Proto": 6, "Port": 80, "HostIP": "", "HostPort": host_port, "HostPortEnd": host_port}
        asyncio.run(self._call("Program", {"EndpointID": endpoint, "Options": {ports.PORTMAP: [wanted]}}))
        return self.book.pages.endpoints[endpoint].published

    def revoke(self, endpoint: str) -> None:
        asyncio.run(self._call("Revoke", {"EndpointID": endpoint}))

    async def _call(self, verb: str, call: dict[str, Any]) -> None:
        await self.calls[f"NetworkDriver.{verb}ExternalConnectivity"](call)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


def test_ports_that_are_not_in_force_in_time_are_taken_from_the_endpoint_again(world: World) -> None:
    world.door.failures = [Transient("not in the kernel")]
    with pytest.raises(Transient):
        world.program("one")
    assert world.door.written["one"] == ()
    assert world.book.pages.endpoints["one"].published == ()


def test_a_port_that_leads_to_somebody_elses_workload_is_taken(world: World) -> None:
    """One of CNI's, say: dockerd does not know it, and the two would have it by turns."""
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    world.door.others = (Published(protocol=6, host_port=port, port=80, host_address=""),)
    with pytest.raises(Refused, match="another container"):
        world.program("one", port)
    world.door.others = (Published(protocol=17, host_port=port, port=80, host_address=""),)
    assert [each.host_port for each in world.program("one", port)] == [port]


def test_ports_that_cannot_be_taken_from_the_endpoint_go_to_nobody_else(world: World) -> None:
    world.door.failures = [Transient("not in the kernel"), Transient("no server")]
    with pytest.raises(Transient, match="kernel"):
        world.program("one")
    [held] = world.book.pages.endpoints["one"].published
    [other] = world.program("two")
    assert other.host_port != held.host_port


def test_an_endpoint_that_is_gone_has_no_ports(world: World) -> None:
    world.door.failures = [Invalid("it is not there any more"), Invalid("still not")]
    with pytest.raises(Invalid, match="any more"):
        world.program("one")
    assert world.book.pages.endpoints["one"].published == ()


def test_an_endpoint_that_was_deleted_meanwhile_does_not_come_back(world: World) -> None:
    class Deleting(Transient):
        pass

    async def publish(request: Request, ports: tuple[dict[str, Any], ...]) -> None:
        world.book.forget(request.endpoint)
        if ports:
            raise Deleting("gone")

    world.door.publish = publish  # type: ignore[method-assign]
    with pytest.raises(Deleting):
        world.program("one")
    assert set(world.book.pages.endpoints) == {"two"}


def test_a_port_that_was_withdrawn_comes_again_unless_a_process_has_it_now(
    world: World, listener: socket.socket
) -> None:
    """The container's other endpoint follows; who listens meanwhile keeps his port."""
    number = listener.getsockname()[1]
    held = Publication(protocol="TCP", host_port=number, port=80)
    one = world.book.pages.endpoints["one"]
    world.book.put(msgspec.structs.replace(one, published=(held,)))
    world.revoke("one")
    assert world.book.pages.endpoints["one"].withdrawn == (held,)
    listener.listen()
    [made] = _any(world, number)
    assert made.host_port != number
    world.revoke("two")
    world.book.put(msgspec.structs.replace(world.book.pages.endpoints["two"], withdrawn=()))
    listener.close()
    assert _any(world, number) == (held,)


def _any(world: World, number: int) -> tuple[Publication, ...]:
    """By endpoint two, any port from that number on."""
    wanted = {"Proto": 6, "Port": 80, "HostIP": "", "HostPort": number, "HostPortEnd": number + 50}
    asyncio.run(world._call("Program", {"EndpointID": "two", "Options": {ports.PORTMAP: [wanted]}}))
    return world.book.pages.endpoints["two"].published

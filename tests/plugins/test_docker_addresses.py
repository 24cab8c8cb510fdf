"""Docker's addresses: what the server is asked, and by which handle it is given what back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from muslin.client.refusal import ApiError
from muslin.errors import Transient
from muslin.net import Cidr
from muslin.plugins.docker.addresses import Addresses
from muslin.plugins.docker.book import Book, Endpoint, Network
from muslin.plugins.docker.daemon import Daemon

POOL, SUBNET = "muslin/10.65.8.0/24", "10.65.8.0/24"
A = Cidr("10.65.8.1/32")


class Server:
    """Address -> handle. `answers` False: it does what it is told, and nobody hears of it."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.answers = True
        self.late: asyncio.Future[None] | None = None
        """Until then it does not look at what it is to release by address."""

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any:
        await asyncio.sleep(0)
        if method == "GET":
            return {"handles": {handle: [address] for address, handle in self.held.items()}}
        if self.late is not None and "addresses" in body and path.endswith("/release"):
            await self.late
        answer = self._assign(body) if path.endswith("/assign") else self._release(body)
        if not self.answers:
            raise Transient("the server does not answer")
        return answer

    def _assign(self, body: Any) -> Any:
        address = f"{(body.get('addresses') or ['10.65.8.1'])[0]}/32"
        if address in self.held:
            raise ApiError({"message": f"{address} is held"}, 409)
        self.held[address] = body["handle"]
        return {"addresses": [address]}

    def _release(self, body: Any) -> Any:
        assert "handlePrefix" not in body, "another container of this host may have it by now"
        mine = {address for address, handle in self.held.items() if handle == body["handle"]}
        doomed = {f"{address}/32" for address in body["addresses"]} if "addresses" in body else mine
        if doomed - mine and doomed & self.held.keys():
            raise ApiError({"message": "held by another"}, 409)
        for address in doomed:
            self.held.pop(address, None)
        return {"released": sorted(doomed)}


class World:
    def __init__(self, path: Path) -> None:
        self.server = Server()
        self.book = Book(path / "book")
        self.book.put(Network(id="n", subnets=(SUBNET,)))
        self.start()

    def start(self) -> None:
        """The agent."""
        self.addresses = Addresses(self.server, self.book, "h1")
        self.calls = self.addresses.calls()

    async def request(self, address: str = "") -> str:
        return str((await self.calls["IpamDriver.RequestAddress"]({"PoolID": POOL, "Address": address}))["Address"])

    async def release(self, container: str) -> None:
        self.addresses.kept.leave(Endpoint(id=f"e-{container}", network="n", addresses=(A,), container_id=container))
        await self.calls["IpamDriver.ReleaseAddress"]({"PoolID": POOL, "Address": A})


def play(path: Path, scene: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(10):
            await scene(World(path))

    asyncio.run(whole())


def test_what_was_given_back_late_is_not_taken_from_whoever_has_it_now(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.request()
        await world.release("c1")
        assert A in world.addresses.kept
        world.server.answers = False
        with pytest.raises(Transient):
            await world.addresses.kept.give_up()
        world.server.answers = True
        assert await world.request("10.65.8.1") == A
        assert world.server.held, "the server was asked for it"
        assert A not in world.addresses.kept
        assert not await world.addresses.kept.give_up()
        assert A in world.server.held

    play(tmp_path, scene)


def test_a_release_that_was_overtaken_releases_nothing(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.request()
        await world.release("c1")
        going = asyncio.create_task(world.addresses.kept.give_up())
        await asyncio.sleep(0)
        world.server.held.clear()  # somebody gave it back meanwhile
        world.server.held[A] = "muslin.docker.h1.second"
        await going
        assert world.server.held == {A: "muslin.docker.h1.second"}

    play(tmp_path, scene)


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_reclaimed_while_it_is_given_back_is_its_new_containers_alone(tmp_path: Path, fails: bool) -> None:
    async def scene(world: World) -> None:
        async def reclaim(address: Cidr, _: Daemon) -> bool:
            await world.addresses.give_back(world.server.held[address])
            return True

        world.addresses.reclaim = reclaim
        world.server.late = asyncio.get_running_loop().create_future()
        await world.request()
        await world.release("c1")
        going = asyncio.create_task(world.addresses.kept.give_up())
        await asyncio.sleep(0)
        assert await world.request("10.65.8.1") == A
        second = dict(world.server.held)
        if fails:
            world.server.late.set_exception(Transient("no server"))
        else:
            world.server.late.set_result(None)
        await asyncio.gather(going, return_exceptions=True)
        assert A not in world.addresses.kept
        assert not await world.addresses.kept.give_up()
        assert world.server.held == second

    play(tmp_path, scene)


def test_one_that_was_asked_for_by_name_is_free_at_once_and_any_other_is_kept(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.request("10.65.8.1")
        await world.release("c1")
        assert world.server.held == {}
        await world.request()
        await world.release("c1")
        assert A in world.server.held

    play(tmp_path, scene)


def test_an_address_from_before_the_agents_start_is_kept_and_given_back_by_its_handle(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.request()
        world.start()
        await world.release("c1")
        assert A in world.addresses.kept
        assert await world.addresses.kept.give_up()
        assert world.server.held == {}
        await world.release("c1")  # of what is free already nothing is said

    play(tmp_path, scene)

"""The address of a stopped container: who has it again, and when it is anybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from muslin.errors import Transient
from muslin.net import Cidr
from muslin.plugins.docker.book import Endpoint
from muslin.plugins.docker.keeping import Kept

POOL, OTHER = "muslin/10.65.8.0/24", "muslin/10.65.9.0/24"


class World:
    """dockerd and the server, as far as they matter here."""

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self.states: dict[str, str] = {}
        self.asked: list[str] = []
        self.looks: list[str] = []
        self.released: list[str] = []
        self.kept = Kept(lambda: self, self.give_back, look_after=0.0, again=0.0)

    async def locked(self, containers: Iterable[str]) -> set[str]:
        self.asked += containers
        return self.busy & set(containers)

    async def state(self, container: str) -> str:
        self.looks.append(container)
        return self.states.get(container, "")

    async def looked(self, times: int) -> None:
        """So often, or to the end."""
        while len(self.looks) < times and not self.released:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def give_back(self, address: Cidr) -> None:
        await asyncio.sleep(0)
        self.released.append(address)

    def stop(self, container: str, address: str, pool: str = POOL) -> bool:
        self.kept.leave(Endpoint(id=f"e-{container}", network="n", addresses=(f"{address}/32",),
                                 container_id=container))
        return self.kept.keep(Cidr(f"{address}/32"), pool)


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(10):
            await scene(World())

    asyncio.run(whole())


def test_the_container_that_dockerd_is_starting_has_its_address_again() -> None:
    async def scene(world: World) -> None:
        assert world.stop("a", "10.65.8.1")
        assert world.stop("b", "10.65.8.2")
        assert world.stop("c", "10.65.9.3", OTHER)
        world.busy = {"b", "c"}
        assert await world.kept.again(POOL) == "10.65.8.2/32"
        assert await world.kept.again(POOL) is None, "it has it now"
        assert Cidr("10.65.8.1/32") in world.kept
        assert world.released == []

    play(scene)


@pytest.mark.parametrize("locked", [set(), {"a", "b"}])
def test_where_nobody_or_several_may_be_the_one_it_gets_another(locked: set[str]) -> None:
    async def scene(world: World) -> None:
        world.stop("a", "10.65.8.1")
        world.stop("b", "10.65.8.2")
        world.busy = locked
        assert await world.kept.again(POOL) is None
        assert {Cidr("10.65.8.1/32"), Cidr("10.65.8.2/32")} == {
            address for address in map(Cidr, ("10.65.8.1/32", "10.65.8.2/32")) if address in world.kept}

    play(scene)


def test_who_has_stopped_nothing_is_asked_nothing() -> None:
    async def scene(world: World) -> None:
        assert await world.kept.again(POOL) is None
        for number in range(17):
            world.stop(f"c{number}", f"10.65.8.{number}")
        assert await world.kept.again(POOL) is None, "too many to ask"
        assert world.asked == []

    play(scene)


def test_an_address_that_nobody_knows_the_owner_of_is_not_kept() -> None:
    async def scene(world: World) -> None:
        assert not world.kept.keep(Cidr("10.65.8.1/32"), POOL)
        assert world.stop("a", "10.65.8.1")
        assert world.kept.take(Cidr("10.65.8.1/32")), "who asks for it by name has it"
        assert not world.kept.take(Cidr("10.65.8.1/32"))

    play(scene)


@pytest.mark.parametrize(("state", "stays"), [
    ("exited", True), ("restarting", True), ("created", True), ("running", False), ("removing", False), ("", False),
])
def test_it_is_kept_while_its_container_is_there_and_does_not_run(state: str, stays: bool) -> None:
    """One that runs on was disconnected from the network; dockerd says so of one that has just stopped, too."""
    async def scene(world: World) -> None:
        world.states = {"a": state}
        world.stop("a", "10.65.8.1")
        running = asyncio.create_task(world.kept.run())
        await world.looked(3)
        assert (Cidr("10.65.8.1/32") in world.kept) is stays
        assert len(world.looks) >= 2 or state not in ("running", "exited"), "asked again"
        running.cancel()

    play(scene)


def test_a_pool_that_goes_and_one_that_is_empty_take_all_back() -> None:
    async def scene(world: World) -> None:
        world.stop("a", "10.65.8.1")
        world.stop("b", "10.65.9.2", OTHER)
        assert await world.kept.give_up(pool=POOL)
        assert world.released == ["10.65.8.1/32"]
        assert await world.kept.give_up()
        assert not await world.kept.give_up()

    play(scene)


def test_each_is_given_back_once_however_many_want_it_gone() -> None:
    async def scene(world: World) -> None:
        world.stop("a", "10.65.8.1")
        world.stop("b", "10.65.8.2")
        await asyncio.gather(world.kept.give_up(pool=POOL), world.kept.give_up(), world.kept.give_up(pool=POOL))
        assert sorted(world.released) == ["10.65.8.1/32", "10.65.8.2/32"]

    play(scene)


def test_what_cannot_be_given_back_stays_kept() -> None:
    async def scene(world: World) -> None:
        async def refuse(_: Cidr) -> None:
            raise Transient("no server")

        kept = Kept(lambda: world, refuse, look_after=0.0)
        kept.leave(Endpoint(id="e", network="n", addresses=("10.65.8.1/32",), container_id="a"))
        kept.keep(Cidr("10.65.8.1/32"), POOL)
        with pytest.raises(Transient):
            await kept.give_up()
        assert Cidr("10.65.8.1/32") in kept

    play(scene)

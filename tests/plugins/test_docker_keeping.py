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

    async def give_back(self, address: Cidr, handle: str) -> None:
        await asyncio.sleep(0)
        assert handle == "h"
        self.released.append(address)

    def stop(self, container: str, address: str, pool: str = POOL) -> bool:
        self.kept.leave(Endpoint(id=f"e-{container}", network="n", addresses=(f"{address}/32",),
                                 container_id=container))
        return self.kept.keep(Cidr(f"{address}/32"), pool, "h")


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
        assert not world.kept.keep(Cidr("10.65.8.1/32"), POOL, "h")
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
        async def refuse(_: Cidr, __: str) -> None:
            raise Transient("no server")

        kept = Kept(lambda: world, refuse, look_after=0.0)
        kept.leave(Endpoint(id="e", network="n", addresses=("10.65.8.1/32",), container_id="a"))
        kept.keep(Cidr("10.65.8.1/32"), POOL, "h")
        with pytest.raises(Transient):
            await kept.give_up()
        assert Cidr("10.65.8.1/32") in kept

    play(scene)


def test_what_may_have_been_given_back_is_nobodys_again_and_is_given_back_until_it_is_gone() -> None:
    """The server may have released it and died before it said so: it may be another host's by now."""
    async def scene(world: World) -> None:
        release, refusals = world.give_back, iter([Transient("its answer was lost"), Transient("once more")])

        async def give_back(address: Cidr, handle: str) -> None:
            for refusal in refusals:
                raise refusal
            await release(address, handle)

        world.kept = Kept(lambda: world, give_back, look_after=0.0, again=0.0)
        world.stop("a", "10.65.8.1")
        world.busy, world.states = {"a"}, {"a": "exited"}
        with pytest.raises(Transient):
            await world.kept.give_up()
        assert await world.kept.again(POOL) is None
        assert not world.kept.take(Cidr("10.65.8.1/32")), "who asks by name asks the server"
        running = asyncio.create_task(world.kept.run())
        while not world.released:
            await asyncio.sleep(0)
        running.cancel()
        assert world.looks == [], "whatever its container does"
        assert Cidr("10.65.8.1/32") not in world.kept

    play(scene)


def test_while_one_is_given_back_nobody_has_it_and_who_is_assigned_it_anew_keeps_it() -> None:
    async def scene(world: World) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def give_back(_: Cidr, __: str) -> None:
            await answer

        world.kept = Kept(lambda: world, give_back, look_after=0.0, again=0.0)
        world.stop("a", "10.65.8.1")
        world.busy = {"a", "b"}
        going = asyncio.create_task(world.kept.give_up())
        await asyncio.sleep(0)
        assert await world.kept.again(POOL) is None
        assert not world.kept.take(Cidr("10.65.8.1/32"))
        world.kept.assigned(Cidr("10.65.8.1/32"))
        assert world.stop("b", "10.65.8.1"), "b had it, and stops already"
        answer.set_exception(Transient("no server"))
        with pytest.raises(Transient):
            await going
        assert await world.kept.again(POOL) == "10.65.8.1/32", "b's it is, whatever became of a's"

    play(scene)


def test_an_address_that_was_asked_for_by_name_is_not_kept() -> None:
    """Its container asks by name again, and may do so on another host."""
    async def scene(world: World) -> None:
        world.kept.asked(Cidr("10.65.8.1/32"), by_name=True)
        assert not world.stop("a", "10.65.8.1")
        assert world.stop("b", "10.65.8.1"), "any address, this time"
        world.kept.asked(Cidr("10.65.8.2/32"), by_name=True)
        world.kept.asked(Cidr("10.65.8.2/32"), by_name=False)
        assert world.stop("c", "10.65.8.2")

    play(scene)


def test_a_dockerd_that_does_not_answer_gives_the_container_another_address() -> None:
    async def scene(world: World) -> None:
        class Dead(World):
            async def locked(self, containers: Iterable[str]) -> set[str]:
                raise Transient("dockerd does not answer")

        world.kept = Kept(Dead, world.give_back)
        world.stop("a", "10.65.8.1")
        assert await world.kept.again(POOL) is None
        assert Cidr("10.65.8.1/32") in world.kept

    play(scene)

"""Address assignment over a real store, with several servers at once that lose each other races."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.errors import Invalid
from muslin.ipam.records import Exhausted, Taken, Unreadable
from muslin.model.ipam import Block, BlockAffinity, Handle, IPAMConfig
from muslin.net import bounds
from muslin.server.address_records import encode
from muslin.server.addresses import Addresses, Unwanted, Wanted
from muslin.store import Entry, Event, Page, Store, layout
from muslin.store.memory import MemoryStore

SECOND = 1_000_000_000
START = 1_767_323_045 * SECOND


class Far:
    """A store behind a network: every call lets others go first, as often as the seed says."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)

    async def _travel(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)

    async def get(self, key: str) -> Entry | None:
        await self._travel()
        return await self._store.get(key)

    async def list(self, prefix: str, *, revision: int | None = None, limit: int = 0, after: str = "") -> Page:
        await self._travel()
        return await self._store.list(prefix, revision=revision, limit=limit, after=after)

    async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
        await self._travel()
        return await self._store.put(key, value, expect=expect)

    async def delete(self, key: str, *, expect: int | None = None) -> int | None:
        await self._travel()
        return await self._store.delete(key, expect=expect)

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
        return self._store.watch(prefix, after=after)

    async def revision(self) -> int:
        return await self._store.revision()

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        self.now += 1
        return self.now


class World:
    """A store with pools, and the words that tests speak."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = Clock()
        self.addresses = Addresses(self.store, self.clock)

    async def put(self, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        value = {"kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
        await self.store.put(f"{layout.prefix(kind)}{name}", msgspec.json.encode(value))

    async def pool(self, name: str, cidr: str, **spec: Any) -> None:
        await self.put("IPPool", name, {"cidr": cidr, **spec})

    async def config(self, **fields: Any) -> None:
        await self.store.put(layout.IPAM_CONFIG, encode(IPAMConfig(**{"auto_allocate_blocks": True, **fields})))

    async def assign(self, host: str = "h1", handle: str = "a", **fields: Any) -> list[str]:
        got = await self.addresses.assign(Wanted(host=host, handle=handle, **fields))
        return [cidr.partition("/")[0] for cidr in got]

    async def release(self, **fields: Any) -> list[str]:
        return [cidr.partition("/")[0] for cidr in await self.addresses.release(Unwanted(**fields))]

    async def blocks(self) -> dict[str, Block]:
        page = await self.store.list(layout.BLOCKS)
        return {b.cidr: b for b in (msgspec.json.decode(entry.value, type=Block) for entry in page.entries)}

    async def handles(self) -> dict[str, dict[str, int]]:
        page = await self.store.list(layout.HANDLES)
        named = ((e.key.removeprefix(layout.HANDLES), e.value) for e in page.entries)
        return {name: msgspec.json.decode(value, type=Handle).block for name, value in named}

    async def affinities(self, host: str, version: int = 4) -> dict[str, str]:
        page = await self.store.list(layout.affinities(host, version))
        return {
            layout.affinity_block(e.key): msgspec.json.decode(e.value, type=BlockAffinity).state for e in page.entries
        }

    async def held(self) -> dict[str, str]:
        """Address -> handle, as the blocks say."""
        found = {}
        for cidr, block in (await self.blocks()).items():
            for ordinal, index in enumerate(block.allocations):
                if index is not None and (handle := block.attributes[index].handle_id):
                    found[_plus(cidr, ordinal)] = handle
        return found


def _plus(cidr: str, ordinal: int) -> str:
    import ipaddress

    return str(ipaddress.ip_network(cidr)[ordinal])


def play(scene: Callable[[World], Coroutine[None, None, None]]) -> None:
    asyncio.run(scene(World()))


def test_a_host_gets_one_address_of_each_family_from_blocks_that_it_then_owns() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")
        await world.pool("six", "fd65::/48")

        got = await world.assign()

        assert len(got) == 2
        blocks = await world.blocks()
        assert [block.affinity for block in blocks.values()] == ["host:h1", "host:h1"]
        assert sorted(cidr.partition("/")[2] for cidr in blocks) == ["122", "26"]
        assert set((await world.affinities("h1")).values()) == {"confirmed"}
        assert (await world.handles())["a"] == dict.fromkeys(blocks, 1)

    play(scene)


def test_a_family_without_a_pool_is_left_out_unless_it_was_asked_for() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")

        assert len(await world.assign()) == 1
        with pytest.raises(Exhausted, match="IPv6"):
            await world.assign(handle="b", v4=1, v6=1)
        assert "b" not in await world.handles()
        assert "b" not in (await world.held()).values()

    play(scene)


def test_without_any_pool_the_error_shows_how_to_make_one() -> None:
    async def scene(world: World) -> None:
        with pytest.raises(Exhausted, match="muslin create ippool"):
            await world.assign()

    play(scene)


def test_the_first_and_last_address_of_a_block_are_addresses_like_others() -> None:
    """There is no broadcast on a routed /32, so a /30 gives four addresses."""

    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/30", blockSize=30)

        got = await world.assign(v4=4)

        assert sorted(got) == ["10.65.0.0", "10.65.0.1", "10.65.0.2", "10.65.0.3"]
        with pytest.raises(Exhausted, match=r"tiny 10\.65\.0\.0/30"):
            await world.assign(handle="b")

    play(scene)


def test_reserved_addresses_are_given_only_to_who_asks_for_them() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/29", blockSize=30)
        await world.put("IPReservation", "mine", {"reservedCIDRs": ["10.65.0.0/31", "10.65.0.6"]})

        got = await world.assign(v4=5)

        assert sorted(got) == ["10.65.0.2", "10.65.0.3", "10.65.0.4", "10.65.0.5", "10.65.0.7"]
        assert await world.assign(handle="b", addresses=("10.65.0.6",)) == ["10.65.0.6"]

    play(scene)


def test_a_wholly_reserved_pool_is_full_and_claims_nothing() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/29", blockSize=30)
        await world.put("IPReservation", "all", {"reservedCIDRs": ["10.65.0.0/29"]})

        with pytest.raises(Exhausted):
            await world.assign()
        assert await world.blocks() == {}

    play(scene)


def test_an_address_in_use_is_refused_by_naming_who_holds_it() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")
        await world.assign(handle="db.7", addresses=("10.65.0.7",), attributes={"pod": "db-7"})

        with pytest.raises(Taken, match=r"10\.65\.0\.7 is held by db\.7 \(pod db-7, node h1\)"):
            await world.assign(host="h2", handle="web", addresses=("10.65.0.7",))

    play(scene)


def test_asking_again_for_an_address_that_one_holds_is_answered_as_the_first_time() -> None:
    """The first answer may have been lost on its way; a refusal, or nothing, would leave the asker without."""

    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")
        await world.assign(handle="db.7", addresses=("10.65.0.7",))

        assert await world.assign(handle="db.7", addresses=("10.65.0.7",)) == ["10.65.0.7"]
        assert await world.handles() == {"db.7": dict.fromkeys(await world.blocks(), 1)}

    play(scene)


def test_an_address_in_no_pool_is_refused_by_naming_the_pools() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")

        with pytest.raises(Invalid, match=r"10\.66\.0\.1 is in no enabled pool.*four 10\.65\.0\.0/16"):
            await world.assign(addresses=("10.66.0.1",))

    play(scene)


def test_a_host_without_free_blocks_borrows_unless_affinity_is_strict() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/29", blockSize=29)
        await world.assign(host="h1", handle="a")

        assert await world.assign(host="h2", handle="b")
        assert [b.affinity for b in (await world.blocks()).values()] == ["host:h1"]
        await world.config(strict_affinity=True)
        with pytest.raises(Exhausted, match="strict affinity"):
            await world.assign(host="h2", handle="c")
        assert await world.assign(host="h1", handle="d")

    play(scene)


def test_an_idle_block_of_another_host_is_taken_over_after_a_minute() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/29", blockSize=29)
        await world.config(strict_affinity=True)
        await world.assign(host="h1", handle="a")
        await world.release(handle="a")

        with pytest.raises(Exhausted):
            await world.assign(host="h2", handle="b")
        world.clock.now += 61 * SECOND
        assert await world.assign(host="h2", handle="b")
        assert (await world.affinities("h1"), await world.affinities("h2")) == ({}, {"10.65.0.0/29": "confirmed"})

    play(scene)


def test_an_address_returns_to_the_back_of_the_queue() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/30", blockSize=30)
        first = await world.assign(handle="a")
        await world.release(handle="a")

        rest = await world.assign(handle="b", v4=4)

        assert rest[-1:] == first

    play(scene)


def test_a_released_address_cools_down_before_anybody_gets_it() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/32", blockSize=32)
        await world.config(ip_cooldown_seconds=30)
        await world.assign(handle="a")
        await world.release(handle="a")

        with pytest.raises(Exhausted):
            await world.assign(handle="b")
        with pytest.raises(Taken, match="cools down"):
            await world.assign(handle="b", addresses=("10.65.0.0",))
        world.clock.now += 31 * SECOND
        assert await world.assign(handle="b") == ["10.65.0.0"]

    play(scene)


def test_a_late_release_does_not_take_the_address_from_its_next_holder() -> None:
    """The ABA problem: released, assigned anew, and only then does the first release's repetition arrive."""

    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/32", blockSize=32)
        await world.assign(handle="a")
        number = (await world.blocks())["10.65.0.0/32"].sequence_number_for_allocation["0"]
        await world.release(handle="a")
        await world.assign(handle="b")

        with pytest.raises(Taken, match="anew"):
            await world.release(addresses=("10.65.0.0",), sequence_number=number)
        with pytest.raises(Taken, match="held by b"):
            await world.release(addresses=("10.65.0.0",), handle="a")
        assert await world.held() == {"10.65.0.0": "b"}

    play(scene)


def test_releasing_twice_is_not_an_error() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")
        got = await world.assign(handle="a", v4=3)

        assert sorted(await world.release(handle="a")) == sorted(got)
        assert await world.release(handle="a") == []
        assert await world.release(addresses=tuple(got)) == []
        assert await world.handles() == {}

    play(scene)


def test_a_whole_block_of_workloads_may_go_at_once() -> None:
    """Each of 200 that gives back to the same block would lose more races against the others than one may."""
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16", blockSize=24)
        for number in range(200):
            await world.assign(handle=f"w{number}", v4=1)
        reads = 0

        class Counting(Far):
            async def get(self, key: str) -> Entry | None:
                nonlocal reads
                reads += key.startswith(layout.BLOCKS)
                return await super().get(key)

        addresses = Addresses(Counting(world.store, 7), world.clock)
        await asyncio.gather(*(addresses.release(Unwanted(handle=f"w{number}")) for number in range(200)))
        assert await world.held() == {}
        assert await world.handles() == {}
        assert reads == 200, "nobody had to look twice"

    play(scene)


def test_who_holds_addresses_under_names_of_his_own_finds_all_of_them_again() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/24", blockSize=26)
        one = await world.assign(handle="docker.h1.a", v4=2)
        other = await world.assign(host="h2", handle="docker.h1.b", v4=1)
        await world.assign(handle="docker.h2.c", v4=1)
        await world.assign(handle="docker.h1.gone", v4=1)
        await world.release(handle="docker.h1.gone")
        found = await world.addresses.of_handles("docker.h1.")
        assert {handle: sorted(cidr.partition("/")[0] for cidr in held) for handle, held in found.items()} == {
            "docker.h1.a": sorted(one), "docker.h1.b": other}

    play(scene)


def test_a_block_that_cannot_be_read_is_neither_used_nor_overwritten() -> None:
    async def scene(world: World) -> None:
        await world.pool("tiny", "10.65.0.0/29", blockSize=30)
        await world.store.put(layout.block("10.65.0.0/30"), b'{"cidr": 7}')

        assert set(await world.assign(v4=4)) == {f"10.65.0.{n}" for n in (4, 5, 6, 7)}
        with pytest.raises(Exhausted):
            await world.assign(handle="b")
        with pytest.raises(Unreadable, match=r"10\.65\.0\.0/30"):
            await world.assign(handle="b", addresses=("10.65.0.1",))
        entry = await world.store.get(layout.block("10.65.0.0/30"))
        assert entry is not None
        assert entry.value == b'{"cidr": 7}'

    play(scene)


def test_a_pool_is_chosen_by_the_labels_of_the_host_and_of_the_namespace() -> None:
    async def scene(world: World) -> None:
        await world.pool("east", "10.1.0.0/24", nodeSelector="rack == 'east'")
        await world.pool("prod", "10.2.0.0/24", namespaceSelector="env == 'prod'")
        await world.pool("off", "10.3.0.0/24", disabled=True)
        await world.pool("manual", "10.4.0.0/24", assignmentMode="Manual")
        await world.pool("tunnels", "10.5.0.0/24", allowedUses=["Tunnel"])
        await world.put("Node", "h1", {}, labels={"rack": "east"})
        await world.put("Namespace", "shop", {}, labels={"env": "prod"})

        assert (await world.assign(host="h1"))[0].startswith("10.1.")
        assert (await world.assign(host="h2", namespace="shop"))[0].startswith("10.2.")
        assert (await world.assign(host="h2", pools=("manual",)))[0].startswith("10.4.")
        with pytest.raises(Exhausted, match="selects host 'h2'"):
            await world.assign(host="h2")
        with pytest.raises(Exhausted, match="'off' does not exist"):
            await world.assign(host="h2", pools=("off",))

    play(scene)


def test_blocks_left_by_an_older_pool_stand_in_nobodys_way() -> None:
    """A pool may be made anew with blocks of another size; addresses in the old blocks stay their holders'."""

    async def scene(world: World) -> None:
        await world.pool("pool", "10.65.0.0/28", blockSize=30)
        old = await world.assign(handle="old", addresses=("10.65.0.5",))
        await world.pool("pool", "10.65.0.0/28", blockSize=29)

        got = await world.assign(handle="new", v4=11, host="h2")

        assert not set(got) & set(old)
        assert "10.65.0.0/29" not in await world.blocks()
        assert await world.release(addresses=("10.65.0.5",)) == ["10.65.0.5"]

    play(scene)


def test_a_host_that_is_gone_leaves_its_used_blocks_to_nobody_and_its_empty_ones_to_all() -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/28", blockSize=30)
        await world.assign(host="h1", handle="a", v4=5)
        used = (await world.assign(host="h1", handle="b"))[0]
        await world.release(handle="a")

        await world.addresses.release(Unwanted(host="h1"))

        left = await world.blocks()
        assert [block.affinity for block in left.values()] == [None]
        assert await world.affinities("h1") == {}
        await world.release(addresses=(used,))
        assert await world.blocks() == {}

    play(scene)


@pytest.mark.parametrize(
    "fields",
    [{"handle": ""}, {"handle": "a/b"}, {"host": ""}, {"v4": -1}, {"v6": 100_000}, {"addresses": ("10.1.0.0/24",)},
     {"addresses": ("hello",)}, {"addresses": ("fe80::1%eth0",)}],
)
def test_words_that_make_no_sense_are_refused_before_anything_is_written(fields: dict[str, Any]) -> None:
    async def scene(world: World) -> None:
        await world.pool("four", "10.65.0.0/16")
        with pytest.raises(Invalid):
            await world.assign(**fields)
        assert await world.blocks() == {}

    play(scene)


# --- many servers at once ---------------------------------------------------------------------------------------

Act = tuple[str, int, int]
acts = st.lists(
    st.tuples(st.sampled_from(["assign", "assign", "assign", "release", "address", "release-address"]),
              st.integers(0, 3), st.integers(0, 15)),
    min_size=4, max_size=24,
)


@settings(max_examples=120)
@given(acts, st.integers(0, 2**32), st.sampled_from([(30, 28), (31, 29), (32, 29), (30, 30)]), st.booleans(),
       st.sampled_from([4, 6]))
def test_no_interleaving_of_servers_gives_an_address_twice(
    script: list[Act], seed: int, sizes: tuple[int, int], strict: bool, version: int
) -> None:
    """Three servers race over one store; whatever they were told is what the blocks and handles say in the end."""
    asyncio.run(_race(script, seed, sizes, strict, version))


async def _race(script: list[Act], seed: int, sizes: tuple[int, int], strict: bool, version: int) -> None:
    world = World()
    extra = 96 if version == 6 else 0
    net = "10.65.0.0" if version == 4 else "fd65::"
    pool = f"{net}/{sizes[1] + extra}"
    await world.pool("pool", pool, blockSize=sizes[0] + extra)
    reserved = _plus(pool, 1)
    await world.put("IPReservation", "one", {"reservedCIDRs": [reserved]})
    await world.config(strict_affinity=strict)
    stores: list[Store] = [Far(world.store, seed + n) for n in range(3)]
    servers = [Addresses(store, world.clock) for store in stores]
    told: dict[str, set[str]] = {}
    automatic: list[str] = []

    async def act(n: int, kind: str, who: int, which: int) -> None:
        server, handle = servers[n % 3], f"w{n}"
        try:
            if kind == "assign":
                got = await server.assign(Wanted(host=f"h{who}", handle=handle, v4=which % 3 if version == 4 else 0,
                                                 v6=which % 3 if version == 6 else 0))
                automatic.extend(cidr.partition("/")[0] for cidr in got)
            elif kind == "address":
                got = await server.assign(Wanted(host=f"h{who}", handle=handle, addresses=(_plus(pool, which % 8),)))
            elif kind == "release":
                await server.release(Unwanted(handle=f"w{which}"))
                return
            else:
                await server.release(Unwanted(addresses=(_plus(pool, which % 8),)))
                return
        except (Exhausted, Taken, IndexError):
            return
        told[handle] = {cidr.partition("/")[0] for cidr in got}

    await asyncio.gather(*(act(n, *each) for n, each in enumerate(script)))
    await _accounts_agree(world, pool)
    held = await world.held()
    for address, handle in held.items():
        assert address in told[handle], f"{address} went to {handle}, who was never told"
    if not any(kind.startswith("release") for kind, _, _ in script):
        assert {a: h for h, addresses in told.items() for a in addresses} == held
    assert reserved not in automatic

    for handle in told:
        await world.release(handle=handle)
    assert await world.held() == {}
    assert all(len(b.unallocated) == len(b.allocations) for b in (await world.blocks()).values())
    assert await world.handles() == {}


async def _accounts_agree(world: World, pool: str) -> None:
    """Blocks lie in the pool, do not overlap, are sound; handles count exactly what the blocks hold."""
    counted: dict[str, dict[str, int]] = {}
    spans = []
    for cidr, block in (await world.blocks()).items():
        _, low, high = bounds(pool)
        _, first, last = bounds(cidr)
        assert low <= first <= last <= high
        spans.append((first, last))
        free = {o for o, index in enumerate(block.allocations) if index is None}
        assert set(block.unallocated) == free
        assert len(block.unallocated) == len(free)
        for index in block.allocations:
            if index is not None and (handle := block.attributes[index].handle_id):
                counted.setdefault(handle, {}).setdefault(cidr, 0)
                counted[handle][cidr] += 1
        assert set(block.sequence_number_for_allocation) == {str(o) for o in range(len(block.allocations))} - {
            str(o) for o in free}
    assert all(one[1] < two[0] for one, two in zip(sorted(spans), sorted(spans)[1:], strict=False))
    assert await world.handles() == counted

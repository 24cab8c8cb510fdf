"""Compare-and-swap for address assignment: ask `ipam` for the next write, try it, and look again when it lost.

Fifty workloads of a host that go at once all give back to one block. Racing, each loses to most others, and a hundred
would give up: so the releases of one server stand in line for a block. The store's compare-and-swap stays the referee.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from weakref import WeakValueDictionary

from muslin.errors import Conflict, Transient
from muslin.ipam import affinity, handle, release
from muslin.ipam import block as blocks
from muslin.ipam.assign import Take
from muslin.ipam.records import Write
from muslin.ipam.release import Condition
from muslin.model.ipam import Block
from muslin.model.network import IPPool
from muslin.net import Cidr, contains, parse_cidr
from muslin.server.address_records import Records

ATTEMPTS = 100
"""Lost races before a request gives up, as in Calico."""


class Tries:
    """Each method reads fresh, writes, and starts again as long as it loses; after too many, raises Transient."""

    def __init__(self, records: Records, clock: Callable[[], int]) -> None:
        self._records = records
        self._clock = clock
        self._turns: WeakValueDictionary[Cidr, asyncio.Lock] = WeakValueDictionary()

    async def claim(self, host: str, cidr: Cidr) -> None:
        """The host owns the block afterwards, unless somebody else was quicker."""

        async def step() -> Write | None:
            found = await self._records.affinity(host, cidr)
            return affinity.claim(host, cidr, found, await self._records.block(cidr), self._clock())

        await self._walk(step, f"block {cidr}")

    async def give_up(self, host: str, cidr: Cidr, *, force: bool) -> None:
        """The host does not own the block afterwards, unless (without `force`) it has come into use."""

        async def step() -> Write | None:
            found = await self._records.affinity(host, cidr)
            return affinity.give_up(host, cidr, found, await self._records.block(cidr), force=force)

        await self._walk(step, f"block {cidr}")

    async def leave(self, cidrs: Iterable[Cidr]) -> None:
        """Blocks in which nobody has an address, and whose pool is gone: else their hosts would own and announce them
        for ever, because nobody asks for addresses there. As in Calico a pool that is deleted takes its blocks along;
        here those in use stay, so that no route changes under traffic, until their last address is given back."""
        covered = [cidr for pool in await self._records.resources("IPPool", IPPool) if (cidr := _cidr(pool))]
        for cidr in cidrs:
            if any(contains(pool, cidr) for pool in covered):
                continue
            held = await self._records.block(cidr)
            if held is not None and held.value.host and blocks.is_empty(held.value):
                await self.give_up(held.value.host, cidr, force=False)

    async def take(self, name: str, step: Take) -> bool:
        """False when the block was changed by somebody else; the handle is then as it was."""
        await self._count(name, step.cidr, len(step.addresses))
        try:
            await self._records.write(step.write)
        except Conflict:
            await self._count(name, step.cidr, -len(step.addresses))
            return False
        return True

    async def release(self, cidr: Cidr, name: str, conditions: Sequence[Condition]) -> tuple[str, ...]:
        """What a handle holds in one block or, without a handle, the addresses named. Raises Taken."""
        turn = self._turns.setdefault(cidr, asyncio.Lock())
        async with turn:
            return await self._release(cidr, name, conditions)

    async def _release(self, cidr: Cidr, name: str, conditions: Sequence[Condition]) -> tuple[str, ...]:
        for _ in range(ATTEMPTS):
            held = await self._records.block(cidr)
            if held is None:
                return ()
            now, cooldown = self._clock(), (await self._records.config()).ip_cooldown_seconds
            if name:
                step = release.by_handle(held, name, now, cooldown)
            else:
                step = release.by_address(held, conditions, now, cooldown)
            if step is None:
                return ()
            try:
                await self._records.write(step.write)
            except Conflict:
                continue
            for counted, number in step.counts:
                await self._count(counted, cidr, -number)
            if isinstance(step.write.value, Block) and blocks.is_empty(step.write.value):
                await self.leave([cidr])
            return step.addresses
        raise crowded(f"block {cidr}")

    async def _count(self, name: str, cidr: Cidr, difference: int) -> None:
        await self._walk(partial(self._counted, name, cidr, difference), f"handle {name}", once=True)

    async def _counted(self, name: str, cidr: Cidr, difference: int) -> Write | None:
        return handle.count(name, await self._records.handle(name), cidr, difference)

    async def _walk(
        self, next_write: Callable[[], Awaitable[Write | None]], what: str, *, once: bool = False
    ) -> None:
        """Ask for the next write and try it until there is none; with `once`, until one has been won."""
        for _ in range(ATTEMPTS):
            write = await next_write()
            if write is None:
                return
            try:
                await self._records.write(write)
            except Conflict:
                continue
            if once:
                return
        raise crowded(what)


def _cidr(pool: IPPool) -> Cidr | None:
    """None: it cannot be read, and covers nothing."""
    try:
        return parse_cidr(pool.spec.cidr)
    except ValueError:
        return None


def crowded(what: str) -> Transient:
    return Transient(f"{what}: lost {ATTEMPTS} races against other writers, try again in a moment")

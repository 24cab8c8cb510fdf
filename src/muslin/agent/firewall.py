"""The nftables table kept as the intent says, whatever fails and whoever meddles.

The renderer hands out changes against what it believes is in the kernel. That belief ends with any failure; from then
on the whole is written in one transaction, until that succeeds. The kernel keeps the last good table meanwhile. The
whole is written over what is there, whose sets and chains stay, so that no packet is lost on the way; only where that
cannot be is the table made anew.

Meddling shows in the ruleset's generation number, which every transaction of anybody raises. One that is not ours
makes us read the table and compare it; other programs' tables raise it too, so a difference must be seen to be mended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from muslin.drivers.nft import Drifted, Nft
from muslin.errors import Broken, Transient
from muslin.intent import Delta, HostIntent
from muslin.render.nft import Changes, Flow, NftState, whole
from muslin.render.nft.listing import differences, listing_of, renewal

_TOLD = 3


class Firewall:
    """One caller at a time. `fault` says why the kernel's table is not what it should be, "" when it is."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._state = NftState()
        self._begun = False
        self._whole_is_due = False
        self._generation: int | None = None
        self._mended: list[str] = []
        self._cut: dict[Flow, float] = {}
        """Until when."""
        self.fault = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """Whatever the intent can say, nftables can."""
        return ()

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._begun and not self.fault

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. A failure is kept in `fault`, for `mend` to try again."""
        changes, self._begun = self._state.update(delta, intent), True
        await self._apply(None if changes.fresh or self._whole_is_due else changes)

    async def mend(self) -> None:
        """Try again what failed."""
        if self.fault:
            await self._apply(None)

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows, from either end, opens one of them again for so long, whatever happens to the
        table meanwhile. Raises Transient, and has then kept it for the next whole table."""
        ended, now = tuple(flows), time.monotonic()
        self._cut = {flow: until for flow, until in self._cut.items() if until > now}
        self._cut.update(dict.fromkeys(ended, now + seconds))
        with self._counted(known=False):
            await self._nft.cut(ended, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on: policy allows them again. Raises Transient."""
        allowed = tuple(flows)
        for flow in allowed:
            self._cut.pop(flow, None)
            self._cut.pop(flow.reverse, None)
        with self._counted(known=False):
            await self._nft.uncut(allowed)

    def mended(self) -> tuple[str, ...]:
        """What somebody else had changed, and was mended since the last call."""
        told = tuple(self._mended)
        self._mended.clear()
        return told

    async def check(self) -> None:
        """Look whether somebody else has changed the table, and mend it."""
        if not self.in_force or self._nft.generation() == self._generation:
            return
        generation = self._nft.generation()
        found = differences(listing_of(self._state.table), await self._nft.read())
        if not found:
            self._generation = generation
            return
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        self._mended.append(f"nftables: {'; '.join(found[:_TOLD])}{more}")
        await self._apply(None)

    async def remove(self) -> None:
        """Our table. Raises Transient."""
        await self._nft.remove()

    async def _apply(self, changes: Changes | None) -> None:
        """None: the whole."""
        try:
            await (self._write_whole() if changes is None else self._write(changes))
        except (Transient, Broken) as error:
            self._whole_is_due, self.fault = True, str(error)
        else:
            self._whole_is_due, self.fault = False, ""

    async def _write(self, changes: Changes) -> None:
        if not changes:
            return
        try:
            with self._counted(known=False):
                await self._nft.apply(changes)
        except Drifted as drift:
            self._mended.append(f"nftables: our table was not there as we left it ({drift})")
            await self._write_whole()

    async def _write_whole(self) -> None:
        """Over what is there, if that can be read and is of our making; its cut flows are told again in any case."""
        with self._counted(known=True):
            if not await self._renew():
                await self._nft.apply(whole(self._state.table), self._still_cut())

    async def _renew(self) -> bool:
        try:
            found = await self._nft.read()
            if found is not None:
                await self._nft.apply(renewal(self._state.table, found), self._still_cut())
        except (Transient, Broken):
            return False  # a set of another make is in the way, or it cannot be read
        return found is not None

    def _still_cut(self) -> dict[Flow, int]:
        now = time.monotonic()
        return {flow: math.ceil(until - now) for flow, until in self._cut.items() if until > now}

    @contextmanager
    def _counted(self, *, known: bool) -> Iterator[None]:
        """Ours is one step. More than one, or a start that we had not seen: somebody else wrote too, look at the
        table. `known`: it is, whatever it was before."""
        before = self._nft.generation()
        yield
        alone = self._nft.generation() == before + 1 and (known or before == self._generation)
        self._generation = before + 1 if alone else None

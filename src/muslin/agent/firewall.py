"""The nftables table kept as the intent says, whatever fails and whoever meddles.

The renderer hands out changes against what it believes is in the kernel. That belief ends with any failure; from then
on the whole table is written in one transaction, until that succeeds. The kernel keeps the last good table meanwhile.

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
from muslin.render.nft.listing import differences, listing_of

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
        changes, begun = self._state.update(delta, intent), self._begun
        self._begun = True
        if not begun and await self._looks_as_wanted():
            changes = Changes(changed_chains=tuple(self._state.table.chains.values()))
        await self._apply(whole(self._state.table) if self._whole_is_due else changes)

    async def mend(self) -> None:
        """Try again what failed."""
        if self.fault:
            await self._apply(whole(self._state.table))

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows, from either end, opens one of them again for so long, whatever happens to the
        table meanwhile. Raises Transient, and has then kept it for the next whole table."""
        ended, now = tuple(flows), time.monotonic()
        self._cut = {flow: until for flow, until in self._cut.items() if until > now}
        self._cut.update(dict.fromkeys(ended, now + seconds))
        with self._counted(fresh=False):
            await self._nft.cut(ended, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on: policy allows them again. Raises Transient."""
        allowed = tuple(flows)
        for flow in allowed:
            self._cut.pop(flow, None)
            self._cut.pop(flow.reverse, None)
        with self._counted(fresh=False):
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
        await self._apply(whole(self._state.table))

    async def remove(self) -> None:
        """Our table. Raises Transient."""
        await self._nft.remove()

    async def _looks_as_wanted(self) -> bool:
        """Did a predecessor leave these very sets, chains and elements? Then they stay: to replace the table, even in
        one transaction, drops packets that are under way in the old one (its sets are empty to them from that moment
        on). The rules are written anew all the same: reading them back does not tell what they match."""
        try:
            return not differences(listing_of(self._state.table), await self._nft.read())
        except (Transient, Broken):
            return False  # what cannot be read is written anew

    async def _apply(self, changes: Changes) -> None:
        try:
            await self._write(changes)
        except (Transient, Broken) as error:
            self._whole_is_due, self.fault = True, str(error)
        else:
            self._whole_is_due, self.fault = False, ""

    async def _write(self, changes: Changes) -> None:
        if not changes:
            return
        try:
            with self._counted(fresh=changes.fresh):
                await self._nft.apply(changes, self._still_cut(changes))
        except Drifted as drift:
            self._mended.append(f"nftables: our table was not there as we left it ({drift})")
            anew = whole(self._state.table)
            with self._counted(fresh=True):
                await self._nft.apply(anew, self._still_cut(anew))

    def _still_cut(self, changes: Changes) -> dict[Flow, int]:
        """What a table that is made anew must be told again."""
        now = time.monotonic()
        return {flow: math.ceil(until - now) for flow, until in self._cut.items() if changes.fresh and until > now}

    @contextmanager
    def _counted(self, *, fresh: bool) -> Iterator[None]:
        """Ours is one step. More than one, or a start that we had not seen: somebody else wrote too, look at the
        table. Only a table that was made anew is known whatever it was before."""
        before = self._nft.generation()
        yield
        alone = self._nft.generation() == before + 1 and (fresh or before == self._generation)
        self._generation = before + 1 if alone else None

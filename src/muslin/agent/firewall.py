"""The nftables table kept as the intent says, whatever fails and whoever meddles.

The renderer hands out changes against what it believes is in the kernel. That belief ends with any failure; from then
on the whole is written in one transaction, until that succeeds. The kernel keeps the last good table meanwhile. The
whole is written over what is there, whose sets and chains stay, so that no packet is lost on the way; only where that
cannot be is the table made anew.

What nft or the kernel refuses for what it says is looked for, by halves (`reconcile.bisect`): the rest is in force, and
something that denies stands for the culprit, which is tried again when it changes, and now and then (decision 0044).

Meddling shows in the ruleset's generation number, which every transaction of anybody raises. One that is not ours
makes us read the table and compare it; other programs' tables raise it too, so a difference must be seen to be mended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from muslin.drivers.nft import Drifted, Nft
from muslin.errors import Broken, Transient
from muslin.intent import Delta, EndpointKey, HostIntent, Problem
from muslin.reconcile import Retry, after_failure, search
from muslin.render.nft import Changes, Flow, NftState, whole
from muslin.render.nft.listing import differences, listing_of, renewal
from muslin.render.nft.refused import (
    Key,
    copied,
    describe,
    differing,
    follow,
    mixed,
    named_by,
    telling,
    with_stand_ins,
)

NOTHING_CUT: Mapping[Flow, float] = MappingProxyType({})
NOTHING_REFUSED: Mapping[Key, Retry] = MappingProxyType({})
RETRIED_AFTER = 600.0
"""Seconds at most between two tries of what the kernel refuses."""
GIVEN_UP_FOR = 60.0
LASTING = 5
"""Failures in a row after which a shortage is laid to the charge of what was written: a set may be too large."""
_TOLD = 3


@dataclass(slots=True)
class _Ours:
    """What we ourselves did to the ruleset's generation."""

    steps: int = 1


class Firewall:
    """One caller at a time. `fault` says why the kernel's table is not what it should be, "" when it is."""

    def __init__(self, nft: Nft, cut: Mapping[Flow, float] = NOTHING_CUT) -> None:
        """`cut`: flows that are cut already, and until when (`time.monotonic`)."""
        self._nft = nft
        self._state = NftState()
        self._begun = False
        self._whole_is_due = False
        self._generation: int | None = None
        self._mended: list[str] = []
        self._cut = dict(cut)
        """Until when."""
        self._wanted = HostIntent()
        self._held = HostIntent()
        """The intent that is in the kernel, stand-ins included."""
        self._is_behind = True
        """Is there more between `_held` and what is in the kernel than the next delta tells?"""
        self._refused: dict[Key, Retry] = {}
        self._given_up: Retry | None = None
        """When to look again for what is refused, after nobody was found to blame."""
        self._failures = 0
        self._busy = False
        """Did the last failure come from a shortage, and not from what was written?"""
        self.fault = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the kernel refuses, and denies instead."""
        return tuple(
            Problem(what=f"nftables refuses {describe(key, self._wanted)}, so it denies: {retry.why}", key=key[1],
                    mend="change it; as it is, it is tried again from time to time")
            for key, retry in self._refused.items()
        )

    @property
    def is_unfinished(self) -> bool:
        """Is there something to `mend`?"""
        return bool(self.fault or self._refused)

    def shut(self) -> dict[EndpointKey, str]:
        """Endpoints that have no policy in the kernel, and why."""
        return {EndpointKey(key): f"nftables refuses it: {retry.why}" for (kind, key), retry in self._refused.items()
                if kind in ("endpoints", "host_interfaces")}

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._begun and not self.fault

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. A failure is kept in `fault`, for `mend` to try again."""
        self._begun, self._wanted = True, intent
        for key in [*self._refused] if delta.snapshot else named_by(delta):
            self._refused.pop(key, None)
        await self._bring(delta)

    async def mend(self) -> None:
        """Try again what failed, and what was refused, when its time has come."""
        now = time.monotonic()
        due = [key for key, retry in self._refused.items() if retry.at <= now]
        if self.fault:
            if self._busy or self._may_look():
                await self._bring(Delta())
        elif due:
            before = {key: self._refused.pop(key) for key in due}
            await self._bring(telling(due, self._wanted), before)

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows, from either end, opens one of them again for so long, whatever happens to the
        table meanwhile. Raises Transient, and has then kept it for the next whole table."""
        ended, now = tuple(flows), time.monotonic()
        self._cut = {flow: until for flow, until in self._cut.items() if until > now}
        self._cut.update(dict.fromkeys(ended, now + seconds))
        with self._counted(known=False) as ours:
            ours.steps = await self._nft.cut(ended, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on: policy allows them again. Raises Transient."""
        allowed = tuple(flows)
        for flow in allowed:
            self._cut.pop(flow, None)
            self._cut.pop(flow.reverse, None)
        with self._counted(known=False) as ours:
            ours.steps = await self._nft.uncut(allowed)

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
        await self._write_or_tell(None)

    async def drift(self) -> tuple[str, ...]:
        """How the kernel's table differs from what we wrote, now. Mends nothing. Raises Transient."""
        return differences(listing_of(self._state.table), await self._nft.read())

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment -> (packets, bytes). Raises Transient."""
        return await self._nft.counters()

    async def remove(self) -> None:
        """Our table. Raises Transient."""
        await self._nft.remove()

    # ---- writing

    async def _bring(self, delta: Delta, before: Mapping[Key, Retry] = NOTHING_REFUSED) -> None:
        """The kernel to what is wanted. `before`: what was refused until now, and is tried again."""
        target = with_stand_ins(self._wanted, self._wanted, self._refused)
        changes = self._state.update(delta, target)
        self._is_behind |= bool(delta.snapshot or self._refused or before)
        if not await self._write_or_tell(None if changes.fresh or self._whole_is_due else changes):
            self._failures += 1
            self._is_behind = True
            lasting = self._busy and self._failures >= LASTING and self._may_look()
            if lasting or not self._busy:
                target = await self._settle(before, lasting=lasting)
        if not self.fault:
            self._hold(target, delta)

    def _hold(self, target: HostIntent, delta: Delta) -> None:
        """The kernel has this, which is what it had and the delta, as a rule: then nothing else is copied."""
        if self._is_behind:
            self._held = copied(target)
        else:
            follow(self._held, target, named_by(delta))
        self._is_behind = bool(self._refused)
        self._given_up, self._failures = None, 0

    async def _write_or_tell(self, changes: Changes | None) -> bool:
        """None: the whole. Was it taken? If not, `fault` says why, and `_busy` whether it may be another time."""
        self._whole_is_due |= changes is None
        try:
            await (self._write_whole() if changes is None else self._write(changes))
        except Broken as refusal:
            self._busy, self.fault = False, str(refusal)
            self._state.refused()
        except Transient as error:
            self._busy, self._whole_is_due, self.fault = True, True, str(error)
        else:
            self._whole_is_due, self.fault = False, ""
        return not self.fault

    async def _settle(self, before: Mapping[Key, Retry], *, lasting: bool) -> HostIntent:
        """Find what was refused, and bring the rest into force. The intent that is, unless there is a `fault`.
        `lasting`: what failed for want of something, again and again, counts as refused."""
        keys = [key for key in differing(self._held, self._wanted) if key not in self._refused]
        looking, reasons = search(keys), dict.fromkeys(keys, self.fault)
        while (asked := looking.next) is not None:
            taken = await self._try(keys, {*looking.cleared, *asked}, looking.culprits)
            if not taken and self._busy and not lasting:
                return self._give_up(keys)
            looking = looking.answered(refused=not taken)
            reasons.update(dict.fromkeys(() if taken else asked, self.fault))
        culprits, now = looking.culprits, time.monotonic()
        if not await self._try(keys, {*keys} - {*culprits}, culprits):
            self._given_up = after_failure(self._given_up, now, self.fault, GIVEN_UP_FOR)
            return self._give_up(keys)
        self._refused |= {
            key: after_failure(before.get(key), now, reasons[key], RETRIED_AFTER) for key in culprits
        }
        return with_stand_ins(self._wanted, self._wanted, self._refused)

    def _may_look(self) -> bool:
        return self._given_up is None or self._given_up.at <= time.monotonic()

    async def _try(self, keys: Iterable[Key], new: Set[Key], culprits: Iterable[Key]) -> bool:
        """What is in force, with these new; the culprits and what is refused already denied."""
        trial = mixed(self._held, self._wanted, new, (*self._refused, *culprits))
        changes = self._state.update(telling(keys, trial), trial)
        return await self._write_or_tell(None if self._whole_is_due else changes)

    def _give_up(self, keys: Iterable[Key]) -> HostIntent:
        """Nobody is to blame, or the kernel is busy: it keeps what it has, and the whole is tried again."""
        self._whole_is_due = True
        target = with_stand_ins(self._wanted, self._wanted, self._refused)
        self._state.update(telling(keys, target), target)
        return target

    async def _write(self, changes: Changes) -> None:
        if not changes:
            return
        try:
            with self._counted(known=False) as ours:
                ours.steps = await self._nft.apply(changes)
        except Drifted as drift:
            self._whole_is_due = True
            self._mended.append(f"nftables: our table was not there as we left it ({drift})")
            await self._write_whole()

    async def _write_whole(self) -> None:
        """Over what is there, if that can be read and is of our making; its cut flows are told again in any case."""
        with self._counted(known=True) as ours:
            ours.steps = await self._renew() or await self._nft.apply(whole(self._state.table), self._still_cut())

    async def _renew(self) -> int:
        """The number of transactions, 0: it could not be."""
        try:
            found = await self._nft.read()
            if found is not None:
                return await self._nft.apply(renewal(self._state.table, found), self._still_cut())
        except (Transient, Broken):
            return 0  # a set of another make is in the way, or it cannot be read
        return 0

    def _still_cut(self) -> dict[Flow, int]:
        now = time.monotonic()
        return {flow: math.ceil(until - now) for flow, until in self._cut.items() if until > now}

    @contextmanager
    def _counted(self, *, known: bool) -> Iterator[_Ours]:
        """More steps than ours, or a start that we had not seen: somebody else wrote too, look at the table.
        `known`: it is, whatever it was before."""
        before, ours = self._nft.generation() if known else self._generation, _Ours()
        yield ours
        after = self._nft.left_at()
        alone = before is not None and after == before + ours.steps
        self._generation = after if alone else None

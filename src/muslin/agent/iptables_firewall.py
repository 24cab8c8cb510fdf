"""The chains of iptables and the ipsets kept as the intent says, whatever fails and whoever meddles.

As in agent.firewall: the renderer hands out changes against what it believes is in the kernel, and that belief ends
with any failure; from then on the whole is written, until that succeeds. Reading what there is and writing the
difference of sets, and every chain of a table in one step, loses no packet: so a start is written like that too.

No number tells that somebody meddled, so all is read again now and then, as seldom as makes it cheap. Who puts rules
before our jump is moved behind it again.

What is refused by its line is laid to the charge of the object that made the line: something that denies stands for it,
and the rest is in force, as with nftables (decision 0044). It is tried again when it changes, and now and then. What
the kernel refuses only at a table's COMMIT names no line: then halves of what is new are tried, until the culprit is
alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType

from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.program import RefusedLine
from muslin.errors import Broken, Transient
from muslin.intent import Delta, EndpointKey, HostIntent, Problem
from muslin.reconcile import Retry, after_failure, search
from muslin.render.iptables import Changes, IptablesState, whole
from muslin.render.iptables.blame import culprit
from muslin.render.iptables.listing import differences
from muslin.render.iptables.probes import CORE, OTHERS
from muslin.render.iptables.words import Table
from muslin.render.nft import Flow
from muslin.render.nft.refused import (
    Key,
    copied,
    describe,
    differing,
    mixed,
    named_by,
    telling,
    with_stand_ins,
)

NOTHING_REFUSED: Mapping[Key, Retry] = MappingProxyType({})
RETRIED_AFTER = 600.0
"""Seconds at most between two tries of what is refused."""
_TOLD = 3
_SHARE = 50
"""Reading may take this part of the time."""


class IptablesFirewall:
    """One caller at a time. `fault` says why the kernel is not as it should be, "" when it is."""

    def __init__(self, iptables: Iptables) -> None:
        self._iptables = iptables
        self._state: IptablesState | None = None
        self._intent = HostIntent()
        self._held = HostIntent()
        """What was in force last: of what is new since, something is refused."""
        self._whole_is_due = True
        self._rest_until = 0.0
        self._refused: dict[Key, Retry] = {}
        self._lacking: frozenset[str] = frozenset()
        self._probed: set[Table] = set()
        self._mended: list[str] = []
        self.fault = ""

    @property
    def flavour(self) -> Flavour:
        return self._iptables.flavour

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What this host's iptables cannot do or refuses, and denies instead."""
        lacking = tuple(Problem(what=said) for said in self._state.problems) if self._state else ()
        return lacking + tuple(
            Problem(what=f"iptables refuses {describe(key, self._intent)}, so it denies: {retry.why}", key=key[1],
                    mend="change it; as it is, it is tried again from time to time")
            for key, retry in self._refused.items()
        )

    @property
    def is_unfinished(self) -> bool:
        """Is there something to `mend`?"""
        return bool(self.fault or self._refused)

    def shut(self) -> dict[EndpointKey, str]:
        """Endpoints that have no policy in the kernel, and why."""
        return {EndpointKey(key): f"iptables refuses it: {retry.why}" for (kind, key), retry in self._refused.items()
                if kind in ("endpoints", "host_interfaces")}

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._state is not None and not self.fault

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. A failure is kept in `fault`, for `mend` to try again."""
        self._intent = intent
        for key in [*self._refused] if delta.snapshot else named_by(delta):
            self._refused.pop(key, None)
        append = intent.settings.chain_insert == "Append"
        self._whole_is_due |= append is not self._iptables.append
        self._iptables.append = append
        changes = self._state.update(delta, self._target) if self._state else None
        await self._bring(None if self._whole_is_due else changes)

    async def mend(self) -> None:
        """Try again what failed, and what was refused, when its time has come."""
        now = time.monotonic()
        due = {key: self._refused.pop(key) for key, retry in [*self._refused.items()] if retry.at <= now}
        if self._state and due:
            changes = self._state.update(telling(due, self._target), self._target)
            await self._bring(None if self._whole_is_due else changes, due)
        elif self.fault:
            await self._bring(None)

    @property
    def _target(self) -> HostIntent:
        """What is wanted, with something that denies for what is refused."""
        return with_stand_ins(self._intent, self._intent, self._refused)

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows, from either end, opens one of them again for so long. Raises Transient."""
        await self._iptables.cut(flows, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on: policy allows them again. Raises Transient."""
        await self._iptables.uncut(flows)

    def mended(self) -> tuple[str, ...]:
        """What somebody else had changed, and was mended since the last call."""
        told = tuple(self._mended)
        self._mended.clear()
        return told

    async def check(self) -> None:
        """Look whether somebody else has changed what is ours, or has come before it, and mend it."""
        began = time.monotonic()
        if not self.in_force or self._state is None or began < self._rest_until:
            return
        found = differences(self._state.ruleset, await self._iptables.read(), append=self._iptables.append)
        if found:
            more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
            self._mended.append(f"iptables: {'; '.join(found[:_TOLD])}{more}")
            await self._bring(None)
        now = time.monotonic()
        self._rest_until = now + _SHARE * (now - began)

    async def drift(self) -> tuple[str, ...]:
        """How the kernel differs from what we wrote, now. Mends nothing. Raises Transient."""
        if self._state is None:
            return ("nothing is written yet",)
        return differences(self._state.ruleset, await self._iptables.read(), append=self._iptables.append)

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment -> (packets, bytes). Raises Transient."""
        return await self._iptables.counters()

    async def comments(self) -> dict[tuple[str, str, str], tuple[str, ...]]:
        """(ip or ip6, table, chain) -> the comments of its rules, in order: nft, which traces the flavour that is its
        own, does not show them. Raises Transient."""
        found = (await self._iptables.read()).chains
        return {("ip6" if key.family == 6 else "ip", str(key.table), key.name): tuple(comment for comment, _ in lines)
                for key, lines in found.items()}

    async def _bring(self, changes: Changes | None, before: Mapping[Key, Retry] = NOTHING_REFUSED) -> None:
        """None: from whatever is there to the whole. `before`: what was refused until now, and is tried again."""
        try:
            state, is_new = await self._able()
            if changes is None or is_new or not await self._follows(state, changes, before):
                await self._write_whole(state, before)
        except (Transient, Broken) as error:
            self._whole_is_due, self.fault = True, str(error)
        else:
            self._whole_is_due, self.fault, self._held = False, "", copied(self._target)

    async def _follows(self, state: IptablesState, changes: Changes, before: Mapping[Key, Retry]) -> bool:
        """The change alone, if what it builds on is there."""
        try:
            await self._iptables.apply(changes)
        except RefusedLine as error:
            if not self._lay_to_charge(state, error, before) and not error.of_all:
                self._mended.append(f"iptables: our chains were not there as we left them ({error})")
            return False
        except (Transient, Broken):
            return False
        return True

    async def _write_whole(self, state: IptablesState, before: Mapping[Key, Retry]) -> None:
        """Without what is refused, line by line, as long as it is known whose line it is."""
        while True:
            try:
                await self._iptables.apply(whole(state.ruleset))
            except RefusedLine as error:
                if error.of_all and await self._search(state, error, before):
                    return
                if not self._lay_to_charge(state, error, before):
                    raise
            else:
                return

    async def _search(self, state: IptablesState, error: RefusedLine, before: Mapping[Key, Retry]) -> bool:
        """Whom to blame for what was refused at a COMMIT. True: found, and the rest is in force."""
        keys = [key for key in differing(self._held, self._intent) if key not in self._refused]
        looking = search(keys)
        while (asked := looking.next) is not None:
            taken = await self._try(state, keys, {*looking.cleared, *asked}, looking.culprits)
            looking = looking.answered(refused=not taken)
        found = bool(keys) and await self._try(state, keys, {*keys} - {*looking.culprits}, looking.culprits)
        if found:
            now = time.monotonic()
            self._refused |= {key: after_failure(before.get(key), now, str(error), RETRIED_AFTER)
                              for key in looking.culprits}
        else:
            state.update(telling(keys, self._target), self._target)
        return found

    async def _try(self, state: IptablesState, keys: Iterable[Key], new: Set[Key], culprits: Iterable[Key]) -> bool:
        """What was in force, with these new; the culprits and what is refused already denied."""
        trial = mixed(self._held, self._intent, new, (*self._refused, *culprits))
        state.update(telling(keys, trial), trial)
        try:
            await self._iptables.apply(whole(state.ruleset))
        except RefusedLine:
            return False
        return True

    def _lay_to_charge(self, state: IptablesState, error: RefusedLine, before: Mapping[Key, Retry]) -> bool:
        """Something that denies stands for whoever made the line from now on. False: nobody is known to have."""
        key = culprit(error.line, self._intent)
        if key is None or key in self._refused:
            return False
        self._refused[key] = after_failure(before.get(key), time.monotonic(), str(error), RETRIED_AFTER)
        state.update(telling([key], self._target), self._target)
        return True

    async def _able(self) -> tuple[IptablesState, bool]:
        """The state, and whether it is a new one. What this kernel can do is asked once for each table, and not before
        there is something to say in it: a table that was used stays hooked in, and costs every packet a little."""
        state, is_new = self._state or self._anew(), self._state is None
        while unknown := {Table.FILTER, Table.RAW, *(key.table for key in state.ruleset.chains)} - self._probed:
            lacking = await self._iptables.lacking(one for one in (*CORE, *OTHERS) if one.table in unknown)
            if without := sorted(lacking & {sample.extension for sample in CORE}):
                raise Transient(f"iptables-{self.flavour} of this host cannot do {', '.join(without)}: use nftables")
            self._probed |= unknown
            if lacking:
                self._lacking |= lacking
                state, is_new = self._anew(), True
        self._state = state
        return state, is_new

    def _anew(self) -> IptablesState:
        state = IptablesState(self._lacking, other=self.flavour is Flavour.NFT)
        state.update(Delta(snapshot=True), self._target)
        return state

"""The chains of iptables and the ipsets kept as the intent says, whatever fails and whoever meddles.

As in agent.firewall: the renderer hands out changes against what it believes is in the kernel, and that belief ends
with any failure; from then on the whole is written, until that succeeds. Reading what there is and writing the
difference of sets, and every chain of a table in one step, loses no packet: so a start is written like that too.

No number tells that somebody meddled, so all is read again now and then, as seldom as makes it cheap. Who puts rules
before our jump is moved behind it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from muslin.drivers.iptables import Flavour, Iptables
from muslin.errors import Broken, Transient
from muslin.intent import Delta, EndpointKey, HostIntent, Problem
from muslin.render.iptables import Changes, IptablesState, whole
from muslin.render.iptables.listing import differences
from muslin.render.iptables.probes import CORE, OTHERS
from muslin.render.nft import Flow

_TOLD = 3
_SHARE = 50
"""Reading may take this part of the time."""


class IptablesFirewall:
    """One caller at a time. `fault` says why the kernel is not as it should be, "" when it is."""

    def __init__(self, iptables: Iptables) -> None:
        self._iptables = iptables
        self._state: IptablesState | None = None
        self._intent = HostIntent()
        self._whole_is_due = True
        self._rest_until = 0.0
        self._mended: list[str] = []
        self.fault = ""

    @property
    def flavour(self) -> Flavour:
        return self._iptables.flavour

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What this host's iptables cannot do, and denies instead."""
        return tuple(Problem(what=said) for said in self._state.problems) if self._state else ()

    @property
    def is_unfinished(self) -> bool:
        """Is there something to `mend`?"""
        return bool(self.fault)

    def why_shut(self, endpoint: EndpointKey) -> str:
        """Whatever is in force is so for every endpoint."""
        del endpoint
        return ""

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._state is not None and not self.fault

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. A failure is kept in `fault`, for `mend` to try again."""
        self._intent = intent
        append = intent.settings.chain_insert == "Append"
        self._whole_is_due |= append is not self._iptables.append
        self._iptables.append = append
        changes = self._state.update(delta, intent) if self._state else None
        await self._bring(None if self._whole_is_due else changes)

    async def mend(self) -> None:
        """Try again what failed."""
        if self.fault:
            await self._bring(None)

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

    async def _bring(self, changes: Changes | None) -> None:
        """None: from whatever is there to the whole."""
        try:
            state = self._state or await self._begun()
            try:
                await self._iptables.apply(whole(state.ruleset) if changes is None else changes)
            except (Transient, Broken) as error:
                if changes is None:
                    raise
                self._mended.append(f"iptables: our chains were not there as we left them ({error})")
                await self._iptables.apply(whole(state.ruleset))
        except (Transient, Broken) as error:
            self._whole_is_due, self.fault = True, str(error)
        else:
            self._whole_is_due, self.fault = False, ""

    async def _begun(self) -> IptablesState:
        """What this kernel can do is asked once; without the core of it there is nothing to begin with."""
        lacking = await self._iptables.lacking((*CORE, *OTHERS))
        if without := sorted(lacking & {sample.extension for sample in CORE}):
            raise Transient(f"iptables-{self.flavour} of this host cannot do {', '.join(without)}: use nftables")
        self._state = IptablesState(lacking)
        self._state.update(Delta(snapshot=True), self._intent)
        return self._state

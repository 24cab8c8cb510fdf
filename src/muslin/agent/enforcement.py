"""Which of the kernel's interfaces enforces policy, and how a host goes from one to another under traffic.

A packet must pass every table of every interface. So a switch has no hole: what is to come is written as a whole beside
what is in force, both say the same meanwhile, and only when all of it is in the kernel does the other go. Where the
new one cannot be written (a program or a module is missing), the old one stays in force, follows the intent, and
status says why.

    take: active follows the intent;   wanted is another?  coming follows too;   coming in force?  it is the active one
    tidy: whatever the others have left in the kernel goes, be it ours, or a predecessor's that was killed halfway
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Protocol

from muslin.agent.firewall import Firewall
from muslin.agent.iptables_firewall import IptablesFirewall
from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.drivers.program import is_installed
from muslin.errors import Broken, Transient
from muslin.intent import Backend, Delta, EndpointKey, HostIntent, Problem
from muslin.render.nft import Flow

FLAVOURS = {Backend.IPTABLES_LEGACY: Flavour.LEGACY, Backend.IPTABLES_NFT: Flavour.NFT}


class Enforcer(Protocol):
    """Policy in one of the kernel's interfaces. One caller at a time."""

    fault: str
    """Why the kernel is not as it should be, "" when it is."""

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""

    @property
    def is_unfinished(self) -> bool:
        """Is there something to `mend`?"""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be said in it, and is denied instead."""

    def shut(self) -> dict[EndpointKey, str]:
        """Endpoints that have no policy in the kernel, and why."""

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. The first is a whole. A failure is kept in `fault`."""

    async def mend(self) -> None:
        """Try again what failed."""

    async def check(self) -> None:
        """Look whether somebody else has changed it, and mend it."""

    def mended(self) -> tuple[str, ...]:
        """What somebody else had changed, and was mended since the last call."""

    async def drift(self) -> tuple[str, ...]:
        """How the kernel differs from what was written, now. Mends nothing. Raises Transient."""

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment of a rule -> (packets, bytes). Raises Transient."""

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows opens one of them again for so long. Raises Transient."""

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on. Raises Transient."""


class Enforcement:
    """`dataplane`: the backend, whatever the settings say; None leaves it to them."""

    def __init__(self, dataplane: Backend | None = None, netns: str | None = None) -> None:
        self._dataplane = dataplane
        self._netns = netns
        self._backend = dataplane or Backend.NFTABLES
        self._active: Enforcer | None = None
        self._coming: tuple[Backend, Enforcer] | None = None
        self._untidy = ""
        """Why the others may have left something; "" when they have not."""
        self._cut: dict[Flow, float] = {}
        """Until when."""

    @property
    def backend(self) -> Backend:
        """Which is in force, or is to be."""
        return self._backend

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._active is not None and self._active.in_force

    @property
    def fault(self) -> str:
        """Why not, "" if it is."""
        return self._active.fault if self._active else ""

    @property
    def is_unfinished(self) -> bool:
        """Is there something to `mend`?"""
        return bool(self._coming or self._untidy or (self._active and self._active.is_unfinished))

    def shut(self) -> dict[EndpointKey, str]:
        """Endpoints that have no policy in the kernel though others have, and why."""
        return self._active.shut() if self._active else {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What does not do as it should, though policy is in force."""
        found = self._active.problems if self._active else ()
        if self._coming:
            backend, coming = self._coming
            found += (Problem(what=f"{self._backend} stays in force, {backend} cannot be: {coming.fault}"),)
        return (*found, Problem(what=self._untidy)) if self._untidy and self.in_force else found

    async def take(self, delta: Delta, intent: HostIntent) -> None:
        """Bring the kernel to `intent`. A failure is kept, for `mend` to try again."""
        wanted = self._dataplane or intent.settings.backend
        if self._active is None:
            self._backend, self._active = wanted, self._made(wanted)
            self._untidy = "leftovers of other backends were not looked for yet"
        await self._active.take(delta, intent)
        await self._go_to(wanted, delta, intent)
        await self._finish()

    async def _go_to(self, wanted: Backend, delta: Delta, intent: HostIntent) -> None:
        if self._coming and self._coming[0] is not wanted:
            self._untidy = f"{self._coming[0]} is not wanted any more"
            self._coming = None
        if wanted is self._backend:
            return
        if self._coming:
            await self._coming[1].take(delta, intent)
            return
        made = self._made(wanted)
        self._coming = wanted, made
        await made.take(Delta(snapshot=True), intent)

    async def _finish(self) -> None:
        """Hand over to what is in force now, and clear away what is not."""
        if self._coming and self._coming[1].in_force:
            self._untidy = f"{self._backend} is not in force any more"
            self._backend, self._active = self._coming
            self._coming = None
        if self._untidy and self.in_force and not self._coming:
            try:
                await self._cut_again()
                await self._tidy()
            except (Transient, Broken) as error:
                self._untidy = f"leftovers of other backends: {error}"
            else:
                self._untidy = ""

    async def mend(self) -> None:
        """Try again what failed."""
        if self._active:
            await self._active.mend()
        if self._coming:
            await self._coming[1].mend()
        await self._finish()

    async def check(self) -> None:
        if self._active:
            await self._active.check()

    async def drift(self) -> tuple[str, ...]:
        """How the kernel differs from what was written, now. Mends nothing. Raises Transient."""
        return await self._active.drift() if self._active else ("nothing is written yet",)

    async def comments(self) -> dict[tuple[str, str, str], tuple[str, ...]]:
        """(family, table, chain) -> its rules' comments, of a backend whose rules nft shows without. Raises
        Transient."""
        return await self._active.comments() if isinstance(self._active, IptablesFirewall) else {}

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment of a rule -> (packets, bytes). Raises Transient."""
        return await self._active.counters() if self._active else {}

    def mended(self) -> tuple[str, ...]:
        return self._active.mended() if self._active else ()

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """No packet of these flows, from either end, opens one of them again for so long, whatever backend is next.
        Raises Transient."""
        ended, now = tuple(flows), time.monotonic()
        self._cut = {flow: until for flow, until in self._cut.items() if until > now}
        self._cut.update(dict.fromkeys(ended, now + seconds))
        if self._active:
            await self._active.cut(ended, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on: policy allows them again. Raises Transient."""
        allowed = tuple(flows)
        for flow in allowed:
            self._cut.pop(flow, None)
            self._cut.pop(flow.reverse, None)
        if self._active:
            await self._active.uncut(allowed)

    def remember(self, flows: Iterable[Flow], seconds: int) -> None:
        """Before the first `take`: a predecessor has cut them, and what is written first must cut them too."""
        self._cut.update(dict.fromkeys(flows, time.monotonic() + seconds))

    async def _cut_again(self) -> None:
        now = time.monotonic()
        by_seconds: dict[int, list[Flow]] = {}
        for flow, until in self._cut.items():
            if until > now:
                by_seconds.setdefault(math.ceil(until - now), []).append(flow)
        for seconds, flows in by_seconds.items():
            if self._active:
                await self._active.cut(flows, seconds)

    def _made(self, backend: Backend) -> Enforcer:
        if backend is Backend.NFTABLES:
            return Firewall(Nft(self._netns), self._cut)
        return IptablesFirewall(Iptables(FLAVOURS[backend], self._netns))

    async def _tidy(self) -> None:
        """What is not of the backend in force goes, whoever left it. Raises Transient or Broken."""
        if self._backend is not Backend.NFTABLES:
            await Nft(self._netns).remove()
        others = [flavour for backend, flavour in FLAVOURS.items() if backend is not self._backend]
        for flavour in others:
            if is_installed(f"iptables-{flavour}-save"):
                await Iptables(flavour, self._netns).remove(sets=False)
        if self._backend is Backend.NFTABLES and is_installed("ipset"):
            await Iptables(Flavour.LEGACY, self._netns).sets.remove()

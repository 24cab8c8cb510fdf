"""One host's kernel kept as the intent says: policy first, then what lets packets through.

    take(delta)    close what is no endpoint's any more -> nftables, one transaction -> open links -> addresses,
                   neighbours, routes (of addresses that come: once their flows are forgotten, which goes on meanwhile)
                   -> have the flows of addresses that left forgotten, see `Forgetting`
    work()         what is due again after a failure
    scan(noticed)  read what there is; what had been right and is not any more is drift, and is mended and told

An endpoint is up when the table in force knows it and nothing of its interface is unsettled. While the table cannot be
written, nothing is opened and no route is added.
Nothing at all is written before the first `take`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Set
from itertools import chain
from pathlib import Path

from msgspec import UNSET

from muslin.agent.enforcement import Enforcement
from muslin.agent.forgetting import Forgetting
from muslin.agent.mtu import Mtu
from muslin.agent.wiring import Wiring, closes
from muslin.drivers import rtnetlink, sysctl
from muslin.drivers.links import Link
from muslin.drivers.monitor import Noticed
from muslin.drivers.netlink import Netlink
from muslin.intent import Backend, Delta, EndpointKey, EndpointState, HostIntent, Problem, Settings
from muslin.render.nft import Flow

_UP = EndpointState(state="up")


class Kernel:
    """Of the namespace of the thread that makes it. One caller at a time."""

    def __init__(self, dataplane: Backend | None = None, mtu_file: Path | None = None) -> None:
        self._netlink = Netlink(receive_buffer=rtnetlink.RECEIVE_BUFFER)
        self._firewall = Enforcement(dataplane)
        self._wiring = Wiring(self._netlink)
        self.forgetting = Forgetting()
        self._begun = False
        self._mtu = Mtu(mtu_file)
        self._look_at_mtu(Settings())

    @property
    def port(self) -> int:
        """Of the socket by which we change things: its echoes are no drift."""
        return self._netlink.port

    def close(self) -> None:
        """The kernel stays as it is."""
        self._netlink.close()

    # ---- doing

    async def take(self, delta: Delta, intent: HostIntent, now: float) -> tuple[str, ...]:
        """Returns what was mended on the way."""
        first, self._begun = not self._begun, True
        resized = first or delta.snapshot or delta.settings is not UNSET
        if resized:
            self._look_at_mtu(intent.settings)
        self._wiring.duties.take(delta, intent)
        if first:
            self._wiring.read_all()
            self._wiring.find_left_open()
        self._wiring.do((step for step in self._wiring.plan(now) if closes(step)), now)
        self._foresee()
        await self._firewall.take(delta, intent)
        if first:
            sysctl.prepare_host()
        if resized:
            self._mtu.follow(self._netlink, self._workload_links())
        return await self._work(now)

    async def work(self, now: float) -> tuple[str, ...]:
        """Whatever is due. Returns what was mended."""
        if not self._begun:
            return ()
        await self._firewall.mend()
        return await self._work(now)

    def _foresee(self) -> None:
        """Forgetting goes on while the table is written. Whose last holder is here speaks until that is done."""
        duties = self._wiring.duties
        self.forgetting.not_coming(duties.departed)
        if coming := duties.arrived - duties.departed:
            self.forgetting.ask_early(coming)

    async def _work(self, now: float) -> tuple[str, ...]:
        wiring = self._wiring
        wiring.look_at_replaced()
        steps = wiring.plan(now)
        if not self._firewall.in_force:
            steps = tuple(step for step in steps if step.new is None)
        elif coming := wiring.coming(steps):  # before there is a way to them
            await self.forgetting.wait_for_way(coming)
        wiring.do(steps, now)
        if self._firewall.in_force and wiring.look_at_replaced():
            wiring.do(wiring.plan(now), now)
        await self._let_go()
        return self._mended()

    async def _let_go(self) -> None:
        """Flows of addresses whose routes went: nobody waits for that, apart from those that are somebody else's here
        already. Of addresses that lead elsewhere: at once."""
        wiring, duties = self._wiring, self._wiring.duties
        gone, redirected = wiring.departed | duties.departed, tuple(duties.redirected)
        if not gone and not redirected:
            return
        walk = self.forgetting.ask(gone, redirected)
        for some in (wiring.departed, duties.departed, duties.redirected):
            some.clear()
        if redirected or any(map(duties.is_here, gone)):
            await asyncio.shield(walk)

    def _mended(self) -> tuple[str, ...]:
        policy = self._firewall.mended() if self._firewall.in_force else ()
        return policy + self._wiring.mended()

    def made(self, link: Link) -> None:
        """By `plug.lay`, for an endpoint that may be known already."""
        self._wiring.interfaces.made(link)

    def number_of(self, interface: str, owner: EndpointKey) -> int:
        """Of a link that was made for that owner, 0 if none is known."""
        link = self._wiring.interfaces.owned.get(interface)
        return link.index if link is not None and link.owner == owner else 0

    @property
    def leaving(self) -> set[str]:
        """Interfaces that the caller is about to remove."""
        return self._wiring.leaving

    @property
    def firewall(self) -> Enforcement:
        """To be asked, by whoever holds the worker's `writing`."""
        return self._firewall

    def next_due(self, now: float) -> float | None:
        """When to call `work` again at the latest. Before the first `take` there is nothing to do."""
        if not self._begun:
            return None
        if self._firewall.is_unfinished:
            return now + 1.0
        return self._wiring.next_due(now)

    def concerns(self, noticed: Noticed) -> bool:
        """Is there anything in it that `scan` should see at once?"""
        return self._wiring.concerns(noticed)

    async def scan(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        """Read again what may have changed, mend what did. Returns what was mended."""
        if not self._begun:
            return ()
        strangers = self._wiring.tells_of_strangers(noticed)
        self._wiring.look_again(noticed, now)
        if strangers:
            self._look_at_mtu(self._settings)
            self._mtu.follow(self._netlink, self._workload_links())
        return await self._work(now)

    async def scan_unannounced(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        """As `scan`, and what the kernel announces to nobody: its table, its switches. Returns what was mended."""
        if not self._begun:
            return ()
        await self._firewall.check()
        changed = (*sysctl.prepare_host(), *self._wiring.interfaces.recheck())
        self._wiring.look_at_shapes()
        return tuple(f"sysctl net/{path} was changed" for path in changed) + await self.scan(noticed, now)

    async def scan_all(self, now: float) -> tuple[str, ...]:
        """Everything, unasked. Returns what was mended."""
        if self._begun:
            self._look_at_mtu(self._settings)
            self._mtu.follow(self._netlink, self._workload_links())
        return await self.scan_unannounced(Noticed(lost=True), now)

    # ---- sizes

    @property
    def mtu(self) -> int:
        """Of workloads' links."""
        return self._mtu.number

    def _look_at_mtu(self, settings: Settings) -> None:
        self._settings = settings
        wiring = self._wiring
        wiring.interfaces.read_first()
        self._mtu.look(self._netlink, wiring.interfaces.there, settings, wiring.duties.interfaces)
        wiring.duties.resize(self._mtu.number)

    def _workload_links(self) -> Iterator[Link]:
        return self._wiring.interfaces.found(self._wiring.duties.interfaces)

    # ---- flows

    @property
    def in_force(self) -> bool:
        """Is the policy of the last intent in the kernel?"""
        return self._firewall.in_force

    def remember(self, flows: Iterable[Flow], seconds: int) -> None:
        """Before the first `take`: these are cut by what is written first, too."""
        self._firewall.remember(flows, seconds)

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """None of them is opened again by what is still under way, see `Firewall.cut`. Raises Transient."""
        await self._firewall.cut(flows, seconds)

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on. Raises Transient."""
        await self._firewall.uncut(flows)

    # ---- telling

    def interfaces(self) -> dict[str, frozenset[str]]:
        """Everything that is there, by name, with its addresses without length. Raises Transient."""
        return self._wiring.interfaces.read_with_addresses()

    @property
    def usual(self) -> EndpointState:
        """The state of every endpoint of which nothing else is known."""
        if self._firewall.in_force:
            return _UP
        return EndpointState(state="error", message=self._firewall.fault or "policy is not in the kernel yet")

    def states(self, intent: HostIntent, among: Set[EndpointKey] | None = None) -> dict[EndpointKey, EndpointState]:
        """Of every endpoint: up, or pending and why. `among`: of these, and of all whose state is not the usual one; it
        is asked for in every turn, of hosts with a thousand."""
        every = intent.endpoints, intent.host_interfaces
        keys = chain(*every) if among is None else (key for key in among if any(key in some for some in every))
        states = dict.fromkeys(keys, self.usual)
        if self._firewall.in_force:
            states |= ((key, state) for key, state in self._unusual() if any(key in some for some in every))
        return states

    def _unusual(self) -> Iterator[tuple[EndpointKey, EndpointState]]:
        for key, why in self._firewall.shut().items():
            yield key, EndpointState(state="error", message=why)
        for interface, trouble in self._wiring.troubles().items():
            state = EndpointState(state="error" if trouble.refused else "pending", message=trouble.why)
            yield from ((key, state) for key in self._wiring.duties.endpoints_at(interface))

    def is_open(self, link: Link) -> bool:
        """This very link, not one of the same name that was there before it."""
        return self._wiring.interfaces.is_open(link)

    def problems(self) -> tuple[Problem, ...]:
        """What was tried and does not work, apart from endpoints whose interface is not there yet."""
        found = list(self._wiring.problems())
        found += [Problem(what=fault) for fault in (self._mtu.fault, self.forgetting.fault) if fault]
        if self._firewall.fault:
            found.insert(0, Problem(what=self._firewall.fault, mend="nft --check, or the log of the agent, says more"))
        found += self._firewall.problems
        return tuple(found)

    def orphans(self) -> tuple[Link, ...]:
        """Veths that we made and that no endpoint uses."""
        owned = self._wiring.interfaces.owned
        return tuple(owned[name] for name in sorted(owned.keys() - self._wiring.duties.interfaces))

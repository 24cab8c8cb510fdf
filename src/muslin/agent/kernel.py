"""One host's kernel kept as the intent says: policy first, then what lets packets through.

    take(delta)    close what is no endpoint's any more -> nftables, one transaction -> open links -> addresses,
                   neighbours, routes -> forget the flows of addresses that left (of those that come, before routes)
    work()         what is due again after a failure
    scan(noticed)  read what there is; what had been right and is not any more is drift, and is mended and told

An endpoint is up when the table in force knows it and nothing of its interface is unsettled. While the table cannot be
written, nothing is opened and no route is added.
Nothing at all is written before the first `take`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

from msgspec import UNSET

from muslin.agent.duties import ADDRESS, KINDS, LINK, NEIGHBOUR, ROUTE, SHAPE, Duties, Open
from muslin.agent.enforcement import Enforcement
from muslin.agent.mtu import Mtu
from muslin.drivers import conntrack, links, rtnetlink, shaping, sysctl
from muslin.drivers.links import Link, LinkChange
from muslin.drivers.monitor import Noticed
from muslin.drivers.netlink import Netlink
from muslin.drivers.rtnetlink import Address, Change, Item
from muslin.errors import Broken, Transient
from muslin.intent import (
    Backend,
    Delta,
    EndpointKey,
    EndpointState,
    HostIntent,
    Neighbour,
    Problem,
    Route,
    RouteKind,
    Settings,
)
from muslin.intent.endpoint import Endpoint
from muslin.reconcile import Done, Outcome, Reconciler, Refused, Step, TryAgain, Unsettled
from muslin.render.nft import Flow

_LINKS = (LINK, SHAPE)
"""Kinds whose key is an interface."""
_LINKS_RECHECKED = 50
"""Links whose switches are read again in one scan: 20 small files each."""


class Kernel:
    """Of the namespace of the thread that makes it. One caller at a time."""

    def __init__(self, dataplane: Backend | None = None, mtu_file: Path | None = None) -> None:
        self._netlink = Netlink()
        self._firewall = Enforcement(dataplane)
        self._reconciler = Reconciler(KINDS)
        self._duties = Duties(self._reconciler, ipv6=sysctl.has_ipv6())
        self._links: dict[str, Link] = {}
        self._opened: dict[str, int] = {}
        self._departed: set[str] = set()
        """Addresses whose routes were taken away: also those that only a predecessor knew, see `Duties.departed`."""
        self._drift: dict[tuple[str, Hashable], str] = {}
        """What somebody changed, in words; told once it is mended."""
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
        self._duties.take(delta, intent)
        if first:
            self._read_all()
            self._find_left_open()
        self._do((step for step in self._reconciler.plan(now) if _closes(step)), now)
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

    async def _work(self, now: float) -> tuple[str, ...]:
        steps = self._reconciler.plan(now)
        if not self._firewall.in_force:
            steps = tuple(step for step in steps if step.new is None)
        elif self._duties.arrived:  # before there is a way to them
            await asyncio.to_thread(conntrack.forget, tuple(self._duties.arrived))
            self._duties.arrived.clear()
        self._do(steps, now)
        if departed := self._departed | self._duties.departed:
            await asyncio.to_thread(conntrack.forget, tuple(departed))
            self._departed.clear()
            self._duties.departed.clear()
        return self._mended()

    def _mended(self) -> tuple[str, ...]:
        policy = self._firewall.mended() if self._firewall.in_force else ()
        if not self._drift:
            return policy
        unsettled = {(one.step.kind, one.step.key) for one in self._reconciler.unsettled()}
        settled = [mark for mark in self._drift if mark not in unsettled]
        told = [(mark, self._drift.pop(mark)) for mark in settled]
        return policy + tuple(what for (kind, key), what in told if self._reconciler.wanted(kind, key) is not None)

    @property
    def firewall(self) -> Enforcement:
        """To be asked, by whoever holds the worker's `writing`."""
        return self._firewall

    def next_due(self, now: float) -> float | None:
        """When to call `work` again at the latest."""
        if self._firewall.is_unfinished:
            return now + 1.0
        return self._reconciler.next_due(now)

    async def scan(self, noticed: Noticed, now: float) -> tuple[str, ...]:
        """Read again what may have changed, mend what did. Returns what was mended."""
        if not self._begun:
            return ()
        if noticed.lost or self._have_changed(noticed.links):
            self._read_all()
            self._reconciler.hurry(now)
        else:
            self._read(addresses=noticed.addresses, neighbours=noticed.neighbours, routes=noticed.routes)
        return await self._work(now)

    async def scan_all(self, now: float) -> tuple[str, ...]:
        """Everything, unasked. Returns what was mended."""
        if not self._begun:
            return ()
        await self._firewall.check()
        self._look_at_mtu(self._settings)
        self._mtu.follow(self._netlink, self._workload_links())
        mended = tuple(f"sysctl net/{path} was changed" for path in (*sysctl.prepare_host(), *self._recheck_links()))
        return mended + await self.scan(Noticed(lost=True), now)

    # ---- sizes

    @property
    def mtu(self) -> int:
        """Of workloads' links."""
        return self._mtu.number

    def _look_at_mtu(self, settings: Settings) -> None:
        self._settings = settings
        self._links = self._links or links.read_links(self._netlink)
        self._mtu.look(self._netlink, self._links, settings, self._duties.interfaces)
        self._duties.resize(self._mtu.number)

    def _workload_links(self) -> Iterator[Link]:
        for name in self._duties.interfaces:
            link = self._link(name)
            if link is not None:
                yield link

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

    # ---- steps

    def _do(self, steps: Iterable[Step], now: float) -> None:
        routing: list[Step] = []
        for step in steps:
            if step.kind in _LINKS:
                self._do_routing(routing, now)
                self._reconciler.record(step, self._do_link(step) if step.kind == LINK else self._do_shape(step), now)
            else:
                routing.append(step)
        self._do_routing(routing, now)

    def _do_link(self, step: Step) -> Outcome:
        name = str(step.key)
        try:
            if step.new is None:
                self._close_link(name)
                return Done()
            link = self._link(name)
            if link is None:
                return TryAgain(f"interface {name} is not there")
            sysctl.ensure(sysctl.workload_link(name) | sysctl.forwarding(name, True))
            if not link.up:
                links.change_link(self._netlink, LinkChange(index=link.index, up=True))
        except Transient as error:
            self._links.pop(name, None)
            return TryAgain(str(error))
        self._opened[name] = link.index
        return Done()

    def _do_shape(self, step: Step) -> Outcome:
        try:
            shaping.apply(self._netlink, str(step.key), step.new if isinstance(step.new, shaping.Shape) else None)
        except (Transient, Broken) as error:
            return _outcome(error)
        return Done()

    def _close_link(self, name: str) -> None:
        """A veth of ours is shut by its name's prefix, in nftables; a tap with a name of its own must be shut here."""
        self._opened.pop(name, None)
        link = links.read_link(self._netlink, name)
        if link is not None and not link.owner:
            sysctl.ensure(sysctl.closed_link(name))

    def _link(self, name: str) -> Link | None:
        if name not in self._links:
            link = links.read_link(self._netlink, name)
            if link is not None:
                self._links[name] = link
        return self._links.get(name)

    def _do_routing(self, steps: list[Step], now: float) -> None:
        if not steps:
            return
        changes = [Change(_item(step.new), _item(step.old)) for step in steps]
        for change in changes:
            item = change.new or change.old
            if item is not None and item.interface:
                self._link(item.interface)
        indexes = {name: link.index for name, link in self._links.items()}
        failures = {failure.index: failure.error for failure in rtnetlink.apply(self._netlink, changes, indexes)}
        for number, step in enumerate(steps):
            self._reconciler.record(step, _outcome(failures.get(number)), now)
            if number not in failures and (address := _departed(step)):
                self._departed.add(address)
        steps.clear()

    # ---- reading

    def interfaces(self) -> dict[str, frozenset[str]]:
        """Everything that is there, by name, with its addresses without length. Raises Transient."""
        names = {link.index: name for name, link in links.read_links(self._netlink).items()}
        found: dict[str, set[str]] = {name: set() for name in names.values()}
        for item in rtnetlink.read_addresses(self._netlink, names, ours=False):
            found.setdefault(item.interface, set()).add(item.address.partition("/")[0])
        return {name: frozenset(addresses) for name, addresses in found.items()}

    def _have_changed(self, names: Iterable[str]) -> bool:
        """Did an interface of an endpoint come, go, go down or become another? All that stood on it may be gone."""
        changed = False
        for name in names:
            link = links.read_link(self._netlink, name)
            if link is None:
                self._links.pop(name, None)
            else:
                self._links[name] = link
            if name in self._duties.interfaces:
                changed |= link is None or not link.up or self._opened.get(name) != link.index
        return changed

    def _read_all(self) -> None:
        self._links = links.read_links(self._netlink)
        opened = {
            name: Open(name) for name, index in self._opened.items()
            if name in self._links and self._links[name].index == index and self._links[name].up
        }
        self._opened = {name: self._links[name].index for name in opened}
        self._found(LINK, opened)
        shaping.remove_left_over(self._netlink, self._links)
        self._found(SHAPE, shaping.read(self._netlink, self._links))
        self._read(addresses=True, neighbours=True, routes=True)

    def _find_left_open(self) -> None:
        """Links that a predecessor opened, and whose endpoint went while nobody looked: they bear things of ours."""
        names = {link.index: name for name, link in self._links.items()}
        bearing = {item.interface for item in rtnetlink.read_addresses(self._netlink, names)}
        bearing |= {item.interface for item in rtnetlink.read_neighbours(self._netlink, names).values()}
        bearing |= {item.interface for item in rtnetlink.read_routes(self._netlink, names).values()
                    if item.kind is RouteKind.DEVICE}
        for name in bearing - self._duties.interfaces:
            self._reconciler.found(LINK, name, Open(name))

    def _read(self, *, addresses: bool, neighbours: bool, routes: bool) -> None:
        names = {link.index: name for name, link in self._links.items()}
        if addresses:
            found = rtnetlink.read_addresses(self._netlink, names)
            self._found(ADDRESS, {item: item for item in found})
        if neighbours:
            self._found(NEIGHBOUR, rtnetlink.read_neighbours(self._netlink, names))
        if routes:
            self._found(ROUTE, rtnetlink.read_routes(self._netlink, names))

    def _found(self, kind: str, actual: dict[str, Open] | dict[str, shaping.Shape] | dict[Address, Address]
               | dict[str, Neighbour] | dict[rtnetlink.RouteKey, Route]) -> None:
        for key in self._reconciler.found_all(kind, dict(actual.items())):
            interface = key if kind in _LINKS else _interface(self._reconciler.wanted(kind, key))
            if not interface or interface in self._links:  # what went with its interface was not taken from us
                how = "was down" if kind == LINK else "was changed" if key in actual else "was gone"
                self._drift[kind, key] = f"{_words(kind, key)} {how}"

    def _recheck_links(self) -> tuple[str, ...]:
        """The switches of the links that were not looked at for longest."""
        changed: list[str] = []
        for name in list(self._opened)[:_LINKS_RECHECKED]:
            index = self._opened.pop(name)
            try:
                changed += sysctl.ensure(sysctl.workload_link(name) | sysctl.forwarding(name, True))
            except Transient:
                continue  # the link is gone: the scan that follows sees it
            self._opened[name] = index
        return tuple(changed)

    # ---- telling

    def states(self, intent: HostIntent) -> dict[EndpointKey, EndpointState]:
        """Of every endpoint: up, or pending and why."""
        troubles = self._troubles()
        states = {key: self._state(endpoint, troubles) for key, endpoint in intent.endpoints.items()}
        return states | {key: self._policy_state(key) for key in intent.host_interfaces}

    def is_open(self, link: Link) -> bool:
        """This very link, not one of the same name that was there before it."""
        return self._opened.get(link.name) == link.index

    def _troubles(self) -> dict[str, Unsettled]:
        troubles: dict[str, Unsettled] = {}
        for one in self._reconciler.unsettled():
            interface = one.step.key if one.step.kind in _LINKS else _interface(one.step.new)
            if interface and one.step.new is not None:
                troubles.setdefault(str(interface), one)
        return troubles

    def _policy_state(self, key: EndpointKey) -> EndpointState:
        if not self._firewall.in_force:
            return EndpointState(state="error", message=self._firewall.fault or "policy is not in the kernel yet")
        if why := self._firewall.why_shut(key):
            return EndpointState(state="error", message=why)
        return EndpointState(state="up")

    def _state(self, endpoint: Endpoint, troubles: dict[str, Unsettled]) -> EndpointState:
        trouble = troubles.get(endpoint.interface)
        if trouble is None or not self._firewall.in_force:
            return self._policy_state(endpoint.key)
        return EndpointState(state="error" if trouble.refused else "pending", message=trouble.why)

    def problems(self) -> tuple[Problem, ...]:
        """What was tried and does not work, apart from endpoints whose interface is not there yet."""
        found = [
            Problem(what=one.why, key=_words(one.step.kind, one.step.key))
            for one in self._reconciler.unsettled()
            if one.why and one.step.kind != LINK and _is_present(one, self._links)
        ]
        if self._mtu.fault:
            found.append(Problem(what=self._mtu.fault))
        if self._firewall.fault:
            found.insert(0, Problem(what=self._firewall.fault, mend="nft --check, or the log of the agent, says more"))
        found += self._firewall.problems
        return tuple(found)

    def orphans(self) -> tuple[Link, ...]:
        """Veths that we made and that no endpoint uses."""
        wanted = self._duties.interfaces
        return tuple(link for name, link in self._links.items() if link.owner and name not in wanted)


def _closes(step: Step) -> bool:
    return step.kind == LINK and step.new is None


def _item(value: object) -> Item | None:
    match value:
        case None | Route() | Neighbour() | Address():
            return value
        case _:
            raise Broken(f"not a thing of rtnetlink: {value!r}")


def _outcome(error: Exception | None) -> Outcome:
    match error:
        case None:
            return Done()
        case Broken():
            return Refused(str(error))
        case _:
            return TryAgain(str(error))


def _interface(value: object) -> str:
    item = _item(value)
    return item.interface if item is not None else ""


def _is_present(one: Unsettled, there: dict[str, Link]) -> bool:
    interface = one.step.key if one.step.kind in _LINKS else _interface(one.step.new)
    return not interface or interface in there


def _departed(step: Step) -> str:
    """The address of a workload that is no longer behind its interface, "" for any other step."""
    old, new = step.old, step.new
    if not isinstance(old, Route) or old.kind is not RouteKind.DEVICE:
        return ""
    stays = isinstance(new, Route) and new.interface == old.interface
    return "" if stays else old.destination.partition("/")[0]


def _words(kind: str, key: object) -> str:
    match key:
        case rtnetlink.RouteKey(destination=destination):
            return f"route {destination}"
        case Address():
            return rtnetlink.describe(key)
        case _ if kind == SHAPE:
            return f"bandwidth limit of {key}"
        case _:
            return f"{kind} {key}"

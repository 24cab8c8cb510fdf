"""All that a host has besides policy, kept as `Duties` say: links, bandwidth, addresses, neighbours, routes.

    duties --want--> reconciler --steps--> do: the kernel --outcome--> reconciler
    kernel --read--> reconciler: what had been right and is not any more is drift, mended by the next steps and told

Steps of links and bandwidth are done one by one; those of rtnetlink that follow each other go out in one batch.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping

from muslin.agent.duties import ADDRESS, KINDS, LINK, NEIGHBOUR, ROUTE, SHAPE, Duties, Open
from muslin.agent.interfaces import Interfaces
from muslin.drivers import rtnetlink, shaping, sysctl
from muslin.drivers.links import Link
from muslin.drivers.monitor import Noticed, Went
from muslin.drivers.netlink import Netlink
from muslin.drivers.rtnetlink import Address, Change, Item
from muslin.errors import Broken, Transient
from muslin.intent import Neighbour, Problem, Route, RouteKind
from muslin.reconcile import Done, Outcome, Reconciler, Refused, Step, TryAgain, Unsettled

_LINKS = (LINK, SHAPE)
"""Kinds whose key is an interface."""


class Wiring:
    """Of the namespace that the socket belongs to. One caller at a time."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._reconciler = Reconciler(KINDS)
        self.duties = Duties(self._reconciler, ipv6=sysctl.has_ipv6())
        self.interfaces = Interfaces(netlink)
        self.departed: set[str] = set()
        """Addresses whose routes were taken away: also those that only a predecessor knew, see `Duties.departed`. The
        caller empties it."""
        self.leaving: set[str] = set()
        """Interfaces that somebody is about to remove: addresses and neighbours go with them, only routes go before."""
        self._drift: dict[tuple[str, Hashable], str] = {}
        """What somebody changed, in words; told once it is mended."""

    # ---- doing

    def plan(self, now: float) -> tuple[Step, ...]:
        """What is due, in a safe order."""
        return self._reconciler.plan(now)

    def coming(self, steps: Iterable[Step]) -> frozenset[str]:
        """Addresses that arrive by these steps, if their interfaces are there."""
        if not self.duties.arrived:
            return frozenset()
        return frozenset(
            address for step in steps
            if (address := _arriving(step)) in self.duties.arrived and self.interfaces.find(_interface(step.new))
        )

    def next_due(self, now: float) -> float | None:
        """When `plan` will have something."""
        return self._reconciler.next_due(now)

    def hurry(self, now: float) -> None:
        """Something changed that may help what failed."""
        self._reconciler.hurry(now)

    def do(self, steps: Iterable[Step], now: float) -> None:
        """In this order; what fails is planned again."""
        routing: list[Step] = []
        for step in steps:
            if step.kind in _LINKS:
                self._do_routing(routing, now)
                self._reconciler.record(step, self._do_link(step) if step.kind == LINK else self._do_shape(step), now)
            elif step.new is None and step.kind != ROUTE and _interface(step.old) in self.leaving:
                self._reconciler.record(step, Done(), now)
            else:
                routing.append(step)
        self._do_routing(routing, now)

    def _do_link(self, step: Step) -> Outcome:
        name = str(step.key)
        return self.interfaces.close(name) if step.new is None else self.interfaces.open(name)

    def _do_shape(self, step: Step) -> Outcome:
        try:
            shaping.apply(self._netlink, str(step.key), step.new if isinstance(step.new, shaping.Shape) else None)
        except (Transient, Broken) as error:
            return _outcome(error)
        return Done()

    def _do_routing(self, steps: list[Step], now: float) -> None:
        if not steps:
            return
        changes = [Change(_item(step.new), _item(step.old)) for step in steps]
        names = {item.interface for change in changes if (item := change.new or change.old)}
        indexes = {link.name: link.index for link in self.interfaces.found({*names, "lo"} - {""})}
        applied = rtnetlink.apply(self._netlink, changes, indexes)
        failures = {failure.index: failure.error for failure in applied}
        for number, step in enumerate(steps):
            self._reconciler.record(step, _outcome(failures.get(number)), now)
            if number not in failures:
                self.duties.arrived.discard(_arriving(step))
                if address := _departed(step):
                    self.departed.add(address)
        steps.clear()

    # ---- reading

    def concerns(self, noticed: Noticed) -> bool:
        """Is there anything in it that cannot wait for the next turn? Our own veths come and go with workloads: what
        is told of those that are no endpoint's, or are as they should be, is only kept."""
        if noticed.lost or noticed.strangers or noticed.neighbours or noticed.routes:
            return True
        return self._miss_any(noticed.went) or any(
            self._is_amiss(name, link) for name, link in noticed.links.items()
        )

    def _is_amiss(self, name: str, link: Link | None) -> bool:
        if name in self.duties.interfaces:
            return link is None or not link.up or not self.interfaces.is_open(link)
        return self._is_strangers(name, link)

    def tells_of_strangers(self, noticed: Noticed) -> bool:
        """Of the host's own addresses, or of links that are neither an endpoint's nor made by us. To be asked before
        `look_again`."""
        return noticed.strangers or any(
            name not in self.duties.interfaces and self._is_strangers(name, link)
            for name, link in noticed.links.items()
        )

    def _is_strangers(self, name: str, link: Link | None) -> bool:
        known = link or self.interfaces.there.get(name)
        return known is None or not known.is_ours

    def _miss_any(self, went: Collection[Went]) -> bool:
        """What went with its interface does not count: that is told, too."""
        names, wanted = self.interfaces.names if went else {}, self._reconciler.wanted
        for number, address in went:
            name = names.get(number, "")
            gateway, neighbour = Address(interface=name, address=address), f"{address}%{name}"
            if wanted(ADDRESS, gateway) is not None or wanted(NEIGHBOUR, neighbour) is not None:
                return True
        return False

    def look_again(self, noticed: Noticed, now: float) -> None:
        """Read again what may have changed; what did not stay as it was is drift."""
        missed = self._miss_any(noticed.went)
        came, changed = self._told(noticed.links)
        if changed or noticed.lost:
            self.read_all()
        else:
            self._read(addresses=missed, neighbours=missed or noticed.neighbours, routes=noticed.routes)
        if came or changed or noticed.lost:
            self.hurry(now)

    def _told(self, links: Mapping[str, Link | None]) -> tuple[bool, bool]:
        """Did an interface of an endpoint come, on which nothing of ours can stand yet? Did one go, go down or become
        another, so that all that stood on it may be gone? What is told may be older than what we did."""
        came = changed = False
        for name, link in links.items():
            is_new = name not in self.interfaces.there or self.interfaces.is_bare(name)
            stays = self.interfaces.told(name, link)
            is_new |= self.interfaces.is_just_made(name)
            if not stays and name in self.duties.interfaces and not self.interfaces.read_again(name):
                came |= is_new
                changed |= not is_new
        return came, changed

    def look_at_replaced(self) -> bool:
        """Read again what stood on links that others have taken the place of. Is there any such?"""
        replaced = self.interfaces.replaced & self.duties.interfaces
        self.interfaces.replaced.clear()
        if replaced:
            self.read_all()
        return bool(replaced)

    def look_at_shapes(self) -> None:
        """Where there is to be a limit. It is announced to nobody who does not listen to all of tc."""
        if self.duties.limits:
            self._found(SHAPE, shaping.read(self._netlink, self.interfaces.there))

    def read_all(self) -> None:
        self.interfaces.read_all()
        self._found(LINK, {name: Open(name) for name in self.interfaces.opened})
        shaping.remove_left_over(self._netlink, self.interfaces.there)
        self._found(SHAPE, shaping.read(self._netlink, self.interfaces.there))
        self._read(addresses=True, neighbours=True, routes=True)

    def find_left_open(self) -> None:
        """Links that a predecessor opened, and whose endpoint went while nobody looked: they bear things of ours."""
        names = self.interfaces.names
        bearing = {item.interface for item in rtnetlink.read_addresses(self._netlink, names)}
        bearing |= {item.interface for item in rtnetlink.read_neighbours(self._netlink, names).values()}
        bearing |= {item.interface for item in rtnetlink.read_routes(self._netlink, names).values()
                    if item.kind is RouteKind.DEVICE}
        for name in bearing - self.duties.interfaces:
            self._reconciler.found(LINK, name, Open(name))

    def _read(self, *, addresses: bool, neighbours: bool, routes: bool) -> None:
        names = self.interfaces.names
        if addresses:
            found = rtnetlink.read_addresses(self._netlink, names)
            self._found(ADDRESS, {item: item for item in found})
        if neighbours:
            self._found(NEIGHBOUR, rtnetlink.read_neighbours(self._netlink, names))
        if routes:
            self._found(ROUTE, rtnetlink.read_routes(self._netlink, names))

    def _found(self, kind: str, actual: dict[str, Open] | dict[str, shaping.Shape] | dict[Address, Address]
               | dict[str, Neighbour] | dict[rtnetlink.RouteKey, Route]) -> None:
        there = self.interfaces.there
        for key in self._reconciler.found_all(kind, dict(actual.items())):
            interface = key if kind in _LINKS else _interface(self._reconciler.wanted(kind, key))
            if not interface or interface in there:  # what went with its interface was not taken from us
                how = "was down" if kind == LINK else "was changed" if key in actual else "was gone"
                self._drift[kind, key] = f"{_words(kind, key)} {how}"

    # ---- telling

    def mended(self) -> tuple[str, ...]:
        """What somebody had changed, and is as it should be again."""
        if not self._drift:
            return ()
        unsettled = {(one.step.kind, one.step.key) for one in self._reconciler.unsettled()}
        settled = [mark for mark in self._drift if mark not in unsettled]
        told = [(mark, self._drift.pop(mark)) for mark in settled]
        return tuple(what for (kind, key), what in told if self._reconciler.wanted(kind, key) is not None)

    def troubles(self) -> dict[str, Unsettled]:
        """By interface: something of it that is not there yet."""
        troubles: dict[str, Unsettled] = {}
        for one in self._reconciler.unsettled():
            interface = one.step.key if one.step.kind in _LINKS else _interface(one.step.new)
            if interface and one.step.new is not None:
                troubles.setdefault(str(interface), one)
        return troubles

    def problems(self) -> Iterator[Problem]:
        """What was tried and does not work, apart from interfaces that are not there yet."""
        for one in self._reconciler.unsettled():
            if one.why and one.step.kind != LINK and self._is_present(one):
                yield Problem(what=one.why, key=_words(one.step.kind, one.step.key))

    def _is_present(self, one: Unsettled) -> bool:
        interface = one.step.key if one.step.kind in _LINKS else _interface(one.step.new)
        return not interface or interface in self.interfaces.there


def closes(step: Step) -> bool:
    """Does it shut an interface?"""
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


def _arriving(step: Step) -> str:
    """The address of a workload to which this step makes a way, "" for any other step."""
    new = step.new
    is_way = isinstance(new, Route) and new.kind is RouteKind.DEVICE
    return new.destination.partition("/")[0] if isinstance(new, Route) and is_way else ""


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

"""A workload's link: a veth into its namespace, or a tap that a VM's owner made.

    host                                    workload's namespace
    mus1a2b3c4d5e6  ee:ee:ee:ee:ee:ee  <->  eth0   10.65.0.1/32, fd00:65::1/128
      fe80::1/64 (the gateway)                     default via 169.254.1.1 onlink, and via fe80::1
      up from the start                            permanent neighbours for both gateways
                                                   down and bare until `connect`

Two steps, because no packet may pass before policy: `lay` makes the veth with the workload's side down; once policy
and routes of the endpoint are in the kernel, `connect` gives it addresses, routes and carrier. Both may be called
again at any time; a step that fails halfway is finished by the next call or undone by `unplug`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from muslin.drivers import links, netns, rtnetlink, sysctl, veth
from muslin.drivers.links import Link, LinkChange
from muslin.drivers.netlink import Netlink
from muslin.drivers.rtnetlink import Address, Change, Item
from muslin.drivers.veth import AlreadyThere, Veth
from muslin.errors import Invalid, Transient
from muslin.intent import EndpointKey, Neighbour, Route, RouteKind
from muslin.net import Cidr, version_of

HOST_MAC = "ee:ee:ee:ee:ee:ee"
"""Every workload link's host side, on every host: a VM that moves finds its gateway's MAC unchanged."""
GATEWAY_V4 = "169.254.1.1"
GATEWAY_V6 = "fe80::1"
GATEWAY_ROUTE = Route(destination=Cidr("169.254.1.0/24"), kind=RouteKind.LOCAL, interface="lo")
"""Once per host: makes the host itself own 169.254.1.1, so that it answers ARP for it on every link."""

_READY_WITHIN = 5.0
_LEAST_MTU_V4, _LEAST_MTU_V6 = 68, 1280
_MOST_MTU = 65535

_ADOPTABLE = frozenset({"tun", "veth", "macvtap"})


class NameTaken(Invalid):
    """An interface of that name is there already, and it is somebody else's."""


class NoSuchInterface(Invalid):
    """The interface to be adopted is not there."""


class OwnNamespace(Invalid):
    """A workload cannot live in the host's own namespace."""


class NoWay(Invalid):
    """The namespace's own settings leave no room for our default route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """One veth: who it is for, its name on the host, and where and under which name its other end lies.

    `forwards`: the namespace is made to route between its interfaces; else it is left as it is.
    """

    owner: EndpointKey
    interface: str
    namespace: str
    inner: str = "eth0"
    mac: str = ""
    mtu: int = 1500
    forwards: bool = False

    @property
    def inner_mac(self) -> str:
        return self.mac or mac_of(self.owner)


@dataclass(frozen=True, slots=True)
class Laid:
    """Our side of a cable. `is_new`: just made, with all switches; its other end bare and down. `inside`: a socket in
    the workload's namespace, where its end has its switches; `connect` closes it, or whoever comes not so far."""

    link: Link
    is_new: bool
    inside: Netlink | None = None

    def close(self) -> None:
        """Also more than once."""
        if self.inside is not None:
            self.inside.close()


def check_mtu(mtu: int) -> None:
    """0: as the host's uplinks. Narrower links speak no IPv6, and every workload's does where the host does. Raises
    Invalid."""
    least = _LEAST_MTU_V6 if sysctl.has_ipv6() else _LEAST_MTU_V4
    if mtu and not least <= mtu <= _MOST_MTU:
        raise Invalid(f"MTU {mtu}: write {least} to {_MOST_MTU}, or nothing for that of the host's uplinks")


def mac_of(owner: str) -> str:
    """A locally administered MAC that is the same every time the workload is plugged."""
    return "02:" + hashlib.sha1(owner.encode(), usedforsecurity=False).digest()[:5].hex(":")


# ---- veth


def lay(host: Netlink, cable: Cable) -> Laid:
    """The veth is there: our side up, the workload's side down unless it was up already."""
    with netns.opened(cable.namespace) as namespace:
        if netns.is_own(namespace):
            raise OwnNamespace(f"network namespace {cable.namespace} is the host's own: a workload needs another")
        try:
            return _make(host, cable, namespace)  # nearly always nothing is there yet
        except AlreadyThere:
            return _lay_again(host, cable, namespace)


def _lay_again(host: Netlink, cable: Cable, namespace: int) -> Laid:
    """Ours is there, or somebody's of the same name."""
    ours = links.read_link(host, cable.interface)
    if ours is not None and ours.owner != cable.owner:
        raise NameTaken(f"interface {cable.interface}: there is one of that name already, and it is not ours")
    theirs = _inner_link(namespace, cable.inner)
    if ours is not None and (theirs is None or not _are_ends(ours, theirs)):
        links.remove_links(host, [ours.index])  # its other end went into a namespace that this workload has left
        ours, theirs = None, _inner_link(namespace, cable.inner)
    if ours is None:
        if theirs is not None:
            raise NameTaken(
                f"interface {cable.inner} in network namespace {cable.namespace} is there already:"
                " choose another name for ours, or remove that one"
            )
        return _make(host, cable, namespace)
    if not ours.up:
        links.change_link(host, LinkChange(index=ours.index, up=True))
    return Laid(ours, is_new=False)


def lay_loose(host: Netlink, cable: Cable) -> Laid:
    """The veth with both ends here: whoever asked for it takes the other end away, names it, and gives it addresses.

    One that is there from before is made anew: where its other end went, nobody knows.
    """
    for name in (cable.interface, cable.inner):
        link = links.read_link(host, name)
        if link is None:
            continue
        if name == cable.interface and link.owner != cable.owner:
            raise NameTaken(f"interface {name}: there is one of that name already, and it is not ours")
        links.remove_links(host, [link.index])
    with netns.opened(netns.OWN) as namespace:
        made = _make_veth(host, cable, namespace)
        with _gone_on_failure(host, made):
            return Laid(replace(made, peer=links.number_of(host, cable.inner), peer_namespace=None), is_new=True)


def _make(host: Netlink, cable: Cable, namespace: int) -> Laid:
    made = _make_veth(host, cable, namespace)
    with _gone_on_failure(host, made):
        inside = _prepared(cable, namespace)  # already here, because the server is waited for meanwhile
        try:
            peer = links.number_of(inside, cable.inner)
            if not peer:
                raise Transient(f"interface {cable.inner} in network namespace {cable.namespace} is gone again")
        except Transient:
            inside.close()
            raise
    return Laid(replace(made, peer=peer), is_new=True, inside=inside)


def _make_veth(host: Netlink, cable: Cable, namespace: int) -> Link:
    """Our side, up, and with all its switches before: whoever is at home in the workload's namespace may raise the
    other side as soon as it is there, and speak; of a router, for instance."""
    made = veth.make(host, Veth(
        name=cable.interface, mac=HOST_MAC, owner=cable.owner, mtu=cable.mtu, peer_name=cable.inner,
        peer_mac=cable.inner_mac, peer_namespace=namespace, settings=sysctl.workload_link_v4(),
        gives_itself_none=sysctl.has_ipv6() and cable.mtu >= _LEAST_MTU_V6,
    ))
    with _gone_on_failure(host, made):
        sysctl.ensure(sysctl.workload_link_v6(cable.interface))
        links.raise_links(host, [made.index])
    return replace(made, up=True)


@contextmanager
def _gone_on_failure(host: Netlink, made: Link) -> Iterator[None]:
    """Of a link that was just made, and whose maker has no answer yet."""
    try:
        yield
    except (Transient, OSError):
        links.remove_links(host, [made.index])
        raise


def _are_ends(ours: Link, theirs: Link) -> bool:
    return theirs.kind == "veth" and ours.peer == theirs.index and theirs.peer == ours.index


def _inner_link(namespace: int, name: str) -> Link | None:
    with netns.inside(namespace):
        netlink = Netlink()
    with netlink:
        return links.read_link(netlink, name)


def connect(host: Netlink, cable: Cable, addresses: tuple[Cidr, ...], laid: Laid | None = None) -> None:
    """The workload's side gets addresses, gateways and carrier; what is right already is not touched. `laid`: by `lay`;
    with one that is new it is not asked what is there."""
    bare = laid.link.peer if laid is not None and laid.is_new else None
    with _inside(cable) if laid is None or laid.inside is None else laid.inside as netlink:
        _connect(netlink, cable, addresses, bare)
    _wait_sending(host, cable)


def _wait_sending(host: Netlink, cable: Cable) -> None:
    """When a veth's other end comes up, the kernel makes ours send a little later (linkwatch), and drops what it is
    given until then: the answer to the workload's first packet. Asking for the link hurries it, in kernels since 6.9.
    """
    what = f"interface {cable.interface}"

    def sends() -> bool:
        link = links.read_link(host, cable.interface)
        if link is None:
            raise Transient(f"{what} is gone again: was the namespace removed?")
        return link.sends

    _wait(f"{what} sends nothing", sends)


def _wait(complaint: str, ready: Callable[[], bool]) -> None:
    """For what the kernel does a little later in a work queue. Raises Transient."""
    deadline = time.monotonic() + _READY_WITHIN
    while not ready():
        if time.monotonic() > deadline:
            raise Transient(f"{complaint} after {_READY_WITHIN:.0f} s")
        time.sleep(0.001)


def _inside(cable: Cable) -> Netlink:
    with netns.opened(cable.namespace) as namespace:
        return _prepared(cable, namespace)


def _prepared(cable: Cable, namespace: int) -> Netlink:
    """A socket in the workload's namespace. Its end of the link has its switches before it comes up."""
    with netns.inside(namespace):
        netlink = Netlink()
        try:
            sysctl.ensure(sysctl.inner_link(cable.inner) | (sysctl.router() if cable.forwards else {}))
        except Transient:
            netlink.close()
            raise
    return netlink


def _connect(netlink: Netlink, cable: Cable, addresses: tuple[Cidr, ...], bare: int | None) -> None:
    """`bare`: the number of the interface, where it is known that nothing stands on it."""
    index, is_bare = (bare, True) if bare is not None else _inner(netlink, cable)
    indexes = {"lo": links.LOOPBACK, cable.inner: index}
    links.raise_links(netlink, indexes.values())
    present = {} if is_bare else _present(netlink, indexes, cable.inner)
    changes = _missing(present, _wanted(cable.inner, addresses))
    for failure in rtnetlink.apply(netlink, changes, indexes):
        what = f"network namespace {cable.namespace}: {failure.error}"
        if changes[failure.index].new is None:
            raise Transient(what)
        raise NoWay(f"{what}; if it has another default route, remove that")
    for address in addresses:
        if version_of(address) == 6:
            _wait(f"network namespace {cable.namespace}: address {address} is not in use",
                  partial(rtnetlink.is_delivered, netlink, address))


def _inner(netlink: Netlink, cable: Cable) -> tuple[int, bool]:
    """Its number, and whether nothing stands on it."""
    link = links.read_link(netlink, cable.inner)
    if link is None:
        raise Transient(f"interface {cable.inner} in network namespace {cable.namespace} is gone")
    return link.index, not link.up and not _has_addresses(netlink, link)


def _has_addresses(netlink: Netlink, link: Link) -> bool:
    """A link that is down has no routes; addresses of ours it keeps."""
    found = rtnetlink.read_addresses(netlink, {link.index: link.name})
    return any(item.interface == link.name for item in found)


def _wanted(inner: str, addresses: tuple[Cidr, ...]) -> dict[str, Item]:
    """In the order in which the kernel accepts them: addresses, neighbours, routes."""
    items: list[Item] = [Address(interface=inner, address=address) for address in addresses]
    families = {version_of(address) for address in addresses}
    if 4 in families:
        items += [
            Neighbour(address=GATEWAY_V4, interface=inner, mac=HOST_MAC),
            Route(destination=Cidr(f"{GATEWAY_V4}/32"), kind=RouteKind.DEVICE, interface=inner),
            Route(destination=Cidr("0.0.0.0/0"), kind=RouteKind.VIA, gateway=GATEWAY_V4, interface=inner),
        ]
    if 6 in families:
        items += [
            Neighbour(address=GATEWAY_V6, interface=inner, mac=HOST_MAC),
            Route(destination=Cidr("::/0"), kind=RouteKind.VIA, gateway=GATEWAY_V6, interface=inner),
        ]
    return {rtnetlink.describe(item): item for item in items}


def _present(netlink: Netlink, indexes: dict[str, int], inner: str) -> dict[str, Item]:
    """Ours on this interface; another of our links may lie in the same namespace."""
    names = {index: name for name, index in indexes.items()}
    items: list[Item] = [item for item in rtnetlink.read_addresses(netlink, names) if item.interface == inner]
    items += [item for item in rtnetlink.read_neighbours(netlink, names).values() if item.interface == inner]
    items += [
        item for item in rtnetlink.read_routes(netlink, names).values()
        if item.interface == inner or item.gateway in (GATEWAY_V4, GATEWAY_V6)
    ]
    return {rtnetlink.describe(item): item for item in items}


def _missing(present: dict[str, Item], wanted: dict[str, Item]) -> list[Change]:
    puts = [Change(item) for words, item in wanted.items() if words not in present]
    drops = [Change(None, item) for words, item in present.items() if words not in wanted]
    return puts + drops


def resize(host: Netlink, doomed: Sequence[Link], mtu: int) -> dict[str, str]:
    """These links get that MTU: the host's side, and of a veth the workload's, wherever it is. By interface, why not.

    The kernel names a peer's namespace by a number that opens nothing: so all namespaces that have a name or a process
    are asked for theirs. The workload's side goes first: one that cannot be reached keeps both as they were.
    """
    failed: dict[str, str] = {}
    doomed = [(links.read_link(host, link.name) or link) if link.peer_namespace == links.NOT_ASKED else link
              for link in doomed]
    wanted = {link.peer_namespace for link in doomed if link.kind == "veth" and link.peer_namespace is not None}
    reached: set[str] = set()
    for namespace in netns.all_namespaces() if wanted else ():
        (number,) = links.numbers_of_namespaces(host, [namespace])
        if number in wanted:
            inner = [link for link in doomed if link.kind == "veth" and link.peer_namespace == number]
            with netns.inside(namespace):
                netlink = Netlink()
            with netlink:
                for link in inner:
                    links.change_link(netlink, LinkChange(index=link.peer, mtu=mtu))
                    reached.add(link.name)
    for link in doomed:
        if link.kind == "veth" and link.peer_namespace is not None and link.name not in reached:
            failed[link.name] = "no namespace is found in which its other end lies"
            continue
        try:
            links.change_link(host, LinkChange(index=link.index, mtu=mtu))
        except Transient as error:
            failed[link.name] = str(error)
    return failed


def check(host: Netlink, cable: Cable, addresses: tuple[Cidr, ...]) -> tuple[str, ...]:
    """What is not as `lay` and `connect` leave it, in words; nothing is changed.

    A neighbour may be missing: the workload then asks for its gateway, and is answered.
    """
    ours = links.read_link(host, cable.interface)
    if ours is None:
        return (f"interface {cable.interface} is not there",)
    faults: list[str] = []
    if not ours.up:
        faults.append(f"interface {cable.interface} is down")
    if ours.owner != cable.owner:
        faults.append(f"interface {cable.interface} is not ours")
    with netns.opened(cable.namespace) as namespace, netns.inside(namespace):
        netlink = Netlink()
    with netlink:
        inside = links.read_links(netlink)
        theirs = inside.get(cable.inner)
        if theirs is None or not _are_ends(ours, theirs):
            return (*faults, f"interface {cable.inner} in {cable.namespace} is not the other end of {cable.interface}")
        if not theirs.up:
            faults.append(f"interface {cable.inner} in {cable.namespace} is down")
        if theirs.mac != cable.inner_mac:
            faults.append(f"interface {cable.inner} in {cable.namespace} has MAC {theirs.mac}, the host sends to"
                          f" {cable.inner_mac}")
        present = _present(netlink, {name: link.index for name, link in inside.items()}, cable.inner)
        faults += [f"{words} in {cable.namespace} is missing" for words, item in _wanted(cable.inner, addresses).items()
                   if words not in present and not isinstance(item, Neighbour)]
    return tuple(faults)


class Doomed(NamedTuple):
    """A veth that is to go, if it was made for that owner. `number`: of the one that was, if that is known."""

    interface: str
    owner: EndpointKey
    number: int = 0


def unplug(host: Netlink, doomed: Iterable[Doomed]) -> frozenset[str]:
    """They are gone, both ends; which of them were there, by interface.

    A stranger's of the same name is left alone.
    """
    found = {one.interface: number for one in doomed if (number := _number_of_ours(host, one))}
    links.remove_links(host, found.values())
    return frozenset(found)


def _number_of_ours(host: Netlink, doomed: Doomed) -> int:
    """0 if there is none. One that has both the name and the number that ours has is ours: the kernel gives a number
    again only after all others. Of any other it is read whose it is, which takes its lock for links, and longer."""
    if doomed.number and links.number_of(host, doomed.interface) == doomed.number:
        return doomed.number
    link = links.read_link(host, doomed.interface)
    return link.index if link is not None and link.owner == doomed.owner else 0


# ---- tap


def adopt(host: Netlink, interface: str, mtu: int = 0) -> Link:
    """A tap that somebody made becomes a workload's link: up, with the host's MAC. It forwards nothing yet. `mtu` of
    the host's side; 0 leaves it.

    It stays his: `muslin workload rm` leaves it there.
    """
    link = links.read_link(host, interface)
    if link is None:
        raise NoSuchInterface(f"interface {interface} is not there: make it (`ip tuntap add {interface} mode tap`)")
    if link.kind not in _ADOPTABLE:
        raise Invalid(f"interface {interface} is a {link.kind or 'device of the host'}: a tap or veth is needed")
    if mtu and link.mtu != mtu:
        links.change_link(host, LinkChange(index=link.index, mtu=mtu))
    if not link.up or link.mac != HOST_MAC:
        sysctl.ensure(sysctl.no_address_from_mac(interface) | sysctl.workload_link(interface)
                      | sysctl.closed_link(interface))
        links.change_link(host, LinkChange(index=link.index, mac=HOST_MAC, up=True))
    return link

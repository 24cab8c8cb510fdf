"""Routes, neighbours and addresses of one host, packed by hand.

A host may carry a hundred thousand routes. pyroute2 costs 206 us for each, this module about 2: one cached head and
tail per shape of route, and one packed address between them.

How we recognise our own after a restart: routes, neighbours and addresses all carry protocol number 80 (`PROTOCOL`;
RTA_PROTOCOL, NDA_PROTOCOL, IFA_PROTO; not in /etc/iproute2/rt_protos, `ip route show proto 80` lists them). Whatever
does not carry it is a stranger's: never changed, never removed; a route of his that stands where ours should stand
is an error that names it. BIRD's routes carry 12 and a worse metric, so both may be there at once.

Metrics: IPv4 has 0 as the best. IPv6 has none such (the kernel reads 0 as 1024, behind BIRD's 32), so our 0 is 1 there.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_aton, inet_ntop, inet_pton
from typing import NamedTuple

from muslin.drivers.links import pack_mac
from muslin.drivers.netlink import CREATE, EXCLUSIVE, REPLACE, Message, Netlink, Refusal, attribute, attributes
from muslin.errors import Broken, MuslinError, Transient
from muslin.intent import Neighbour, Route, RouteKind
from muslin.net import Cidr

PROTOCOL = 80

_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ADDRESS = struct.Struct("=BBBBI")
_U32 = struct.Struct("=I")

_NEW_ADDRESS, _DEL_ADDRESS, _GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DEL_ROUTE, _GET_ROUTE = 24, 25, 26
_NEW_NEIGHBOUR, _DEL_NEIGHBOUR, _GET_NEIGHBOUR = 28, 29, 30

_MAIN, _LOCAL = 254, 255
_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_TYPE = {RouteKind.DEVICE: 1, RouteKind.VIA: 1, RouteKind.LOCAL: 2, RouteKind.BLACKHOLE: 6}
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254
_SCOPE = {RouteKind.DEVICE: _SCOPE_LINK, RouteKind.LOCAL: _SCOPE_HOST}
_NORMAL_INTERFACE = {RouteKind.BLACKHOLE: "", RouteKind.LOCAL: "lo", RouteKind.VIA: ""}
_ONLINK = 4
_NDA_DST, _NDA_LLADDR, _NDA_PROTOCOL = 1, 2, 12
_PERMANENT = 0x80
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_PROTO = 1, 2, 8, 11
_NO_DAD = 0x02
_NEW, _OVER = CREATE | EXCLUSIVE, CREATE | REPLACE
RECEIVE_BUFFER = 1 << 20
"""Of a socket for many routes: a thousand may be refused at once, and so as many be sent at once."""

_ABSENT = frozenset({errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENODEV})
_OURS_TO_BLAME = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EAFNOSUPPORT})


class RouteKey(NamedTuple):
    """The kernel tells routes apart by destination and metric."""

    destination: Cidr
    metric: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on an interface, used at once: no duplicate address detection. Like `fe80::1/64`."""

    interface: str
    address: str


Item = Route | Neighbour | Address


@dataclass(frozen=True, slots=True)
class Change:
    """`new` in place of `old`. No `old`: must not be there yet. No `new`: must go."""

    new: Item | None
    old: Item | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """`changes[index]` was not done. Transient: try again; Broken: the same words will never do."""

    index: int
    error: MuslinError


def route_key(route: Route) -> RouteKey:
    return RouteKey(route.destination, _normal_metric(route))


def normal_route(route: Route) -> Route:
    """As `read_routes` will tell it, so that what is wanted and what is there compare equal.

    Of a route by way of a gateway the gateway is compared, not the interface, which the kernel may have found itself.
    """
    metric = _normal_metric(route)
    interface = _NORMAL_INTERFACE.get(route.kind, route.interface)
    if metric == route.metric and interface == route.interface:
        return route
    return Route(destination=route.destination, kind=route.kind, interface=interface, gateway=route.gateway,
                 metric=metric)


def _normal_metric(route: Route) -> int:
    return 0 if route.metric == 1 and ":" in route.destination else route.metric


# ---- reading


def read_routes(netlink: Netlink, names: Mapping[int, str]) -> dict[RouteKey, Route]:
    """Our routes, and nobody else's: the kernel itself filters by protocol. `names`: interface index -> name."""
    routes: dict[RouteKey, Route] = {}
    for family in (AF_INET, AF_INET6):
        query = _ROUTE.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
        for kind, body in netlink.dump(_GET_ROUTE, query):
            if kind == NEW_ROUTE and body[5] == PROTOCOL:
                route = _decode_route(body, names)
                routes[RouteKey(route.destination, route.metric)] = route
    return routes


def _decode_route(body: bytes, names: Mapping[int, str]) -> Route:
    family, length, _, _, _table, _, _, kind, _flags = _ROUTE.unpack_from(body)
    found = attributes(body, _ROUTE.size)
    empty = b"\0\0\0\0" if family == AF_INET else bytes(16)
    destination = Cidr(f"{inet_ntop(family, found.get(_DST, empty))}/{length}")
    metric = _U32.unpack(found[_PRIORITY])[0] if _PRIORITY in found else 0
    if family == AF_INET6 and metric == 1:
        metric = 0
    gateway = inet_ntop(family, found[_GATEWAY]) if _GATEWAY in found else ""
    sort = _kind_of(kind, gateway)
    interface = _NORMAL_INTERFACE.get(sort)
    if interface is None:
        index = _U32.unpack(found[_OIF])[0]
        interface = names.get(index, f"#{index}")
    return Route(destination=destination, kind=sort, interface=interface, gateway=gateway, metric=metric)


def _kind_of(kind: int, gateway: str) -> RouteKind:
    if kind == _TYPE[RouteKind.BLACKHOLE]:
        return RouteKind.BLACKHOLE
    if kind == _TYPE[RouteKind.LOCAL]:
        return RouteKind.LOCAL
    return RouteKind.VIA if gateway else RouteKind.DEVICE


def read_neighbours(netlink: Netlink, names: Mapping[int, str]) -> dict[str, Neighbour]:
    """Our permanent neighbours by `address%interface`."""
    neighbours: dict[str, Neighbour] = {}
    for kind, body in netlink.dump(_GET_NEIGHBOUR, _NEIGHBOUR.pack(0, 0, 0, 0, 0)):
        if kind != _NEW_NEIGHBOUR:
            continue
        family, index, state, _flags, _type = _NEIGHBOUR.unpack_from(body)
        found = attributes(body, _NEIGHBOUR.size)
        if found.get(_NDA_PROTOCOL, b"\0")[0] != PROTOCOL or not state & _PERMANENT:
            continue
        address, interface = inet_ntop(family, found[_NDA_DST]), names.get(index, f"#{index}")
        neighbours[f"{address}%{interface}"] = Neighbour(
            address=address, interface=interface, mac=found.get(_NDA_LLADDR, b"").hex(":")
        )
    return neighbours


def read_addresses(netlink: Netlink, names: Mapping[int, str], *, ours: bool = True) -> frozenset[Address]:
    """Our addresses on the host's interfaces; all there are when not `ours`."""
    addresses: set[Address] = set()
    for kind, body in netlink.dump(_GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0)):
        if kind != _NEW_ADDRESS:
            continue
        family, length, _flags, _scope, index = _ADDRESS.unpack_from(body)
        found = attributes(body, _ADDRESS.size)
        if ours and found.get(_IFA_PROTO, b"\0")[0] != PROTOCOL:
            continue
        packed = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
        addresses.add(Address(interface=names.get(index, f"#{index}"),
                              address=f"{inet_ntop(family, packed)}/{length}"))
    return frozenset(addresses)


def read_packed_addresses(netlink: Netlink) -> frozenset[bytes]:
    """All addresses of this host, as packets bear them."""
    listed = (attributes(body, _ADDRESS.size) for kind, body in netlink.dump(_GET_ADDRESS, bytes(_ADDRESS.size))
              if kind == _NEW_ADDRESS)
    return frozenset(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS] for found in listed)


def is_delivered(netlink: Netlink, address: str) -> bool:
    """Would a packet to this address be delivered here? A new IPv6 address is listed before it is in use: its local
    route is added by a work queue that all namespaces share (addrconf_dad_work), also where no duplicate is looked for.
    """
    bare = address.partition("/")[0]
    family = AF_INET6 if ":" in bare else AF_INET
    packed = inet_pton(family, bare)
    query = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_DST, packed)
    answer = netlink.get(_GET_ROUTE, query)
    return isinstance(answer, bytes) and answer[7] == _TYPE[RouteKind.LOCAL]


# ---- writing


def apply(netlink: Netlink, changes: Sequence[Change], indexes: Mapping[str, int]) -> list[Failure]:
    """Do them all, in order; the failed come back, the rest is done. `indexes`: interface name -> index.

    To remove what is absent is success, and so is a put of what is there already exactly so.
    """
    failures: list[Failure] = []
    numbers: list[int] = []

    def messages() -> Iterator[Message]:
        for number, change in enumerate(changes):
            new = change.new
            item = change.old if new is None else new
            if item is None:
                raise Broken("a change that neither puts nor drops")
            index = _index(item, indexes)
            if index is not None:
                numbers.append(number)
                yield _encode(change, item, index)
            elif new is not None:  # what stood on an interface that is gone, went with it
                missing = Transient(f"{describe(item)}: interface {item.interface} is not there")
                failures.append(Failure(number, missing))

    for refusal in netlink.send(messages()):
        error = _judge(changes[numbers[refusal.position]], refusal)
        if error is not None:
            failures.append(Failure(numbers[refusal.position], error))
    return failures


def _index(item: Item, indexes: Mapping[str, int]) -> int | None:
    """0 where no interface is needed, None where the one needed is not there."""
    if item.interface:
        index = indexes.get(item.interface)
        return 0 if index is None and isinstance(item, Route) and item.kind is RouteKind.BLACKHOLE else index
    if isinstance(item, Route):
        return indexes.get("lo") if item.kind is RouteKind.LOCAL else 0
    return None


def _encode(change: Change, item: Item, index: int) -> Message:
    gone = change.new is None
    if isinstance(item, Route):
        if gone:
            return DEL_ROUTE, 0, encode_route(item, index)
        return NEW_ROUTE, _NEW if change.old is None else _OVER, encode_route(item, index)
    # A neighbour that the kernel learnt by itself may stand there: it is not a stranger's, we replace it.
    flags = 0 if gone else _OVER
    if isinstance(item, Neighbour):
        return _DEL_NEIGHBOUR if gone else _NEW_NEIGHBOUR, flags, _encode_neighbour(item, index)
    return _DEL_ADDRESS if gone else _NEW_ADDRESS, flags, _encode_address(item, index)


def encode_route(route: Route, index: int) -> bytes:
    address, _, length = route.destination.partition("/")
    v6 = ":" in address
    head, tail = _route_shape(v6, length, route.kind, index, route.gateway, route.metric)
    return head + (inet_pton(AF_INET6, address) if v6 else inet_aton(address)) + tail


@lru_cache(maxsize=2048)
def _route_shape(
    v6: bool, length: str, kind: RouteKind, index: int, gateway: str, metric: int
) -> tuple[bytes, bytes]:
    """What stands before and behind the destination address, for all routes of one shape."""
    family = AF_INET6 if v6 else AF_INET
    table = _LOCAL if kind is RouteKind.LOCAL else _MAIN
    scope = _SCOPE_UNIVERSE if v6 else _SCOPE.get(kind, _SCOPE_UNIVERSE)
    flags = _ONLINK if kind is RouteKind.VIA and index else 0
    head = _ROUTE.pack(family, int(length), 0, 0, table, PROTOCOL, scope, _TYPE[kind], flags)
    head += struct.pack("=HH", 20 if v6 else 8, _DST)
    tail = b""
    if kind is RouteKind.VIA:
        tail += attribute(_GATEWAY, inet_pton(family, gateway))
    if index:
        tail += attribute(_OIF, _U32.pack(index))
    priority = max(metric, 1) if v6 else metric
    if priority:
        tail += attribute(_PRIORITY, _U32.pack(priority))
    return head, tail


def _encode_neighbour(neighbour: Neighbour, index: int) -> bytes:
    family = AF_INET6 if ":" in neighbour.address else AF_INET
    return _NEIGHBOUR.pack(family, index, _PERMANENT, 0, 0) + b"".join(
        (
            attribute(_NDA_DST, inet_pton(family, neighbour.address)),
            attribute(_NDA_LLADDR, pack_mac(neighbour.mac)),
            attribute(_NDA_PROTOCOL, bytes((PROTOCOL,))),
        )
    )


def _encode_address(item: Address, index: int) -> bytes:
    address, _, length = item.address.partition("/")
    family = AF_INET6 if ":" in address else AF_INET
    packed = inet_pton(family, address)
    scope = _SCOPE_LINK if address.startswith(("fe80:", "169.254.")) else _SCOPE_UNIVERSE
    return _ADDRESS.pack(family, int(length), _NO_DAD, scope, index) + b"".join(
        (
            attribute(_IFA_LOCAL, packed),
            attribute(_IFA_ADDRESS, packed),
            attribute(_IFA_FLAGS, _U32.pack(_NO_DAD)),
            attribute(_IFA_PROTO, bytes((PROTOCOL,))),
        )
    )


def _judge(change: Change, refusal: Refusal) -> MuslinError | None:
    item = change.new or change.old
    what = describe(item) if item is not None else ""
    if change.new is None and refusal.errno in _ABSENT:
        return None
    if refusal.errno == errno.EEXIST:
        return Transient(f"{what}: somebody else's stands there already (`ip route show` names its maker)")
    if refusal.errno == errno.ENETDOWN:
        return Transient(f"{what}: the interface is down")
    if refusal.errno in _OURS_TO_BLAME:
        return Broken(f"{what}: the kernel does not understand us: {refusal}")
    return Transient(f"{what}: {refusal}")


def describe(item: Item) -> str:
    """The words by which an error, a report and `ip` speak of the same thing."""
    match item:
        case Route(kind=RouteKind.VIA):
            return f"route {item.destination} via {item.gateway}"
        case Route(kind=RouteKind.DEVICE):
            return f"route {item.destination} dev {item.interface}"
        case Route():
            return f"{item.kind} route {item.destination}"
        case Neighbour():
            return f"neighbour {item.address} on {item.interface}"
        case Address():
            return f"address {item.address} on {item.interface}"

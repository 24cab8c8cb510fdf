"""What the data centre looks like, before there is any of it: an AS per rack, over a routed spine.

                 s1 AS 64601      s2 AS 64602              spines, each an AS of its own
                /    \\            /    \\                   eBGP on point-to-point links
        r1 AS 65001          r2 AS 65002                  a router per rack: switch, route reflector for its hosts
        /    \\                /    \\                       iBGP inside the rack
    r1h1    r1h2          r2h1    r2h2                    hosts: each with its own kernel tables, BIRD and agent
     |        |            |        |
    web1     api1         web2     db1                    workloads

Racks, routers, hosts, links, addresses and AS numbers all follow from three numbers; nothing here touches a machine.

    fabric   172.30.S.2R/31, fd30::S:R:0/112        spine S to rack R: the spine has the first address
    rack     172.31.R.0/24,  fd31::R:0/112          the router has .1, host H has .(10+H)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from muslin.errors import Invalid

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_MOST = 100
"""Of each: addresses are numbered within one byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A cable between two namespaces. `left` and `right` are (namespace, interface, addresses)."""

    left: tuple[str, str, tuple[str, ...]]
    right: tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """`name` is also its Node's."""

    name: str
    rack: str
    local_as: int
    v4: str
    v6: str

    @property
    def addresses(self) -> tuple[str, str]:
        return f"{self.v4}/24", f"{self.v6}/112"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A router that a router speaks with, both ends' addresses."""

    name: str
    peer_as: int
    own: tuple[str, str]
    theirs: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A rack's router (it has `hosts`), or a spine."""

    name: str
    local_as: int
    router_id: str
    neighbours: tuple[Neighbour, ...]
    rack: str = ""
    hosts: tuple[Host, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    name: str = "demo"
    racks: int = 2
    hosts_per_rack: int = 2
    spines: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Invalid(f"lab name {self.name!r}: write small letters, digits and dashes, at most 32")
        for what, number, least in (("racks", self.racks, 1), ("hosts", self.hosts_per_rack, 1),
                                    ("spines", self.spines, 0 if self.racks == 1 else 1)):
            if not least <= number <= _MOST:
                raise Invalid(f"a lab has {least} to {_MOST} {what}, not {number}")

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(
            Host(
                name=f"r{rack}h{number}", rack=f"r{rack}", local_as=_rack_as(rack),
                v4=f"172.31.{rack}.{10 + number}", v6=f"fd31::{rack:x}:{10 + number:x}",
            )
            for rack in range(1, self.racks + 1) for number in range(1, self.hosts_per_rack + 1)
        )

    @property
    def routers(self) -> tuple[Router, ...]:
        return (*map(self._spine, range(1, self.spines + 1)), *map(self._rack, range(1, self.racks + 1)))

    @property
    def links(self) -> tuple[Link, ...]:
        """Fabric cables and the hosts' uplinks. A host's rack port carries no address: the rack is a bridge."""
        cables = [
            Link(left=(f"s{spine}", f"r{rack}", _lengthened(_spine_end(spine, rack))),
                 right=(f"r{rack}", f"s{spine}", _lengthened(_rack_end(spine, rack))))
            for spine in range(1, self.spines + 1) for rack in range(1, self.racks + 1)
        ]
        uplinks = [
            Link(left=(host.rack, host.name, ()), right=(host.name, "eth0", host.addresses)) for host in self.hosts
        ]
        return (*cables, *uplinks)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Of routers and hosts; workloads get theirs when they come."""
        return (*(router.name for router in self.routers), *(host.name for host in self.hosts))

    def _spine(self, spine: int) -> Router:
        return Router(
            name=f"s{spine}", local_as=_spine_as(spine), router_id=f"172.30.255.{spine}",
            neighbours=tuple(
                Neighbour(name=f"r{rack}", peer_as=_rack_as(rack), own=_spine_end(spine, rack),
                          theirs=_rack_end(spine, rack))
                for rack in range(1, self.racks + 1)
            ),
        )

    def _rack(self, rack: int) -> Router:
        return Router(
            name=f"r{rack}", local_as=_rack_as(rack), router_id=f"172.31.{rack}.1", rack=f"r{rack}",
            neighbours=tuple(
                Neighbour(name=f"s{spine}", peer_as=_spine_as(spine), own=_rack_end(spine, rack),
                          theirs=_spine_end(spine, rack))
                for spine in range(1, self.spines + 1)
            ),
            hosts=tuple(host for host in self.hosts if host.rack == f"r{rack}"),
            addresses=(f"172.31.{rack}.1/24", f"fd31::{rack:x}:1/112"),
        )


def _rack_as(rack: int) -> int:
    return 65000 + rack


def _spine_as(spine: int) -> int:
    return 64600 + spine


def _spine_end(spine: int, rack: int) -> tuple[str, str]:
    return f"172.30.{spine}.{2 * rack}", f"fd30::{spine:x}:{rack:x}:0"


def _rack_end(spine: int, rack: int) -> tuple[str, str]:
    return f"172.30.{spine}.{2 * rack + 1}", f"fd30::{spine:x}:{rack:x}:1"


def _lengthened(ends: tuple[str, str]) -> tuple[str, ...]:
    return f"{ends[0]}/31", f"{ends[1]}/127"

"""What a host must have besides nftables: open links, gateway addresses, neighbours, routes.

For each endpoint's interface:  link       open: up, forwarding, no router advertisements, no duplicate detection
                                shape      limits of its bandwidth, both ways
                                address    fe80::1/64, the IPv6 gateway of whoever speaks IPv6 (decision 0098); another
                                           too, where he knows another
                                neighbour  its addresses' MAC, so that the kernel never asks
                                route      its addresses
Once per host:                  route      local 169.254.1.0/24, the workloads' IPv4 gateway
                                route      blackholes of its own blocks

This is their dependency order, too. A duty is told to the reconciler, which knows what of it is there already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass

from msgspec import UNSET

from muslin.drivers import plug, rtnetlink
from muslin.drivers.rtnetlink import Address
from muslin.drivers.shaping import shape
from muslin.intent import Delta, Endpoint, EndpointKey, HostIntent, Neighbour, Qos, Route, RouteKind, Settings
from muslin.net import Cidr, host_cidr, version_of
from muslin.reconcile import Reconciler

LINK, SHAPE, ADDRESS, NEIGHBOUR, ROUTE = "link", "shape", "address", "neighbour", "route"
KINDS = (LINK, SHAPE, ADDRESS, NEIGHBOUR, ROUTE)


@dataclass(frozen=True, slots=True)
class Open:
    """The interface may carry packets. Given only once policy for it is in the kernel."""

    interface: str


class Duties:
    """Keeps a reconciler's wants in step with the intent."""

    def __init__(self, reconciler: Reconciler, *, ipv6: bool) -> None:
        self._reconciler = reconciler
        self._ipv6 = ipv6
        self._interfaces: dict[EndpointKey, str] = {}
        self._users: Counter[str] = Counter()
        self._gateways: dict[EndpointKey, frozenset[Address]] = {}
        """Of those that speak IPv6."""
        self._served: Counter[Address] = Counter()
        """By how many each of these gateways is known."""
        self._limits: dict[str, dict[EndpointKey, Qos | None]] = {}
        """By interface; of two endpoints that claim one, the smaller key says it."""
        self._mtu = 0
        self._routes: dict[Cidr, Route] = {}
        self._floating: dict[EndpointKey, frozenset[tuple[str, str]]] = {}
        """Pairs of addresses that are translated."""
        self.departed: set[str] = set()
        """Addresses that are no longer behind the interface where they were. The caller empties it."""
        self.redirected: set[str] = set()
        """Floating addresses that lead elsewhere now (also those that led nowhere: conntrack has noted that, too). The
        caller empties it."""
        self.arrived: set[str] = set()
        """Addresses that are to come behind another interface. Who spoke, from this host, with their last holder
        elsewhere, has flows that its policy allowed. The caller takes out those to which there is a way."""
        self._begun = False
        """What a predecessor left is as it was. What its floating addresses led to is not known: `agent.flows` finds
        those flows."""
        self._reconciler.want(ROUTE, rtnetlink.route_key(plug.GATEWAY_ROUTE), plug.GATEWAY_ROUTE)

    @property
    def interfaces(self) -> Set[str]:
        """Of all endpoints."""
        return self._users.keys()

    @property
    def limits(self) -> bool:
        """Is there an endpoint whose bandwidth is limited?"""
        return any(qos is not None for claims in self._limits.values() for qos in claims.values())

    def endpoints_at(self, interface: str) -> Set[EndpointKey]:
        """Those that claim it."""
        return self._limits.get(interface, {}).keys()

    def is_here(self, address: str) -> bool:
        """Is there to be a way to it, to a workload of this host?"""
        route = self._routes.get(host_cidr(address))
        return route is not None and route.kind is RouteKind.DEVICE

    def take(self, delta: Delta, intent: HostIntent) -> None:
        """`intent` is the whole with `delta` in it."""
        self._take(delta, intent)
        self._begun = True

    def _take(self, delta: Delta, intent: HostIntent) -> None:
        whole = delta.snapshot or delta.settings is not UNSET
        for key in self._interfaces.keys() | intent.endpoints.keys() if whole else delta.endpoints:
            endpoint = intent.endpoints.get(key)
            self._take_endpoint(key, endpoint)
            self._take_gateways(key, endpoint)
            self._float(key, _pairs(endpoint, intent.settings))
        for destination in delta.routes if not delta.snapshot else self._routes.keys() | intent.routes.keys():
            self._take_route(destination, intent)
        if delta.snapshot:
            wanted = {key: _plain(neighbour) for key, neighbour in intent.neighbours.items()}
            self._reconciler.want_all(NEIGHBOUR, wanted)
            return
        for name in delta.neighbours:
            neighbour = intent.neighbours.get(name)
            self._reconciler.want(NEIGHBOUR, name, _plain(neighbour) if neighbour else None)

    def _float(self, key: EndpointKey, after: frozenset[tuple[str, str]]) -> None:
        before = self._floating.pop(key, frozenset())
        if after:
            self._floating[key] = after
        if self._begun:
            self.redirected.update(external for external, _ in before ^ after)

    def resize(self, mtu: int) -> None:
        """Links have that MTU now: a bucket must hold a packet."""
        if mtu != self._mtu:
            self._mtu = mtu
            for interface in self._limits:
                self._want_shape(interface)

    def _want_shape(self, interface: str) -> None:
        claims = self._limits.get(interface)
        self._reconciler.want(SHAPE, interface, shape(claims[min(claims)], self._mtu) if claims else None)

    def _limit(self, key: EndpointKey, before: str | None, endpoint: Endpoint | None) -> None:
        after = endpoint.interface if endpoint is not None else None
        if before is not None and before != after:
            claims = self._limits[before]
            del claims[key]
            if not claims:
                del self._limits[before]
            self._want_shape(before)
        if endpoint is not None:
            self._limits.setdefault(endpoint.interface, {})[key] = endpoint.qos
            self._want_shape(endpoint.interface)

    def _take_endpoint(self, key: EndpointKey, endpoint: Endpoint | None) -> None:
        before, after = self._interfaces.get(key), endpoint.interface if endpoint else None
        self._limit(key, before, endpoint)
        if before == after:
            return
        if after is not None:
            self._interfaces[key] = after
            self._users[after] += 1
            self._want_link(after, wanted=True)
        else:
            del self._interfaces[key]
        if before is not None:
            self._users[before] -= 1
            if not self._users[before]:
                del self._users[before]
                self._want_link(before, wanted=False)

    def _want_link(self, interface: str, *, wanted: bool) -> None:
        self._reconciler.want(LINK, interface, Open(interface) if wanted else None)

    def _take_gateways(self, key: EndpointKey, endpoint: Endpoint | None) -> None:
        before = self._gateways.pop(key, frozenset())
        after = frozenset(_gateways(endpoint)) if self._ipv6 and endpoint is not None else frozenset()
        if after:
            self._gateways[key] = after
        self._served.update(after)
        self._served.subtract(before)
        for gateway in before ^ after:
            if not self._served[gateway]:
                del self._served[gateway]
            self._reconciler.want(ADDRESS, gateway, gateway if gateway in self._served else None)

    def _take_route(self, destination: Cidr, intent: HostIntent) -> None:
        route = intent.routes.get(destination)
        before = self._routes.pop(destination, None)
        old, new = (rtnetlink.route_key(one) if one else None for one in (before, route))
        stays = before is not None and route is not None and route.interface == before.interface
        address = destination.partition("/")[0]
        if before is not None and before.kind is RouteKind.DEVICE and not stays:
            self.departed.add(address)
            self.arrived.discard(address)
        if route is not None and route.kind is RouteKind.DEVICE and not stays and self._begun:
            self.arrived.add(address)
        if old is not None and old != new:
            self._reconciler.want(ROUTE, old, None)
        if route is not None and new is not None:
            self._routes[destination] = route
            self._reconciler.want(ROUTE, new, rtnetlink.normal_route(route))


def _gateways(endpoint: Endpoint) -> Iterator[Address]:
    """By which the workload knows its way out for IPv6."""
    known = endpoint.gateway_v6
    if known or any(version_of(prefix) == 6 for prefix in (*endpoint.addresses, *endpoint.spoofable)):
        yield Address(interface=endpoint.interface, address=f"{plug.GATEWAY_V6}/64")
    if known not in ("", plug.GATEWAY_V6):
        yield Address(interface=endpoint.interface, address=f"{known}/128")


def _pairs(endpoint: Endpoint | None, settings: Settings) -> frozenset[tuple[str, str]]:
    return frozenset(endpoint.nat) if endpoint is not None and settings.floating_addresses else frozenset()


def _plain(neighbour: Neighbour) -> Neighbour:
    """With the MAC in the kernel's spelling."""
    mac = neighbour.mac.lower().replace("-", ":")
    if mac == neighbour.mac:
        return neighbour
    return Neighbour(address=neighbour.address, interface=neighbour.interface, mac=mac)

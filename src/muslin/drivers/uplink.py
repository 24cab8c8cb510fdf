"""By which interface, and under which addresses, this host is known to the others."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from ipaddress import ip_interface
from socket import AF_INET, AF_INET6

from muslin.drivers.links import Link, read_links
from muslin.drivers.netlink import Netlink, Refusal, attribute, attributes
from muslin.drivers.plug import GATEWAY_V4
from muslin.drivers.rtnetlink import read_addresses, read_packed_addresses
from muslin.net import version_of

_GET_ROUTE = 26
_DST, _OIF, _PRIORITY = 1, 4, 6
_UNICAST = 1
_ETHERNET = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """`ipv4` and `ipv6` with their length, "" where there is none. `interface` "" when nothing was found."""

    interface: str = ""
    mtu: int = _ETHERNET
    ipv4: str = ""
    ipv6: str = ""


def read_uplink(netlink: Netlink, *, workload_prefix: str) -> Uplink:
    """The interface of the best default route; without one, the first that is up and has a global address."""
    links = read_links(netlink)
    names = {link.index: name for name, link in links.items()}
    addresses: dict[str, list[str]] = {}
    for item in read_addresses(netlink, names, ours=False):
        if not ip_interface(item.address).is_link_local:
            addresses.setdefault(item.interface, []).append(item.address)
    interface = _default_interface(netlink, names) or _first_usable(links, addresses, workload_prefix)
    if not interface:
        return Uplink()
    own = sorted(addresses.get(interface, ()))
    return Uplink(
        interface=interface,
        mtu=links[interface].mtu,
        ipv4=next((address for address in own if version_of(address) == 4), ""),
        ipv6=next((address for address in own if version_of(address) == 6), ""),
    )


def _default_interface(netlink: Netlink, names: Mapping[int, str]) -> str:
    found: list[tuple[int, int, str]] = []
    for family in (AF_INET, AF_INET6):
        for _, body in netlink.dump(_GET_ROUTE, struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)):
            values = attributes(body, 12)
            if body[1] == 0 and body[7] == _UNICAST and _OIF in values:
                metric = int.from_bytes(values.get(_PRIORITY, b""), sys.byteorder)
                name = names.get(int.from_bytes(values[_OIF], sys.byteorder), "")
                found.append((family, metric, name))
    return min(found)[2] if found else ""


def _first_usable(links: Mapping[str, Link], addresses: Mapping[str, list[str]], workload_prefix: str) -> str:
    usable = sorted(
        (link.index, name) for name, link in links.items()
        if link.up and name != "lo" and name in addresses and not name.startswith(workload_prefix)
    )
    return usable[0][1] if usable else ""


def uplinks(netlink: Netlink, there: Mapping[str, Link], pattern: str, prefixes: tuple[str, ...],
            workloads: Set[str]) -> tuple[Link, ...]:
    """Interfaces by which this host reaches others: those whose name the pattern is found in; without one, those that
    are up and have a global address, and that are no workload's."""
    if pattern:
        return tuple(link for name, link in there.items() if re.search(pattern, name))
    names = {link.index: name for name, link in there.items()}
    found = {name for name, link in there.items()
             if link.up and name != "lo" and name not in workloads and not name.startswith(prefixes)}
    addressed = {item.interface for item in read_addresses(netlink, names, ours=False)
                 if item.interface in found and not ip_interface(item.address).is_link_local}
    return tuple(there[name] for name in there if name in found & addressed)


def smallest_mtu(uplinks: Iterable[Link]) -> int:
    """1500 where there is no uplink."""
    return min((link.mtu for link in uplinks if link.mtu), default=_ETHERNET)


def own_addresses(netlink: Netlink) -> frozenset[bytes]:
    """The host's own addresses, packed; the gateway of all workloads, and everybody's, are two of them."""
    return read_packed_addresses(netlink) | {ip_interface(GATEWAY_V4).ip.packed, b"\xff" * 4}


class Ways(dict[bytes, str]):
    """By which interface the host reaches an address, "" where there is no way; asked of the kernel when asked for."""

    def __init__(self, netlink: Netlink) -> None:
        super().__init__()
        self._netlink = netlink
        self._names: dict[int, str] = {}

    def get(self, address: bytes, default: str = "") -> str:  # type: ignore[override]
        if address not in self:
            self[address] = self._look_up(address) or default
        return self[address]

    def _look_up(self, address: bytes) -> str:
        if not self._names:
            self._names = {link.index: name for name, link in read_links(self._netlink).items()}
        family = AF_INET if len(address) == 4 else AF_INET6
        query = struct.pack("=BBBBBBBBI", family, len(address) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_DST, address)
        answer = self._netlink.get(_GET_ROUTE, query)
        if isinstance(answer, Refusal):
            return ""
        return self._names.get(int.from_bytes(attributes(answer, 12).get(_OIF, b""), sys.byteorder), "")

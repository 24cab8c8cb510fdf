"""The world outside of a host: a router behind its uplink, and somebody behind the router."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from netrig import in_ns, namespace, run

OUTSIDE = {4: "198.51.100.9", 6: "2001:db8:9::9"}
UPLINK = {4: "192.0.2.1", 6: "2001:db8::1"}
_ROUTER = {4: "192.0.2.254", 6: "2001:db8::fe"}
_DOOR = {4: "198.51.100.1", 6: "2001:db8:9::1"}
_LENGTH = {4: 24, 6: 64}


@dataclass(frozen=True)
class Party:
    """Anybody who can take a workload's place in a conversation."""

    network: str
    addresses: Mapping[int, str]

    def address(self, version: int) -> str:
        return self.addresses[version]


@dataclass(frozen=True)
class Outside:
    """`network`: the namespace of who is out there. Named so that it can take a workload's place in a test."""

    router: str
    network: str

    def address(self, version: int) -> str:
        return OUTSIDE[version]

    @staticmethod
    def of_host(space: str) -> Party:
        """The host itself, by its uplink."""
        return Party(space, UPLINK)

    def routes(self, *prefixes: str) -> None:
        """The router learns that they are behind the host."""
        for prefix in prefixes:
            version = 6 if ":" in prefix else 4
            run("ip", "-n", self.router, "route", "replace", prefix, "via", UPLINK[version])


@contextmanager
def outside(host: str, *, mtu: int = 1500, far_mtu: int = 1500) -> Iterator[Outside]:
    """Beyond `host`, whose uplink becomes `up0`. `mtu` of the cable from host to router, `far_mtu` of the next."""
    with namespace("router") as router, namespace("outside") as far:
        run("ip", "link", "add", "up0", "netns", host, "mtu", str(mtu), "type", "veth", "peer", "name", "in0", "netns",
            router, "mtu", str(mtu))
        run("ip", "link", "add", "out0", "netns", router, "mtu", str(far_mtu), "type", "veth", "peer", "name", "eth0",
            "netns", far, "mtu", str(far_mtu))
        for space, interface, addresses in ((host, "up0", UPLINK), (router, "in0", _ROUTER), (router, "out0", _DOOR),
                                            (far, "eth0", OUTSIDE)):
            in_ns(space, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0")
            run("ip", "-n", space, "link", "set", interface, "up")
            for version, address in addresses.items():
                words = ("nodad",) if version == 6 else ()
                run("ip", "-n", space, "address", "add", f"{address}/{_LENGTH[version]}", "dev", interface, *words)
        in_ns(router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for version, default in ((4, "0.0.0.0/0"), (6, "::/0")):
            run("ip", "-n", host, "route", "add", default, "via", _ROUTER[version])
            run("ip", "-n", far, "route", "add", default, "via", _DOOR[version])
        there = Outside(router, far)
        there.routes("10.65.0.0/16", "fd00:65::/64")
        yield there

"""Kernel switches below /proc/sys/net, read first and written only when they differ.

Writing a switch has side effects even when it changes nothing else (`ip_forward` resets every interface's redirect
switches), so a value that is right is left alone. Paths follow the network namespace of the calling thread.

The host answers ARP for the workloads' gateway 169.254.1.1 because that address is local to it (a `local` route for
169.254.1.0/24 on lo), and ND for fe80::1 because every workload link has that address. Proxy ARP therefore stays off:
it would answer for other addresses too, only when a route exists, and after a random delay of up to 0.8 s.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from muslin.errors import Transient

_ROOT = Path("/proc/sys/net")

_FORWARDING = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}

_WORKLOAD_LINK_V4 = {
    "rp_filter": "0",  # the anti-spoof set in nftables decides, it knows the prefixes a workload may spoof
    "proxy_arp": "0",
    "arp_ignore": "0",
    "arp_accept": "0",
    "accept_redirects": "0",
    "send_redirects": "0",
    "accept_source_route": "0",
    "route_localnet": "0",
}
_NUMBERS_V4 = {"forwarding": 1, "proxy_arp": 3, "accept_redirects": 4, "send_redirects": 6, "rp_filter": 8,
              "accept_source_route": 9, "arp_ignore": 19, "arp_accept": 21, "route_localnet": 26}
"""By which rtnetlink calls them (IPV4_DEVCONF_* in uapi/linux/ip.h); of IPv6's it sets none."""
_WORKLOAD_LINK_V6 = {
    "disable_ipv6": "0",
    "accept_ra": "0",  # and so `autoconf` is not asked
    "accept_redirects": "0",
}
"""Each costs 15 us of processor for a link, so those that change nothing are left out. `accept_source_route`: only the
routing header of Mobile IPv6 asks for it, and only whether it is negative. `proxy_ndp`: answers only for addresses that
somebody has listed (`ip neigh add proxy`). Those of duplicate address detection: none of our addresses is looked for
(`rtnetlink.Address`), and the link gives itself none."""
_INNER_V6 = {
    "disable_ipv6": "0",
    "accept_dad": "0",  # duplicate address detection of its link-local address: ours are never looked for
    "accept_ra": "0",
}

_NEIGHBOURS_AT_LEAST = {"gc_thresh1": 4096, "gc_thresh2": 16384, "gc_thresh3": 32768}


def ensure(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Make them so; returns the paths that were not. Raises Transient, naming the path."""
    return tuple(path for path, value in settings.items() if _ensure_one(path, value))


def _ensure_one(path: str, value: str) -> bool:
    """Bare system calls: there are some switches a link, and by way of pathlib each costs four times as much."""
    try:
        switch = _opened(f"{_ROOT}/{path}")
        try:
            if os.read(switch, 64).strip() == value.encode():
                return False
            os.pwrite(switch, value.encode(), 0)
        finally:
            os.close(switch)
    except OSError as error:
        raise Transient(f"sysctl net/{path}: cannot be set to {value}: {os.strerror(error.errno or 0)}") from None
    return True


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # perhaps it is right as it is
        raise


@cache
def has_ipv6() -> bool:
    """Is the kernel's IPv6 there at all (ipv6.disable=1 on the kernel's command line takes it away)?"""
    return (_ROOT / "ipv6").is_dir()


def prepare_host() -> tuple[str, ...]:
    """The host forwards, in both families, and its neighbour table is large. Returns what had to be changed.

    A host that forwards stops listening to router advertisements unless accept_ra is 2: the interfaces that listen
    now, and perhaps got the host's default route so, go on listening.
    """
    changed = ensure(_keep_listening() | router())
    return changed + _raise_neighbour_limits()


def router() -> dict[str, str]:
    """What makes a namespace forward, in both families."""
    return {path: value for path, value in _FORWARDING.items() if path.startswith("ipv4") or has_ipv6()}


def _keep_listening() -> dict[str, str]:
    forwarding = _ROOT / "ipv6/conf/all/forwarding"
    if not forwarding.exists() or forwarding.read_text().strip() == "1":
        return {}
    interfaces = [path.name for path in (_ROOT / "ipv6/conf").iterdir() if path.name not in ("all", "lo")]
    listening = {f"ipv6/conf/{name}/accept_ra" for name in interfaces}
    return {path: "2" for path in sorted(listening) if (_ROOT / path).read_text().strip() == "1"}


def _raise_neighbour_limits() -> tuple[str, ...]:
    """Only upwards, and only where the machine's own namespace shows them (they are shared by all namespaces)."""
    changed: list[str] = []
    for family in ("ipv4", "ipv6"):
        for name, least in reversed(_NEIGHBOURS_AT_LEAST.items()):
            path = f"{family}/neigh/default/{name}"
            file = _ROOT / path
            if file.exists() and int(file.read_text()) < least:
                changed += ensure({path: str(least)})
    return tuple(changed)


def workload_link(interface: str) -> dict[str, str]:
    """What the host's side of a workload's link needs before it may carry packets."""
    settings = {f"ipv4/conf/{interface}/{name}": value for name, value in _WORKLOAD_LINK_V4.items()}
    return settings | workload_link_v6(interface)


def workload_link_v6(interface: str) -> dict[str, str]:
    """The part of it that is IPv6's."""
    if not has_ipv6():
        return {}
    return {f"ipv6/conf/{interface}/{name}": value for name, value in _WORKLOAD_LINK_V6.items()}


@cache
def workload_link_v4() -> tuple[tuple[int, int], ...]:
    """The part of it that is IPv4's, by its numbers in rtnetlink. It forwards, as links of a host that forwards do; a
    veth of ours is shut by its name's prefix until it has an endpoint."""
    wanted = _WORKLOAD_LINK_V4 | {"forwarding": "1"}
    return tuple((_NUMBERS_V4[name], int(value)) for name, value in wanted.items())


def no_address_from_mac(interface: str) -> dict[str, str]:
    """The host's MAC is the same on every workload link. For links that we did not make; `make_veth` tells others,
    because whoever reads this file spins while anybody has the kernel's lock for links."""
    return {f"ipv6/conf/{interface}/addr_gen_mode": "1"} if has_ipv6() else {}


def forwarding(interface: str, on: bool) -> dict[str, str]:
    """Whether the host forwards what comes in here; off while policy is not in place yet."""
    return {f"ipv4/conf/{interface}/forwarding": "1" if on else "0"}


def closed_link(interface: str) -> dict[str, str]:
    """The host forwards nothing that comes in here, of either family (IPv6 has no such switch of its own)."""
    return forwarding(interface, False) | ({f"ipv6/conf/{interface}/disable_ipv6": "1"} if has_ipv6() else {})


def inner_link(interface: str) -> dict[str, str]:
    """The workload's side, inside its namespace."""
    if not has_ipv6():
        return {}
    return {f"ipv6/conf/{interface}/{name}": value for name, value in _INNER_V6.items()}

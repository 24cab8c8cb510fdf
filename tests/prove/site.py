"""The one host of the proof: its interfaces, addresses and routes, as plain data that all opinions share.

        w1 ... w4                     workloads: musw1 ... musw4
            |                         up0: the default route          10.66.0.1   fd66::1
          [ h1 ] --- up0, up1         up1: routes to a few prefixes   10.66.1.1   fd66:0:1::1

Another host, h2, is known by its resources only: its workloads are addresses outside.
"""

from __future__ import annotations

import ipaddress

NODE = "h1"
HOST = "host"
"""In place of an interface: the packet comes from the host itself, or is for it."""

LOCAL = {f"w{n}": (f"10.65.0.{n}", f"fd65::{n}") for n in range(1, 5)}
REMOTE = {f"r{n}": (f"10.65.1.{n}", f"fd65:0:1::{n}") for n in range(1, 3)}
WORKLOADS = {f"mus{name}": addresses for name, addresses in LOCAL.items()}
"""Interface -> what the host's routes send there, whatever a world says of its workload."""

INTERFACES = {"up0": ("10.66.0.1", "fd66::1"), "up1": ("10.66.1.1", "fd66:0:1::1")}
"""Interface of the host -> its addresses."""
BEHIND_UP1 = ("198.51.100.0/24", "10.65.1.2/32", "2001:db8:1::/48", "fd65:0:1::2/128")
GATEWAY = ("169.254.1.1", "fe80::1")
"""What the host is called on the links of workloads; the second is an address of its own on all of them."""

SPOOFABLE = ("10.65.9.0/30", "fd65:9::/126")
FLOATING = {f"w{n}": (f"203.0.113.{n}", f"2001:db9::f{n}") for n in range(1, 5)}
"""Addresses by which a world may make a workload known outside."""
OUTSIDE = ("192.0.2.1", "192.0.2.200", "198.51.100.7", "203.0.113.77", "2001:db8::7", "2001:db8:1::", "2001:db9::1")

ROUTES: tuple[tuple[str, str], ...] = (
    *((f"{address}/{128 if ':' in address else 32}", interface)
      for interface, both in WORKLOADS.items() for address in both),
    *((f"{address}/{128 if ':' in address else 32}", HOST) for both in INTERFACES.values() for address in both),
    (f"{GATEWAY[1]}/128", HOST), ("255.255.255.255/32", HOST),
    *((prefix, "up1") for prefix in BEHIND_UP1),
    ("0.0.0.0/0", "up0"), ("::/0", "up0"),
)
"""(prefix, interface): the longest prefix wins."""

_PARSED = sorted(((ipaddress.ip_network(prefix), to) for prefix, to in ROUTES), key=lambda found: -found[0].prefixlen)
_KNOWN: dict[str, str] = {}


def exit_to(destination: str) -> str:
    """The interface by which a packet to this address leaves, HOST for the host's own."""
    found = _KNOWN.get(destination)
    if found is None:
        ip = ipaddress.ip_address(destination)
        found = _KNOWN[destination] = next(to for net, to in _PARSED if ip.version == net.version and ip in net)
    return found

"""Addresses for workloads that have none yet, so that there is something to ask about.

A template has no address, and policy speaks of addresses. So each such workload is given one: of the address pools that
the files declare, else of 198.18.0.0/15, which is nobody's (RFC 2544). It depends on the workload's name, not on who
else is there, so that two versions of the files that are compared give a workload one address.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence

from muslin.net import Cidr, host_cidr, version_of

NOBODYS = Cidr("198.18.0.0/15")


def numbered(names: Iterable[str], pools: Sequence[Cidr], taken: set[Cidr]) -> dict[str, tuple[Cidr, ...]]:
    """An address of the first pool of each family for each of the names; `taken` are in use already, and grow."""
    firsts = [next((pool for pool in pools if version_of(pool) == version), None) for version in (4, 6)]
    chosen = [pool for pool in firsts if pool is not None] or [NOBODYS]
    return {name: tuple(found for pool in chosen if (found := _one(name, pool, taken))) for name in sorted(names)}


def _one(name: str, pool: Cidr, taken: set[Cidr]) -> Cidr | None:
    """The place that the name's digest says, or the next free one. None: the pool is full."""
    network = ipaddress.ip_network(pool)
    size = min(network.num_addresses, 1 << 62)
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % size
    first = int(network.network_address)
    for step in range(min(size, len(taken) + 3)):
        offset = (start + step) % size
        if size > 2 and offset in (0, size - 1):
            continue  # the addresses of the network and of all, which people take for no host's
        made = host_cidr(str(ipaddress.ip_address(first + offset)))
        if made not in taken:
            taken.add(made)
            return made
    return None

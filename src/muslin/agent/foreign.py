"""Addresses that a workload is given past our pools, by another address plugin or by an annotation of its own.

Routes and BGP follow them wherever they point: a workload with a host's address would get what the whole fabric sends
to that host. So a host's is refused, and what can be nobody's. Whether several workloads share an address, and which
are in use elsewhere in the world, is the giver's business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import quote

from muslin.agent.upstream import Upstream
from muslin.errors import Invalid
from muslin.net import parse_address


async def check(upstream: Upstream, addresses: Iterable[str]) -> None:
    """Raises Invalid, ApiError, Unreachable."""
    for address in map(_canonical, addresses):
        if (what := _special(address)) is not None:
            raise Invalid(f"address {address} is {what}: no workload can have it")
        found = await upstream.call("GET", f"/muslin/v1/whois?address={quote(address)}&of=hosts")
        if found["nodes"]:
            raise Invalid(f"address {address} is that of host {found['nodes'][0]}: no workload can have it")


def _canonical(text: str) -> str:
    """Raises Invalid."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise Invalid(f"{error}: write one address, such as 10.65.0.7 or fd65::7") from None


def _special(text: str) -> str | None:
    address = ipaddress.ip_address(text)
    kinds = ((address.is_multicast, "a multicast address"), (address.is_loopback, "a loopback address"),
             (address.is_link_local, "of the link alone"), (address.is_unspecified, "no address"),
             (text == "255.255.255.255", "the broadcast address"))
    return next((words for is_it, words in kinds if is_it), None)

"""A prefix is its canonical text.

Prefixes travel through every room: JSON, dict keys, set members, kernel text. One canonical spelling lets all of
them compare and hash plain strings: `10.0.0.0/8`, `10.0.0.1/32`, `fd00::1/128`. The length is always written, host
bits are always zero, IPv6 is RFC 5952 text. Text becomes a `Cidr` only here; everybody else trusts the type.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NewType

Cidr = NewType("Cidr", str)
"""Canonical prefix text with its length, host bits zero."""


_REMEMBERED = 16384
"""Prefixes whose reading is kept: 9 MB of them, when as many have come and gone."""


@lru_cache(maxsize=_REMEMBERED)
def parse_cidr(text: str, *, strict: bool = False) -> Cidr:
    """Canonical form of `10.1.2.3`, `10.1.2.3/8` or `fd00::1/64`; host bits are cleared.

    `strict` refuses host bits instead. Raises ValueError for anything that is not an address or a prefix,
    leading zeros, netmask spelling (`10.0.0.0/255.0.0.0`) and zones (`fe80::1%eth0`) included.
    """
    address, slash, length = text.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{text!r}: the prefix length must be a number, such as /24")
    if "%" in address:
        raise ValueError(f"{text!r}: a zone has no meaning in a prefix")
    try:
        network = ipaddress.ip_network(text, strict=strict)
    except ValueError as error:
        raise ValueError(str(error)) from None
    return Cidr(network.with_prefixlen)


def parse_address(text: str) -> str:
    """Canonical text of one address, without a length. Raises ValueError."""
    if "%" in text:
        raise ValueError(f"{text!r}: a zone has no meaning here")
    return str(ipaddress.ip_address(text))


def host_cidr(address: str) -> Cidr:
    """The /32 or /128 of one address, given as text with or without a length. Raises ValueError."""
    ip = ipaddress.ip_address(address.partition("/")[0])
    return Cidr(f"{ip}/{ip.max_prefixlen}")


def version_of(cidr: str) -> int:
    """4 or 6, of any address or prefix text."""
    return 6 if ":" in cidr else 4


def is_host(cidr: Cidr) -> bool:
    """Does the prefix hold exactly one address?"""
    return cidr.endswith("/128") if ":" in cidr else cidr.endswith("/32")


@lru_cache(maxsize=_REMEMBERED)
def bounds(cidr: str) -> tuple[int, int, int]:
    """(version, first, last) as integers, both ends included."""
    network = ipaddress.ip_network(cidr, strict=False)
    return network.version, int(network.network_address), int(network.broadcast_address)


def contains(outer: Cidr, inner: Cidr) -> bool:
    """Is every address of `inner` in `outer`? False across families."""
    outer_version, low, high = bounds(outer)
    version, first, last = bounds(inner)
    return outer_version == version and low <= first and last <= high

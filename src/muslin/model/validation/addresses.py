"""Addresses, prefixes, MAC addresses, BGP peers: what a single text must look like.

Calico wants a prefix in strict form (no bits behind its length), because a prefix with bits set is nearly always a
slip: an address where a network was meant. The mend says both.
"""

from __future__ import annotations

import re

from muslin.model.validation.findings import shown
from muslin.model.validation.numbers import numeric_port
from muslin.model.validation.wrong import Wrong
from muslin.net import parse_address, parse_cidr, version_of

_MAC = re.compile(
    r"[0-9a-fA-F]{2}(?P<by>[:-])(?:[0-9a-fA-F]{2}(?P=by)){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
)


def address(text: str, family: int | None = None) -> Wrong | None:
    """One address, without a length."""
    example = "fd00::1" if family == 6 else "10.0.0.1"
    try:
        parse_address(text)
    except ValueError:
        bare = text.partition("/")[0].strip()
        mend = f"write {bare}" if bare != text and address(bare, family) is None else f"write one such as {example}"
        return f"{shown(text)} is no IP address", "a single address goes here, without a length", mend
    return _of_family(text, family, example)


def address4(text: str) -> Wrong | None:
    return address(text, 4)


def address6(text: str) -> Wrong | None:
    return address(text, 6)


def net(text: str, family: int | None = None) -> Wrong | None:
    """A prefix without bits behind its length, or one address."""
    return _prefix(text, family, strict=True)


def net4(text: str) -> Wrong | None:
    return net(text, 4)


def net6(text: str) -> Wrong | None:
    return net(text, 6)


def cidr(text: str, family: int | None = None) -> Wrong | None:
    """A prefix, or an address on its network (10.0.0.7/24), or one address."""
    return _prefix(text, family, strict=False)


def cidr4(text: str) -> Wrong | None:
    return cidr(text, 4)


def cidr6(text: str) -> Wrong | None:
    return cidr(text, 6)


def whole_net(text: str) -> Wrong | None:
    """A prefix with its length: in rules and pools Calico takes no bare address."""
    wrong = net(text)
    if wrong is None and "/" not in text:
        return f"{shown(text)} has no prefix length", "a prefix goes here", f"write {parse_cidr(text)}"
    return wrong


def mac(text: str) -> Wrong | None:
    """Six bytes."""
    if _MAC.fullmatch(text):
        return None
    return f"{shown(text)} is no MAC address", "it has six bytes in hex", "write one such as 02:00:0a:00:00:01"


def peer_address(text: str) -> Wrong | None:
    """An address, with a port if need be."""
    bare, port = peer_parts(text)
    if port is None:
        if address(bare) is None:
            return None
        return f"{shown(text)} is no peer", "", "write 10.0.0.1, 10.0.0.1:1790, fd00::1 or [fd00::1]:1790"
    if address(bare) is not None:
        return f"{shown(bare)} is no IP address", "a peer is an address, then a port", "write one such as 10.0.0.1:1790"
    if not port:
        return f"{shown(text)} lacks the port behind its colon", "", f"write {bare}, or {text}179"
    return numeric_port(port)


def peer_parts(text: str) -> tuple[str, str | None]:
    """(address, port) of a peer; no port: None."""
    if text.startswith("["):
        bare, bracket, rest = text[1:].rpartition("]")
        if bracket and rest.startswith(":") and ":" in bare:
            return bare, rest[1:]
        return text, None
    if text.count(":") == 1:
        bare, _, port = text.partition(":")
        return bare, port
    return text, None


def family_of(text: str) -> int | None:
    """4 or 6 of an address or prefix, None of anything else."""
    try:
        parse_cidr(text)
    except ValueError:
        return None
    return version_of(text)


def _prefix(text: str, family: int | None, *, strict: bool) -> Wrong | None:
    example = "fd00:10::/64" if family == 6 else "10.0.0.0/24"
    try:
        parse_cidr(text, strict=strict)
    except ValueError:
        return _prefix_fault(text, example)
    return _of_family(text, family, example)


def _prefix_fault(text: str, example: str) -> Wrong:
    bare, slash, length = text.partition("/")
    try:
        canonical = parse_cidr(text)
    except ValueError:
        stripped = text.strip()
        if slash and length.isascii() and length.isdigit() and address(bare) is None:
            most = 128 if ":" in bare else 32
            why = f"an IPv{version_of(bare)} address has {most} bits"
            return f"{shown(text)} is longer than /{most}", why, f"write {bare}/{most}"
        mend = f"write one such as {example}"
        if stripped != text and family_of(stripped):
            mend = f"write {stripped}, without blanks"
        elif "," in text:
            mend = "write each prefix as an entry of its own"
        return f"{shown(text)} is no address or prefix", "", mend
    what = f"{shown(text)} has bits set behind its /{length}"
    return what, "a prefix ends in zeros", f"write {canonical}, or {parse_cidr(bare)}"


def _of_family(text: str, family: int | None, example: str) -> Wrong | None:
    if family is None or version_of(text) == family:
        return None
    return f"{shown(text)} is IPv{version_of(text)}", f"IPv{family} goes here", f"write one such as {example}"

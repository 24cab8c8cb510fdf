"""A packet as policy sees it: the first one of a flow, by its headers.

Whether an address lies in a list of prefixes or in a set of a hundred thousand is one question, asked a hundred times
a decision. An IPv4 address lies in exactly 33 prefixes, an IPv6 address in 129: all of them, as canonical text, are
computed once, and every such question becomes "do these two sets of texts meet?", which is 33 or 129 hash lookups
whatever the size of the set. Nothing is indexed, so nothing has to be kept up to date.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from muslin.errors import Invalid
from muslin.net import PROTOCOL_NUMBERS, PROTOCOLS_WITH_PORTS, Cidr, parse_address, protocol_name, version_of

EPHEMERAL = 49152
"""The source port of a packet that names none: one that a client's kernel might pick. A rule that speaks of source
ports may answer otherwise for another one, so whoever asks about such a rule names the port."""

ICMP = {4: PROTOCOL_NUMBERS["ICMP"], 6: PROTOCOL_NUMBERS["ICMPv6"]}
_ECHO_REQUEST = {4: 8, 6: 128}


class Packet(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addresses are made canonical. An ICMP packet that says no type is an echo request. Raises Invalid."""

    source: str
    destination: str
    protocol: int
    destination_port: int = 0
    source_port: int = EPHEMERAL
    icmp_type: int | None = None
    icmp_code: int = 0

    def __post_init__(self) -> None:
        try:
            source, destination = parse_address(self.source), parse_address(self.destination)
        except ValueError as error:
            raise Invalid(f"{error}: a packet goes from one address to another") from None
        if version_of(source) != version_of(destination):
            raise Invalid(f"no packet goes from {source} to {destination}: one is IPv4, the other IPv6")
        if not 0 <= self.protocol <= 255:
            raise Invalid(f"protocol number {self.protocol} is outside 0..255")
        msgspec.structs.force_setattr(self, "source", source)
        msgspec.structs.force_setattr(self, "destination", destination)
        if self.icmp_type is None and self.protocol == ICMP[version_of(source)]:
            msgspec.structs.force_setattr(self, "icmp_type", _ECHO_REQUEST[version_of(source)])

    @property
    def version(self) -> int:
        return version_of(self.source)

    def __str__(self) -> str:
        what = protocol_name(self.protocol).lower()
        if self.protocol in PROTOCOLS_WITH_PORTS:
            what += f"/{self.destination_port}"
        elif self.icmp_type is not None:
            what += f" type {self.icmp_type} code {self.icmp_code}"
        return f"{self.source} -> {self.destination} {what}"


class End(msgspec.Struct, frozen=True):
    """One end of a packet: its address, the prefixes that hold it, its port if the protocol has ports."""

    address: str
    host: Cidr
    within: frozenset[Cidr]
    port: int | None


class Facts(msgspec.Struct, frozen=True):
    """Everything that rules ask about a packet, computed once."""

    packet: Packet
    version: int
    source: End
    destination: End

    @property
    def icmp(self) -> tuple[int, int] | None:
        """(type, code), if this is ICMP in its own family: protocol 1 in IPv4, 58 in IPv6."""
        if self.packet.protocol != ICMP[self.version] or self.packet.icmp_type is None:
            return None
        return self.packet.icmp_type, self.packet.icmp_code


def facts_of(packet: Packet) -> Facts:
    ported = packet.protocol in PROTOCOLS_WITH_PORTS
    return Facts(
        packet,
        packet.version,
        _end(packet.source, packet.source_port if ported else None),
        _end(packet.destination, packet.destination_port if ported else None),
    )


def _end(address: str, port: int | None) -> End:
    return End(address, Cidr(f"{address}/{32 if version_of(address) == 4 else 128}"), all_covering(address), port)


@lru_cache(maxsize=512)  # an IPv6 address costs 0.9 ms and 20 kB; a conversation is two of them
def all_covering(address: str) -> frozenset[Cidr]:
    """The prefixes of every length that hold the address."""
    return covering(address)


def covering(address: str, lengths: Iterable[int] | None = None) -> frozenset[Cidr]:
    """The prefixes that hold the address: of these lengths, or of every length."""
    ip = ipaddress.ip_address(address)
    number, width, make = int(ip), ip.max_prefixlen, type(ip)
    return frozenset(
        Cidr(f"{make(number >> (width - length) << (width - length))}/{length}")
        for length in (range(width + 1) if lengths is None else lengths)
    )

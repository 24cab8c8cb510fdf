"""One packet as bytes, to be put on a link: the first one of a flow, with nothing in it but its headers."""

from __future__ import annotations

import ipaddress
import struct

from muslin.net.cidr import version_of

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_TTL = 64


def headers(
    source: str, destination: str, protocol: int, port: int = 0, source_port: int = 0, icmp: tuple[int, int] = (8, 0)
) -> bytes:
    """The IP packet. TCP is a SYN; a protocol that is none of TCP, UDP, SCTP and ICMP has eight zero bytes in it."""
    by, to = (ipaddress.ip_address(address).packed for address in (source, destination))
    body = _body(by, to, protocol, port, source_port, icmp)
    if version_of(source) == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, _TTL) + by + to + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, _TTL, protocol, 0) + by + to
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def _body(by: bytes, to: bytes, protocol: int, port: int, source_port: int, icmp: tuple[int, int]) -> bytes:
    match protocol:
        case 6:
            return _summed(struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 2, 64240, 0, 0), 16,
                           _pseudo(by, to, protocol, 20))
        case 17 | 136:
            return _summed(struct.pack("!HHHH", source_port, port, 8, 0), 6, _pseudo(by, to, protocol, 8))
        case 132:
            return struct.pack("!HHII", source_port, port, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)
        case 1:
            return _summed(struct.pack("!BBHHH", *icmp, 0, 1, 1), 2, b"")
        case 58:
            return _summed(struct.pack("!BBHHH", *icmp, 0, 1, 1), 2, _pseudo(by, to, protocol, 8))
        case _:
            return bytes(8)


def _pseudo(by: bytes, to: bytes, protocol: int, length: int) -> bytes:
    """RFC 793, RFC 8200 section 8.1."""
    if len(by) == 4:
        return by + to + struct.pack("!BBH", 0, protocol, length)
    return by + to + struct.pack("!IHBB", length, 0, 0, protocol)


def _summed(body: bytes, place: int, pseudo: bytes) -> bytes:
    return body[:place] + struct.pack("!H", checksum(pseudo + body)) + body[place + 2:]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

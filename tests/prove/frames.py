"""Flights as bytes: whole packets and fragments, each with a mark by which it is known wherever it comes out."""

from __future__ import annotations

import ipaddress
import struct

from prove.flight import Flight, Packet

MAGIC = b"MsLn"
"""Before the number of a flight, in its payload."""
HOST_MAC, FAR_MAC = bytes.fromhex("eeeeeeeeeeee"), bytes.fromhex("020000000001")
ETHER = {4: b"\x08\x00", 6: b"\x86\xdd"}
TCP, UDP, ICMP, ICMP6, SCTP, UDPLITE = 6, 17, 1, 58, 132, 136
_MARK = len(MAGIC) + 4


def packets(flight: Flight, number: int) -> list[bytes]:
    """From the IP header on; more than one when it is cut."""
    body = _transport(flight.packet, number)
    if not flight.fragments:
        return [_ip(flight.packet, body, number)]
    cut = (len(body) - _MARK) // 8 * 8
    first, rest = _fragment(flight.packet, body[:cut], number, 0, True), _fragment(
        flight.packet, body[cut:], number, cut, False)
    return [first, rest] if flight.fragments == 1 else [rest, first]


def frames(flight: Flight, number: int) -> list[bytes]:
    """To the host, from whoever is at the other end of the link."""
    return [HOST_MAC + FAR_MAC + ETHER[flight.packet.version] + each for each in packets(flight, number)]


def number_in(data: bytes) -> int | None:
    """Of the flight that these bytes belong to, or are about."""
    at = data.find(MAGIC)
    return int.from_bytes(data[at + 4 : at + 8]) if at >= 0 and len(data) >= at + 8 else None


def destination_of(frame: bytes) -> str:
    """Of an Ethernet frame, "" when it carries no IP. An ICMP error quotes a packet, and goes elsewhere."""
    if frame[12:14] == ETHER[4]:
        return str(ipaddress.IPv4Address(frame[30:34]))
    return str(ipaddress.IPv6Address(frame[38:54])) if frame[12:14] == ETHER[6] else ""


def _ends(packet: Packet) -> tuple[bytes, bytes]:
    return ipaddress.ip_address(packet.source).packed, ipaddress.ip_address(packet.destination).packed


def _ip(packet: Packet, body: bytes, number: int, fragment: int = 0) -> bytes:
    source, destination = _ends(packet)
    if packet.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(body), packet.protocol, 255) + source + destination + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number & 0xFFFF, fragment, 64, packet.protocol, 0)
    header += source + destination
    return header[:10] + _checksum(header).to_bytes(2) + header[12:] + body


def _fragment(packet: Packet, part: bytes, number: int, offset: int, more: bool) -> bytes:
    if packet.version == 4:
        return _ip(packet, part, number, offset // 8 | (0x2000 if more else 0))
    extension = struct.pack(">BBHI", packet.protocol, 0, offset | more, number)
    source, destination = _ends(packet)
    return struct.pack(">IHBB", 6 << 28, len(extension) + len(part), 44, 64) + source + destination + extension + part


def _transport(packet: Packet, number: int) -> bytes:
    mark = MAGIC + number.to_bytes(4)
    payload = mark * 3
    ports = packet.source_port, packet.destination_port
    match packet.protocol:
        case 6:
            body = struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, 2, 64240, 0, 0) + payload
        case 17:
            body = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
        case 136:
            body = struct.pack(">HHHH", *ports, 0, 0) + payload
        case 1 | 58:
            kind = packet.icmp_type or 0
            body = struct.pack(">BBHHH", kind, packet.icmp_code, 0, number & 0xFFFF, 1) + payload
        case 132:
            init = struct.pack(">BBHIIHHI", 1, 0, 20 + len(payload), 1, 65535, 1, 1, 1)
            return _with_crc32c(struct.pack(">HHII", *ports, 0, 0) + init + payload)
        case _:
            return payload
    source, destination = _ends(packet)
    pseudo = b"" if packet.protocol == ICMP else source + destination + struct.pack(">II", len(body), packet.protocol)
    at = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2, UDPLITE: 6}[packet.protocol]
    check = _checksum(pseudo + body) or 0xFFFF
    return body[:at] + check.to_bytes(2) + body[at + 2 :]


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c_table() -> list[int]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC = _crc32c_table()


def _with_crc32c(packet: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in packet:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return packet[:8] + struct.pack("<I", crc ^ 0xFFFFFFFF) + packet[12:]

"""Asks a name server one question and prints what it answers.

    python3 -IS dnsask.py SERVER NAME A|AAAA|PTR [udp|tcp [PATIENCE]]
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys

KINDS = {"A": 1, "PTR": 12, "AAAA": 28}
CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def main(server: str, name: str, kind: str, how: str = "udp", patience: str = "3") -> None:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 0x4D55, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", KINDS[kind], 1)
    try:
        answer = (by_tcp if how == "tcp" else by_udp)(server, query, float(patience))
    except OSError:
        return
    number, flags, _, count, _, _ = struct.unpack_from(">HHHHHH", answer)
    assert number == 0x4D55, "the answer to another question"
    if flags & 0x0200:
        answer = by_tcp(server, query, float(patience))
        number, flags, _, count, _, _ = struct.unpack_from(">HHHHHH", answer)
    print("\n".join(sorted(records(answer, count))) if not flags & 15 else CODES[flags & 15])


def by_udp(server: str, query: bytes, patience: float) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(patience)
        asking.connect((server, 53))
        asking.send(query)
        return asking.recv(65535)


def by_tcp(server: str, query: bytes, patience: float) -> bytes:
    with socket.create_connection((server, 53), patience) as asking, asking.makefile("rb") as answer:
        asking.sendall(struct.pack(">H", len(query)) + query)
        return answer.read(int.from_bytes(answer.read(2), "big"))


def records(answer: bytes, count: int) -> list[str]:
    _, at = label_text(answer, 12)
    at += 4
    found = []
    for _ in range(count):
        _, at = label_text(answer, at)
        kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
        at += 10
        data = answer[at : at + length]
        found.append(label_text(answer, at)[0] if kind == KINDS["PTR"] else str(ipaddress.ip_address(data)))
        at += length
    return found


def label_text(packet: bytes, at: int) -> tuple[str, int]:
    """A name, and where it ends."""
    labels: list[str] = []
    while length := packet[at]:
        if length >= 0xC0:
            rest, _ = label_text(packet, struct.unpack_from(">H", packet, at)[0] & 0x3FFF)
            return ".".join([*labels, rest]), at + 2
        labels.append(packet[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1


main(*sys.argv[1:])

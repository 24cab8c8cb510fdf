"""Questions and answers of the DNS (RFC 1035), as far as whoever answers for a few names must know them.

A packet that is anything but one plain question is `None` here: who asked is answered by somebody else.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, PTR, AAAA, ANY = 1, 12, 28, 255
_INTERNET, _OPT = 1, 41
_HEADER = struct.Struct(">HHHHHH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _WANTED, _AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_NAME_OF_QUESTION = 0xC00C
"""A pointer to the first name of the packet."""
_PLAIN_SIZE, _OUR_SIZE, LARGEST = 512, 1232, 65535
"""What fits an answer by UDP: without EDNS; as we say we take; and by TCP."""
_LONGEST_LABEL = 63


@dataclass(frozen=True, slots=True)
class Question:
    """`name`: lower case, labels joined by dots, no dot at the end. `end`: where the question ends in its packet.
    `size`: what an answer by UDP may have; `extended`: it came with EDNS, and so does the answer."""

    id: int
    wanted: int
    name: str
    kind: int
    end: int
    size: int = _PLAIN_SIZE
    extended: bool = False


def question(packet: bytes) -> Question | None:
    """Of a query with one question of the Internet's class."""
    try:
        number, flags, questions, answers, authorities, more = _HEADER.unpack_from(packet)
        if flags & (_RESPONSE | _OPCODE) or (questions, answers, authorities) != (1, 0, 0):
            return None
        name, end = _name(packet, _HEADER.size)
        kind, family = struct.unpack_from(">HH", packet, end)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    if family != _INTERNET or name is None:
        return None
    end += 4
    extended = more == 1 and packet[end : end + 3] == b"\0" + _OPT.to_bytes(2)
    size = max(_PLAIN_SIZE, int.from_bytes(packet[end + 3 : end + 5])) if extended else _PLAIN_SIZE
    return Question(number, flags & _WANTED, name, kind, end, size, extended)


def _name(packet: bytes, at: int) -> tuple[str | None, int]:
    """A name without pointers, as questions have it; None for any other."""
    labels = []
    while length := packet[at]:
        if length > _LONGEST_LABEL:
            return None, at
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def answer(packet: bytes, asked: Question, data: Sequence[bytes], seconds: int, size: int) -> bytes:
    """Records of the kind that was asked for; none means that the name has nothing of that kind. What does not fit into
    `size` is left out, and said: the asker comes again by TCP."""
    head = packet[_HEADER.size : asked.end]
    tail = b"\0" + struct.pack(">HHIH", _OPT, _OUR_SIZE, 0, 0) if asked.extended else b""
    records, room = [], size - _HEADER.size - len(head) - len(tail)
    for each in data:
        record = struct.pack(">HHHIH", _NAME_OF_QUESTION, asked.kind, _INTERNET, seconds, len(each)) + each
        room -= len(record)
        if room < 0:
            break
        records.append(record)
    flags = _RESPONSE | _AUTHORITATIVE | asked.wanted | _AVAILABLE | (_TRUNCATED if len(records) < len(data) else 0)
    return _HEADER.pack(asked.id, flags, 1, len(records), 0, int(asked.extended)) + head + b"".join(records) + tail


def address_data(address: str) -> tuple[int, bytes]:
    """(A or AAAA, its bytes)."""
    ip = ipaddress.ip_address(address)
    return (A if ip.version == 4 else AAAA), ip.packed


def name_data(name: str) -> bytes:
    """A name as a record has it. Labels that are too long cannot be written: ValueError."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    if any(len(label) > _LONGEST_LABEL for label in labels):
        raise ValueError(f"{name!r} has a label of more than {_LONGEST_LABEL} characters")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reverse(name: str) -> str | None:
    """The address that `4.3.2.1.in-addr.arpa` asks about, and its like of IPv6."""
    labels = name.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(labels[3::-1])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            return str(ipaddress.IPv6Address(int("".join(labels[31::-1]), 16)))
    except ValueError:
        return None
    return None

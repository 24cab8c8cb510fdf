"""Netlink's own grammar: an attribute is length, kind and value, padded to four bytes; a nest is an attribute whose
value is attributes. nf_tables wants its numbers big-endian, whatever the machine."""

from __future__ import annotations

import struct

_HEAD = struct.Struct("=HH")
_NUMBER = struct.Struct("=HH4s")
_NESTED = 0x8000
LARGEST = 0xFFFF
"""Bytes in an attribute, its head counted."""


def attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return _HEAD.pack(length, kind) + value + bytes(-length & 3)


def nest(kind: int, body: bytes) -> bytes:
    """Of attributes, which are padded already."""
    return _HEAD.pack(4 + len(body), kind | _NESTED) + body


def nest_of(kind: int, length: int) -> bytes:
    """What stands before a nest of so many bytes."""
    return _HEAD.pack(4 + length, kind | _NESTED)


def number(kind: int, value: int) -> bytes:
    return _NUMBER.pack(8, kind, (value & 0xFFFFFFFF).to_bytes(4, "big"))


def long(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(8, "big"))


def name(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def head_of(kind: int, length: int) -> bytes:
    """What stands before a value of so many bytes."""
    return _HEAD.pack(4 + length, kind)


def spans(body: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """(kind, first byte of the value, end of the value) of the attributes between two offsets."""
    found = []
    while start + 4 <= end:
        length, kind = _HEAD.unpack_from(body, start)
        found.append((kind & ~_NESTED, start + 4, start + length))
        start += (length + 3) & ~3
    return found

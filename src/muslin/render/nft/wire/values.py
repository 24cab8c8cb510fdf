"""Atoms as the bytes that stand in a register: addresses and ports as in the packet, the machine's own numbers
(indices, conntrack's states) in the machine's order. In a concatenation every part begins at a multiple of four bytes.

Text parsing is by hand where it counts: a set may bring a hundred thousand addresses (0.2 us each; `ipaddress` 2.4 us).
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from functools import lru_cache

from muslin.errors import Broken
from muslin.render.nft.words import Atom, CtState, Element, Span, Type

_OCTETS = {str(value): value for value in range(256)}
_OCTETS_OF_HOSTS = {**_OCTETS, **{f"{octet}/32": value for octet, value in _OCTETS.items()}}
_AT_ONCE = 1000
"""Addresses, few enough for what they come to on the way to lie in the processor's cache."""
_OF_THE_MACHINE = frozenset({Type.INTERFACE_INDEX, Type.CT_STATE, Type.ADDRESS_TYPE})
_ADDRESSES = {Type.ADDRESS4: 32, Type.ADDRESS6: 128}
_FAMILIES = {4: 2, 6: 10}


def padded(value: bytes) -> bytes:
    return value + bytes(-len(value) & 3)


def width(types: Sequence[Type]) -> int:
    """Bytes of a key: a single type as it is, several each filled up to four."""
    return types[0].length if len(types) == 1 else sum(type_.length + 3 & ~3 for type_ in types)


@lru_cache(maxsize=16384)
def value(atom: Atom, type_: Type) -> bytes:
    """The one value that the atom stands for. Raises Broken for what cannot be one."""
    match atom:
        case str() if type_ in _ADDRESSES:
            address, _, length = atom.partition("/")
            if length and int(length) != _ADDRESSES[type_]:
                raise Broken(f"{atom} is not one {type_.word}")
            return packed(address, type_)
        case str() if type_ is Type.INTERFACE:
            return interface(atom)
        case CtState():
            return _number(atom.value, type_)
        case int():
            return _number(_FAMILIES.get(atom, atom) if type_ is Type.FAMILY else atom, type_)
    raise Broken(f"{atom!r} is no {type_.word}")


def ends(atom: Atom, type_: Type) -> tuple[bytes, bytes]:
    """The first and the last value that the atom stands for."""
    if isinstance(atom, Span):
        if type_ in _OF_THE_MACHINE:
            raise Broken(f"{atom}: the kernel has no order among values of {type_.word}")
        return _number(atom.first, type_), _number(atom.last, type_)
    if isinstance(atom, str) and type_ in _ADDRESSES and "/" in atom:
        address, _, length = atom.partition("/")
        first = packed(address, type_)
        rest = (1 << _ADDRESSES[type_] - int(length)) - 1
        return first, (int.from_bytes(first, "big") | rest).to_bytes(len(first), "big")
    only = value(atom, type_)
    return only, only


def is_wide(element: Element, types: Sequence[Type]) -> bool:
    """Does it stand for more than one value?"""
    atoms = element if isinstance(element, tuple) else (element,)
    return any(
        isinstance(atom, Span)
        or (isinstance(atom, str) and type_ in _ADDRESSES and not atom.endswith(f"/{_ADDRESSES[type_]}"))
        for atom, type_ in zip(atoms, types, strict=True)
    )


def key(element: Element, types: Sequence[Type]) -> bytes:
    """A key without ranges."""
    if not isinstance(element, tuple):
        return value(element, types[0])
    if isinstance(element[0], int):
        return _numbered(element, tuple(types))
    return b"".join([padded(value(atom, type_)) for atom, type_ in zip(element, types, strict=True)])


@lru_cache(maxsize=16384)
def _numbered(element: tuple[Atom, ...], types: tuple[Type, ...]) -> bytes:
    """A protocol and a port: the same in many sets and maps."""
    return b"".join([padded(value(atom, type_)) for atom, type_ in zip(element, types, strict=True)])


def key_ends(element: Element, types: Sequence[Type]) -> tuple[bytes, bytes]:
    """First and last of every part."""
    if not isinstance(element, tuple):
        return ends(element, types[0])
    parts = [ends(atom, type_) for atom, type_ in zip(element, types, strict=True)]
    return b"".join(padded(first) for first, _ in parts), b"".join(padded(last) for _, last in parts)


def packed(address: str, type_: Type) -> bytes:
    """An address without its length."""
    if type_ is Type.ADDRESS4:
        try:
            found = bytes([_OCTETS[octet] for octet in address.split(".")])
        except KeyError:
            found = b""
    else:
        found = _packed6(address)
    if len(found) != type_.length:
        raise Broken(f"{address!r} is no {type_.word}")
    return found


def packed4(hosts: Sequence[Element]) -> bytes | None:
    """Many `10.0.0.1/32` at once, four bytes each; None when not all of them are that."""
    found: list[bytes] = []
    for start in range(0, len(hosts), _AT_ONCE):
        some = hosts[start : start + _AT_ONCE]
        try:
            octets = ".".join(some).split(".")  # type: ignore[arg-type]
            packed_some = bytes(map(_OCTETS_OF_HOSTS.__getitem__, octets))
        except (TypeError, KeyError):
            return None
        if len(packed_some) != 4 * len(some) or "".join(octets[3::4]).count("/") != len(some):
            return None
        found.append(packed_some)
    return b"".join(found)


def _packed6(address: str) -> bytes:
    """Not sixteen bytes when it is none."""
    head, gap, tail = address.partition("::")
    before, after = head.split(":") if head else [], tail.split(":") if tail else []
    zeros = ["0"] * (8 - len(before) - len(after)) if gap else []
    try:
        if "." in address or "" in before or "" in after:
            return ipaddress.IPv6Address(address).packed
        return bytes.fromhex("".join([part.zfill(4) for part in (*before, *zeros, *after)]))
    except ValueError:
        return b""


@lru_cache(maxsize=4096)
def interface(name: str) -> bytes:
    found = name.encode()
    if not 0 < len(found) < Type.INTERFACE.length:
        raise Broken(f"{name!r} is no name of an interface")
    return found.ljust(Type.INTERFACE.length, b"\0")


def _number(number: int, type_: Type) -> bytes:
    try:
        return number.to_bytes(type_.length, sys.byteorder if type_ in _OF_THE_MACHINE else "big")
    except OverflowError:
        raise Broken(f"value {number} exceeds {type_.word}, 0 to {(1 << 8 * type_.length) - 1}") from None

"""Sets and what is in them, in the kernel's layout.

    hash          a key
    intervals     one field: the first value, and behind the last one an end; none behind the highest value there is
                  several fields: first and last value of each, in one element
    map           a key, and a verdict, an address, or an address and a port

`nft` keeps in a set what it needs to print it again: the order of bytes, whether the key has parts. Ours say the same,
so that `nft list` shows them as it shows its own, and `nft` takes them for the same sets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from muslin.errors import Broken
from muslin.render.nft.wire.attributes import LARGEST, attribute, head_of, long, name, nest, nest_of, number, spans
from muslin.render.nft.wire.expressions import COUNTER_BODY, data, verdict_data
from muslin.render.nft.wire.values import interface, is_wide, key, key_ends, packed, packed4, padded, value, width
from muslin.render.nft.words import DYNAMIC_SIZE, Element, Mapped, NamedSet, Noted, Type, Verdict

ANONYMOUS, CONSTANT, INTERVAL, MAP, TIMEOUT, DYNAMIC, CONCATENATED = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x80
_KEY, _DATA, _FLAGS, _TIMEOUT, _NOTES, _KEY_END = 1, 2, 3, 4, 6, 10
"""Attributes of an element."""
_ITEM = 1
COUNTED = 17
"""Attribute of a set: the expression that each of its elements gets."""
_LONGEST_COMMENT = 254
_NOTE_ENDS = [(head_of(_NOTES, length + 3) + bytes((0, length + 1)), bytes(1 + (-length - 3 & 3)))
              for length in range(_LONGEST_COMMENT)]
"""What stands before and behind a comment of so many bytes."""
_END_OF_INTERVAL = number(_FLAGS, 1)
VERDICT = 0xFFFFFF00
"""What a map of verdicts says of its data."""
_VERDICT_LENGTH = 16

_NUMBERS = {
    Type.ADDRESS4: 7, Type.ADDRESS6: 8, Type.INTERFACE: 41, Type.INTERFACE_INDEX: 20, Type.FAMILY: 2, Type.PROTOCOL: 12,
    Type.PORT: 13, Type.ICMP_TYPE: 14, Type.ICMP_CODE: 32, Type.ICMP6_TYPE: 29, Type.ICMP6_CODE: 33, Type.CT_STATE: 26,
    Type.ADDRESS_TYPE: 38,
}
"""nft's own, six bits each in a concatenation. To the kernel they mean nothing."""
_TYPES = {number: type_ for type_, number in _NUMBERS.items()}
_OF_THE_MACHINE = frozenset({Type.INTERFACE, Type.INTERFACE_INDEX, Type.CT_STATE, Type.ADDRESS_TYPE})
_MIXED, _MACHINE, _BIG = 0, 1, 2
_CONCATENATION = b"\0\4" + (13).to_bytes(4, sys.byteorder) + b"\1\0"
_ROOM = LARGEST - 4 - 1024


def number_of(types: Sequence[Type]) -> int:
    found = 0
    for type_ in types:
        found = found << 6 | _NUMBERS[type_]
    return found


def types_of(number: int) -> tuple[Type | None, ...]:
    """The way back; None for a type that is not among our words."""
    found: list[Type | None] = []
    while number:
        found.insert(0, _TYPES.get(number & 0x3F))
        number >>= 6
    return tuple(found)


def declaration(declared: NamedSet) -> bytes:
    """A named set, without its name."""
    flags = (INTERVAL * declared.interval | TIMEOUT * declared.timeout | DYNAMIC * declared.dynamic
             | CONCATENATED * _is_concatenated(declared))
    size = DYNAMIC_SIZE if declared.dynamic else 0
    return _declared(declared, flags, size)


class Brought(msgspec.Struct, frozen=True, gc=False):
    """A set that a rule brings along: without its name, and bodies of lists of its elements."""

    declaration: bytes
    elements: tuple[bytes, ...]
    is_map: bool


@lru_cache(maxsize=4096)
def brought(types: tuple[Type, ...], elements: tuple[Element, ...], verdicts: tuple[Verdict, ...] | None) -> Brought:
    """nft counts the ends of intervals too, where the kernel wants to know how many elements there will be; and of
    intervals that meet it makes one."""
    wide = any(is_wide(element, types) for element in elements)
    declared = NamedSet("", types, interval=wide, verdicts=verdicts is not None)
    if wide and verdicts is None and len(types) == 1:
        bodies = tuple(_chunks(_interval(*ends, b"") for ends in _met(key_ends(each, types) for each in elements)))
    else:
        bodies = tuple(added(declared, tuple(zip(elements, verdicts or [None] * len(elements), strict=True))))
    size = sum(len(spans(body, 0, len(body))) for body in bodies)
    flags = ANONYMOUS | CONSTANT | INTERVAL * wide | CONCATENATED * _is_concatenated(declared)
    return Brought(_declared(declared, flags, size), bodies, declared.verdicts)


def _declared(declared: NamedSet, flags: int, size: int) -> bytes:
    body, key_types = b"", declared.key
    if declared.verdicts:
        flags |= MAP
        body = number(6, VERDICT) + number(7, _VERDICT_LENGTH)
    elif declared.data:
        flags |= MAP
        body = number(6, number_of(declared.data)) + number(7, width(declared.data))
    described = number(1, size) if size else b""
    if flags & CONCATENATED:
        described += nest(2, b"".join(nest(_ITEM, number(1, type_.length)) for type_ in key_types))
    body += nest(9, described) if described else b""
    head = number(3, flags) + number(4, number_of(key_types)) + number(5, width(key_types))
    counted = nest(COUNTED, COUNTER_BODY) if declared.counted else b""
    return head + body + attribute(13, _for_nft(declared)) + counted


def _is_concatenated(declared: NamedSet) -> bool:
    return declared.interval and len(declared.key) > 1


def _for_nft(declared: NamedSet) -> bytes:
    is_map = declared.verdicts or bool(declared.data)
    found = _note(0, _order(declared.key))
    if is_map:
        found += _note(1, _order(declared.data))
    found += b"\3\x08" + _CONCATENATION if len(declared.key) > 1 else b""
    found += b"\4\x08" + _CONCATENATION if len(declared.data) > 1 else b""
    return found + (_note(6, 0) if is_map else b"")


def comment_note(text: str) -> bytes:
    """What nft shows behind a rule, or an element."""
    found = text.encode() + b"\0"
    if len(found) > _LONGEST_COMMENT:
        raise Broken(f"a comment of {len(found)} bytes: {text[:80]}...")
    return bytes((0, len(found))) + found


def _noted(text: str) -> bytes:
    """The attribute of an element: there may be one for each rule."""
    found = text.encode()
    if len(found) >= _LONGEST_COMMENT:
        comment_note(text)
    head, tail = _NOTE_ENDS[len(found)]
    return head + found + tail


def _note(kind: int, number: int) -> bytes:
    return bytes((kind, 4)) + number.to_bytes(4, sys.byteorder)


def _order(types: Sequence[Type]) -> int:
    if len(types) != 1:
        return _MIXED
    return _MACHINE if types[0] in _OF_THE_MACHINE else _BIG


def added(declared: NamedSet, pairs: Sequence[tuple[Element, Mapped]], seconds: int = 0) -> Iterator[bytes]:
    """Bodies of lists of elements, each as long as an attribute can be."""
    if not seconds and not (declared.interval or declared.verdicts or declared.data or declared.counted):
        yield from removed(declared, [element for element, _ in pairs])
        return
    if len(pairs) == 1 and not seconds and not declared.interval:
        yield _one_added(declared.key, declared.data, *pairs[0])
        return
    lifetime = long(_TIMEOUT, seconds * 1000) if seconds else b""
    if declared.interval:
        spread = (_listed(declared, element, _mapped(declared.data, mapped) + lifetime) for element, mapped in pairs)
        yield from _chunks(spread)
        return
    length = width(declared.key)
    head, tail = _template(length)[4:], bytes(-length & 3)
    room = len(head) + length + len(tail)
    data_types = declared.data
    key_types = declared.key
    mapped_pairs = [(key(element, key_types), _mapped(data_types, mapped) + lifetime) for element, mapped in pairs]
    yield from _chunks([nest_of(_ITEM, room + len(more)) + head + each + tail + more for each, more in mapped_pairs])


@lru_cache(maxsize=1024)
def _one_added(key_types: tuple[Type, ...], data_types: tuple[Type, ...], element: Element, mapped: Mapped) -> bytes:
    """A port that a policy speaks of comes to the maps of all groups that hold the policy, the same in each."""
    length = width(key_types)
    head, tail, more = _template(length)[4:], bytes(-length & 3), _mapped(data_types, mapped)
    return nest_of(_ITEM, len(head) + length + len(tail) + len(more)) + head + key(element, key_types) + tail + more


@lru_cache(maxsize=1024)
def _one_removed(key_types: tuple[Type, ...], element: Element) -> bytes:
    length = width(key_types)
    return _template(length) + key(element, key_types) + bytes(-length & 3)


def removed(declared: NamedSet, elements: Sequence[Element]) -> Iterator[bytes]:
    """An element goes by its key alone."""
    if declared.interval:
        yield from _chunks(_listed(declared, element, b"") for element in elements)
        return
    if len(elements) == 1 and len(declared.key) > 1:
        yield _one_removed(declared.key, elements[0])
        return
    length = width(declared.key)
    template = _template(length)
    many = _ROOM // (len(template) + length + 3 & ~3)
    tail = bytes(-length & 3)
    for start in range(0, len(elements), many):
        some = elements[start : start + many]
        hosts = packed4(some) if declared.key == (Type.ADDRESS4,) else None
        if hosts is not None:
            yield _patched(template, hosts)
        else:
            yield b"".join([template + each + tail for each in _keys(declared, some)])


def _template(length: int) -> bytes:
    """What stands before a bare key of that length: list item, key, value."""
    up = length + 3 & ~3
    return head_of(_ITEM | 0x8000, up + 8) + head_of(_KEY | 0x8000, up + 4) + head_of(1, length)


def _patched(template: bytes, packed_hosts: bytes) -> bytes:
    """All of them at once: the template as often as there are hosts, then each byte of theirs in its place."""
    length = len(template) + 4
    found = bytearray((template + bytes(4)) * (len(packed_hosts) // 4))
    for byte in range(4):
        found[len(template) + byte :: length] = packed_hosts[byte::4]
    return bytes(found)


def _keys(declared: NamedSet, elements: Sequence[Element]) -> Iterable[bytes]:
    if declared.key == (Type.INTERFACE,):
        return [interface(str(element)) for element in elements]
    return [key(element, declared.key) for element in elements]


def _listed(declared: NamedSet, element: Element, more: bytes) -> bytes:
    """A range of them."""
    first, last = key_ends(element, declared.key)
    if first > last:
        raise Broken(f"set {declared.name}: {element} ends before it begins")
    if len(declared.key) > 1:
        return nest(_ITEM, nest(_KEY, data(first)) + nest(_KEY_END, data(last)) + more)
    return _interval(first, last, more)


def _met(intervals: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Disjoint ones, and of those that meet one."""
    found: list[tuple[bytes, bytes]] = []
    for first, last in sorted(intervals):
        if found and int.from_bytes(found[-1][1], "big") + 1 == int.from_bytes(first, "big"):
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def _interval(first: bytes, last: bytes, more: bytes) -> bytes:
    item = nest(_ITEM, nest(_KEY, data(first)) + more)
    behind = int.from_bytes(last, "big") + 1
    if behind >> 8 * len(last):
        return item
    end = nest(_KEY, data(behind.to_bytes(len(last), "big")))
    return item + nest(_ITEM, end + _END_OF_INTERVAL)


def _mapped(data_types: tuple[Type, ...], mapped: Mapped) -> bytes:
    match mapped:
        case None:
            return b""
        case Verdict():
            return nest(_DATA, verdict_data(mapped))
        case Noted(comment=comment):
            return _noted(comment)
        case (address, port):
            first, second = data_types
            parts = padded(packed(address.partition("/")[0], first)) + padded(value(port, second))
            return nest(_DATA, data(parts))
        case str():
            return nest(_DATA, data(packed(mapped.partition("/")[0], data_types[0])))


def _chunks(items: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for item in items:
        if size + len(item) > _ROOM:
            yield b"".join(held)
            held, size = [], 0
        held.append(item)
        size += len(item)
    if held:
        yield b"".join(held)


def is_end(data: bytes, start: int, end: int) -> bool:
    """Is this element, whose attributes lie there, no more than the end of an interval?"""
    return any(kind == _FLAGS for kind, _, _ in spans(data, start, end))


def named(set_name: str) -> bytes:
    return name(2, set_name)

"""What the kernel gives back of a table, as a `Listing`: the same that `listing.parse` makes of what `nft` prints, in a
fraction of its time (nft reads all rulesets of the host, and prints a hundred thousand members to be read again).

Rules are read as far as they are compared: their comment, where they lead, and what they have counted. Elements are
read as a whole. Of types that are not ours (a stranger's set in our table) the bytes are shown.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address
from itertools import chain

import msgspec

from muslin.render.nft.listing import Line, ListedChain, Listing
from muslin.render.nft.table import TABLE
from muslin.render.nft.wire import sets
from muslin.render.nft.wire.attributes import name, spans
from muslin.render.nft.words import Hook, Ruling, Type

_HEADER = 4
"""Of every body: family, version and two bytes more."""
_INET = 1
INET = bytes((_INET, 0, 0, 0))
OF_TABLE = INET + name(1, TABLE)
"""Asks for what is in our table."""
GET_TABLE, GET_CHAINS, GET_RULES, GET_SETS, GET_ELEMENTS = (10 << 8 | kind for kind in (1, 4, 7, 10, 13))
_POINTS = ("prerouting", "input", "forward", "output", "postrouting")
_RULINGS = {0: Ruling.DROP, 1: Ruling.ACCEPT, -3: Ruling.JUMP, -4: Ruling.GOTO, -5: Ruling.RETURN}
_ENDINGS = {b"log\0": "log", b"masq\0": "masquerade", b"reject\0": "reject"}
_OCTETS = tuple(str(octet) for octet in range(256))
_PLAIN4 = bytes.fromhex("100001000c00010008000100") if sys.byteorder == "little" else b""
_ITEM4 = struct.Struct("12s4B")

Ends = tuple[bytes, bytes, str]
"""First and last value, and what a map holds for them."""
Counted = tuple[str, bytes, bytes]
"""A comment, the kind of the expression that stands with it, and what that says."""


class FoundSet(msgspec.Struct, frozen=True):
    name: str
    flags: int
    key: tuple[Type | None, ...]
    data: tuple[Type | None, ...]
    counted: bool = False
    count: int | None = None
    """How many elements it holds, where the kernel tells and they are neither intervals nor come and go."""

    @property
    def is_anonymous(self) -> bool:
        return bool(self.flags & sets.ANONYMOUS)

    @property
    def question(self) -> bytes:
        """Asks for its elements."""
        return OF_TABLE + name(2, self.name)


def listing(
    chains: Iterable[bytes], rules: Iterable[bytes], elements: Iterable[tuple[FoundSet, Sequence[bytes]]]
) -> Listing:
    """From the bodies of the kernel's answers; `elements`: of each set that has a name."""
    lines: dict[str, list[Line]] = {}
    for body in rules:
        found = _attributes(body, _HEADER, len(body))
        comment, ending = _comment(found.get(7, b"")), _ending(found.get(4, b""))
        lines.setdefault(_text(found[2]), []).append((comment, ending))
    return Listing(
        {each.name: each.listed(tuple(lines.get(each.name, ()))) for each in map(_chain, chains) if each is not None},
        {found_set.name: _elements(found_set, bodies) for found_set, bodies in elements},
    )


def counters(rules: Iterable[bytes], elements: Iterable[bytes]) -> dict[str, tuple[int, int]]:
    """Comment -> (packets, bytes) of the rules that bear it, see `nft.listing.counters`. `elements`: of sets that
    count."""
    found: dict[str, tuple[int, int]] = {}
    for comment, kind, counted in (*map(_rule_counter, rules), *chain.from_iterable(map(_element_counters, elements))):
        if comment and kind == b"counter\0":
            numbers = _attributes(counted, 0, len(counted))
            packets, size = found.get(comment, (0, 0))
            found[comment] = packets + _number(numbers[2]), size + _number(numbers[1])
    return found


def _rule_counter(body: bytes) -> Counted:
    parts = _attributes(body, _HEADER, len(body))
    counters = (each for each in _expressions(parts.get(4, b"")) if each[0] == b"counter\0")
    return _comment(parts.get(7, b"")), *next(counters, (b"", b""))


def _element_counters(body: bytes) -> Iterator[Counted]:
    for kind, start, end in spans(body, _HEADER, len(body)):
        for _, item, behind in spans(body, start, end) if kind == 3 else ():
            parts = _attributes(body, item, behind)
            if 7 in parts:
                counter = _attributes(parts[7], 0, len(parts[7]))
                yield _comment(parts.get(6, b"")), counter[1], counter.get(2, b"")


def found_set(body: bytes) -> FoundSet:
    parts = _attributes(body, _HEADER, len(body))
    flags = _number(parts.get(3, b""))
    data = _number(parts[6]) if flags & sets.MAP else sets.VERDICT
    types = () if data == sets.VERDICT else sets.types_of(data)
    counted = 20 in parts and not flags & (sets.INTERVAL | sets.TIMEOUT | sets.DYNAMIC)
    count = _number(parts[20]) if counted else None
    return FoundSet(_text(parts[2]), flags, sets.types_of(_number(parts[4])), types, sets.COUNTED in parts, count)


# ---- chains and rules


class _Chain(msgspec.Struct, frozen=True):
    name: str
    hook: Hook | None
    policy: str

    def listed(self, lines: tuple[Line, ...]) -> ListedChain:
        return ListedChain(self.hook, lines, self.policy)


def _chain(body: bytes) -> _Chain | None:
    """None: it is of another table. The kernel lists those of all."""
    parts = _attributes(body, _HEADER, len(body))
    if body[0] != _INET or _text(parts[1]) != TABLE:
        return None
    if 4 not in parts:
        return _Chain(_text(parts[3]), None, "accept")
    hook = _attributes(parts[4], 0, len(parts[4]))
    point, priority = _number(hook[1]), int.from_bytes(hook[2], "big", signed=True)
    where = _POINTS[point] if point < len(_POINTS) else str(point)
    policy = "accept" if _number(parts.get(5, b"\1")) else "drop"
    return _Chain(_text(parts[3]), Hook(_text(parts[7]), where, priority), policy)


def _comment(noted: bytes) -> str:
    """Notes are nft's: kind, length, value."""
    place = 0
    while place + 2 <= len(noted):
        kind, length = noted[place], noted[place + 1]
        if kind == 0:
            return _text(noted[place + 2 : place + 2 + length])
        place += 2 + length
    return ""


def _expressions(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    for _, start, end in spans(body, 0, len(body)):
        parts = _attributes(body, start, end)
        yield parts[1], parts.get(2, b"")


def _ending(body: bytes) -> str:
    """Where the rule leads, by its last expression."""
    items = spans(body, 0, len(body))
    if not items:
        return ""
    parts = _attributes(body, items[-1][1], items[-1][2])
    kind, inner = parts[1], parts.get(2, b"")
    match kind:
        case b"immediate\0":
            given = _attributes(inner, 0, len(inner))
            return _value(given[2], ()) if _number(given[1]) == 0 else ""
        case b"lookup\0":
            asked = _attributes(inner, 0, len(inner))
            if 3 not in asked:
                return ""
            named = _text(asked[1])
            return "vmap" if named.startswith("__") else f"vmap @{named}"
        case b"nat\0":
            return "dnat" if _number(_attributes(inner, 0, len(inner))[1]) else "snat"
        case _:
            return _ENDINGS.get(kind, "")


# ---- elements


def _elements(found: FoundSet, bodies: Sequence[bytes]) -> dict[str, str]:
    listed: dict[str, str] = {}
    intervals: list[tuple[bytes, bool, str]] = []
    are_hosts = found.key == (Type.ADDRESS4,) and not found.flags & (sets.INTERVAL | sets.MAP)
    for body in bodies:
        for kind, start, end in spans(body, _HEADER, len(body)):
            if kind != 3:
                continue
            if are_hosts and _hosts4(memoryview(body)[start:end], listed):
                continue
            for _, item, behind in spans(body, start, end):
                parts = _attributes(body, item, behind)
                value, key = _said_of(parts, found.data), _bytes(parts[1])
                if 10 in parts:
                    listed[_range_text(found.key, key, _bytes(parts[10]))] = value
                elif found.flags & sets.INTERVAL:
                    intervals.append((key, not _number(parts.get(3, b"")) & 1, value))
                else:
                    listed[_key_text(found.key, key)] = value
    for first, last, value in _paired(intervals):
        listed[_range_text(found.key, first, last)] = value
    return listed


def _hosts4(items: memoryview, listed: dict[str, str]) -> bool:
    """Many bare addresses at once. False when one of them is more than that."""
    if len(items) % 16 or not _PLAIN4:
        return False
    found = {}
    octets = _OCTETS
    for head, a, b, c, d in _ITEM4.iter_unpack(items):
        if head != _PLAIN4:
            return False
        found[f"{octets[a]}.{octets[b]}.{octets[c]}.{octets[d]}"] = ""
    listed.update(found)
    return True


def _paired(marks: list[tuple[bytes, bool, str]]) -> Iterator[Ends]:
    """Of (value, does an interval begin there?, what it holds): one ends before the next begins, or never."""
    begun: tuple[bytes, str] | None = None
    for value, begins, held in sorted(marks, key=lambda mark: mark[:2]):
        if begun is not None:
            last = int.from_bytes(value, "big") - 1
            yield begun[0], last.to_bytes(len(value), "big"), begun[1]
        begun = (value, held) if begins else None
    if begun is not None:
        yield begun[0], b"\xff" * len(begun[0]), begun[1]


def _fields(types: Sequence[Type | None], key: bytes) -> Iterator[tuple[Type | None, bytes]]:
    if len(types) == 1:
        yield types[0], key
        return
    place = 0
    for type_ in types:
        length = type_.length if type_ else 4
        yield type_, key[place : place + length]
        place += length + 3 & ~3


def _key_text(types: Sequence[Type | None], key: bytes) -> str:
    return " . ".join([_atom(type_, value) for type_, value in _fields(types, key)])


def _range_text(types: Sequence[Type | None], first: bytes, last: bytes) -> str:
    ends = zip(_fields(types, first), _fields(types, last), strict=True)
    return " . ".join([_atoms(type_, low, high) for (type_, low), (_, high) in ends])


def _atoms(type_: Type | None, first: bytes, last: bytes) -> str:
    if first == last:
        return _atom(type_, first)
    low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
    rest = low ^ high
    if type_ in (Type.ADDRESS4, Type.ADDRESS6) and not rest & (rest + 1) and not low & rest:
        return f"{_atom(type_, first)}/{8 * len(first) - rest.bit_length()}"
    return f"{_atom(type_, first)}-{_atom(type_, last)}"


def _atom(type_: Type | None, value: bytes) -> str:
    match type_:
        case Type.ADDRESS4:
            return ".".join([_OCTETS[octet] for octet in value])
        case Type.ADDRESS6:
            return str(IPv6Address(value))
        case Type.INTERFACE:
            return _text(value)
        case Type.PROTOCOL | Type.PORT | Type.ICMP_TYPE | Type.ICMP_CODE | Type.ICMP6_TYPE | Type.ICMP6_CODE:
            return str(int.from_bytes(value, "big"))
        case _:
            return value.hex()


def _value(data: bytes, types: Sequence[Type | None]) -> str:
    parts = _attributes(data, 0, len(data))
    if 2 not in parts:
        return _key_text(types, parts[1])
    verdict = _attributes(parts[2], 0, len(parts[2]))
    code = int.from_bytes(verdict[1], "big", signed=True)
    chain = _text(verdict[2]) if 2 in verdict else ""
    return f"{_RULINGS.get(code, code)} {chain}".strip()


def _said_of(parts: dict[int, bytes], types: Sequence[Type | None]) -> str:
    """What a map holds for an element, or the comment that it bears."""
    return _value(parts[2], types) if 2 in parts else _comment(parts.get(6, b""))


def _bytes(data: bytes) -> bytes:
    return data[4 : struct.unpack_from("=H", data)[0]]


def _attributes(body: bytes, start: int, end: int) -> dict[int, bytes]:
    return {kind: body[begin:behind] for kind, begin, behind in spans(body, start, end)}


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace")

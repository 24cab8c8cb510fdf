"""Commands as the messages of one nf_tables batch, and the way back from a message to what it said.

The kernel takes a batch as a whole or not at all, and tells which of its messages it does not take, and at which byte.
Messages are numbered from 1, so that such an answer leads to the command, and within a list to the element.

The kernel's numbers and attributes are those of <linux/netfilter/nf_tables.h> and <linux/netfilter/nfnetlink.h>.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from muslin.errors import Broken
from muslin.render.nft.table import (
    TABLE,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Command,
    FlushChain,
    FlushSet,
    KeepTable,
    RemoveChain,
    RemoveElements,
    RemoveSet,
    ReplaceTable,
)
from muslin.render.nft.text import place
from muslin.render.nft.wire import sets
from muslin.render.nft.wire.attributes import attribute, name, nest, nest_of, number, spans
from muslin.render.nft.wire.rules import comment, expressions
from muslin.render.nft.words import Chain, Rule

_HEADER = struct.Struct("=IHHIIBBH")
"""Length, type, flags, sequence, port; family, version, and zero or the subsystem, big-endian."""
_SUBSYSTEM = 10
_INET = 1
_REQUEST, _CREATE, _APPEND = 0x1, 0x400, 0x800
_BEGIN, _END = 0x10, 0x11
(_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _NEW_CHAIN, _GET_CHAIN, _DELETE_CHAIN, _NEW_RULE, _GET_RULE, _DELETE_RULE,
 _NEW_SET, _GET_SET, _DELETE_SET, _NEW_ELEMENTS, _GET_ELEMENTS, _DELETE_ELEMENTS) = range(15)
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
_ACCEPT = 1
_ELEMENTS, _SET_NUMBER_OF_ELEMENTS = 3, 4
_SET_NUMBER = 10
_TABLE = name(1, TABLE)
"""The first attribute of every message, whatever it is about."""


class Batch(msgspec.Struct, frozen=True):
    """`data`: messages 1 to `count`, without what opens and closes a batch. `first`: of each command, the number of its
    first message."""

    commands: tuple[Command, ...]
    data: bytes
    count: int
    first: tuple[int, ...]

    def framed(self, generation: int | None = None) -> tuple[bytes, bytes, bytes]:
        """Ready to be sent, one behind the other. `generation`: the kernel refuses the batch when its ruleset is of
        another one."""
        guard = number(1, generation) if generation is not None else b""
        begin = _HEADER.pack(20 + len(guard), _BEGIN, _REQUEST, 0, 0, 0, 0, _subsystem()) + guard
        return begin, self.data, _HEADER.pack(20, _END, _REQUEST, self.count + 1, 0, 0, 0, _subsystem())

    def place(self, message: int, offset: int = 0) -> str:
        """`line 4: add rule ...`: what the message says, in nft's words, and where that would be in nft's text. Empty
        for what opens and closes a batch. `offset`: a byte within the message."""
        if not 1 <= message <= self.count:
            return ""
        index = bisect_right(self.first, message) - 1
        return place(self.commands, index, self._element(index, message, offset))

    def _element(self, index: int, message: int, offset: int) -> int:
        """Which of the command's elements the message is about, at that byte."""
        if not isinstance(self.commands[index], AddElements | RemoveElements):
            return 0
        starts = list(_starts(self.data))
        before, start = starts[self.first[index] - 1 : message - 1], starts[message - 1]
        return sum(_listed(self.data, each) for each in before) + max(_listed(self.data, start, start + offset) - 1, 0)


def encoded(commands: Iterable[Command]) -> Batch:
    """Raises Broken, which names the command, for what cannot be said."""
    encoder, given, first = _Encoder(), tuple(commands), []
    for index, command in enumerate(given):
        first.append(encoder.count + 1)
        try:
            encoder.say(command)
        except Broken as error:
            raise Broken(f"{error}, {place(given, index, _first_refused(command))}") from None
    return Batch(given, b"".join(encoder.parts), encoder.count, tuple(first))


def emptied_table() -> Batch:
    """All rules of our table go; its sets and chains stay."""
    return _alone(_DELETE_RULE)


def removed_table() -> Batch:
    return _alone(_DELETE_TABLE)


def _alone(kind: int) -> Batch:
    encoder = _Encoder()
    encoder.put(kind, 0, _TABLE)
    return Batch((), b"".join(encoder.parts), encoder.count, ())


class _Encoder:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = 0
        self._sets = 0
        self._new: dict[str, int] = {}
        """Sets of this batch, and their numbers."""
        self._kept = False
        """Some of them may be there already."""

    def put(self, kind: int, flags: int, body: bytes) -> None:
        self.count += 1
        kind |= _SUBSYSTEM << 8
        self.parts += (_HEADER.pack(20 + len(body), kind, flags | _REQUEST, self.count, 0, _INET, 0, 0), body)

    def say(self, command: Command) -> None:
        match command:
            case AddRule(chain=chain, rule=rule):
                self._rule(chain, rule)
            case AddElements(set=declared, elements=new, seconds=seconds):
                self._elements(_NEW_ELEMENTS, _CREATE, self._named(declared.name), sets.added(declared, new, seconds))
            case RemoveElements(set=declared, elements=gone):
                self._elements(_DELETE_ELEMENTS, 0, sets.named(declared.name), sets.removed(declared, gone))
            case AddSet(set=declared):
                self._set(sets.named(declared.name), sets.declaration(declared))
                self._new[declared.name] = self._sets
            case AddChain(chain=chain):
                self.put(_NEW_CHAIN, _CREATE, _TABLE + name(3, chain.name) + _hooked(chain))
            case FlushChain(chain=chain):
                self.put(_DELETE_RULE, 0, _of_chain(chain))
            case FlushSet(set=declared):
                self.put(_DELETE_ELEMENTS, 0, _TABLE + sets.named(declared.name))
            case RemoveChain(chain=chain):
                self.put(_DELETE_CHAIN, 0, _TABLE + name(3, chain))
            case RemoveSet(set=gone_set):
                self.put(_DELETE_SET, 0, _TABLE + sets.named(gone_set))
            case KeepTable():
                self._kept = True
                self.put(_NEW_TABLE, _CREATE, _TABLE)
            case ReplaceTable():
                for kind, flags in ((_NEW_TABLE, _CREATE), (_DELETE_TABLE, 0), (_NEW_TABLE, _CREATE)):
                    self.put(kind, flags, _TABLE)

    def _named(self, name: str) -> bytes:
        """The set that elements belong to. The kernel looks sets up by name one after another, which takes long where
        there are a thousand; one that comes in the same batch it finds by its number as well."""
        found = None if self._kept else self._new.get(name)
        return sets.named(name) if found is None else number(_SET_NUMBER_OF_ELEMENTS, found)

    def _rule(self, chain: str, rule: Rule) -> None:
        said = expressions(rule, self._bring_along)
        where, length = _of_chain(chain), sum(map(len, said))
        behind = comment(rule.comment) if rule.comment else b""
        self.count += 1
        total = 20 + len(where) + 4 + length + len(behind)
        kind, flags = _NEW_RULE | _SUBSYSTEM << 8, _REQUEST | _CREATE | _APPEND
        self.parts.append(_HEADER.pack(total, kind, flags, self.count, 0, _INET, 0, 0) + where + nest_of(4, length))
        self.parts += said
        self.parts.append(behind)

    def _bring_along(self, brought: sets.Brought) -> tuple[str, int]:
        own = "__map%d" if brought.is_map else "__set%d"
        self._set(sets.named(own), brought.declaration)
        named = sets.named(own) + number(_SET_NUMBER_OF_ELEMENTS, self._sets)
        self._elements(_NEW_ELEMENTS, _CREATE, named, brought.elements)
        return own, self._sets

    def _set(self, named: bytes, declaration: bytes) -> None:
        """Each has a number that holds within the batch; those that have no name yet are found by it."""
        self._sets += 1
        self.put(_NEW_SET, _CREATE, _TABLE + named + number(_SET_NUMBER, self._sets) + declaration)

    def _elements(self, kind: int, flags: int, named: bytes, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            self.put(kind, flags, _TABLE + named + nest(_ELEMENTS, body))


@lru_cache(maxsize=1024)
def _of_chain(chain: str) -> bytes:
    return _TABLE + name(2, chain)


def _hooked(chain: Chain) -> bytes:
    hook = chain.hook
    if hook is None:
        return b""
    priority = attribute(2, hook.priority.to_bytes(4, "big", signed=True))
    return nest(4, number(1, _HOOKS[hook.point]) + priority) + number(5, _ACCEPT) + name(7, hook.kind)


def _subsystem() -> int:
    return struct.unpack("=H", _SUBSYSTEM.to_bytes(2, "big"))[0]  # type: ignore[no-any-return]


def _starts(data: bytes) -> Iterator[int]:
    """Where each message begins."""
    start = 0
    while start < len(data):
        yield start
        start += int(_HEADER.unpack_from(data, start)[0])


def _listed(data: bytes, start: int, until: int | None = None) -> int:
    """How many elements the message there lists, or as many as begin before that byte."""
    end = start + int(_HEADER.unpack_from(data, start)[0])
    for kind, begin, behind in spans(data, start + _HEADER.size, end):
        if kind == _ELEMENTS:
            found = [item for item in spans(data, begin, behind) if until is None or item[1] - 4 <= until]
            return sum(1 for _, item, item_end in found if not sets.is_end(data, item, item_end))
    return 0


def _first_refused(command: Command) -> int:
    """The first of a command's elements that cannot be said."""
    match command:
        case AddElements(set=declared, elements=new):
            return _position(sets.added(declared, (pair,)) for pair in new)
        case RemoveElements(set=declared, elements=gone):
            return _position(sets.removed(declared, (element,)) for element in gone)
    return 0


def _position(tried: Iterable[Iterator[bytes]]) -> int:
    for index, bodies in enumerate(tried):
        try:
            for _ in bodies:
                pass
        except Broken:
            return index
    return 0

"""Rules as rows of the kernel's expressions: each statement loads what it looks at, and compares.

A rule may bring sets of its own along (`{ 80, 443 }`); they are made before it, under a number that holds within the
batch, and go with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import assert_never

import msgspec

from muslin.errors import Broken
from muslin.render.nft.wire import expressions as kernel
from muslin.render.nft.wire import sets
from muslin.render.nft.wire.attributes import attribute
from muslin.render.nft.wire.expressions import Comparison, Meta, Nat
from muslin.render.nft.wire.loads import FAMILY_OF, PROTOCOL_OF, load, load_all, load_part, of_family, of_protocol
from muslin.render.nft.wire.values import ends, interface, packed, value
from muslin.render.nft.words import (
    IDLE,
    Atom,
    ByMap,
    Choose,
    ClearMark,
    ConnectionsOver,
    Counter,
    CtState,
    Equal,
    Field,
    InSet,
    Limit,
    Log,
    Marked,
    Masquerade,
    NameBegins,
    NoTrack,
    OneOf,
    OpensTcp,
    PacketsOver,
    Redirect,
    Reject,
    Rule,
    SetDscp,
    SetMark,
    SourceNat,
    Span,
    Statement,
    Translate,
    Type,
    Verdict,
)

BringAlong = Callable[[sets.Brought], tuple[str, int]]
"""Makes an anonymous set in the same batch: its name there, and its number."""

TCP = 6
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_TCP_FLAGS = kernel.payload(kernel.Header.TRANSPORT, 13, 1, 0)
_SYN, _SYN_OR_ACK = b"\x02", b"\x12"
_PORT_WORDS = (4, 8)
"""Where the ports of a translation lie, when they are not in a map: each in the first word of a long register."""


@lru_cache(maxsize=1024)
def comment(text: str) -> bytes:
    """What nft shows behind a rule."""
    return attribute(7, sets.comment_note(text))


def expressions(rule: Rule, bring: BringAlong) -> list[bytes]:
    """One after another. `bring` is called for the sets of its own, before the rule may be sent."""
    parts: list[bytes] = []
    family, protocol = 0, NOTHING_KNOWN
    for statement in rule.statements:
        one = _brought(statement, bring) if isinstance(statement, OneOf | Choose) else statement
        said, family, protocol = _said(one, family, protocol)
        parts.append(said)
    return parts


class _Own(msgspec.Struct, frozen=True, gc=False):
    """A lookup in a set that the rule has brought along."""

    fields: tuple[Field, ...]
    name: str
    identity: int
    negated: bool = False
    verdicts: bool = False


def _brought(statement: OneOf | Choose, bring: BringAlong) -> _Own:
    match statement:
        case OneOf(fields=fields, elements=elements, negated=negated):
            types = tuple([field.type for field in fields])
            name, identity = bring(sets.brought(types, elements, None))
            return _Own(fields, name, identity, negated)
        case Choose(field=field, choices=choices):
            atoms, verdicts = tuple([atom for atom, _ in choices]), tuple([verdict for _, verdict in choices])
            name, identity = bring(sets.brought((field.type,), atoms, verdicts))
            return _Own((field,), name, identity, verdicts=True)


NOTHING_KNOWN = -1


@lru_cache(maxsize=32768)
def _said(statement: Statement | _Own, family: int, protocol: int) -> tuple[bytes, int, int]:
    """The expressions of a statement, behind others that have asked for that family and protocol, and what is known of
    a packet that has come through. Rules are much alike: most of what they say has been said before."""
    row = _Row(family, protocol)
    row.say(statement)
    return b"".join(row.parts), row.family, row.protocol


class _Row:
    """The expressions of one statement."""

    __slots__ = ("family", "parts", "protocol")

    def __init__(self, family: int, protocol: int) -> None:
        self.parts: list[bytes] = []
        self.family = family
        self.protocol = protocol

    def say(self, statement: Statement | _Own) -> None:
        match statement:
            case Equal():
                self._equal(statement)
            case Counter():
                self.parts.append(kernel.COUNTER)
            case Verdict():
                self.parts.append(kernel.decide(statement))
            case _Own(fields=fields, name=name, identity=identity, negated=negated, verdicts=verdicts):
                into = kernel.VERDICT_OF_MAP if verdicts else None
                self._look_up(fields, name, identity, into=into, negated=negated)
            case InSet(fields=fields, set=name, negated=negated):
                self._look_up(fields, name, negated=negated)
            case ByMap(fields=fields, map=name):
                self._look_up(fields, name, into=kernel.VERDICT_OF_MAP)
            case NameBegins(field=field, prefix=prefix):
                self.parts += (load(field), kernel.compare(Comparison.EQUAL, interface(prefix).rstrip(b"\0")))
            case Translate() | Redirect() | SourceNat() | Masquerade():
                self._translate(statement)
            case PacketsOver() | ConnectionsOver():
                self._measure(statement)
            case SetDscp(family=family, value=number):
                self._need_family(family)
                self.parts.append(_set_dscp(family, number))
            case OpensTcp() | Reject(reset=True):
                self._need_protocol(TCP)
                self.parts.append(_plain(statement))
            case Marked() | SetMark() | ClearMark() | Limit() | NoTrack() | Log() | Reject():
                self.parts.append(_plain(statement))
            case OneOf() | Choose():
                raise Broken(f"{statement} brings a set along, which is not there yet")
            case _:
                assert_never(statement)

    def _equal(self, test: Equal) -> None:
        field = test.field
        self._need(field)
        if not test.negated and isinstance(test.value, int):
            if field is Field.FAMILY:
                self.family = test.value
            elif field is Field.PROTOCOL:
                self.protocol = test.value
        self.parts.append(_compared(field, test.value, test.negated))

    def _look_up(
        self, fields: tuple[Field, ...], name: str, identity: int = 0, *, into: int | None = None, negated: bool = False
    ) -> None:
        for field in fields:
            self._need(field)
        looked = kernel.lookup(name, identity=identity, into=into, negated=negated)
        self.parts += (load_all(fields), looked)

    def _translate(self, statement: Translate | Redirect | SourceNat | Masquerade) -> None:
        match statement:
            case Translate(field=field, map=name):
                what = Nat.SOURCE if field in (Field.SOURCE4, Field.SOURCE6) else Nat.DESTINATION
                self._look_up((field,), name, into=kernel.DATA_OF_MAP)
                self.parts.append(kernel.translate(what, _NUMBER_OF_FAMILY[FAMILY_OF[field]], address=0))
            case Redirect(family=family, fields=fields, map=name):
                self._look_up(fields, name, into=kernel.DATA_OF_MAP)
                port = 1 if family == 4 else 4
                made = kernel.translate(Nat.DESTINATION, _NUMBER_OF_FAMILY[family], address=0, ports=(port, port))
                self.parts.append(made)
            case SourceNat(address=address, ports=ports):
                self.parts.append(kernel.immediate(0, packed(address, Type.ADDRESS4)))
                words = self._ports(ports, _PORT_WORDS)
                self.parts.append(kernel.translate(Nat.SOURCE, _NUMBER_OF_FAMILY[4], address=0, ports=words))
            case Masquerade(ports=ports):
                self.parts.append(kernel.masquerade(self._ports(ports, (0, 4))))

    def _ports(self, ports: Span | None, words: tuple[int, int]) -> tuple[int, int] | None:
        if ports is None:
            return None
        first, last = ends(ports, Type.PORT)
        self.parts += (kernel.immediate(words[0], first), kernel.immediate(words[1], last))
        return words

    def _measure(self, statement: PacketsOver | ConnectionsOver) -> None:
        self._need(statement.field)
        self.parts.append(load(statement.field))
        match statement:
            case PacketsOver(set=name, limit=limit):
                body = kernel.limit_body(limit.number, _SECONDS[limit.unit], limit.burst, over=True)
                self.parts.append(kernel.measure(name, update=True, seconds=IDLE, kind="limit", body=body))
            case ConnectionsOver(set=name, number=number):
                body = kernel.connections_body(number)
                self.parts.append(kernel.measure(name, update=False, seconds=0, kind="connlimit", body=body))

    def _need(self, field: Field) -> None:
        if field in FAMILY_OF:
            self._need_family(FAMILY_OF[field])
        elif field in PROTOCOL_OF:
            self._need_protocol(PROTOCOL_OF[field])

    def _need_family(self, family: int) -> None:
        if self.family != family:
            self.family = family
            self.parts.append(of_family(family))

    def _need_protocol(self, protocol: int) -> None:
        if self.protocol != protocol:
            self.protocol = protocol
            self.parts.append(of_protocol(protocol))


_NUMBER_OF_FAMILY = {4: 2, 6: 10}


def _compared(field: Field, atom: Atom, negated: bool) -> bytes:
    """The field against one value, a prefix or a range."""
    comparison = Comparison.OTHER if negated else Comparison.EQUAL
    if isinstance(atom, CtState):
        bit = value(atom, field.type)
        there = Comparison.EQUAL if negated else Comparison.OTHER
        return load(field) + kernel.bitwise(bit, bytes(len(bit))) + kernel.compare(there, bytes(len(bit)))
    if isinstance(atom, str) and field.type is not Type.INTERFACE:
        return _in_prefix(field, atom, comparison)
    first, last = ends(atom, field.type)
    if negated and field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
        # As a range, so that nft lists what it can load again: see `text`, which says why.
        return load(field) + kernel.outside(first, last)
    if first == last:
        return load(field) + kernel.compare(comparison, first)
    if negated:
        return load(field) + kernel.outside(first, last)
    return load(field) + kernel.compare(Comparison.AT_LEAST, first) + kernel.compare(Comparison.AT_MOST, last)


def _in_prefix(field: Field, prefix: str, comparison: Comparison) -> bytes:
    """A prefix of whole bytes is compared as it lies in the packet, others behind a mask."""
    address, slash, text = prefix.partition("/")
    first = packed(address, field.type)
    length = int(text) if slash else 8 * len(first)
    whole, bits = divmod(length, 8)
    if whole and not bits:
        return load_part(field, whole) + kernel.compare(comparison, first[:whole])
    mask = ((1 << length) - 1 << 8 * len(first) - length).to_bytes(len(first), "big")
    return load(field) + kernel.bitwise(mask, bytes(len(first))) + kernel.compare(comparison, first)


def _set_dscp(family: int, number: int) -> bytes:
    """Six bits of the first sixteen of the header; those of IPv4 are covered by its checksum."""
    if not 0 <= number < 64:
        raise Broken(f"value {number} exceeds dscp, 0 to 63")
    shift, mask = (2, 0xFF03) if family == 4 else (6, 0xF03F)
    written = kernel.write_payload(0, 2, 0, 10 if family == 4 else None)
    bits = kernel.bitwise(mask.to_bytes(2, "big"), (number << shift).to_bytes(2, "big"))
    return kernel.payload(kernel.Header.NETWORK, 0, 2, 0) + bits + written


_Plain = Marked | SetMark | ClearMark | OpensTcp | Limit | NoTrack | Log | Reject


def _plain(statement: _Plain) -> bytes:
    """What depends on nothing else in the rule."""
    match statement:
        case OpensTcp():
            return _TCP_FLAGS + kernel.bitwise(_SYN_OR_ACK, b"\0") + kernel.compare(Comparison.EQUAL, _SYN)
        case Marked(bit=bit):
            there = kernel.bitwise(_mark(bit), bytes(4)) + kernel.compare(Comparison.EQUAL, _mark(bit))
            return kernel.meta(Meta.MARK, 0) + there
        case SetMark(bit=bit):
            return _changed_mark(~bit, bit)
        case ClearMark(bit=bit):
            return _changed_mark(~bit, 0)
        case Limit(number=number, unit=unit, burst=burst):
            return kernel.limit(number, _SECONDS[unit], burst, over=False)
        case NoTrack():
            return kernel.NOTRACK
        case Log(prefix=prefix):
            return kernel.log(prefix)
        case Reject(reset=reset):
            return kernel.reject_by_reset() if reset else kernel.reject_by_error()
        case _:
            assert_never(statement)


def _changed_mark(kept: int, flipped: int) -> bytes:
    changed = kernel.bitwise(_mark(kept & 0xFFFFFFFF), _mark(flipped))
    return kernel.meta(Meta.MARK, 0) + changed + kernel.set_meta(Meta.MARK, 0)


def _mark(bits: int) -> bytes:
    return bits.to_bytes(4, sys.byteorder)



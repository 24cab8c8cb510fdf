"""A row of tests, as `render.matching` finds it, in the words of iptables: one rule, or a few.

What a rule of iptables cannot say in one go becomes several rules, of which at most one matches a packet:

  several protocols          a rule each
  all but several protocols  `-p` can deny only one: a bit of the mark is set, taken back for each of them, and asked
  more than fifteen ports    rules of fifteen; or, when they are denied, several tests in one rule
  several prefixes           an ipset of their own, named by what it holds
  a prefix beside another    `-s` can be said once, so the second is an address range
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import msgspec

from muslin.errors import Broken
from muslin.net import Cidr, version_of
from muslin.render.fields import Atom, Equal, Field, Match, OneOf, Span
from muslin.render.fields import InSet as FieldsInSet
from muslin.render.iptables import names
from muslin.render.iptables.marks import Marks
from muslin.render.iptables.words import (
    Address,
    AddressRange,
    End,
    IcmpType,
    InSet,
    Marked,
    Ports,
    Protocol,
    Rule,
    SetMark,
    Target,
    Test,
)

PORTS_LIMIT = 15

_ENDS = {
    Field.SOURCE4: End.SOURCE, Field.SOURCE6: End.SOURCE, Field.SOURCE_PORT: End.SOURCE,
    Field.DESTINATION4: End.DESTINATION, Field.DESTINATION6: End.DESTINATION, Field.DESTINATION_PORT: End.DESTINATION,
}
_PORTS = frozenset({Field.SOURCE_PORT, Field.DESTINATION_PORT})
_TYPES = {Field.ICMP_TYPE: 4, Field.ICMP6_TYPE: 6}
_CODES = frozenset({Field.ICMP_CODE, Field.ICMP6_CODE})


class Translated(msgspec.Struct, frozen=True):
    """`lists`: ipset name -> the prefixes that a rule lists."""

    rules: tuple[Rule, ...]
    lists: Mapping[str, tuple[Cidr, ...]] = {}


def translated(row: tuple[Match, ...], target: Target, comment: str, marks: Marks) -> Translated:
    lists: dict[str, tuple[Cidr, ...]] = {}
    alternatives: list[tuple[Test, ...]] = [()]
    prelude: tuple[Rule, ...] = ()
    for protocols, negated in _protocols(row):
        if len(protocols) == 1:
            alternatives = [(Protocol(protocols[0], negated),)]
        elif negated:
            prelude = _all_but(protocols, marks)
            alternatives = [(Marked(marks.scratch, marks.scratch),)]
        else:
            alternatives = [(Protocol(number),) for number in protocols]
    common = (*_icmp(row), *_addresses(row, lists), *_port_sets(row))
    port_choices = [choice for test in row for choice in _ports(test)]
    return Translated(
        (
            *prelude,
            *(
                Rule((*first, *common, *(test for part in parts for test in part)), target, comment)
                for first in alternatives for parts in product(*port_choices)
            ),
        ),
        lists,
    )


def _protocols(row: tuple[Match, ...]) -> Iterator[tuple[tuple[int, ...], bool]]:
    for test in row:
        match test:
            case Equal(field=Field.PROTOCOL, value=int() as number, negated=negated):
                yield (number,), negated
            case OneOf(fields=(Field.PROTOCOL,), elements=elements, negated=negated):
                yield tuple(number for number in elements if isinstance(number, int)), negated


def _all_but(protocols: tuple[int, ...], marks: Marks) -> tuple[Rule, ...]:
    bit = marks.scratch
    return (
        Rule((), SetMark(bit, bit)),
        *(Rule((Protocol(number),), SetMark(0, bit)) for number in protocols),
    )


def _icmp(row: tuple[Match, ...]) -> Iterator[Test]:
    codes = [test.value for test in row if isinstance(test, Equal) and test.field in _CODES]
    code = codes[0] if codes and isinstance(codes[0], int) else None
    for test in row:
        match test:
            case Equal(field=field, value=int() as number, negated=negated) if field in _TYPES:
                yield IcmpType(_TYPES[field], number, code, negated)
            case OneOf(fields=(field, _), elements=((int() as number, int() as its_code),), negated=negated) if (
                field in _TYPES
            ):
                yield IcmpType(_TYPES[field], number, its_code, negated)


def _addresses(row: tuple[Match, ...], lists: dict[str, tuple[Cidr, ...]]) -> Iterator[Test]:
    said: set[End] = set()
    for test in row:
        match test:
            case Equal(field=field, value=str() as prefix, negated=negated):
                end = _ENDS[field]
                yield (AddressRange if end in said else Address)(end, Cidr(prefix), negated)
                said.add(end)
            case OneOf(fields=(field,), elements=elements, negated=negated) if field in _ENDS and field not in _PORTS:
                nets = tuple(Cidr(net) for net in elements if isinstance(net, str))
                name = names.list_set(nets, version_of(nets[0]))
                lists[name] = nets
                yield InSet(name, (_ENDS[field],), negated)
            case FieldsInSet(fields=(field,), set=name, negated=negated):
                yield InSet(name, (_ENDS[field],), negated)


def _port_sets(row: tuple[Match, ...]) -> Iterator[Test]:
    for test in row:
        match test:
            case FieldsInSet(fields=(field, Field.PROTOCOL, _), set=name, negated=negated):
                yield InSet(name, (_ENDS[field], _ENDS[field]), negated)


def _ports(test: Match) -> Iterator[list[tuple[Test, ...]]]:
    """Alternatives, one of which must hold."""
    match test:
        case Equal(field=field, value=value, negated=negated) if field in _PORTS:
            yield [(Ports(_ENDS[field], (_range(value),), negated),)]
        case OneOf(fields=(field,), elements=elements, negated=negated) if field in _PORTS:
            ranges = [_range(element) for element in elements if isinstance(element, int | Span)]
            tests = [Ports(_ENDS[field], part, negated) for part in _fifteen(ranges)]
            yield [tuple(tests)] if negated else [(part,) for part in tests]


def _range(value: Atom) -> tuple[int, int]:
    match value:
        case int():
            return value, value
        case Span(first=first, last=last):
            return first, last
        case _:
            raise Broken(f"{value!r} is no port")


def _fifteen(ranges: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], ...]]:
    part: list[tuple[int, int]] = []
    room = PORTS_LIMIT
    for first, last in ranges:
        cost = 1 if first == last else 2
        if cost > room:
            yield tuple(part)
            part, room = [], PORTS_LIMIT
        part.append((first, last))
        room -= cost
    yield tuple(part)

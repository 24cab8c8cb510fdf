"""Which packets a row speaks of, by protocol and destination port, as far as the row itself says it.

    a row of TCP or its like with ports       those ports, in each of its protocols
    a row of protocols that have no ports     those protocols (an ICMP type is left to the row)
    every other row                           unknown: any protocol, any port, a named port

A row with a known reach can be left out for every packet that lies elsewhere, without looking at it. TCP without a port
counts as unknown: it also speaks of packets whose port cannot be read, which a lookup by port never finds.

`cut` lays many such reaches over each other: disjoint spans, each with all that reaches it, in the order given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeVar

from muslin.errors import Broken
from muslin.net import PROTOCOLS_WITH_PORTS
from muslin.render.fields import Atom, Element, Equal, Field, OneOf, Span
from muslin.render.matching import Row
from muslin.render.prefixes import common, joined, others, swept

LAST_PORT = 65535
ROOM = 4
"""So many times its lines may a stretch, a block (see merging) or a crowd (see peers) fill, where ranges lie over each
other: beyond that it is cut in two, or walked."""
FREE = 64
"""What is not counted of that: small ones are never cut."""
ANY_PORT = ((0, LAST_PORT),)

Ranges = tuple[tuple[int, int], ...]
Item = TypeVar("Item")


class Reach(NamedTuple):
    """Ports `first` to `last` of a protocol; all of them where it has no ports."""

    protocol: int
    first: int = 0
    last: int = LAST_PORT

    @property
    def width(self) -> int:
        return self.last - self.first + 1


Numbers = tuple[int, ...]
Numbered = tuple[Reach, int]


def room(lines: int) -> int:
    return ROOM * lines + FREE


def reach(row: Row) -> tuple[Reach, ...] | None:
    """Disjoint; None: unknown. Empty: the row matches nothing."""
    protocols, ports = _protocols(row), _ports(row)
    if protocols is None:
        return None
    if PROTOCOLS_WITH_PORTS.isdisjoint(protocols):
        return tuple(Reach(protocol) for protocol in protocols)
    if ports is None or not PROTOCOLS_WITH_PORTS.issuperset(protocols):
        return None
    return tuple(Reach(protocol, *ends) for protocol in protocols for ends in ports)


def cut(given: Iterable[tuple[Reach, Item]]) -> list[tuple[Reach, tuple[Item, ...]]]:
    """In order of protocols and ports. Neighbours that the same items reach are one."""
    items: list[Item] = []
    by_protocol: dict[int, list[Numbered]] = {}
    for number, (reached, item) in enumerate(given):
        items.append(item)
        by_protocol.setdefault(reached[0], []).append((reached, number))
    found: list[tuple[Reach, tuple[Item, ...]]] = []
    for protocol in sorted(by_protocol):
        last, met = -1, None  # of the one before
        for reached, numbers in _swept(protocol, by_protocol[protocol]):
            who = (items[numbers[0]],) if len(numbers) == 1 else tuple(dict.fromkeys(items[each] for each in numbers))
            if last + 1 == reached[1] and met == who:
                found[-1] = (found[-1][0]._replace(last=reached[2]), who)
            else:
                found.append((reached, who))
            last, met = reached[2], who
    return found


def _swept(protocol: int, spans: list[Numbered]) -> Iterator[tuple[Reach, Numbers]]:
    spans.sort()
    if all(before[2] < then[1] for (before, _), (then, _) in pairwise(spans)):
        for reached, number in spans:
            yield reached, (number,)
        return
    for ends, active in swept(((first, last), number) for (_, first, last), number in spans):
        yield Reach(protocol, *ends), tuple(active)


def _protocols(row: Row) -> tuple[int, ...] | None:
    """A row has one test of the protocol at most, in front (see matching)."""
    match row[0] if row else None:
        case Equal(field=Field.PROTOCOL, value=int() as number, negated=False):
            return (number,)
        case OneOf(fields=(Field.PROTOCOL,), elements=numbers, negated=False):
            return tuple(number for number in numbers if isinstance(number, int))
    return None


def _ports(row: Row) -> Ranges | None:
    """What all tests of the destination's port leave; None when there is no such test."""
    found: Ranges | None = None
    for test in row:
        match test:
            case Equal(field=Field.DESTINATION_PORT, value=value, negated=negated):
                found = _narrowed(found, (value,), negated=negated)
            case OneOf(fields=(Field.DESTINATION_PORT,), elements=values, negated=negated):
                found = _narrowed(found, values, negated=negated)
    return found


def _narrowed(before: Ranges | None, values: Iterable[Atom | Element], *, negated: bool) -> Ranges:
    ranges = joined(_ends(value) for value in values)
    return common(ANY_PORT if before is None else before, others(ranges, LAST_PORT) if negated else ranges)


def _ends(value: Atom | Element) -> tuple[int, int]:
    match value:
        case Span(first=first, last=last):
            return first, last
        case int():
            return value, value
    raise Broken(f"{value!r} is no port")

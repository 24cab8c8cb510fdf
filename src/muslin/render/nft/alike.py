"""Rules that differ in nothing but protocol and port are one rule of the kernel.

Lists of services are written rule by rule: from these, to 80; from these, to 443; ... Each would be a rule, and behind
a lookup by port a chain; and the kernel walks over all chains for every change of the table, and over all rules for
most. So of some that follow one another the ports lie in a set, and what counts and bears the comment is the element:

    ip saddr @friends  meta l4proto . th dport @web/0-2.5f2a...  accept        "... web ingress 0-2"
                                               6 . 80   counter  "... web ingress 0"
                                               6 . 443  counter  "... web ingress 1"
                                               17 . 443 counter  "... web ingress 2"

The set is looked at last, so that only a packet of that rule is counted. Where two of them mean the same port, it is
the first one's. A set bears the name of all that it says, and of the tests that stand before it: it comes and goes with
its rule and never changes, so that no packet meets the tests of one policy with the ports of another (0087).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from muslin.intent import Origin
from muslin.net import PROTOCOLS_WITH_PORTS
from muslin.render.fields import Equal, Field, InSet, OneOf
from muslin.render.fields import Match as Test
from muslin.render.matching import Row
from muslin.render.nft import names
from muslin.render.nft.crowds import Peer, Sure
from muslin.render.nft.reach import Reach
from muslin.render.nft.words import Element, NamedSet, Noted, Statement, Type
from muslin.render.nft.words import Rule as Line

ALIKE = 3
"""Rules from which a set is worth its price."""
WIDEST = 32
"""Ports of one rule that are listed one by one."""
_PORTS = (Field.PROTOCOL, Field.DESTINATION_PORT)

Content = Mapping[Element, Noted]
Likeness = tuple[Row, tuple[Statement, ...]]


class Entry(msgspec.Struct, frozen=True):
    """A row of a policy's rule, and how it ends. `reached`: which packets it speaks of, None: any. `peer`: whom it
    wants at the other end, and whether that is all. `rules`: how many it stands for."""

    row: Row
    ending: tuple[Statement, ...]
    comment: str
    origin: Origin
    reached: tuple[Reach, ...] | None = None
    passes: bool = False
    logs: bool = False
    peer: Peer = ""
    sure: Sure = Sure.NEVER
    rules: int = 1
    listed: tuple[NamedSet, Content] | None = None
    """The set of ports that it brings along."""

    @property
    def line(self) -> Line:
        return Line((*self.row, *self.ending), self.comment)


def joined(entries: Iterable[Entry], chain: str) -> Iterator[Entry]:
    """The same entries, those made one that are alike. `chain`: the policy's, for names."""
    for likeness, run in groupby(entries, key=_likeness):
        same = list(run)
        if likeness is None or len(same) < ALIKE:
            yield from same
        else:
            yield _one(same, likeness, chain)


def _likeness(entry: Entry) -> Likeness | None:
    """All but protocol and port; None: it is like nobody. Each Log rule speaks, and has a limit of its own."""
    reached = entry.reached
    if not reached or entry.logs or entry.origin.note or sum(each.width for each in reached) > WIDEST:
        return None
    if any(each.protocol not in PROTOCOLS_WITH_PORTS for each in reached):
        return None
    return tuple(test for test in entry.row if not is_told_by_reach(test)), entry.ending


def is_told_by_reach(test: Test) -> bool:
    """Where it is known."""
    match test:
        case Equal(field=Field.PROTOCOL | Field.DESTINATION_PORT):
            return True
        case OneOf(fields=(Field.PROTOCOL,) | (Field.DESTINATION_PORT,)):
            return True
    return False


def _one(same: list[Entry], likeness: Likeness, chain: str) -> Entry:
    first, last = same[0], same[-1]
    content: dict[Element, Noted] = {}
    for entry in same:
        note = Noted(entry.comment)
        for protocol, low, high in entry.reached or ():
            for port in range(low, high + 1):
                content.setdefault((protocol, port), note)
    name = names.alike_set(chain, (first.origin.rule, last.origin.rule), repr((likeness, content)))
    reached = tuple(each for entry in same for each in entry.reached or ())
    return Entry(
        row=(*likeness[0], InSet(_PORTS, name)), ending=first.ending[1:], origin=first.origin,
        comment=names.comment(first.origin, last.origin.rule), reached=reached,
        peer=first.peer, sure=first.sure, rules=len(same),
        listed=(NamedSet(name, (Type.PROTOCOL, Type.PORT), counted=True), content))

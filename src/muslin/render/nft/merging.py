"""The rules of many policies in one chain, so that a packet does not walk past those of other ports.

Order decides only between two rules that can meet the same packet. So a run of rules whose reach is known (see reach),
over the borders of policies and tiers, is a block, and a block is a lookup: each port leads to the pieces of those
policies that speak of it (see pieces), in their order, and whoever comes back undecided goes on behind the block.

    meta l4proto . th dport vmap @G/ports0     6 . 80 : jump web/0     6 . 443 : jump G/ports0/6-443
    meta l4proto 6 th dport vmap { 1024-65535 : jump nodes/0 }         what is too wide to be listed port by port
    meta l4proto 1 jump ping/0                                         what has no ports
    jump friends/0                                                     a run of rules that may meet anybody
    drop

    G/ports0/6-443: jump web/1                 only where several policies speak of a port
                    jump strict/0

So the new packet pays for one block what it pays for two or three rules, and for the rules that do speak of its port;
and for every rule that may meet any port, as long as there are such before the one that decides. A block has no more
chains than lines, or about so: where ranges lie over each other so that the pieces would fill more than `room` lines,
the block is cut in two, in the end down to rule by rule, and the packet pays for each of them.
Blocks of fewer than `SMALL` rules are not worth a lookup.

Chains bear the numbers of rules or a port, so that a change of rules mostly rewrites chains that are there: to a packet
which is under way at that moment, a chain that has just been made is empty (see members).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec

from muslin.intent import PolicyId
from muslin.net import PROTOCOLS_WITH_PORTS
from muslin.render.fields import Equal, Field, Span
from muslin.render.nft import names
from muslin.render.nft.pieces import Numbers, Piece, Stretch, room
from muslin.render.nft.places import Place
from muslin.render.nft.reach import Reach, cut
from muslin.render.nft.words import Atom, ByMap, Chain, Choose, Element, NamedSet, Statement, Type, Verdict, jump
from muslin.render.nft.words import Rule as Line

SMALL = 4
LISTED = 32
"""Ports of a range that are listed one by one; wider ones are looked up as ranges."""
MANY = 4096
"""Elements of a block above which only single ports are listed."""


class Called(msgspec.Struct, frozen=True):
    """A stretch of a policy of so many lines."""

    policy: PolicyId
    stretch: Stretch
    count: int


class Merged(msgspec.Struct, frozen=True):
    """A chain, with those that its lookups lead to; its maps; and the pieces of policies that all these call."""

    chains: tuple[Chain, ...]
    maps: Mapping[NamedSet, Mapping[Element, Verdict]]
    pieces: frozenset[Piece]


def merged(chain: str, place: Place, items: Iterable[Line | Called]) -> Merged:
    merger = _Merger(chain, place)
    for known, run in groupby(items, key=_is_known):
        if not known:
            for item in run:
                merger.add(item)
            continue
        for block in _blocks([item for item in run if isinstance(item, Called)]):
            merger.block(block)
    return merger.done()


Block = tuple[Called, ...]


def _is_known(item: Line | Called) -> bool:
    return isinstance(item, Called) and item.stretch.reached is not None


def _blocks(calls: list[Called]) -> Iterator[Block]:
    """As few as fit."""
    filled = {who for _, who in _reached(calls) if len(who) > 1}
    lines = sum(len(call.stretch.lines) for call in calls)
    if len(calls) == 1 or sum(len(who) for who in filled) <= room(lines):
        yield tuple(calls)
    else:
        half = len(calls) // 2
        yield from _blocks(calls[:half])
        yield from _blocks(calls[half:])


Part = tuple[PolicyId, Numbers, int]
"""Lines of a policy that has so many."""


def _reached(calls: Iterable[Called]) -> list[tuple[Reach, tuple[Part, ...]]]:
    return cut(
        (reached, (call.policy, lines, call.count)) for call in calls for reached, lines in call.stretch.reached or ()
    )


class _Merger:
    """A chain that is being written. Stretches of one policy that are called one after another are one piece."""

    def __init__(self, chain: str, place: Place) -> None:
        self._chain, self._place = chain, place
        self._lines: list[Line] = []
        self._chains: list[Chain] = []
        self._maps: dict[NamedSet, Mapping[Element, Verdict]] = {}
        self._pieces: set[Piece] = set()
        self._open: Part | None = None
        self._blocks = 0

    def add(self, item: Line | Called) -> None:
        if isinstance(item, Called):
            self._call((item.policy, item.stretch.lines, item.count))
        else:
            self._close()
            self._lines.append(item)

    def block(self, calls: Block) -> None:
        if sum(len(call.stretch.lines) for call in calls) < SMALL:
            for call in calls:
                self.add(call)
            return
        self._close()
        ports: dict[Element, Verdict] = {}
        wide: dict[int, list[tuple[Reach, Verdict]]] = {}
        chains: dict[tuple[Part, ...], Verdict] = {}
        reached = _reached(calls)
        most = _listed(reach for reach, _ in reached)
        for reach, parts in reached:
            verdict = chains.get(parts) or chains.setdefault(parts, self._verdict(reach, parts))
            if reach.width <= most:
                ports |= {(reach.protocol, port): verdict for port in range(reach.first, reach.last + 1)}
            else:
                wide.setdefault(reach.protocol, []).append((reach, verdict))
        self._look_up(ports, wide)
        self._blocks += 1

    def done(self) -> Merged:
        self._close()
        own = Chain(self._chain, tuple(self._lines))
        return Merged((own, *self._chains), self._maps, frozenset(self._pieces))

    def _call(self, part: Part) -> None:
        policy, lines, count = part
        if self._open is not None and self._open[0] == policy and self._open[1][-1] + 1 == lines[0]:
            self._open = policy, (*self._open[1], *lines), count
        else:
            self._close()
            self._open = part

    def _close(self) -> None:
        if self._open is not None:
            self._lines.append(Line((self._jump(self._open),)))
            self._open = None

    def _jump(self, part: Part) -> Verdict:
        policy, lines, count = part
        piece = Piece(policy, self._place.gate, self._place.family, lines, len(lines) == count)
        self._pieces.add(piece)
        return jump(piece.chain)

    def _verdict(self, reach: Reach, parts: tuple[Part, ...]) -> Verdict:
        if len(parts) == 1:
            return self._jump(parts[0])
        name = names.ports_chain(self._chain, self._blocks, reach.protocol, reach.first)
        self._chains.append(Chain(name, tuple(Line((self._jump(part),)) for part in parts)))
        return jump(name)

    def _look_up(self, ports: dict[Element, Verdict], wide: dict[int, list[tuple[Reach, Verdict]]]) -> None:
        if ports:
            declared = NamedSet(names.ports_map(self._chain, self._blocks), (Type.PROTOCOL, Type.PORT), verdicts=True)
            self._maps[declared] = ports
            self._lines.append(Line((ByMap((Field.PROTOCOL, Field.DESTINATION_PORT), declared.name),)))
        for protocol in sorted(wide.keys() & PROTOCOLS_WITH_PORTS):
            spans = _joined(wide[protocol], ports)
            self._lines.append(Line((Equal(Field.PROTOCOL, protocol), *_chosen(Field.DESTINATION_PORT, spans))))
        portless: list[tuple[Atom, Verdict]] = [
            (protocol, wide[protocol][0][1]) for protocol in sorted(wide.keys() - PROTOCOLS_WITH_PORTS)]
        if portless:
            self._lines.append(Line(_chosen(Field.PROTOCOL, portless)))


def _chosen(field: Field, choices: list[tuple[Atom, Verdict]]) -> tuple[Statement, ...]:
    if len(choices) == 1:
        return Equal(field, choices[0][0]), choices[0][1]
    return (Choose(field, tuple(choices)),)


def _listed(reaches: Iterable[Reach]) -> int:
    """How wide a range may be whose ports are listed."""
    few = sum(reach.width for reach in reaches if reach.width <= LISTED)
    return LISTED if few <= MANY else 1


def _joined(spans: list[tuple[Reach, Verdict]], listed: Mapping[Element, Verdict]) -> list[tuple[Atom, Verdict]]:
    """Neighbours that lead to one place are one, also over ports that are listed: those have been looked up before,
    and whoever comes back from there meets no rule that he has not met."""
    found: list[tuple[Reach, Verdict]] = []
    for reach, verdict in spans:
        before = found[-1] if found else None
        if before is not None and before[1] == verdict and all(
            (reach.protocol, port) in listed for port in range(before[0].last + 1, reach.first)
        ):
            found[-1] = before[0]._replace(last=reach.last), verdict
        else:
            found.append((reach, verdict))
    return [(Span(reach.first, reach.last) if reach.width > 1 else reach.first, verdict) for reach, verdict in found]

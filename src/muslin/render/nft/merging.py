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
Blocks of fewer than `SMALL` rules are not worth a lookup, nor are many rules that are one line (see alike). Where the
packet would pay for many lookups, rules that all speak of somebody in particular are looked up by peer instead (see
runs).

Chains bear the numbers of rules or a port, so that a change of rules mostly rewrites chains that are there. One that is
new costs a transaction of its own before the turn, and one that goes another behind it (0087).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby

import msgspec

from muslin.intent import Direction, PolicyId
from muslin.render.fields import Field
from muslin.render.matching import WORDS
from muslin.render.nft import names, ranges
from muslin.render.nft.crowds import CROWD, Call, Crowd, Laid, Peer, Size, Sure, fits, laid, lead
from muslin.render.nft.moves import LookedUp
from muslin.render.nft.pieces import Numbers, Outline, Piece, call
from muslin.render.nft.places import Place
from muslin.render.nft.reach import Reach
from muslin.render.nft.runs import Blocks, Called, Part, Reached, is_known, is_peered, is_scattered, is_small
from muslin.render.nft.words import ByMap, Chain, Choose, Element, NamedSet, Type, Verdict, goto, jump
from muslin.render.nft.words import Rule as Line


class Merged(msgspec.Struct, frozen=True):
    """A chain, with those that its lookups lead to; its maps by port; its crowds (see peers); and the pieces that all
    these call. `by_port`: the policies whose ports matter here; what the others reach is their own business.
    `looked_up`: where stretches of theirs are looked up by port, None: where the map does not tell what a port that
    moves would change (see moves)."""

    chains: tuple[Chain, ...]
    maps: Mapping[NamedSet, Mapping[Element, Verdict]]
    crowds: tuple[Crowd, ...]
    pieces: frozenset[Piece]
    by_port: frozenset[PolicyId]
    looked_up: Mapping[Part, LookedUp | None]


def merged(chain: str, place: Place, items: Iterable[Line | Called], size: Size, rest: str = "") -> Merged:
    """`size`: how many addresses a set holds. `rest`: of a chain from which rules pass by `return`, what its own is cut
    off behind a lookup that leads to such rules."""
    merger, blocks = _Merger(chain, place, size, rest), Blocks()
    plain: list[Line | Called] = []
    for peered, run in groupby(items, key=is_peered):
        some = list(run)
        called = [item for item in some if isinstance(item, Called)] if peered else []
        if is_scattered(called, blocks) and merger.has_room(called):
            _by_port(merger, plain, blocks)
            plain = []
            merger.crowd(called)
        else:
            plain += some
    _by_port(merger, plain, blocks)
    return merger.done()


def _by_port(merger: _Merger, items: Iterable[Line | Called], blocks: Blocks) -> None:
    for known, run in groupby(items, key=is_known):
        some = list(run)
        called = [item for item in some if isinstance(item, Called)] if known else []
        if not known or is_small(called):
            for item in some:
                merger.add(item)
            continue
        found = blocks.of(called)
        if any(each.passes for each in called):
            merger.close()
            if len(found) > 1 or not merger.may_leave:
                _by_port(merger, [part for each in called for part in each.apart()], blocks)
                continue
        merger.by_port.update(each.policy for each in called)
        for calls, reached in found:
            merger.block(calls, reached, alone=len(found) == 1)


class _Merger:
    """A chain that is being written. What is called one after another is written in one go, see `_sequence`."""

    def __init__(self, chain: str, place: Place, size: Size, rest: str) -> None:
        self._chain, self._place, self._size, self._rest = chain, place, size, rest
        self.may_leave = bool(rest)
        """Can a lookup lead to rules that pass? There is one `rest`, so that no chain lies deep below others."""
        self._lines: list[Line] = []
        self._chains: list[Chain] = []
        self._maps: dict[NamedSet, Mapping[Element, Verdict]] = {}
        self._crowds: list[Crowd] = []
        self._pieces: set[Piece] = set()
        self._jumps: dict[Part, Verdict] = {}
        self._outlines: dict[PolicyId, Outline] = {}
        self._open: list[Part] = []
        self._blocks = 0
        self.by_port: set[PolicyId] = set()
        self._looked_up: dict[Part, LookedUp | None] = {}
        self._numbers: Counter[str] = Counter()
        """Of the maps by peer, in each chain."""

    def add(self, item: Line | Called) -> None:
        if isinstance(item, Called):
            self._outlines[item.policy] = item.outline
            self._open.append((item.policy, item.stretch.lines))
        else:
            self.close()
            self._lines.append(item)

    def block(self, calls: list[Called], reached: Reached, *, alone: bool) -> None:
        """`alone`: the run has no other."""
        if is_small(calls):
            for each in calls:
                self.add(each)
            return
        self.close()
        self._outlines |= {call.policy: call.outline for call in calls}
        ports: dict[Element, Verdict] = {}
        wide: dict[int, list[tuple[Reach, Verdict]]] = {}
        chains: dict[tuple[Part, ...], Verdict] = {}
        most = ranges.width(reached)
        for reach, parts in reached:
            verdict = chains.get(parts) or chains.setdefault(parts, self._verdict(reach, parts))
            protocol, first, last = reach
            if first == last:
                ports[protocol, first] = verdict
            elif last - first < most:
                ports |= {(protocol, port): verdict for port in range(first, last + 1)}
            else:
                wide.setdefault(protocol, []).append((reach, verdict))
        once = {verdict for parts, verdict in chains.items() if self._log(
            (policy, number) for policy, numbers in parts for number in numbers)}
        self._look_up(ports, wide, once)
        if any(call.passes for call in calls):
            self._lines.append(self._leave())
        where = LookedUp(names.ports_map(self._chain, self._blocks), frozenset(wide))
        for each in calls:
            part = each.policy, each.stretch.lines
            is_told = bool(ports) and alone and most > 1 and part not in self._looked_up
            self._looked_up[part] = where if is_told else None
        self._blocks += 1

    def has_room(self, calls: Iterable[Called]) -> bool:
        """Are there few enough members, for all these to be looked up by peer?"""
        peers = (call.outline.peers[line] for call in calls for line in call.stretch.lines)
        if fits(sets := [peer for peer in peers if isinstance(peer, str)], self._size):
            return True
        self._crowd(self._chain, [(peer, None) for peer in sets], (), mapped=False)
        return False

    def crowd(self, calls: Iterable[Called]) -> None:
        """These, by peer."""
        self.close()
        for each in calls:
            self.by_port.add(each.policy)
            self.add(each)
        self.close()

    def done(self) -> Merged:
        self.close()
        by_port = frozenset(self.by_port)
        chains = (*self._own(), *self._chains)
        return Merged(
            chains, self._maps, tuple(self._crowds), frozenset(self._pieces), by_port, self._looked_up)

    def _own(self) -> Iterator[Chain]:
        cut = self._lines.index(leave) + 1 if (leave := Line((goto(self._rest),))) in self._lines else None
        yield Chain(self._chain, tuple(self._lines[:cut]))
        if cut is not None:
            yield Chain(self._rest, tuple(self._lines[cut:]))

    def _leave(self) -> Line:
        """Behind a lookup that leads to rules that pass, to where those go on who do not."""
        self.may_leave = False
        return Line((goto(self._rest),))

    def close(self) -> None:
        """What was added is written: what comes now stands behind it."""
        if self._open:
            self._lines += self._sequence(self._chain, self._open)
            self._open = []

    def _verdict(self, reach: Reach, parts: tuple[Part, ...]) -> Verdict:
        policy, numbers = parts[0]
        if len(parts) == 1 and len(numbers) < CROWD and self._outlines[policy].passes.keys().isdisjoint(numbers):
            return self._jump(policy, numbers)
        name = names.ports_chain(self._chain, self._blocks, reach.protocol, reach.first)
        verdict, chain = lead(name, self._sequence(name, parts, by_port=True), self._rest)
        self._chains += [chain] if chain else []
        return verdict

    def _sequence(self, chain: str, parts: Iterable[Part], *, by_port: bool = False) -> list[Line]:
        """These parts, one after another, in a chain of that name: crowds by a map, the rest by jumps. `by_port`: who
        comes here speaks of a port that all of them reach."""
        singles = [(policy, number) for policy, numbers in parts for number in numbers]
        found: list[Line] = []
        waiting: list[tuple[PolicyId, int]] = []
        for is_peer, run in groupby(singles, key=lambda single: bool(self._wants(single)) and (
                (self.may_leave and not by_port) or not self._passes(single))):
            lines = list(run)
            if is_peer and len(lines) >= CROWD and (by_peer := self._by_peer(chain, lines, by_port=by_port)):
                found += [*self._by_jumps(waiting), *by_peer]
                waiting = []
            else:
                waiting += lines
        return [*found, *self._by_jumps(waiting)]

    def _by_jumps(self, singles: list[tuple[PolicyId, int]]) -> list[Line]:
        found: list[Line] = []
        for (policy, passes), run in groupby(singles, key=lambda single: (single[0], self._passes(single))):
            found.append(passes or Line((self._jump(policy, tuple(number for _, number in run)),)))
        return found

    def _passes(self, single: tuple[PolicyId, int]) -> Line | None:
        return self._outlines[single[0]].passes.get(single[1]) if self._rest else None

    def _wants(self, single: tuple[PolicyId, int]) -> Peer:
        return self._outlines[single[0]].peers[single[1]]

    def _is_sure(self, single: tuple[PolicyId, int], *, by_port: bool) -> bool:
        sure = self._outlines[single[0]].sure[single[1]]
        return sure is Sure.ALWAYS or (by_port and sure is Sure.AT_ITS_PORTS)

    def _log(self, singles: Iterable[tuple[PolicyId, int]]) -> bool:
        """Does one of these log? Then nobody may be led to it twice."""
        return any(number in self._outlines[policy].logs for policy, number in singles)

    def _by_peer(self, chain: str, lines: list[tuple[PolicyId, int]], *, by_port: bool) -> list[Line]:
        """None: they do not fit."""
        peers = [self._wants(line) for line in lines]
        if (spans := laid(peers, lambda number: self._is_sure(lines[number], by_port=by_port))) is None:
            return []
        sets = [peer for peer in peers if isinstance(peer, str)]
        mapped = fits(sets, self._size)
        met = {number for each in spans for number in each.numbers} if mapped else set()
        to = [
            self._passes(line) or self._jump(line[0], line[1:])
            if number in met or (mapped and isinstance(peers[number], str)) else None
            for number, line in enumerate(lines)]
        once, rest = bool(sets and spans) and self._log(lines), self._rest if any(map(self._passes, lines)) else ""
        name = self._crowd(chain, list(zip(peers, to, strict=True)), spans, mapped=mapped, once=once, rest=rest)
        found = [Line((ByMap((self._end,), name),))] if sets else []
        if spans and mapped:
            found.append(self._by_prefix(f"{name}/nets", self._end, spans, to))
        if once and mapped and not rest:
            self._chains.append(Chain(f"{name}/once", tuple(found)))
            found = [Line((jump(f"{name}/once"),))]
        if mapped and rest:
            found.append(self._leave())
        return found if mapped else []

    @property
    def _end(self) -> Field:
        words = WORDS[self._place.family]
        return (words.source if self._place.direction is Direction.INGRESS else words.destination).address

    def _crowd(
        self, chain: str, rules: Sequence[tuple[Peer, Call | None]], spans: tuple[Laid, ...], *, mapped: bool,
        once: bool = False, rest: str = "",
    ) -> str:
        """Its name. Who names no set has no map, and need not be watched."""
        name = names.peers_map(chain, self._numbers[chain])
        self._numbers[chain] += 1
        if any(isinstance(peer, str) for peer, _ in rules):
            declared = NamedSet(name, (self._end.type,), verdicts=True)
            self._crowds.append(Crowd(declared, tuple(rules), spans, mapped, once, rest))
        return name

    def _by_prefix(self, name: str, field: Field, spans: Sequence[Laid], to: Sequence[Call | None]) -> Line:
        """For addresses that no set holds. `name`: what chains of several rules begin with."""
        led: dict[Numbers, Verdict] = {}
        for numbers in dict.fromkeys(each.numbers for each in spans):
            calls = [call for number in numbers if (call := to[number]) is not None]
            led[numbers], chain = lead(names.piece_chain(name, numbers), calls, self._rest)
            self._chains += [chain] if chain else []
        return Line((Choose(field, tuple((each.span, led[each.numbers]) for each in spans)),))

    def _jump(self, policy: PolicyId, lines: Numbers) -> Verdict:
        part = policy, lines
        verdict = self._jumps.get(part)
        if verdict is None:
            whole = len(lines) == len(self._outlines[policy].peers)
            piece, verdict = call(policy, self._place, lines, whole)
            self._pieces.add(piece)
            self._jumps[part] = verdict
        return verdict

    def _look_up(self, ports: dict[Element, Verdict], wide: ranges.Wide, once: Set[Verdict]) -> None:
        if ports:
            declared = NamedSet(names.ports_map(self._chain, self._blocks), (Type.PROTOCOL, Type.PORT), verdicts=True)
            self._maps[declared] = ports
            self._lines.append(Line((ByMap((Field.PROTOCOL, Field.DESTINATION_PORT), declared.name),)))
        self._lines += ranges.lines(wide, ports, once)

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
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from itertools import groupby

import msgspec

from muslin.intent import PolicyId
from muslin.render.fields import Field
from muslin.render.nft import names, ranges
from muslin.render.nft.crowds import CROWD, Crowd, Laid, Peer, Size, Sure, fits, laid
from muslin.render.nft.moves import LookedUp
from muslin.render.nft.pieces import Numbers, Outline, Piece, end_of
from muslin.render.nft.places import Gate, Place
from muslin.render.nft.reach import Reach
from muslin.render.nft.runs import Blocks, Called, Part, Reached, is_known, is_peered, is_scattered, is_small
from muslin.render.nft.words import Atom, ByMap, Chain, Choose, Element, NamedSet, Type, Verdict, jump
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


def merged(chain: str, place: Place, items: Iterable[Line | Called], size: Size) -> Merged:
    """`size`: how many addresses a set holds."""
    merger, blocks = _Merger(chain, place, size), Blocks()
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
        merger.by_port.update(call.policy for call in called)
        found = blocks.of(called)
        for calls, reached in found:
            merger.block(calls, reached, alone=len(found) == 1)


class _Merger:
    """A chain that is being written. What is called one after another is written in one go, see `_sequence`."""

    def __init__(self, chain: str, place: Place, size: Size) -> None:
        self._chain, self._place, self._size = chain, place, size
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
            self._close()
            self._lines.append(item)

    def block(self, calls: list[Called], reached: Reached, *, alone: bool) -> None:
        """`alone`: the run has no other."""
        if is_small(calls):
            for call in calls:
                self.add(call)
            return
        self._close()
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
        self._crowd(self._chain, [(peer, "") for peer in sets], (), mapped=False)
        return False

    def crowd(self, calls: Iterable[Called]) -> None:
        """These, by peer."""
        self._close()
        for call in calls:
            self.by_port.add(call.policy)
            self.add(call)
        self._close()

    def done(self) -> Merged:
        self._close()
        own = Chain(self._chain, tuple(self._lines))
        by_port = frozenset(self.by_port)
        chains = (own, *self._chains)
        return Merged(
            chains, self._maps, tuple(self._crowds), frozenset(self._pieces), by_port, self._looked_up)

    def _close(self) -> None:
        if self._open:
            self._lines += self._sequence(self._chain, self._open)
            self._open = []

    def _verdict(self, reach: Reach, parts: tuple[Part, ...]) -> Verdict:
        if len(parts) == 1 and len(parts[0][1]) < CROWD:
            return self._jump(*parts[0])
        name = names.ports_chain(self._chain, self._blocks, reach.protocol, reach.first)
        lines = self._sequence(name, parts, by_port=True)
        match lines:
            case [Line(statements=(Verdict() as verdict,))]:
                return verdict
        self._chains.append(Chain(name, tuple(lines)))
        return jump(name)

    def _sequence(self, chain: str, parts: Iterable[Part], *, by_port: bool = False) -> list[Line]:
        """These parts, one after another, in a chain of that name: crowds by a map, the rest by jumps. `by_port`: who
        comes here speaks of a port that all of them reach."""
        singles = [(policy, number) for policy, numbers in parts for number in numbers]
        found: list[Line] = []
        waiting: list[tuple[PolicyId, int]] = []
        for is_peer, run in groupby(singles, key=lambda single: bool(self._wants(single))):
            lines = list(run)
            whole = len(lines) == len(singles)
            if is_peer and len(lines) >= CROWD and (
                by_peer := self._by_peer(chain, lines, by_port=by_port, may_nest=whole or not by_port)
            ):
                found += [*self._by_jumps(waiting), *by_peer]
                waiting = []
            else:
                waiting += lines
        return [*found, *self._by_jumps(waiting)]

    def _by_jumps(self, singles: list[tuple[PolicyId, int]]) -> list[Line]:
        by_policy = groupby(singles, key=lambda single: single[0])
        return [Line((self._jump(policy, tuple(number for _, number in own)),)) for policy, own in by_policy]

    def _wants(self, single: tuple[PolicyId, int]) -> Peer:
        return self._outlines[single[0]].peers[single[1]]

    def _is_sure(self, single: tuple[PolicyId, int], *, by_port: bool) -> bool:
        sure = self._outlines[single[0]].sure[single[1]]
        return sure is Sure.ALWAYS or (by_port and sure is Sure.AT_ITS_PORTS)

    def _log(self, singles: Iterable[tuple[PolicyId, int]]) -> bool:
        """Does one of these log? Then nobody may be led to it twice."""
        return any(number in self._outlines[policy].logs for policy, number in singles)

    def _by_peer(
        self, chain: str, lines: list[tuple[PolicyId, int]], *, by_port: bool, may_nest: bool
    ) -> list[Line]:
        """None: they do not fit. `may_nest`: a chain between this one and what is looked up lies no deeper than the
        kernel goes (16): a port's chain has room for it only where it is all that there is."""
        peers = [self._wants(line) for line in lines]
        if (spans := laid(peers, lambda number: self._is_sure(lines[number], by_port=by_port))) is None:
            return []
        sets = [peer for peer in peers if isinstance(peer, str)]
        once = bool(sets and spans) and self._log(lines)
        if once and not may_nest:
            return []
        mapped = fits(sets, self._size)
        met = {number for each in spans for number in each.numbers} if mapped else set()
        chains = [
            self._jump(policy, (line,)).chain if number in met or (mapped and isinstance(peers[number], str)) else ""
            for number, (policy, line) in enumerate(lines)]
        name = self._crowd(chain, list(zip(peers, chains, strict=True)), spans, mapped=mapped, once=once)
        found = [Line((ByMap((end_of(self._place),), name),))] if sets else []
        if spans and mapped:
            found.append(self._by_prefix(f"{name}/nets", end_of(self._place), spans, chains))
        if once and mapped:
            self._chains.append(Chain(f"{name}/once", tuple(found)))
            found = [Line((jump(f"{name}/once"),))]
        return found if mapped else []

    def _crowd(
        self, chain: str, rules: Sequence[tuple[Peer, str]], spans: tuple[Laid, ...], *, mapped: bool,
        once: bool = False,
    ) -> str:
        """Its name. Who names no set has no map, and need not be watched."""
        name = names.peers_map(chain, self._numbers[chain])
        self._numbers[chain] += 1
        if any(isinstance(peer, str) for peer, _ in rules):
            declared = NamedSet(name, (end_of(self._place).type,), verdicts=True)
            self._crowds.append(Crowd(declared, tuple(rules), spans, mapped, once))
        return name

    def _by_prefix(self, name: str, field: Field, spans: Sequence[Laid], chains: list[str]) -> Line:
        """For addresses that no set holds. `name`: what chains of several rules begin with."""
        for numbers in dict.fromkeys(each.numbers for each in spans):
            if len(numbers) > 1:
                jumps = tuple(Line((jump(chains[number]),)) for number in numbers)
                self._chains.append(Chain(names.piece_chain(name, numbers), jumps))
        choices: list[tuple[Atom, Verdict]] = []
        for span, numbers, _ in spans:
            to = chains[numbers[0]] if len(numbers) == 1 else names.piece_chain(name, numbers)
            choices.append((span, jump(to)))
        return Line((Choose(field, tuple(choices)),))

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


def call(policy: PolicyId, place: Place, lines: Numbers, whole: bool) -> tuple[Piece, Verdict]:
    """Many groups call the same pieces, and all of them again when a policy that they share speaks of another port."""
    return _call(policy, place.gate, place.family, lines, whole)


@lru_cache(maxsize=16384)
def _call(policy: PolicyId, gate: Gate, family: int, lines: Numbers, whole: bool) -> tuple[Piece, Verdict]:
    piece = Piece(policy, gate, family, lines, whole)
    return piece, jump(piece.chain)

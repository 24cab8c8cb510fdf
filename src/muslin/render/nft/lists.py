"""Policies and groups in the book, kept in step with each other.

A policy is written in pieces, and only those are there that a group calls. So the book of policies waits until all
groups of a turn are written: what they call has then changed as well.

    a policy changes what it says       its pieces are written anew
    ... and the ports that it           the groups that look rules up by them: elements move, or, where policies meet at
    speaks of                           a port, they are written anew
    ... and the order of its rules      all groups that hold it are written anew
    a group calls other pieces          the policies write these, and no longer those that nobody calls
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from typing import NamedTuple

from muslin.intent import Group, GroupId, Policy, PolicyId, SetId
from muslin.render.matching import SetShape
from muslin.render.nft import names
from muslin.render.nft.alike import Content
from muslin.render.nft.book import Book
from muslin.render.nft.chains import Item, called, group_chains, joined
from muslin.render.nft.merging import Merged, call
from muslin.render.nft.moves import LookedUp, Move, is_plain, is_whole, moves
from muslin.render.nft.peers import Peers
from muslin.render.nft.pieces import Numbers, Outline, Piece, Written, form, written
from muslin.render.nft.places import Gate, Place
from muslin.render.nft.runs import Part
from muslin.render.nft.words import Chain, Element, Mapped, NamedSet, Verdict
from muslin.render.relations import Users


class Effect(Enum):
    """A policy has changed: which of the groups that hold it change with it?"""

    NONE, BY_PORT, ALL = range(3)


class Asked(NamedTuple):
    """Of a chain of a group, the policies whose ports matter there, and where stretches of theirs are looked up."""

    by_port: frozenset[PolicyId]
    looked_up: Mapping[Part, LookedUp | None]


class Lists:
    def __init__(self, book: Book, shapes: Mapping[SetId, SetShape], peers: Peers) -> None:
        self._book = book
        self._peers = peers
        self._shapes = shapes
        self._written: dict[PolicyId, dict[Place, Written]] = {}
        self._calls: dict[Place, dict[PolicyId, tuple[Item, ...]]] = {}
        self._callers: Users[Piece, GroupId] = Users()
        self._by_port: Users[PolicyId, GroupId] = Users()
        self._made: dict[GroupId, dict[Place, list[Asked]]] = {}
        self._unmoved: frozenset[GroupId] = frozenset()
        self._pieces: dict[PolicyId, set[Piece]] = {}
        """Those that somebody calls."""
        self._waiting: set[PolicyId] = set()

    def put_policy(
        self, key: PolicyId, policy: Policy | None, places: Iterable[Place], unspoken: Set[int] = frozenset()
    ) -> Effect:
        """The policy says this now. Which groups must be written anew? A staged policy has nothing here. `unspoken`:
        families of which no address set holds anything."""
        before = self._outlines(key)
        was = self._written.pop(key, {})
        for place in before:
            self._forget(place, key)
        if policy is not None and not policy.staged:
            made = {place: written(policy, place, self._shapes, unspoken) for place in places}
            self._written[key] = made
            for place, one in made.items():
                self._calls.setdefault(place, {})[key] = called(key, one.outline)
        self._waiting.add(key)
        after = self._outlines(key)
        if before == after:
            return Effect.NONE
        if before.keys() != after.keys() or any(form(before[each]) != form(after[each]) for each in after):
            return Effect.ALL
        wanted = {place: moves(before[place], after[place]) for place in after}
        self._unmoved = frozenset(group for group in self._by_port.of(key) if not self._move(key, group, wanted))
        now = self._written.get(key, {})
        if all(is_whole(was[place].lines, now[place].lines, wanted[place]) for place in after):
            self._book.moves_plainly(key, frozenset(
                (cell, self._leads(key, place, numbers))
                for place, given in wanted.items() for move in given or ()
                for cell, numbers in (*move.gone.items(), *move.new.items())))
        return Effect.BY_PORT

    @property
    def unmoved(self) -> frozenset[GroupId]:
        """The groups that must be written anew, since the last policy put speaks of other ports. In others, elements
        were moved."""
        return self._unmoved

    def _move(self, key: PolicyId, group: GroupId, wanted: Mapping[Place, list[Move] | None]) -> bool:
        """False: there is more to it, and nothing has been done."""
        found: list[tuple[Move, str, dict[Numbers, Verdict]]] = []
        for place, made in self._made[group].items():
            if not any(key in each.by_port for each in made):
                continue
            given = wanted.get(place)
            if given is None:
                return False
            for move in given:
                to = {each: self._leads(key, place, each) for each in {*move.gone.values()}}
                there = [each.looked_up.get((key, move.stretch)) for each in made if key in each.by_port]
                for where in there:
                    if where is None or not is_plain(move, where, self._book.table.elements[where.map], to):
                        return False
                    found.append((move, where.map, to))
        for move, name, to in found:
            new: dict[Element, Mapped] = {cell: to[numbers] for cell, numbers in move.new.items()}
            self._book.move(f"group/{group}", name, move.gone, new)
        return True

    def _leads(self, key: PolicyId, place: Place, lines: Numbers) -> Verdict:
        """To these lines of the policy, as the maps of its groups say it."""
        return call(key, place, lines, len(lines) == len(self._written[key][place].lines))[1]

    def _outlines(self, key: PolicyId) -> dict[Place, Outline]:
        return {place: made.outline for place, made in self._written.get(key, {}).items()}

    def put_group(
        self, key: GroupId, group: Group | None, places: Iterable[Place], policies: Mapping[PolicyId, Policy]
    ) -> None:
        by_place = {
            place: group_chains(group, place, policies, self._calls.get(place, {}), self._peers.size)
            for place in places if group is not None and place.direction is group.direction
        }
        made = [each for found in by_place.values() for each in found]
        self._made[key] = {
            place: [Asked(each.by_port, each.looked_up) for each in found] for place, found in by_place.items()}
        if group is None:
            del self._made[key]
        owner = f"group/{key}"
        self._book.put_chains(owner, _chains_of(key, by_place))
        self._book.put_maps(owner, {declared: content for each in made for declared, content in each.maps.items()})
        self._peers.put(key, [crowd for each in made for crowd in each.crowds])
        self._call(key, frozenset(piece for each in made for piece in each.pieces))
        self._by_port.put(key, {policy for each in made for policy in each.by_port})

    def settle(self) -> None:
        """All policies and groups have been put: write the pieces."""
        for key in sorted(self._waiting):
            called = self._pieces.get(key, ())
            chains: list[Chain] = []
            listed: dict[NamedSet, Content] = {}
            for place, made in self._written.get(key, {}).items():
                here = [piece for piece in called if (piece.gate, piece.family) == (place.gate, place.family)]
                if rest := made.rest(key, place, here):
                    here.append(rest)
                chains += [made.chain(piece) for piece in sorted(here, key=lambda piece: piece.chain)]
                listed |= made.listed
            self._book.put_chains(key, chains)
            self._book.put_maps(key, listed)
        self._waiting.clear()

    def _forget(self, place: Place, key: PolicyId) -> None:
        here = self._calls[place]
        del here[key]
        if not here:
            del self._calls[place]

    def _call(self, key: GroupId, pieces: frozenset[Piece]) -> None:
        before = self._callers.by(key)
        if before == pieces:
            return
        self._callers.put(key, pieces)
        for piece in before ^ pieces:
            called = self._pieces.setdefault(piece.policy, set())
            if self._callers.of(piece):
                called.add(piece)
            else:
                called.discard(piece)
            if not called:
                del self._pieces[piece.policy]
            self._waiting.add(piece.policy)


def _chains_of(group: GroupId, by_place: Mapping[Place, Sequence[Merged]]) -> Iterator[Chain]:
    """Those of a place, but for the first, are called by name; the first by whoever leads there."""
    own: dict[Gate, dict[int, Chain]] = {}
    for place, made in by_place.items():
        first, *rest = (chain for each in made for chain in each.chains)
        own.setdefault(place.gate, {})[place.family] = first
        yield from rest
    for gate, families in own.items():
        if gate in names.BY_INTERFACE:
            yield from joined(families[4], families[6], names.way_in(group, gate, 4))
        else:
            yield from families.values()

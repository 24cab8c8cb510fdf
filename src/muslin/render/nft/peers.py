"""Rules that differ in whom they speak of, looked up by the peer's address.

A hundred policies may all speak of one port, each of it for other peers; or of no port at all. To ask them one by one
is a lookup in a set for each. So where many rules follow one another that each want the peer in a set of addresses, one
map leads from an address to those of them whose sets hold it:

    ip saddr vmap @G/peers0        10.0.0.7 : jump web/0      10.0.0.8 : jump G/peers0/2.5
    G/peers0/2.5:                  jump strict/0              where several sets hold the address: in order
                                   jump loose/1
    G/peers0/all:                  every one of them, in order; for addresses that more than `FEW` sets hold

The rules keep all their tests, the one for the set too: the map only leaves out those that cannot match. It is no part
of what a rule says, but follows the members of sets: one that comes or goes moves one element here, besides its own.

Rules that name prefixes belong to the crowd as well. An address that is in the map meets those of them whose prefixes
hold it, in their order among the others; for all other addresses the prefixes, laid over each other, lie in the next
rule, which is written anew when the rules are:

    ip saddr vmap { 10.1.0.0-10.1.0.255 : jump deny/3, 10.1.1.0-10.1.1.255 : jump G/peers0/nets/3.7 }

Of sets, only single addresses are looked up so (a set with prefixes has a row that stays where it is, between two
maps), and only while they hold no more than `EACH` addresses a rule, taken together: memory is bounded by rules, and a
set that selects half the world does not lie in the kernel again for every list that names it. Prefixes are looked up
while where they lie over each other fills no more than `room` lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from muslin.intent import GroupId
from muslin.net import Cidr, bounds
from muslin.render.nft import names
from muslin.render.nft.book import Book
from muslin.render.nft.reach import Reach, cut, room
from muslin.render.nft.words import Chain, Element, NamedSet, Span, Verdict, jump
from muslin.render.nft.words import Rule as Line
from muslin.render.relations import Users

CROWD = 6
"""Rules from which a map is worth its price."""
FEW = 6
EACH = 256
PREFIXES = 2048
"""Of one crowd."""

Peer = str | tuple[Cidr, ...]
"""Whom a rule speaks of: a set of single addresses, or prefixes. Neither: "", anybody."""
Numbers = tuple[int, ...]
Size = Callable[[str], int]
"""How many addresses a set holds."""


class Crowd(msgspec.Struct, frozen=True):
    """Rules in order: whom each speaks of, and the chain that it is. `mapped`: few enough members."""

    map: NamedSet
    rules: tuple[tuple[Peer, str], ...]
    mapped: bool = True

    @property
    def sets(self) -> tuple[str, ...]:
        """As often as they are named."""
        return tuple(peer for peer, _ in self.rules if isinstance(peer, str))


def fits(sets: Sequence[str], size: Size) -> bool:
    return sum(size(name) for name in sets) <= EACH * len(sets)


def laid(peers: Sequence[Peer]) -> list[tuple[Span, Numbers]] | None:
    """The prefixes over each other: disjoint, each with the numbers of those that hold it. None: it would be too
    much."""
    named = [(number, prefix) for number, peer in enumerate(peers) if isinstance(peer, tuple) for prefix in peer]
    if len(named) > PREFIXES:
        return None
    found = cut((Reach(version, first, last), number) for number, (version, first, last) in (
        (number, bounds(prefix)) for number, prefix in named))
    if sum(len(numbers) for numbers in {numbers for _, numbers in found}) > room(len(peers)):
        return None
    return [(Span(first, last), numbers) for (_, first, last), numbers in found]


class _Index:
    """Which rules of a crowd speak of an address."""

    def __init__(self, crowd: Crowd) -> None:
        self.by_set: dict[str, list[int]] = {}
        self._by_length: dict[int, dict[int, list[int]]] = {}
        """Bits behind a prefix, and what stands before them."""
        for number, (peer, _) in enumerate(crowd.rules):
            if isinstance(peer, str):
                self.by_set.setdefault(peer, []).append(number)
                continue
            for prefix in peer:
                _, first, last = bounds(prefix)
                bits = (last - first).bit_length()
                self._by_length.setdefault(bits, {}).setdefault(first >> bits, []).append(number)

    def by_prefix(self, address: Element) -> Iterable[int]:
        if not self._by_length:
            return ()
        value = bounds(str(address))[1]
        return [number for bits, found in self._by_length.items() for number in found.get(value >> bits, ())]


class Peers:
    """The maps of all groups, kept in step with the members of the sets."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._crowds: dict[str, Crowd] = {}
        self._indexes: dict[str, _Index] = {}
        self._own: dict[str, Counter[str]] = {}
        """By map: its chains, and how many addresses each has."""
        self._asked: dict[str, Numbers | None] = {}
        """By chain of a map: the rules in it, None for all."""
        self._by_set: Users[str, str] = Users()
        self._by_group: dict[GroupId, tuple[Crowd, ...]] = {}
        self._groups: Users[str, GroupId] = Users()

    def size(self, name: str) -> int:
        return len(self._book.table.elements.get(name, ()))

    def put(self, group: GroupId, crowds: Sequence[Crowd]) -> None:
        """The group's crowds are now these, and no others."""
        before = {crowd.map.name for crowd in self._by_group.pop(group, ()) if crowd.mapped}
        wanted = {crowd.map.name: crowd for crowd in crowds if crowd.mapped}
        for name in before - wanted.keys():
            self._drop(name)
        for name, crowd in wanted.items():
            if self._crowds.get(name) != crowd:
                self._fill(crowd)
        self._groups.put(group, {name for crowd in crowds for name in crowd.sets})
        if crowds:
            self._by_group[group] = tuple(crowds)

    def outgrown(self, sets: Iterable[str]) -> set[GroupId]:
        """The groups that must be written anew, since these sets have changed: some crowd fits no more, or does now."""
        return {
            group for group in {group for name in sets for group in self._groups.of(name)}
            if any(crowd.mapped is not fits(crowd.sets, self.size) for crowd in self._by_group[group])
        }

    def follows(self, name: str) -> bool:
        """Does it matter here who is in this set?"""
        return bool(self._groups.of(name))

    def follow(self, moved: Mapping[str, Iterable[Element]]) -> None:
        """These have come to a set or left it."""
        for name, elements in moved.items():
            for crowd in self._by_set.of(name):
                for element in elements:
                    self._settle(crowd, element)

    def _fill(self, crowd: Crowd) -> None:
        name = crowd.map.name
        self._crowds[name] = crowd
        index = self._indexes[name] = _Index(crowd)
        self._by_set.put(name, index.by_set)
        self._book.put_set(crowd.map)
        for chain in self._own.setdefault(name, Counter()):
            self._write(crowd, chain)
        content = self._book.table.elements
        members: dict[Element, list[int]] = {element: [] for element in content[name]}
        for each, numbers in index.by_set.items():
            for element in content[each]:
                members.setdefault(element, []).extend(numbers)
        for element, numbers in members.items():
            self._put(name, element, numbers)

    def _drop(self, name: str) -> None:
        del self._crowds[name], self._indexes[name]
        self._by_set.put(name, ())
        for chain in self._own.pop(name):
            del self._asked[chain]
            self._book.put_chain(chain, None)
        self._book.drop_set(name)

    def _settle(self, name: str, element: Element) -> None:
        """What the map holds for this address."""
        content = self._book.table.elements
        sets = self._indexes[name].by_set.items()
        self._put(name, element, [number for each, numbers in sets if element in content[each] for number in numbers])

    def _put(self, name: str, element: Element, by_set: list[int]) -> None:
        """These rules name sets that hold the address."""
        crowd, elements = self._crowds[name], self._book.table.elements
        found = tuple(sorted({*by_set, *self._indexes[name].by_prefix(element)})) if by_set else ()
        before = elements[name].get(element)
        after = jump(self._chain(crowd, found)) if found else None
        if before == after:
            return
        if after is None:
            self._book.remove((name, element))
        else:
            self._join(crowd, after.chain, found)
            self._book.add((name, element), after)
        if isinstance(before, Verdict):
            self._leave(name, before.chain)

    @staticmethod
    def _chain(crowd: Crowd, found: Numbers) -> str:
        if len(found) == 1:
            return crowd.rules[found[0]][1]
        return names.piece_chain(crowd.map.name, found) if len(found) <= FEW else f"{crowd.map.name}/all"

    def _join(self, crowd: Crowd, chain: str, found: Numbers) -> None:
        own = self._own[crowd.map.name]
        if len(found) > 1:
            own[chain] += 1
            if own[chain] == 1:
                self._asked[chain] = found if len(found) <= FEW else None
                self._write(crowd, chain)

    def _leave(self, name: str, chain: str) -> None:
        own = self._own[name]
        if chain in own:
            own[chain] -= 1
            if not own[chain]:
                del own[chain], self._asked[chain]
                self._book.put_chain(chain, None)

    def _write(self, crowd: Crowd, chain: str) -> None:
        """A chain that speaks of rules that are no longer there is about to be left by all."""
        asked = self._asked[chain]
        numbers = range(len(crowd.rules)) if asked is None else asked
        lines = tuple(Line((jump(crowd.rules[number][1]),)) for number in numbers if number < len(crowd.rules))
        self._book.put_chain(chain, Chain(chain, lines))

"""Rules that differ in whom they speak of, looked up by the peer's address.

A hundred policies may all speak of one port, each of it for other peers; or of no port at all. To ask them one by one
is a lookup in a set for each. So where many rules follow one another that each want the peer in a set of addresses, one
map leads from an address to those of them whose sets hold it:

    ip saddr vmap @G/peers0        10.0.0.7 : jump web/0      10.0.0.8 : jump G/peers0/2.5
    G/peers0/2.5:                  jump strict/0              where several sets hold the address: in order
                                   jump loose/1
    G/peers0/all:                  every one of them, in order; for addresses that more than `FEW` sets hold, and only
                                   where chains like those above would fill more than `room` lines

The rules keep all their tests, the one for the set too: the map only leaves out those that cannot match. It is no part
of what a rule says, but follows the members of sets: one that comes or goes moves one element here, besides its own.

Rules that name prefixes belong to the crowd as well, and those that leave some out (`notNets`, `except`). An address
that is in the map meets those of them that want it, in their order among the others; for all other addresses the
prefixes, laid over each other, lie in the next rule, which is written anew when the rules are:

    ip saddr vmap { 10.1.0.0-10.1.0.255 : jump deny/3, 10.1.1.0-10.1.1.255 : jump G/peers0/nets/3.7 }

Who is in the map meets the rules for prefixes twice. That changes nothing, but for Log: where one of them logs, both
lookups lie in a chain of their own, G/peers0/once, and the map leads away from it by goto.

Of sets, only single addresses are looked up so (a set with prefixes has a row that stays where it is, between two
maps), and only while they hold no more than `EACH` addresses a rule, taken together: memory is bounded by rules, and a
set that selects half the world does not lie in the kernel again for every list that names it. Prefixes are looked up
while where they lie over each other fills no more than `room` lines; or where more than `FEW` of them do, if these
addresses all meet all of them, in G/peers0/nets/all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from muslin.intent import GroupId
from muslin.net import bounds
from muslin.render.nft import names
from muslin.render.nft.book import Book
from muslin.render.nft.crowds import FEW, Crowd, Laid, Numbers, at, fits
from muslin.render.nft.reach import room
from muslin.render.nft.words import Chain, Element, Verdict, goto, jump
from muslin.render.nft.words import Rule as Line
from muslin.render.relations import Users

KEPT = 4096


class _Index:
    """Which rules of a crowd speak of an address."""

    def __init__(self, crowd: Crowd) -> None:
        self.by_set: dict[str, list[int]] = {}
        self._laid = crowd.laid
        self._met: dict[tuple[Numbers, Laid | None], Numbers] = {}
        """Worked out before: mostly many addresses are in the same sets and prefixes."""
        for number, (peer, _) in enumerate(crowd.rules):
            if isinstance(peer, str):
                self.by_set.setdefault(peer, []).append(number)

    def met(self, address: Element, by_set: Sequence[int]) -> Numbers:
        """By an address that is in the sets of these rules. It may leave a set before it leaves the map, so that only
        prefixes tell where it ends."""
        here = at(self._laid, bounds(str(address))[1]) if self._laid else None
        asked = tuple(by_set), here
        found = self._met.get(asked)
        if found is None:
            if len(self._met) >= KEPT:
                self._met.clear()
            found = self._met[asked] = _both(*asked)
        return found


def _both(by_set: Numbers, here: Laid | None) -> Numbers:
    if here is None:
        return tuple(sorted(set(by_set)))
    found = {*by_set, *here.numbers}
    return tuple(sorted(number for number in found if number <= here.numbers[-1] or not here.ends))


class _Map:
    """One crowd's map in the book, kept in step with the members of its sets."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._asked: dict[Element, Numbers] = {}
        """By address, the rules that it may meet."""
        self._combined: Counter[Numbers] = Counter()
        """Several rules that addresses meet, and how many these are."""
        self._load = 0
        """Lines, if each combination had a chain."""
        self._is_full = True
        self._own: Counter[str] = Counter()
        """Chains, and how many addresses each has."""

    def write(self, crowd: Crowd) -> None:
        """It is for this crowd now."""
        self.crowd, self._index = crowd, _Index(crowd)
        self._book.put_set(crowd.map)
        members: dict[Element, list[int]] = {element: [] for element in self._asked}
        for each, numbers in self._index.by_set.items():
            for element in self._book.table.elements[each]:
                members.setdefault(element, []).extend(numbers)
        for chain in self._own:
            self._book.put_chain(chain, None)
        self._own.clear()
        for element, numbers in members.items():
            self._ask(element, numbers)
        self._is_full = self._load <= room(len(crowd.rules))
        for element in members:
            self._say(element, None)

    def follow(self, elements: Iterable[Element]) -> None:
        """These have come to one of the sets, or left it."""
        content, moved = self._book.table.elements, dict.fromkeys(elements)
        sets = self._index.by_set.items()
        for element in moved:
            self._ask(element, [number for each, numbers in sets if element in content[each] for number in numbers])
        is_full = self._load <= room(len(self.crowd.rules))
        if is_full is not self._is_full:
            self._is_full = is_full
            moved |= dict.fromkeys(element for element, found in self._asked.items() if len(found) > FEW)
        for element in moved:
            self._say(element, content[self.crowd.map.name].get(element))

    def drop(self) -> None:
        for chain in self._own:
            self._book.put_chain(chain, None)
        self._book.drop_set(self.crowd.map.name)

    def _ask(self, element: Element, by_set: list[int]) -> None:
        """These rules name sets that hold the address."""
        found = self._index.met(element, by_set) if by_set else ()
        before = self._asked.pop(element, ())
        if found:
            self._asked[element] = found
        if before == found:
            return
        if len(before) > 1:
            self._combined[before] -= 1
            if not self._combined[before]:
                del self._combined[before]
                self._load -= len(before)
        if len(found) > 1:
            self._combined[found] += 1
            self._load += len(found) if self._combined[found] == 1 else 0

    def _say(self, element: Element, before: object) -> None:
        """What the map holds for this address, in the kernel. `before`: what it held, if that counts."""
        name, found = self.crowd.map.name, self._asked.get(element)
        after = (goto if self.crowd.once else jump)(self._chain(found)) if found else None
        if after == before and after is not None:
            return
        if found is None or after is None:
            self._book.remove((name, element))
        else:
            if len(found) > 1:
                self._join(after.chain, found)
            self._book.add((name, element), after)
        if isinstance(before, Verdict):
            self._leave(before.chain)

    def _chain(self, found: Numbers) -> str:
        if len(found) == 1:
            return self.crowd.rules[found[0]][1]
        is_own = len(found) <= FEW or self._is_full
        return names.piece_chain(self.crowd.map.name, found) if is_own else f"{self.crowd.map.name}/all"

    def _join(self, chain: str, found: Numbers) -> None:
        self._own[chain] += 1
        if self._own[chain] == 1:
            numbers = found if len(found) <= FEW or self._is_full else range(len(self.crowd.rules))
            to = (self.crowd.rules[number][1] for number in numbers)
            lines = tuple(Line((jump(each),)) for each in to if each)
            self._book.put_chain(chain, Chain(chain, lines))

    def _leave(self, chain: str) -> None:
        if chain in self._own:
            self._own[chain] -= 1
            if not self._own[chain]:
                del self._own[chain]
                self._book.put_chain(chain, None)


class Peers:
    """The maps of all groups."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._maps: dict[str, _Map] = {}
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
            self._maps.pop(name).drop()
            self._by_set.put(name, ())
        for name, crowd in wanted.items():
            if name not in self._maps:
                self._maps[name] = _Map(self._book)
            elif self._maps[name].crowd == crowd:
                continue
            self._maps[name].write(crowd)
            self._by_set.put(name, crowd.sets)
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
            for each in self._by_set.of(name):
                self._maps[each].follow(elements)

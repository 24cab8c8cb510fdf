"""What the table holds now, and what a turn has touched.

A turn changes chains and elements one by one, some of them several times, and some back to what they were. The book
notes what each was before its first touch; at the end of the turn the difference between then and now is the change
for the kernel. So a turn that returns to where it began changes nothing, whatever it did on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

from msgspec.structs import replace

from muslin.errors import Broken
from muslin.render.nft.early import beside, is_early, is_early_base
from muslin.render.nft.steps import users_of
from muslin.render.nft.table import Beside, Changes, Doubled, ElementChange, Table
from muslin.render.nft.words import Chain, Element, Mapped, NamedSet

Place = tuple[str, Element]
"""A set's name, and an element of it."""


class Absent:
    """Nothing there: None says that an element of a set carries no verdict."""


ABSENT = Absent()
Value = Mapped | Absent


MOST_DOUBLED = 10_000
"""Elements of a set that is doubled (see steps) at most: for more, what that takes is felt."""


class Notes:
    """Of a turn: what chains, sets and elements were before they were touched; `owners`, of chains that were put;
    `plain`, see `moves_plainly`."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain | None] = {}
        self.sets: dict[str, NamedSet | None] = {}
        self.elements: dict[Place, Value] = {}
        self.owners: dict[str, str] = {}
        self.plain: dict[str, AbstractSet[tuple[Element, Mapped]]] = {}


class Book:
    """`optional`: sets that are there only while they hold something; nobody declares or drops them."""

    def __init__(self, optional: Iterable[NamedSet] = ()) -> None:
        self.table = Table()
        self._optional = {declared.name: declared for declared in optional}
        self._early: dict[str, Chain] = {}
        """Of the chains, those that are asked in early hooks: mostly none."""
        self._notes = Notes()
        self._last = Notes()
        self._owned: dict[str, frozenset[str]] = {}
        self._held: dict[str, Mapping[Place, Mapped]] = {}
        self._maps: dict[str, frozenset[str]] = {}

    def put_chain(self, name: str, chain: Chain | None) -> None:
        self._notes.chains.setdefault(name, self.table.chains.get(name))
        _put(self.table.chains, name, chain)
        if name in self._early or (chain is not None and is_early(chain)):
            _put(self._early, name, chain)

    def put_chains(self, owner: str, chains: Iterable[Chain]) -> None:
        """The owner's chains are now these, and no others."""
        before = self._owned.pop(owner, frozenset())
        named = {chain.name: chain for chain in chains}
        for name in before - named.keys():
            self.put_chain(name, None)
        for name, chain in named.items():
            self.put_chain(name, chain)
            self._notes.owners[name] = owner
        if named:
            self._owned[owner] = frozenset(named)

    def put_set(self, declared: NamedSet) -> None:
        name = declared.name
        if self.table.sets.get(name, declared) != declared:
            raise Broken(f"set {name} is {self.table.sets[name]}, it cannot become {declared}")
        self._notes.sets.setdefault(name, self.table.sets.get(name))
        self.table.sets[name] = declared
        self.table.elements.setdefault(name, {})

    def drop_set(self, name: str) -> None:
        """Its elements go with it."""
        self._notes.sets.setdefault(name, self.table.sets.get(name))
        for element in list(self.table.elements[name]):
            self._touch((name, element))
        del self.table.sets[name], self.table.elements[name]

    def put_content(self, name: str, elements: Iterable[Element]) -> None:
        """A set's elements are now these, and no others."""
        content = self.table.elements[name]
        wanted = dict.fromkeys(elements)
        if self._is_new(name):
            self.table.elements[name] = wanted
            return
        for element in content.keys() - wanted.keys():
            self.remove((name, element))
        for element in wanted.keys() - content.keys():
            self.add((name, element))

    def add(self, place: Place, value: Mapped = None) -> None:
        name, element = place
        if name not in self.table.sets:
            self.put_set(self._optional[name])
        self._touch(place)
        self.table.elements[name][element] = value

    def remove(self, place: Place) -> None:
        name, element = place
        self._touch(place)
        self.table.elements[name].pop(element, None)
        if name in self._optional and not self.table.elements[name]:
            self.drop_set(name)

    @property
    def optional(self) -> frozenset[str]:
        """Those that are there."""
        return frozenset(self._optional.keys() & self.table.sets.keys())

    def put_elements(self, owner: str, wanted: Mapping[Place, Mapped]) -> None:
        """The owner's elements are now these, and no others. No two owners ever have the same element."""
        before = self._held.pop(owner, {})
        for place in before.keys() - wanted.keys():
            self.remove(place)
        for place, verdict in wanted.items():
            if place not in before or before[place] != verdict:
                self.add(place, verdict)
        if wanted:
            self._held[owner] = wanted

    def move(self, owner: str, name: str, gone: Collection[Element], new: Mapping[Element, Mapped]) -> None:
        """Of the owner's elements, these of one of its maps go, and those come."""
        held = dict(self._held[owner])
        for element in gone:
            del held[name, element]
            self.remove((name, element))
        for element, value in new.items():
            held[name, element] = value
            self.add((name, element), value)
        self._held[owner] = held

    def moves_plainly(self, owner: str, moved: AbstractSet[tuple[Element, Mapped]]) -> None:
        """Where such elements come or go, in whatever map, they and the owner's chains, which change with them, do not
        mind whether old chains are found by new elements: to a packet, that is as before, or as after."""
        self._notes.plain[owner] = moved

    def put_maps(self, owner: str, maps: Mapping[NamedSet, Mapping[Element, Mapped]]) -> None:
        """The owner's maps are now these, with these elements, and no others."""
        for declared in maps:
            self.put_set(declared)
        self.put_elements(owner, {
            (declared.name, element): value for declared, content in maps.items() for element, value in content.items()
        })
        named = frozenset(declared.name for declared in maps)
        for name in self._maps.pop(owner, frozenset()) - named:
            self.drop_set(name)
        if named:
            self._maps[owner] = named

    def changes(self) -> Changes:
        """What the turn came to; the next turn begins."""
        notes = self._last = self._notes
        self._notes = Notes()
        now = self.table
        new = [name for name, before in notes.sets.items() if before is None and name in now.sets]
        touched = {name: (before, now.chains.get(name)) for name, before in notes.chains.items()}
        gone = {name: before for name, (before, after) in touched.items() if before and after is None}
        changed = tuple(
            after for before, after in touched.values()
            if before is not None and after is not None and before != after)
        elements = self._element_changes(notes.elements)
        changes = Changes(
            new_sets=tuple(now.sets[name] for name in new),
            new_chains=tuple(after for before, after in touched.values() if before is None and after is not None),
            changed_chains=changed,
            elements=(*_all_of(now, new), *elements),
            gone_bases=tuple(before for before in gone.values() if before.hook),
            gone_chains=tuple(name for name, before in gone.items() if not before.hook),
            gone_sets=tuple(
                name for name, before in notes.sets.items() if before is not None and name not in now.sets),
        )
        if self._is_plain(notes, changes):
            return changes
        is_split = self._is_split(changes, elements)
        if elements and (changed or changes.gone_bases or is_split):
            changes = replace(changes, doubled=self._doubled(changes, elements))
        return replace(changes, beside=self._beside(changes)) if is_split else changes

    def refused(self) -> None:
        """The kernel did not take the last turn's changes: they belong to the turn that begins now."""
        self._notes = self._last
        self._notes.plain.clear()

    def _is_split(self, changes: Changes, elements: Iterable[ElementChange]) -> bool:
        """Does an early hook change, and so perhaps what another one must ask?"""
        touched = (*changes.new_chains, *changes.changed_chains, *changes.gone_bases)
        if any(is_early_base(chain) for chain in touched):
            return True
        return bool(self._early) and (
            any(map(is_early, changes.changed_chains))
            or bool(users_of({each.set.name for each in elements}, self._early.values())))

    def _beside(self, changes: Changes) -> Beside:
        new = {chain.name for chain in changes.new_chains}
        stay = (chain for name, chain in self._early.items() if is_early_base(chain) and name not in new)
        return beside(self.table, stay)

    def _is_plain(self, notes: Notes, changes: Changes) -> bool:
        """Are these the chains of one owner, and moves that do not mind them?"""
        owners = {notes.owners.get(chain.name, "") for chain in changes.changed_chains}
        if len(owners) != 1 or changes.gone_bases or any(map(is_early, changes.changed_chains)):
            return False
        if not owners <= notes.plain.keys():
            return False
        moved = frozenset[tuple[Element, Mapped]]().union(*(notes.plain[owner] for owner in owners))
        return self._all_move(notes.elements, moved)

    def _all_move(self, touched: Mapping[Place, Value], moved: AbstractSet[tuple[Element, Mapped]]) -> bool:
        """Are these all that come or go, in sets that stay?"""
        for place, before in touched.items():
            after = self._value(place)
            if place[0] not in self.table.sets or before == after:
                continue
            one = before if isinstance(after, Absent) else after if isinstance(before, Absent) else ABSENT
            if isinstance(one, Absent) or (place[1], one) not in moved:
                return False
        return True

    def _doubled(self, changes: Changes, elements: Iterable[ElementChange]) -> Doubled | None:
        """Sets that change together with rules."""
        now = self.table
        sets = {each.set.name for each in elements if len(now.elements[each.set.name]) <= MOST_DOUBLED}
        if not sets:
            return None
        written = {chain.name for chain in (*changes.new_chains, *changes.changed_chains)}
        others = (chain for name, chain in now.chains.items() if name not in written)
        return Doubled(
            tuple(ElementChange(now.sets[name], new=tuple(now.elements[name].items())) for name in sorted(sets)),
            users_of(sets, others))

    def _element_changes(self, touched: dict[Place, Value]) -> tuple[ElementChange, ...]:
        gone: dict[str, list[Element]] = {}
        new: dict[str, list[tuple[Element, Mapped]]] = {}
        for (name, element), before in touched.items():
            if name not in self.table.sets:
                continue  # they went with it
            after = self._value((name, element))
            if before == after:
                continue
            if not isinstance(before, Absent):
                gone.setdefault(name, []).append(element)
            if not isinstance(after, Absent):
                new.setdefault(name, []).append((element, after))
        return tuple(
            ElementChange(self.table.sets[name], tuple(gone.get(name, ())), tuple(new.get(name, ())))
            for name in dict.fromkeys((*gone, *new))
        )

    def _value(self, place: Place) -> Value:
        content = self.table.elements.get(place[0])
        return ABSENT if content is None or place[1] not in content else content[place[1]]

    def _is_new(self, name: str) -> bool:
        """Was the set not there when the turn began? Then all it holds is new, and needs no notes."""
        return self._notes.sets.get(name, ABSENT) is None

    def _touch(self, place: Place) -> None:
        if place not in self._notes.elements and not self._is_new(place[0]):
            self._notes.elements[place] = self._value(place)


def _all_of(table: Table, names: Iterable[str]) -> Iterator[ElementChange]:
    for name in names:
        if content := table.elements[name]:
            yield ElementChange(table.sets[name], new=tuple(content.items()))


Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def _put(table: dict[Key, Item], key: Key, value: Item | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value

"""Address sets and port sets in the book, one member at a time.

A set of a hundred thousand addresses changes by one; nothing here may look at the others. Single addresses go straight
through. Prefixes may overlap, so the few of them a set holds are kept as declared, and the disjoint ones that stand
for them are worked out again when one changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from muslin.intent import AddressSet, MemberChange, PortSet, SetId
from muslin.net import Cidr, is_host
from muslin.render.matching import SetShape
from muslin.render.nft import names
from muslin.render.nft.book import Book
from muslin.render.nft.families import Families
from muslin.render.nft.members import hosts_of, nets_of, ports_of, sets_of, shape_from, shape_of
from muslin.render.nft.places import FAMILIES
from muslin.render.nft.words import Element


class Contents:
    """`follows`: does somebody want to know who comes to this nft set, and who leaves it? `families`: is told what each
    address set holds."""

    def __init__(self, book: Book, follows: Callable[[str], bool], families: Families) -> None:
        self.shapes: dict[SetId, SetShape] = {}
        self._book = book
        self._follows = follows
        self._families = families
        self._moved: dict[str, set[Element]] = {}
        self._nets: dict[SetId, frozenset[Cidr]] = {}

    def update(self, set_id: SetId, change: AddressSet | PortSet | MemberChange | None) -> bool:
        """Takes one set's change over. True when its shape changed: rules that name it must be written anew."""
        before = self.shapes.get(set_id)
        match change:
            case None:
                self._drop(set_id)
            case MemberChange():
                self._change(set_id, change)
            case _:
                if before is not None and before.ports is not isinstance(change, PortSet):
                    self._drop(set_id)
                self._replace(set_id, change)
        self._families.put(("set", set_id), self._held(set_id))
        return self.shapes.get(set_id) != before

    def _held(self, set_id: SetId) -> frozenset[int]:
        """The families of which an address set holds anything."""
        shape, elements = self.shapes.get(set_id), self._book.table.elements
        if shape is None or shape.ports:
            return frozenset()
        return shape.nets | {family for family in FAMILIES if elements[names.host_set(set_id, family)]}

    def moved(self) -> dict[str, set[Element]]:
        """Who has come or left since the last call, by nft set."""
        moved, self._moved = self._moved, {}
        return moved

    def _drop(self, set_id: SetId) -> None:
        shape = self.shapes.pop(set_id, None)
        self._nets.pop(set_id, None)
        for declared in sets_of(set_id, shape) if shape else ():
            self._book.drop_set(declared.name)

    def _replace(self, set_id: SetId, members: AddressSet | PortSet) -> None:
        self._shape(set_id, shape_of(members))
        if isinstance(members, PortSet):
            wanted = ports_of(set_id, members.members)
        else:
            self._nets[set_id] = frozenset(member for member in members.members if not is_host(member))
            wanted = hosts_of(set_id, members.members) | nets_of(set_id, self._nets[set_id])
        for name, elements in wanted.items():
            if self._follows(name):
                self._note(name, self._book.table.elements[name].keys() ^ set(elements))
            self._book.put_content(name, elements)

    def _note(self, name: str, elements: Iterable[Element]) -> None:
        if self._follows(name):
            self._moved.setdefault(name, set()).update(elements)

    def _change(self, set_id: SetId, change: MemberChange) -> None:
        if self.shapes[set_id].ports:
            gone, new = ports_of(set_id, change.ports_removed), ports_of(set_id, change.ports_added)
        else:
            gone, new = hosts_of(set_id, change.removed), hosts_of(set_id, change.added)
            self._change_nets(set_id, change)
        for name, elements in gone.items():
            self._note(name, elements)
            for element in elements:
                self._book.remove((name, element))
        for name, elements in new.items():
            self._note(name, elements)
            for element in elements:
                self._book.add((name, element))

    def _change_nets(self, set_id: SetId, change: MemberChange) -> None:
        before = self._nets[set_id]
        after = (before - change.removed) | {member for member in change.added if not is_host(member)}
        if before != after:
            self._nets[set_id] = after
            self._shape(set_id, shape_from(after))
            for name, elements in nets_of(set_id, after).items():
                self._book.put_content(name, elements)

    def _shape(self, set_id: SetId, shape: SetShape) -> None:
        """Declares the nft sets that this shape needs, and drops those that only the old one needed."""
        needed = sets_of(set_id, shape)
        for declared in sets_of(set_id, self.shapes[set_id]) if set_id in self.shapes else ():
            if declared not in needed:
                self._book.drop_set(declared.name)
        for declared in needed:
            self._book.put_set(declared)
        self.shapes[set_id] = shape

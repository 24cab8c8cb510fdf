"""What the kernel holds now, and what a turn has touched.

As in render.nft.book: the book notes what each thing was before its first touch, and the difference between then and
now is the change. A prefix list may be looked at by several policies; it lasts as long as one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from muslin.errors import Broken
from muslin.render.iptables.ruleset import ChainKey, Changes, Ruleset
from muslin.render.iptables.words import Chain, IpSet
from muslin.render.relations import Users

Elements = Mapping[str, Set[str]]
"""Set -> elements."""


class Book:
    def __init__(self) -> None:
        self.ruleset = Ruleset()
        self._chains: dict[ChainKey, Chain | None] = {}
        self._sets: dict[str, IpSet | None] = {}
        self._elements: dict[str, dict[str, bool]] = {}
        self._owned: dict[str, frozenset[ChainKey]] = {}
        self._held: dict[str, Elements] = {}
        self._listed: dict[str, frozenset[str]] = {}
        self._sets_owned: dict[str, frozenset[str]] = {}
        self._list_users: Users[str, str] = Users()

    def put_chains(self, owner: str, chains: Mapping[ChainKey, Chain]) -> None:
        """The owner's chains are now these, and no others."""
        for key in self._owned.pop(owner, frozenset()) - chains.keys():
            self._chains.setdefault(key, self.ruleset.chains.get(key))
            self.ruleset.chains.pop(key, None)
        for key, chain in chains.items():
            self._chains.setdefault(key, self.ruleset.chains.get(key))
            self.ruleset.chains[key] = chain
        if chains:
            self._owned[owner] = frozenset(chains)

    def put_set(self, declared: IpSet) -> None:
        name = declared.name
        if self.ruleset.sets.get(name, declared) != declared:
            raise Broken(f"set {name} is {self.ruleset.sets[name]}, it cannot become {declared}")
        self._sets.setdefault(name, self.ruleset.sets.get(name))
        self.ruleset.sets[name] = declared
        self.ruleset.elements.setdefault(name, set())

    def drop_set(self, name: str) -> None:
        """Its elements go with it."""
        self._sets.setdefault(name, self.ruleset.sets.get(name))
        self.put_content(name, ())
        del self.ruleset.sets[name], self.ruleset.elements[name]

    def put_content(self, name: str, elements: Iterable[str]) -> None:
        """A set's elements are now these, and no others."""
        content, wanted = self.ruleset.elements[name], set(elements)
        if self._sets.get(name, True) is None:  # new in this turn: all it holds is new, and needs no notes
            self.ruleset.elements[name] = wanted
            return
        for element in content - wanted:
            self.remove(name, element)
        for element in wanted - content:
            self.add(name, element)

    def add(self, name: str, element: str) -> None:
        self._touch(name, element)
        self.ruleset.elements[name].add(element)

    def remove(self, name: str, element: str) -> None:
        self._touch(name, element)
        self.ruleset.elements[name].discard(element)

    def put_elements(self, owner: str, wanted: Elements) -> None:
        """The owner's elements are now these, and no others. Sets that went took theirs with them."""
        for name, elements in self._held.pop(owner, {}).items():
            if name in self.ruleset.elements:
                for element in elements - wanted.get(name, frozenset()):
                    self.remove(name, element)
        for name, elements in wanted.items():
            for element in elements - self.ruleset.elements[name]:
                self.add(name, element)
        if wanted:
            self._held[owner] = wanted

    def put_lists(self, owner: str, lists: Mapping[str, tuple[IpSet, frozenset[str]]]) -> None:
        """The prefix lists that the owner looks at."""
        before = self._listed.pop(owner, frozenset())
        self._list_users.put(owner, lists)
        for name, (declared, content) in lists.items():
            if name not in self.ruleset.sets:
                self.put_set(declared)
                self.put_content(name, content)
        for name in before - lists.keys():
            if not self._list_users.of(name):
                self.drop_set(name)
        if lists:
            self._listed[owner] = frozenset(lists)

    def put_sets(self, owner: str, wanted: Mapping[str, tuple[IpSet, frozenset[str]]]) -> None:
        """The owner's sets are now these, with these elements, and no others."""
        for name in self._sets_owned.pop(owner, frozenset()) - wanted.keys():
            self.drop_set(name)
        for name, (declared, content) in wanted.items():
            self.put_set(declared)
            self.put_content(name, content)
        if wanted:
            self._sets_owned[owner] = frozenset(wanted)

    def changes(self) -> Changes:
        """What the turn came to; the next turn begins."""
        chains, sets, elements = self._chains, self._sets, self._elements
        self._chains, self._sets, self._elements = {}, {}, {}
        now = self.ruleset
        new = {name for name, before in sets.items() if before is None and name in now.sets}
        added = {name: frozenset(now.elements[name]) for name in new if now.elements[name]}
        removed: dict[str, frozenset[str]] = {}
        for name, notes in elements.items():
            if name not in now.sets or name in new:
                continue
            content = now.elements[name]
            if came := frozenset(element for element, was in notes.items() if not was and element in content):
                added[name] = came
            if went := frozenset(element for element, was in notes.items() if was and element not in content):
                removed[name] = went
        return Changes(
            new_sets=tuple(now.sets[name] for name in sorted(new)),
            added=added,
            chains={key: now.chains.get(key) for key, before in chains.items() if before != now.chains.get(key)},
            removed=removed,
            gone_sets=tuple(sorted(n for n, before in sets.items() if before is not None and n not in now.sets)),
        )

    def _touch(self, name: str, element: str) -> None:
        if self._sets.get(name, True) is not None:
            notes = self._elements.setdefault(name, {})
            notes.setdefault(element, element in self.ruleset.elements[name])

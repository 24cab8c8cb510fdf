"""The table as a whole, and one change of it.

nftables takes a batch of commands as one transaction: all of it or nothing. Within a batch the order still matters,
since a command may only name what is there at that moment:

    new sets, new chains (empty), elements away, new elements, rules, sets away, chains away

`commands` is that order and its only home; the text printer and a netlink encoder both go by it.

A change is made in up to five transactions: see `steps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

import msgspec

from muslin.render.nft.words import Chain, Element, Mapped, NamedSet, Rule

TABLE = "muslin"
FAMILY = "inet"

Content = Mapping[Element, Mapped]
"""Elements of a set (None), or of a map."""


class Table(msgspec.Struct):
    """What is to be in the kernel, or what was read from it. Every set has an entry in `elements`."""

    chains: dict[str, Chain] = {}
    sets: dict[str, NamedSet] = {}
    elements: dict[str, dict[Element, Mapped]] = {}


class ElementChange(msgspec.Struct, frozen=True):
    """Elements of one set: `gone` first, then `new`; a changed verdict is in both."""

    set: NamedSet
    gone: tuple[Element, ...] = ()
    new: tuple[tuple[Element, Mapped], ...] = ()


class Doubled(msgspec.Struct, frozen=True):
    """Sets that stay and change, with all that they hold afterwards; and chains that name them, and stay."""

    sets: tuple[ElementChange, ...]
    users: tuple[Chain, ...]


class Beside(msgspec.Struct, frozen=True):
    """Early base chains once more, with all that they lead to: see `early`."""

    chains: tuple[Chain, ...] = ()
    maps: tuple[ElementChange, ...] = ()


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction, or what becomes several by `steps`. `fresh`: whatever the table holds goes first, and the rest
    is the whole. `renewed`: the rest is the whole as well, sets and chains may be there already; `flushed` are emptied
    before they are filled. `first`: the rest is the whole, and there is no table yet. `gone_bases`: chains that go, and
    have a hook. `doubled`, `beside`: see `steps`."""

    fresh: bool = False
    renewed: bool = False
    first: bool = False
    flushed: tuple[NamedSet, ...] = ()
    new_sets: tuple[NamedSet, ...] = ()
    new_chains: tuple[Chain, ...] = ()
    changed_chains: tuple[Chain, ...] = ()
    elements: tuple[ElementChange, ...] = ()
    gone_bases: tuple[Chain, ...] = ()
    gone_chains: tuple[str, ...] = ()
    gone_sets: tuple[str, ...] = ()
    doubled: Doubled | None = None
    beside: Beside | None = None

    def __bool__(self) -> bool:
        return self.fresh or self.renewed or self.first or any((
            self.new_sets, self.new_chains, self.changed_chains, self.elements, self.gone_bases, self.gone_chains,
            self.gone_sets))


class KeepTable(msgspec.Struct, frozen=True, gc=False):
    """Our table, made if it is not there, with all that it holds."""


class FlushSet(msgspec.Struct, frozen=True, gc=False):
    """A set stays, its elements go."""

    set: NamedSet


class ReplaceTable(msgspec.Struct, frozen=True, gc=False):
    """Delete our table, if it is there, and make it anew."""


class AddSet(msgspec.Struct, frozen=True, gc=False):
    set: NamedSet


class AddChain(msgspec.Struct, frozen=True, gc=False):
    """The chain without its rules."""

    chain: Chain


class RemoveElements(msgspec.Struct, frozen=True, gc=False):
    set: NamedSet
    elements: tuple[Element, ...]


class AddElements(msgspec.Struct, frozen=True, gc=False):
    """Those that are there already stay as they are. `seconds`: how long they live, 0 as long as the set."""

    set: NamedSet
    elements: tuple[tuple[Element, Mapped], ...]
    seconds: int = 0


class FlushChain(msgspec.Struct, frozen=True, gc=False):
    chain: str


class AddRule(msgspec.Struct, frozen=True, gc=False):
    chain: str
    rule: Rule


class RemoveChain(msgspec.Struct, frozen=True, gc=False):
    """The chain must be flushed, and nothing may lead to it."""

    chain: str


class RemoveSet(msgspec.Struct, frozen=True, gc=False):
    set: str


Command = (
    ReplaceTable | KeepTable | AddSet | AddChain | FlushSet | RemoveElements | AddElements | FlushChain | AddRule
    | RemoveChain | RemoveSet
)


def commands(changes: Changes) -> Iterator[Command]:
    """The transaction, in an order in which nothing names what is not there."""
    if changes.fresh:
        yield ReplaceTable()
    elif changes.renewed or changes.first:
        yield KeepTable()
    yield from (AddSet(declared) for declared in changes.new_sets)
    yield from (AddChain(chain) for chain in changes.new_chains)
    yield from (FlushSet(declared) for declared in changes.flushed)
    yield from (RemoveElements(change.set, change.gone) for change in changes.elements if change.gone)
    yield from (AddElements(change.set, change.new) for change in changes.elements if change.new)
    for chain in (*(changes.new_chains if changes.renewed else ()), *changes.changed_chains):
        yield FlushChain(chain.name)
    for chain in (*changes.new_chains, *changes.changed_chains):
        yield from (AddRule(chain.name, rule) for rule in chain.rules)
    gone = (*(chain.name for chain in changes.gone_bases), *changes.gone_chains)
    yield from (FlushChain(name) for name in gone)
    yield from (RemoveSet(name) for name in changes.gone_sets)
    yield from (RemoveChain(name) for name in gone)


def whole(table: Table) -> Changes:
    """The table from nothing, in one transaction."""
    return Changes(
        fresh=True,
        new_sets=tuple(table.sets.values()),
        new_chains=tuple(table.chains.values()),
        elements=tuple(
            ElementChange(table.sets[name], new=tuple(content.items()))
            for name, content in table.elements.items()
            if content
        ),
    )


def renewed(table: Table, unchanged: Set[str], strange_chains: Iterable[str], strange_sets: Iterable[str]) -> Changes:
    """The table over one that somebody has meddled with, so that a packet which is under way in it loses nothing: sets
    stay what they are, and those that are `unchanged` are not touched at all. What is strange goes.

    To make the table anew is worse: its old sets are empty, to the old rules, from the moment that the new ones count.
    """
    filled = [name for name, declared in table.sets.items() if name not in unchanged and not declared.loose]
    return Changes(
        renewed=True,
        new_sets=tuple(table.sets.values()),
        new_chains=tuple(table.chains.values()),
        flushed=tuple(table.sets[name] for name in filled),
        elements=tuple(
            ElementChange(table.sets[name], new=tuple(table.elements[name].items()))
            for name in filled if table.elements[name]
        ),
        gone_chains=tuple(strange_chains),
        gone_sets=tuple(strange_sets),
    )

"""The table as a whole, and one change of it.

nftables takes a batch of commands as one transaction: all of it or nothing, and each packet sees the state before or
the state after. Within a batch the order still matters, since a command may only name what is there at that moment:

    new sets, new chains (empty), elements away, new elements, rules, sets away, chains away

`commands` is that order and its only home; the text printer and a netlink encoder both go by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction. `fresh`: whatever the table holds goes first, and the rest is the whole."""

    fresh: bool = False
    new_sets: tuple[NamedSet, ...] = ()
    new_chains: tuple[Chain, ...] = ()
    changed_chains: tuple[Chain, ...] = ()
    elements: tuple[ElementChange, ...] = ()
    gone_chains: tuple[str, ...] = ()
    gone_sets: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.fresh or any(
            (self.new_sets, self.new_chains, self.changed_chains, self.elements, self.gone_chains, self.gone_sets)
        )


class ReplaceTable(msgspec.Struct, frozen=True):
    """Delete our table, if it is there, and make it anew."""


class AddSet(msgspec.Struct, frozen=True):
    set: NamedSet


class AddChain(msgspec.Struct, frozen=True):
    """The chain without its rules."""

    chain: Chain


class RemoveElements(msgspec.Struct, frozen=True):
    set: NamedSet
    elements: tuple[Element, ...]


class AddElements(msgspec.Struct, frozen=True):
    set: NamedSet
    elements: tuple[tuple[Element, Mapped], ...]


class FlushChain(msgspec.Struct, frozen=True):
    chain: str


class AddRule(msgspec.Struct, frozen=True):
    chain: str
    rule: Rule


class RemoveChain(msgspec.Struct, frozen=True):
    """The chain must be flushed, and nothing may lead to it."""

    chain: str


class RemoveSet(msgspec.Struct, frozen=True):
    set: str


Command = (
    ReplaceTable | AddSet | AddChain | RemoveElements | AddElements | FlushChain | AddRule | RemoveChain | RemoveSet
)


def commands(changes: Changes) -> Iterator[Command]:
    """The transaction, in an order in which nothing names what is not there."""
    if changes.fresh:
        yield ReplaceTable()
    yield from (AddSet(declared) for declared in changes.new_sets)
    yield from (AddChain(chain) for chain in changes.new_chains)
    yield from (RemoveElements(change.set, change.gone) for change in changes.elements if change.gone)
    yield from (AddElements(change.set, change.new) for change in changes.elements if change.new)
    for chain in changes.changed_chains:
        yield FlushChain(chain.name)
    for chain in (*changes.new_chains, *changes.changed_chains):
        yield from (AddRule(chain.name, rule) for rule in chain.rules)
    yield from (FlushChain(name) for name in changes.gone_chains)
    yield from (RemoveSet(name) for name in changes.gone_sets)
    yield from (RemoveChain(name) for name in changes.gone_chains)


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

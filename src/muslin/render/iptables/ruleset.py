"""The host's chains and sets as a whole, and one change of them.

iptables takes the changes of one table of one family in one step; nothing is atomic across tables, families or sets. So
a change has three steps, and the order keeps shut what is to be shut:

    1 new sets and new members        nobody looks at the sets yet, or more than before is in them
    2 chains, table by table          every set that they look at is there
    3 gone members, then gone sets    nobody looks at them any more
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

from muslin.render.iptables.words import Chain, IpSet, Table


class ChainKey(msgspec.Struct, frozen=True, gc=False, order=True):
    family: int
    table: Table
    name: str


class Ruleset(msgspec.Struct):
    """What is to be in the kernel. A chain called `mus-<BUILTIN>` is jumped to from that built-in chain of its table.
    Every set has an entry in `elements`; an element is text as `ipset save` prints it."""

    chains: dict[ChainKey, Chain] = {}
    sets: dict[str, IpSet] = {}
    elements: dict[str, set[str]] = {}


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `fresh`: nobody knows what the kernel has; `chains`, `new_sets` and `added` are the whole.
    `chains`: None is gone. `added`, `removed`: set -> elements."""

    fresh: bool = False
    new_sets: tuple[IpSet, ...] = ()
    added: Mapping[str, Set[str]] = {}
    chains: Mapping[ChainKey, Chain | None] = {}
    removed: Mapping[str, Set[str]] = {}
    gone_sets: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.fresh or any((self.new_sets, self.added, self.chains, self.removed, self.gone_sets))


def whole(ruleset: Ruleset) -> Changes:
    return Changes(
        fresh=True,
        new_sets=tuple(ruleset.sets.values()),
        added={name: content for name, content in ruleset.elements.items() if content},
        chains=dict(ruleset.chains),
    )

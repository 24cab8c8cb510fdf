"""What the fixed chains of a host depend on, so that they are written anew only when it changes.

Everything that names an endpoint or an interface is an element of a set or map. The fixed chains need to know of them
only what makes a lookup worth its price: whether there is anything to be found. A map that holds nothing is not there
(see book), and so neither is the rule, nor the hook, that would look into it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from muslin.intent import Settings
from muslin.render.nft import names
from muslin.render.nft.words import (
    Equal,
    Field,
    InSet,
    Match,
    NameBegins,
    Rule,
    Statement,
    Type,
    Verdict,
)

OTHERS = "others"
UDP = 17
ADDRESS = {4: Type.ADDRESS4, 6: Type.ADDRESS6}


class Ours(msgspec.Struct, frozen=True):
    """Which interfaces are workloads': known by their prefix in one comparison, or listed in `others`."""

    prefixes: tuple[str, ...]
    others: bool

    def rules(self, end: Field, *verdict: Statement, comment: str = "") -> tuple[Rule, ...]:
        """The verdict for every packet that has an interface of ours at that end."""
        named = tuple(Rule((NameBegins(end, prefix), *verdict), comment) for prefix in self.prefixes)
        listed = Rule((InSet((end,), OTHERS), *verdict), comment)
        return (*named, listed) if self.others else named


class Extent(msgspec.Struct, frozen=True):
    """`others`: there are endpoints whose interfaces do not bear our prefix. `maps`: the optional sets that hold
    something. `rest`: by dispatch map, what befalls interfaces of the host that nothing else covers."""

    settings: Settings
    others: bool = False
    maps: frozenset[str] = frozenset()
    rest: Mapping[str, Verdict] = {}

    @property
    def ours(self) -> Ours:
        return Ours(names.prefixes(self.settings), self.others)

    def holds(self, name: str) -> bool:
        """Does the map of that name lead anywhere?"""
        return name in self.maps or name in self.rest


def of_family(family: int) -> Match:
    return Equal(Field.FAMILY, family)


def udp(source: int, destination: int) -> tuple[Match, ...]:
    return (
        Equal(Field.PROTOCOL, UDP),
        Equal(Field.SOURCE_PORT, source),
        Equal(Field.DESTINATION_PORT, destination),
    )

"""Families of addresses that nobody here speaks.

On most hosts no workload has an IPv6 address, and no set holds one. Then a rule that wants one end in a set matches no
IPv6 packet, and is not written for them: half of all rules need not be there. The first such address, of a workload or
of somebody whom a rule names, brings them all back, in the same turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from muslin.intent import Endpoint
from muslin.net import version_of
from muslin.render.nft.places import FAMILIES


class Families:
    """Who speaks which."""

    def __init__(self) -> None:
        self._spoken: dict[Hashable, frozenset[int]] = {}
        self._speakers: Counter[int] = Counter()

    @property
    def unspoken(self) -> frozenset[int]:
        """None where nobody speaks at all."""
        found = frozenset(family for family in FAMILIES if not self._speakers[family])
        return found if len(found) < len(FAMILIES) else frozenset()

    def put(self, speaker: Hashable, families: frozenset[int]) -> None:
        """Empty: it speaks none any more."""
        self._speakers.subtract(self._spoken.pop(speaker, ()))
        if families:
            self._spoken[speaker] = families
            self._speakers.update(families)


def families_of(endpoint: Endpoint | None) -> frozenset[int]:
    return frozenset(map(version_of, (*endpoint.addresses, *endpoint.spoofable)) if endpoint else ())

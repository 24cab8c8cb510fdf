"""Large sets that come are filled part by part, each part a transaction, before anything leads to them.

A hash of the kernel grows while it is filled, by a worker. As long as a transaction lasts, that one gets no turn, and
each element costs thrice as much. Between two transactions it runs (decision 0096).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from muslin.render.nft.table import Changes, ElementChange

LARGE, PART = 10_000, 4000
"""Elements of a set that is filled part by part, and of a part."""


def parts(prepare: Changes) -> Iterator[Changes]:
    """A first step (see steps) as transactions: nothing leads to what comes in it."""
    large = [change for change in prepare.elements if _is_large(change)]
    sets = tuple(change.set for change in large)
    if large:
        yield Changes(first=prepare.first, new_sets=sets)
    for change in large:
        for start in range(0, len(change.new), PART):
            yield Changes(elements=(ElementChange(change.set, new=change.new[start : start + PART]),))
    rest = msgspec.structs.replace(
        prepare, first=prepare.first and not large,
        new_sets=tuple(declared for declared in prepare.new_sets if declared not in sets),
        elements=tuple(change for change in prepare.elements if change.set not in sets))
    if rest:
        yield rest


def onto_nothing(changes: Changes) -> Changes:
    """A fresh table where there is none: nothing is in force yet, so that it may come in steps, if that is worth it."""
    has_large = any(map(_is_large, changes.elements))
    return msgspec.structs.replace(changes, fresh=False, first=True) if has_large else changes


def _is_large(change: ElementChange) -> bool:
    """A hash, whose elements lead nowhere."""
    return len(change.new) > LARGE and not change.set.interval and not change.set.verdicts

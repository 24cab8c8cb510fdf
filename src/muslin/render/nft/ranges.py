"""Of the ports that a block looks up (see merging): which are listed one by one, and what those come to that are not.

Ranges are listed up to a width, so that one map answers for nearly all; but not where it would be too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from muslin.net import PROTOCOLS_WITH_PORTS
from muslin.render.fields import Equal, Field, Span
from muslin.render.nft.reach import Reach
from muslin.render.nft.runs import Reached
from muslin.render.nft.words import Atom, Choose, Element, Statement, Verdict
from muslin.render.nft.words import Rule as Line

LISTED = 32
"""Ports of a range that are listed one by one; wider ones are looked up as ranges."""
MANY = 4096
"""Elements of a block above which only single ports are listed."""

Wide = Mapping[int, list[tuple[Reach, Verdict]]]
"""By protocol, what is not listed."""


def width(reached: Reached) -> int:
    """How wide a range may be whose ports are listed."""
    few = 0
    for (_, first, last), _ in reached:
        if last - first < LISTED:
            few += last - first + 1
    return LISTED if few <= MANY else 1


def lines(wide: Wide, listed: Mapping[Element, Verdict], once: Set[Verdict]) -> Iterator[Line]:
    """For what the map did not answer. `once`: what is there may not be met again by whom it did."""
    for protocol in sorted(wide.keys() & PROTOCOLS_WITH_PORTS):
        spans = _joined(wide[protocol], listed, once)
        yield Line((Equal(Field.PROTOCOL, protocol), *_chosen(Field.DESTINATION_PORT, spans)))
    portless: list[tuple[Atom, Verdict]] = [
        (protocol, wide[protocol][0][1]) for protocol in sorted(wide.keys() - PROTOCOLS_WITH_PORTS)]
    if portless:
        yield Line(_chosen(Field.PROTOCOL, portless))


def _chosen(field: Field, choices: list[tuple[Atom, Verdict]]) -> tuple[Statement, ...]:
    if len(choices) == 1:
        return Equal(field, choices[0][0]), choices[0][1]
    return (Choose(field, tuple(choices)),)


def _joined(
    spans: list[tuple[Reach, Verdict]], listed: Mapping[Element, Verdict], once: Set[Verdict]
) -> list[tuple[Atom, Verdict]]:
    """Neighbours that lead to one place are one, also over ports that are listed: those have been looked up before,
    and whoever comes back from there meets no rule that he has not met, or that decides about him."""
    found: list[tuple[Reach, Verdict]] = []
    for reach, verdict in spans:
        before = found[-1] if found else None
        if before is not None and before[1] == verdict and verdict not in once and all(
            (reach.protocol, port) in listed for port in range(before[0].last + 1, reach.first)
        ):
            found[-1] = before[0]._replace(last=reach.last), verdict
        else:
            found.append((reach, verdict))
    return [(Span(reach.first, reach.last) if reach.width > 1 else reach.first, verdict) for reach, verdict in found]

"""A packet for each change, and the rule that decided about it before and the one that decides after.

`cluster.diff` says which classes gain or lose what. Whoever reads that asks next: by which rule? So a packet between
two members of the classes goes the way of `why` twice, before and after, and the end that changed its mind is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from muslin.explain import ends, question
from muslin.explain.decision import Decision, Path
from muslin.explain.difference import Diff
from muslin.explain.ends import End
from muslin.explain.naming import ClassName
from muslin.explain.packet import EPHEMERAL, Packet
from muslin.explain.question import Informant, Where
from muslin.explain.traffic import Sample
from muslin.net import version_of

MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`group`, `change`: their numbers in the diff. `before` and `after` are None where an end is not there."""

    group: int
    change: int
    gained: bool
    source: End
    destination: End
    packet: Packet
    before: Path | None
    after: Path | None

    @property
    def deciding(self) -> tuple[list[Decision], list[Decision]]:
        """Of both, what decided: at the ends where the answer changed, else at all."""
        pairs = [(_at(self.before, way), _at(self.after, way)) for way in ("egress", "ingress")]
        moved = [pair for pair in pairs if pair[0] and pair[1] and pair[0].verdict is not pair[1].verdict] or pairs
        old, new = ([one[which] for one in moved] for which in (0, 1))
        return [one for one in old if one], [one for one in new if one]


def examples(found: Diff, before: Informant, after: Informant, most: int = MOST) -> Iterator[Example]:
    """One for each gain and each loss, of the first groups."""
    made = change = 0
    for number, group in enumerate(found.groups):
        pair = next(found.pairs(group))
        for gained, sample in ((True, group.gained_sample), (False, group.lost_sample)):
            if sample is None or made >= most:
                continue
            source, destination = (found.classes[end] for end in pair)
            addresses = _two(source, destination, before if not gained else after)
            if addresses is None:
                continue
            made += 1
            packet = _packet(sample, *addresses)
            yield Example(
                group=number, change=change, gained=gained, packet=packet, source=_end(packet.source, before, after),
                destination=_end(packet.destination, before, after),
                before=_asked(packet, before, source, destination), after=_asked(packet, after, source, destination))
        change += found.size(group)


def told(example: Example, before: Where, after: Where) -> dict[str, Any]:
    """As JSON."""
    old, new = example.deciding
    return {
        "group": example.group, "change": example.change, "what": "gained" if example.gained else "lost",
        "packet": str(example.packet),
        "source": example.source.shown(example.packet.source),
        "destination": example.destination.shown(example.packet.destination),
        "before": _told(example.before, old, before), "after": _told(example.after, new, after),
    }


def _told(found: Path | None, deciding: list[Decision], where: Where) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"verdict": str(found.verdict),
            "decided_by": [question.origin_told(one.decided_by, where) for one in deciding]}


def _at(found: Path | None, way: str) -> Decision | None:
    return getattr(found, way) if found is not None else None


def _two(source: ClassName, destination: ClassName, informant: Informant) -> tuple[str, str] | None:
    """An address of each class, of two different ends."""
    if source.sample != destination.sample:
        return source.sample, destination.sample
    for known in informant.graph.endpoints():
        end = ends.workload(known)
        if end.key in destination.members and source.sample not in end.addresses:
            address = end.address(version_of(source.sample))
            return (source.sample, address) if address else None
    return None


def _packet(sample: Sample, source: str, destination: str) -> Packet:
    kind, code = sample.icmp or (None, 0)
    return Packet(source, destination, sample.protocol, sample.port or 0,
                  EPHEMERAL if sample.source_port is None else sample.source_port, kind, code)


def _end(address: str, before: Informant, after: Informant) -> End:
    """Whoever has the address, on the side where somebody has it."""
    found = ends.resolve(address, after.graph, after.hosts)
    return found if found.sort != ends.OUTSIDE else ends.resolve(address, before.graph, before.hosts)


def _asked(packet: Packet, informant: Informant, source: ClassName, destination: ClassName) -> Path | None:
    sender, receiver = (ends.resolve(address, informant.graph, informant.hosts)
                        for address in (packet.source, packet.destination))
    for end, meant in ((sender, source), (receiver, destination)):
        if meant.kind == "workloads" and end.sort != ends.WORKLOAD:
            return None
    return question.decided(informant, sender, receiver, packet)

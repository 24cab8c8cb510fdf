"""What a change changes, of three million pairs of classes, without looking at three million pairs.

Whether a packet passes is two answers: the sender's, which depends on the receiver, and the receiver's, which depends
on the sender. Many classes give the same answers as others, before and after; of two thousand there are a hundred
sorts of senders and a few hundred sorts of receivers. So senders that answer alike and receivers that answer alike are
taken together, each cut into the parts of which the other side says the same: within such a product of parts, every
pair gains and loses the same. Products that gain and lose the same are laid together again, by rows and then by
columns.

    groups      sources x destinations that gain and lose the same: all there is
    changes     the same pair by pair, for whoever wants pairs

A class of one workload is not asked about itself, nor the outside about the outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from muslin.explain.algebra import Outcomes, bits
from muslin.explain.naming import ClassName, class_name, traffic_texts
from muslin.explain.spoken import Mask
from muslin.explain.traffic import Sample, Traffic, sample, sorts
from muslin.explain.view import View

MOST_PAIRS = 50_000
"""So many pairs of classes are told one by one as JSON; the groups are told all."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Every one of `sources` to every one of `destinations` (indices of `classes`), but no class of one workload to
    itself. `gained` and `lost` in words, such as `tcp/80,8000:8010` or `any other protocol`; the samples are a packet
    of each."""

    sources: tuple[int, ...]
    destinations: tuple[int, ...]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    gained_sample: Sample | None = None
    lost_sample: Sample | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of a group."""

    source: int
    destination: int
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    gained_sample: Sample | None = None
    lost_sample: Sample | None = None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """`appeared`, `vanished`: workloads that are on one side only; their pairs are among the changes."""

    classes: tuple[ClassName, ...]
    groups: tuple[Group, ...]
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()

    @property
    def changes(self) -> Iterator[Change]:
        """Pair by pair, in the order of the groups."""
        return (Change(source=source, destination=destination, gained=group.gained, lost=group.lost,
                       gained_sample=group.gained_sample, lost_sample=group.lost_sample)
                for group in self.groups for source, destination in self.pairs(group))

    def pairs(self, group: Group) -> Iterator[tuple[int, int]]:
        return ((source, destination) for source in group.sources for destination in group.destinations
                if source != destination or not self._alone(source))

    def size(self, group: Group) -> int:
        """Of how many pairs."""
        selves = set(group.sources).intersection(group.destinations)
        return len(group.sources) * len(group.destinations) - sum(map(self._alone, selves))

    def _alone(self, number: int) -> bool:
        return len(self.classes[number].members) == 1


def told(found: Diff, most: int = MOST_PAIRS) -> dict[str, Any]:
    """As JSON; pair by pair only the first, and how many more there are."""
    left_off = sum(map(found.size, found.groups)) - most
    pairs = [msgspec.to_builtins(one) for one in islice(found.changes, most)]
    return {**msgspec.to_builtins(found), "changes": pairs, **({"left_off": left_off} if left_off > 0 else {})}


Pair = tuple[Outcomes, Outcomes]
"""What one end says, before and after."""
Part = tuple[Mask, Mask, Mask]
"""(classes, sorts of traffic that they are allowed before, and after)"""
Product = tuple[Mask, Mask, Mask, Mask]
"""(sources, destinations, sorts gained, sorts lost)"""


def compare(view: View, names: list[ClassName], groups: list[Group]) -> None:
    """Of one family. Adds to both lists."""
    traffic = sorts(view.rules(), view.named_ports(), view.family)
    samples = [sample(one) for one in traffic]
    found = [(list(bits(sources)), list(bits(destinations)), gained, lost)
             for sources, destinations, gained, lost in _laid_together(_products(view, samples), view.workloads)]
    found = sorted(filter(None, (_neat(view, *one) for one in found)))
    used = sorted({number for sources, destinations, *_ in found for number in (*sources, *destinations)})
    index = {number: len(names) + place for place, number in enumerate(used)}
    names += [class_name(view.censuses, view.classes[number]) for number in used]
    words = _Words(traffic, samples)
    for sources, destinations, gained, lost in found:
        of_workload = not view.classes[sources[0]].outside
        (more, one_more), (less, one_less) = words.of(gained, of_workload), words.of(lost, of_workload)
        groups.append(Group(sources=tuple(index[number] for number in sources),
                            destinations=tuple(index[number] for number in destinations),
                            gained=more, lost=less, gained_sample=one_more, lost_sample=one_less))


class _Words:
    """Each set of sorts of traffic is put into words once."""

    def __init__(self, traffic: Sequence[Traffic], samples: Sequence[Sample]) -> None:
        self._traffic = traffic
        self._samples = samples
        self._known: dict[tuple[Mask, bool], tuple[tuple[str, ...], Sample | None]] = {}

    def of(self, mask: Mask, of_workload: bool) -> tuple[tuple[str, ...], Sample | None]:
        """In words, and a packet of it."""
        found = self._known.get((mask, of_workload))
        if found is None:
            found = self._known[mask, of_workload] = (
                traffic_texts(mask, self._traffic, of_workload=of_workload),
                next((self._samples[number] for number in bits(mask)), None))
        return found


def _products(view: View, samples: Sequence[Sample]) -> Iterator[Product]:
    """Disjoint, and all pairs that gain or lose something are in one of them."""
    readings = [view.read(which, samples) for which in (0, 1)]
    leaving: dict[Pair, Mask] = {}
    entering: dict[Pair, Mask] = {}
    for number in range(len(view.classes)):
        out = readings[0].egress(number), readings[1].egress(number)
        into = readings[0].ingress(number), readings[1].ingress(number)
        leaving[out] = leaving.get(out, 0) | 1 << number
        entering[into] = entering.get(into, 0) | 1 << number
    everybody = (1 << len(view.classes)) - 1
    receivers = [(classes, _moved(*pair), _parts(pair, everybody)) for pair, classes in entering.items()]
    for pair, classes in leaving.items():
        moved, parts = _moved(*pair), _parts(pair, everybody)
        for outside in (False, True):
            senders = classes & ~view.workloads if outside else classes & view.workloads
            reachable = view.workloads if outside else everybody
            for others, doubted, by_sender in receivers if senders else ():
                if others & moved or senders & doubted:
                    yield from _crossed((senders, by_sender), (others & reachable, parts))


def _crossed(senders: tuple[Mask, list[Part]], receivers: tuple[Mask, list[Part]]) -> Iterator[Product]:
    """`senders`: classes that answer alike, and what the receivers answer about whom; `receivers` the other way."""
    mine = _within(*senders)
    for destinations, out_before, out_after in _within(*receivers):
        for sources, in_before, in_after in mine:
            before, after = out_before & in_before, out_after & in_after
            if before != after:
                yield sources, destinations, after & ~before, before & ~after


def _within(classes: Mask, parts: list[Part]) -> list[Part]:
    return [(inside, before, after) for part, before, after in parts if (inside := part & classes)]


def _laid_together(products: Iterator[Product], workloads: Mask) -> list[Product]:
    """Fewer, and still disjoint: first those with the same destinations, then those with the same sources. Workloads
    and the outside are kept apart: what they send is put into other words."""
    rows: dict[tuple[bool, Mask, Mask, Mask], Mask] = {}
    for sources, destinations, gained, lost in products:
        key = bool(sources & workloads), destinations, gained, lost
        rows[key] = rows.get(key, 0) | sources
    columns: dict[tuple[Mask, Mask, Mask], Mask] = {}
    for (_, destinations, gained, lost), sources in rows.items():
        columns[sources, gained, lost] = columns.get((sources, gained, lost), 0) | destinations
    return [(sources, destinations, gained, lost) for (sources, gained, lost), destinations in columns.items()]


def _neat(
    view: View, sources: list[int], destinations: list[int], gained: Mask, lost: Mask
) -> tuple[list[int], list[int], Mask, Mask] | None:
    """Without a class that is there only for the pair with itself that does not count. None: nothing is left."""
    if len(sources) == 1 and view.alone(sources[0]):
        destinations = [number for number in destinations if number != sources[0]]
    if len(destinations) == 1 and view.alone(destinations[0]):
        sources = [number for number in sources if number != destinations[0]]
    return (sources, destinations, gained, lost) if sources and destinations else None


def _moved(old: Outcomes, new: Outcomes) -> Mask:
    """Classes for which an end says something else of some traffic."""
    if old == new:
        return 0
    found = 0
    for sorts_before, before in old:
        for sorts_after, after in new:
            if sorts_before & sorts_after:
                found |= before ^ after
    return found


def _parts(pair: Pair, everybody: Mask) -> list[Part]:
    """All classes, laid together where this end says the same of them before and after."""
    parts: list[Part] = [(everybody, 0, 0)]
    for after, outcomes in enumerate(pair):
        for spoken, allowed in outcomes:
            split: list[Part] = []
            for classes, old, new in parts:
                inside = classes & allowed
                if inside:
                    split.append((inside, old, new | spoken) if after else (inside, old | spoken, new))
                if inside != classes:
                    split.append((classes ^ inside, old, new))
            parts = split
    return parts

"""Who reaches whom in the whole cluster, what a change changes, who can reach a workload: by classes, and exact.

    matrix(cluster, ports)              which classes reach which, for these ports
    diff(before, after)                 which pairs of classes gain or lose which traffic, of all the traffic there is
    who_can(cluster, whom, ...)         the classes that reach some workloads by one port
    whois(graph, address, resources)    who holds an address, and in what it lies
    census(graph, enacted=True)         the cluster as if its staged policies were enforced: their effect is
                                        diff(graph, census(graph, enacted=True)), see `staged_effect`

A cluster is a `calc.cluster.Graph`, or a `Census` of one, which can be reckoned with while the graph goes on. The
answers are those of `path` for every pair of workloads' addresses: policy of the sender's host, then of the receiver's.
Outside ends (everything that is no workload) are classes as well, except to each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.definitions import SetDefinition
from muslin.explain.algebra import Outcomes, Reading, bits, transposed
from muslin.explain.census import Census, census, enacting, staged_policies
from muslin.explain.classes import AddressClass, address_classes
from muslin.explain.naming import ClassName, class_name, traffic_texts
from muslin.explain.packet import EPHEMERAL, ICMP
from muslin.explain.spoken import Mask
from muslin.explain.traffic import Sample, asked, sample, sorts
from muslin.explain.whois import Whois, whois
from muslin.intent import EndpointKey, PolicyId, Rule
from muslin.net import PROTOCOL_NUMBERS, PROTOCOLS_WITH_PORTS, Cidr, host_cidr, protocol_name, version_of

FAMILIES = (4, 6)
Port = tuple[int, int]
"""(protocol, destination port); the port is 0 for protocols without ports."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """From one class, by these ports, to these classes: numbers are indices of `classes`."""

    source: int
    ports: tuple[str, ...]
    destinations: tuple[int, ...]


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """`reaches`: all that is allowed; what it does not say is denied. `ports`: those that were asked for."""

    ports: tuple[str, ...]
    classes: tuple[ClassName, ...]
    reaches: tuple[Reach, ...]

    def allowed(self) -> set[tuple[int, int, str]]:
        """(source, destination, port)"""
        return {(reach.source, to, port) for reach in self.reaches for to in reach.destinations for port in reach.ports}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of classes. `gained` and `lost` in words, such as `tcp/80,8000:8010` or `any other protocol`; the
    samples are a packet of each."""

    source: int
    destination: int
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    gained_sample: Sample | None = None
    lost_sample: Sample | None = None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """`appeared`, `vanished`: workloads that are on one side only; their pairs are among the changes."""

    classes: tuple[ClassName, ...]
    changes: tuple[Change, ...]
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


class WhoCan(msgspec.Struct, frozen=True, kw_only=True):
    """`sources`: those that reach one of `destinations` at least. `reaches`: which of them, by their numbers in
    `classes`."""

    port: str
    classes: tuple[ClassName, ...]
    destinations: tuple[int, ...]
    reaches: tuple[Reach, ...]


def matrix(
    cluster: Graph | Census, ports: Sequence[Port], *, among: Collection[EndpointKey] | None = None,
    outside: bool = False, families: Iterable[int] = FAMILIES,
) -> Matrix:
    """`among`: only these workloads. `outside`: the rest of the world too. ICMP is asked in its own family."""
    found = _census(cluster)
    names: list[ClassName] = []
    reaches: list[Reach] = []
    for family in families:
        asks = {port: one for port in ports if (one := asked(*port, family)) is not None}
        if asks and _lived_in((found,), family):
            view = _view((found,), family, among)
            _fill(view, asks, outside, names, reaches)
    return Matrix(ports=tuple(map(port_text, ports)), classes=tuple(names), reaches=tuple(reaches))


def diff(before: Graph | Census, after: Graph | Census) -> Diff:
    """Exact for all traffic there is: every port, protocol and ICMP type that any rule tells from others."""
    pair = _census(before), _census(after)
    names: list[ClassName] = []
    changes: list[Change] = []
    for family in FAMILIES:
        if _lived_in(pair, family):
            _compare(_view(pair, family, None), names, changes)
    old, new = (set(found.residents) for found in pair)
    return Diff(classes=tuple(names), changes=tuple(changes), appeared=tuple(sorted(new - old)),
                vanished=tuple(sorted(old - new)))


def who_can(
    cluster: Graph | Census, whom: Collection[EndpointKey | str], protocol: int, port: int = 0, *,
    source_port: int = EPHEMERAL, families: Iterable[int] = FAMILIES,
) -> WhoCan:
    """Which classes reach these: workloads by their keys, addresses of the outside as they are. The sources are
    workloads, and for workloads the outside too."""
    found, wanted = _census(cluster), frozenset(whom)
    names: list[ClassName] = []
    reaches: list[Reach] = []
    targets: list[int] = []
    for family in families:
        ask = asked(protocol, port, family, source_port)
        if ask is not None and _lived_in((found,), family):
            view = _view((found,), family, None, apart=wanted)  # an address is a class of its own as well
            _ask_who(view, ask, wanted, names, reaches, targets)
    return WhoCan(port=port_text((protocol, port)), classes=tuple(names), destinations=tuple(targets),
                  reaches=tuple(reaches))


def staged_effect(graph: Graph) -> Diff:
    """What enforcing all staged policies at once would change."""
    return diff(census(graph), census(graph, enacted=True))


def staged_each(cluster: Graph | Census, most: int = 20) -> dict[PolicyId, Diff]:
    """What each of the staged policies would change, if it alone were enforced; of very many, the first."""
    found = _census(cluster)
    return {name: diff(found, enacting(found, name)) for name in staged_policies(found)[:most]}


def mentioned(cluster: Graph | Census, most: int = 12) -> list[Port]:
    """The ports that policies speak of, those of most rules first; what people would look at."""
    found = _census(cluster)
    counted: Counter[Port] = Counter()
    for rule in found.rules:
        protocol = rule.protocol
        if protocol in ICMP.values() or rule.icmp is not None:
            counted[ICMP[4], 0] += 1
            counted[ICMP[6], 0] += 1
        elif protocol in PROTOCOLS_WITH_PORTS:
            counted.update({(protocol, low): 1 for low, _ in rule.destination.ports if low})
            for name in rule.destination.named_ports:
                counted.update(_ports_named(found, found.definitions[name], protocol))
        elif protocol is not None:
            counted[protocol, 0] += 1
    chosen = [port for port, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]]
    return sorted(chosen) if chosen else [(PROTOCOL_NUMBERS["TCP"], 80), (ICMP[4], 0), (ICMP[6], 0)]


def _ports_named(found: Census, definition: SetDefinition, protocol: int) -> dict[Port, int]:
    """What a port's name means, anywhere."""
    return {(protocol, number): 1 for holders in found.holders.values() for _, ports in holders
            for name, of, number in ports if (name, of) == (definition.port, protocol)}


def port_text(port: Port) -> str:
    """`tcp/80`, `icmp`."""
    name = protocol_name(port[0]).lower()
    return f"{name}/{port[1]}" if port[0] in PROTOCOLS_WITH_PORTS else name


# --- one family -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _View:
    censuses: tuple[Census, ...]
    family: int
    classes: list[AddressClass]
    workloads: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.workloads = sum(1 << number for number, one in enumerate(self.classes) if not one.outside)

    def read(self, which: int, samples: Sequence[Sample]) -> Reading:
        return Reading(self.censuses[which], which, self.classes, samples, self.family)

    def alone(self, number: int) -> bool:
        """Has it nobody of its own kind to speak to?"""
        found = self.classes[number]
        return not found.outside and len({key for key, _ in found.members}) == 1

    def rules(self) -> Iterator[Rule]:
        return (rule for found in self.censuses for rule in found.rules)

    def named_ports(self) -> Iterator[Port]:
        return ((protocol, port) for found in self.classes for standing in found.standings
                for _, protocol, port in standing.ports)


def _lived_in(censuses: tuple[Census, ...], family: int) -> bool:
    """Has any workload an address of the family?"""
    return any(version_of(address) == family
               for each in censuses for one in each.residents.values() for address in one.addresses)


def _view(
    censuses: tuple[Census, ...], family: int, among: Collection[EndpointKey] | None,
    *, apart: frozenset[EndpointKey | str] = frozenset(),
) -> _View:
    nets = {net for found in censuses for rule in found.rules for net in _nets(rule)} | set(_hosts(apart))
    return _View(censuses, family, address_classes(censuses, nets, family, among=among, apart=apart))


def _fill(
    view: _View, asks: dict[Port, Sample], outside: bool, names: list[ClassName], reaches: list[Reach]
) -> None:
    reading = view.read(0, list(asks.values()))
    rows = _rows(reading, len(view.classes), len(asks))
    first, texts = len(names), [port_text(port) for port in asks]
    names += [class_name(view.censuses, found) for found in view.classes if outside or not found.outside]
    for source, found in enumerate(view.classes):
        if found.outside and not outside:
            break
        reachable = view.workloads if found.outside or not outside else reading.everybody
        if view.alone(source):
            reachable &= ~(1 << source)
        by_ports: dict[Mask, Mask] = {}
        _split(by_ports, [row[source] & reachable for row in rows])
        for ports, destinations in by_ports.items():
            reaches.append(Reach(
                source=first + source, ports=tuple(texts[number] for number in bits(ports)),
                destinations=tuple(first + number for number in bits(destinations)),
            ))


def _split(found: dict[Mask, Mask], rows: list[Mask]) -> None:
    """The same destinations grouped by the set of ports that they are reached by."""
    parts: list[tuple[Mask, Mask]] = []
    for number, row in enumerate(rows):
        left, split = row, []
        for ports, destinations in parts:
            both = destinations & row
            if both:
                split.append((ports | 1 << number, both))
            if destinations ^ both:
                split.append((ports, destinations ^ both))
            left &= ~destinations
        if left:
            split.append((1 << number, left))
        parts = split
    for ports, destinations in parts:
        found[ports] = found.get(ports, 0) | destinations


def _rows(reading: Reading, classes: int, sorts_asked: int) -> list[list[Mask]]:
    """For each sort of traffic, by source: the destinations that are reached."""
    outwards = [reading.egress(number) for number in range(classes)]
    inwards = [reading.ingress(number) for number in range(classes)]
    found = []
    for sort in range(sorts_asked):
        entering = transposed([_at(outcomes, sort) for outcomes in inwards], classes)
        found.append([_at(outcomes, sort) & entering[number] for number, outcomes in enumerate(outwards)])
    return found


def _at(outcomes: Outcomes, sort: int) -> Mask:
    return next(allowed for spoken, allowed in outcomes if spoken >> sort & 1)


def _ask_who(
    view: _View, ask: Sample, wanted: frozenset[EndpointKey | str], names: list[ClassName], reaches: list[Reach],
    targets: list[int],
) -> None:
    reading = view.read(0, [ask])
    first, hosts = len(names), set(_hosts(wanted))
    names += [class_name(view.censuses, found) for found in view.classes]
    chosen = [number for number, found in enumerate(view.classes) if any(key in wanted for key, _ in found.members)
              or (found.outside and not hosts.isdisjoint(found.region))]
    targets += [first + number for number in chosen]
    entering = {number: reading.ingress(number)[0][1] for number in chosen}
    text = port_text((ask.protocol, ask.port or 0))
    for source in range(len(view.classes)):
        if view.classes[source].outside and all(view.classes[number].outside for number in chosen):
            break
        leaving = reading.egress(source)[0][1]
        reached = tuple(first + number for number in chosen
                        if leaving >> number & 1 and entering[number] >> source & 1
                        and not (view.classes[source].outside and view.classes[number].outside)
                        and not (number == source and view.alone(source)))
        if reached:
            reaches.append(Reach(source=first + source, ports=(text,), destinations=reached))


# --- two censuses ---------------------------------------------------------------------------------------------------


def _compare(view: _View, names: list[ClassName], changes: list[Change]) -> None:
    traffic = sorts(view.rules(), view.named_ports(), view.family)
    samples = [sample(one) for one in traffic]
    old, new = (view.read(which, samples) for which in (0, 1))
    everyone = range(len(view.classes))
    leaving = [(old.egress(number), new.egress(number)) for number in everyone]
    entering = [(old.ingress(number), new.ingress(number)) for number in everyone]
    alike: dict[Pair, Mask] = {}
    for number, pair in enumerate(entering):
        alike[pair] = alike.get(pair, 0) | 1 << number
    found = [
        (source, tuple(bits(destinations)), gained, lost)
        for source, suspects in enumerate(_suspects(view, leaving, entering)) if suspects
        for destinations, gained, lost in _changed(source, leaving[source], suspects, alike)
    ]
    used = sorted({number for source, destinations, *_ in found for number in (source, *destinations)})
    index = {number: len(names) + place for place, number in enumerate(used)}
    names += [class_name(view.censuses, view.classes[number]) for number in used]
    words: dict[tuple[Mask, bool], tuple[tuple[str, ...], Sample | None]] = {}

    def told(mask: Mask, source: int) -> tuple[tuple[str, ...], Sample | None]:
        """In words, and a packet of it."""
        key = mask, not view.classes[source].outside
        if key not in words:
            words[key] = (traffic_texts(mask, traffic, of_workload=key[1]),
                          next((samples[number] for number in bits(mask)), None))
        return words[key]

    for source, destinations, gained, lost in found:
        (more, one_more), (less, one_less) = told(gained, source), told(lost, source)
        changes += [Change(source=index[source], destination=index[destination], gained=more, lost=less,
                           gained_sample=one_more, lost_sample=one_less) for destination in destinations]


Pair = tuple[Outcomes, Outcomes]


def _suspects(view: _View, leaving: list[Pair], entering: list[Pair]) -> Iterator[Mask]:
    """For each source, the destinations of which one end at least says something else than before of the other."""
    moved = [_moved(*pair) for pair in leaving]
    by_source = transposed([_moved(*pair) for pair in entering], len(view.classes))
    for source, found in enumerate(view.classes):
        reachable = view.workloads if found.outside else -1
        if view.alone(source):
            reachable &= ~(1 << source)
        yield (moved[source] | by_source[source]) & reachable


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


def _changed(
    source: int, leaving: Pair, suspects: Mask, alike: dict[Pair, Mask]
) -> Iterator[tuple[Mask, Mask, Mask]]:
    """(destinations, sorts gained, sorts lost). Destinations that let in alike, and that the source may send alike, are
    reckoned together; `alike` says which are the former."""
    parts = _parted([(suspects, 0, 0)], leaving[0], 1)
    parts = _parted(parts, leaving[1], 2)
    for pair, members in alike.items():
        if not members & suspects:
            continue
        in_before, in_after = (_bits_at(outcomes, source) for outcomes in pair)
        for destinations, out_before, out_after in parts:
            concerned = destinations & members
            before, after = out_before & in_before, out_after & in_after
            if concerned and before != after:
                yield concerned, after & ~before, before & ~after


def _parted(parts: list[tuple[Mask, Mask, Mask]], outcomes: Outcomes, place: int) -> list[tuple[Mask, Mask, Mask]]:
    """Split by what may be sent to whom; the sorts are gathered at `place`."""
    for spoken, allowed in outcomes:
        split = []
        for part in parts:
            inside = part[0] & allowed
            if inside:
                split.append((inside, part[1] | spoken, part[2]) if place == 1 else (inside, part[1], part[2] | spoken))
            if inside != part[0]:
                split.append((part[0] ^ inside, part[1], part[2]))
        parts = split
    return parts


def _bits_at(outcomes: Outcomes, number: int) -> Mask:
    """The sorts of traffic for which an end allows a class."""
    found = 0
    for spoken, allowed in outcomes:
        if allowed >> number & 1:
            found |= spoken
    return found


def _census(cluster: Graph | Census) -> Census:
    return cluster if isinstance(cluster, Census) else census(cluster)


def _hosts(ends: Iterable[str]) -> Iterator[Cidr]:
    """Of keys and addresses, the addresses, as prefixes. A key has a slash, no address has one."""
    return (host_cidr(end) for end in ends if "/" not in end)


def _nets(rule: Rule) -> Iterator[Cidr]:
    for match in (rule.source, rule.destination):
        yield from match.nets
        yield from match.not_nets


__all__ = [
    "Census", "Change", "ClassName", "Diff", "Matrix", "Reach", "WhoCan", "Whois", "census", "diff", "matrix",
    "staged_each", "staged_effect", "who_can", "whois",
]

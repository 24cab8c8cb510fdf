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
from collections.abc import Collection, Iterable, Sequence

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.definitions import SetDefinition
from muslin.explain.algebra import Outcomes, Reading, bits, transposed
from muslin.explain.census import Census, census, enacting, staged_policies
from muslin.explain.difference import Change, Diff, Group, compare
from muslin.explain.naming import ClassName, class_name
from muslin.explain.packet import EPHEMERAL, ICMP
from muslin.explain.spoken import Mask
from muslin.explain.traffic import Sample, asked
from muslin.explain.view import FAMILIES, Port, View, hosts_among, lived_in, view_of
from muslin.explain.whois import Whois, whois
from muslin.intent import EndpointKey, PolicyId
from muslin.net import PROTOCOL_NUMBERS, PROTOCOLS_WITH_PORTS, protocol_name


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
        if asks and lived_in((found,), family):
            view = view_of((found,), family, among)
            _fill(view, asks, outside, names, reaches)
    return Matrix(ports=tuple(map(port_text, ports)), classes=tuple(names), reaches=tuple(reaches))


def diff(before: Graph | Census, after: Graph | Census) -> Diff:
    """Exact for all traffic there is: every port, protocol and ICMP type that any rule tells from others. `changes` is
    matrix after minus matrix before."""
    pair = _census(before), _census(after)
    names: list[ClassName] = []
    groups: list[Group] = []
    for family in FAMILIES:
        if lived_in(pair, family):
            compare(view_of(pair, family), names, groups)
    old, new = (set(found.residents) for found in pair)
    return Diff(classes=tuple(names), groups=tuple(groups), appeared=tuple(sorted(new - old)),
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
        if ask is not None and lived_in((found,), family):
            view = view_of((found,), family, None, apart=wanted)  # an address is a class of its own as well
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


def _fill(
    view: View, asks: dict[Port, Sample], outside: bool, names: list[ClassName], reaches: list[Reach]
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
    view: View, ask: Sample, wanted: frozenset[EndpointKey | str], names: list[ClassName], reaches: list[Reach],
    targets: list[int],
) -> None:
    reading = view.read(0, [ask])
    first, hosts = len(names), set(hosts_among(wanted))
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


def _census(cluster: Graph | Census) -> Census:
    return cluster if isinstance(cluster, Census) else census(cluster)


__all__ = [
    "FAMILIES", "Census", "Change", "ClassName", "Diff", "Group", "Matrix", "Port", "Reach", "WhoCan", "Whois",
    "census", "diff", "matrix", "staged_each", "staged_effect", "who_can", "whois",
]

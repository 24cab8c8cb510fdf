"""Addresses that no rule can tell apart.

A rule looks at an address only to ask in which sets, in which prefixes and behind which port names it lies, and an
endpoint has one policy list in each direction. Two addresses for which all of that is the same are the same to the
whole cluster: they are one class. So are, of the rest of the world, all addresses that lie in the same prefixes and
network sets. Reckoning with two censuses at once (before and after a change) an address must be alike in both.

    workloads   numbered from 0; each address of a workload is in exactly one class
    outside     after them: regions of addresses that belong to no workload, each with one of them as sample
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from muslin.explain.census import Census, Gates, Holder
from muslin.intent import EndpointKey, GroupId, SetId
from muslin.net import Cidr, bounds, contains, is_host, version_of

PortName = tuple[SetId, int, int]
"""(port set, protocol, port)"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one census knows of a class. `present` False: these workloads are not there."""

    present: bool
    ingress: GroupId | None
    egress: GroupId | None
    sets: frozenset[SetId]
    ports: frozenset[PortName]
    gates: Gates | None = None


@dataclass(slots=True)
class AddressClass:
    """`standings`: one for each census. `nets`: the prefixes that rules name and that hold the addresses.
    `kinds`: of the workloads, for each census. `region`: outside, the prefixes that it is made of; `rest`: and all that
    nobody names."""

    family: int
    standings: tuple[Standing, ...]
    nets: frozenset[Cidr]
    sample: str
    members: list[tuple[EndpointKey, str]]
    kinds: list[set[int]]
    region: list[Cidr]
    rest: bool = False

    @property
    def outside(self) -> bool:
        return not self.members


def address_classes(
    censuses: Sequence[Census], nets: Iterable[Cidr], family: int, *, among: Collection[EndpointKey] | None = None,
    apart: Collection[str] = frozenset(),
) -> list[AddressClass]:
    """Workloads' classes first, in the order of the names of their members. `among`: classes of these workloads only.
    `apart`: these are never in one class with others."""
    reader = _Reader(censuses, nets, family)
    found: dict[Hashable, AddressClass] = {}
    for key in sorted({key for each in censuses for key in each.residents}):
        if among is None or key in among:
            for address in reader.addresses(key):
                reader.enter(found, key, address, key in apart)
    outside: dict[Hashable, AddressClass] = {}
    for region, sample in reader.regions():
        reader.enter_region(outside, region, sample)
    return [*found.values(), *outside.values()]


class _Reader:
    def __init__(self, censuses: Sequence[Census], nets: Iterable[Cidr], family: int) -> None:
        self._censuses = censuses
        self._family = family
        self._nets = PrefixIndex(net for net in nets if version_of(net) == family)
        self._prefixes = [PrefixIndex(net for net in each.prefixes if version_of(net) == family) for each in censuses]
        self._known: list[dict[Hashable, Standing]] = [{} for _ in censuses]

    def addresses(self, key: EndpointKey) -> list[Cidr]:
        """Of the family, in any census."""
        found: dict[Cidr, None] = {}
        for each in self._censuses:
            if key in each.residents:
                found.update((one, None) for one in each.residents[key].addresses if version_of(one) == self._family)
        return list(found)

    def enter(self, found: dict[Hashable, AddressClass], key: EndpointKey, address: Cidr, apart: bool) -> None:
        text = address.partition("/")[0]
        number = number_of(text)
        standings = tuple(self._standing(which, key, address, number) for which in range(len(self._censuses)))
        nets = self._nets.holding(number)
        alike = found.get((standings, nets, apart))
        if alike is None:
            alike = found[standings, nets, apart] = AddressClass(
                self._family, standings, frozenset(nets), text, [], [set() for _ in self._censuses], [])
        alike.members.append((key, text))
        for kinds, each in zip(alike.kinds, self._censuses, strict=True):
            if key in each.residents:
                kinds.add(each.residents[key].kind)

    def enter_region(self, found: dict[Hashable, AddressClass], region: Cidr | None, text: str) -> None:
        number = number_of(text)
        address = Cidr(f"{text}/{32 if self._family == 4 else 128}")
        standings = tuple(self._standing(which, None, address, number) for which in range(len(self._censuses)))
        nets = self._nets.holding(number)
        alike = found.get((standings, nets))
        if alike is None:
            alike = found[standings, nets] = AddressClass(
                self._family, standings, frozenset(nets), text, [], [set() for _ in self._censuses], [])
        if region is None:
            alike.rest = True
        elif not alike.region or not contains(alike.region[-1], region):
            alike.region.append(region)

    def regions(self) -> Iterator[tuple[Cidr | None, str]]:
        """Every prefix that anybody names, without those inside it, and the rest of the world (None), in the order of
        their first addresses; empty ones left out."""
        taken = {address for each in self._censuses for one in each.residents.values() for address in one.addresses}
        named = {*self._nets, *(net for index in self._prefixes for net in index)}
        named |= {address for each in self._censuses for address in each.holders
                  if version_of(address) == self._family and address not in taken}
        whole = Cidr("0.0.0.0/0" if self._family == 4 else "::/0")
        for prefix, inside in _nested({*named, whole}):
            sample = _free(prefix, inside, taken)
            if sample is not None:
                yield (None if prefix == whole and whole not in named else prefix), sample

    def _standing(self, which: int, key: EndpointKey | None, address: Cidr, number: int) -> Standing:
        census = self._censuses[which]
        resident = census.residents.get(key) if key is not None else None
        present = key is None or (resident is not None and address in resident.addresses)
        holders = (*census.holders.get(address, ()),
                   *(one for net in self._prefixes[which].holding(number) for one in census.prefixes[net]))
        asked = present and resident is not None
        own = census.kinds[resident.kind] if asked and resident is not None else None
        pair = (own.ingress, own.egress) if own is not None else (None, None)
        gates = census.gates.get(resident.host) if asked and resident is not None and census.gates else None
        seen = self._known[which]
        known = seen.get((present, pair, holders, gates))
        if known is None:
            known = replace(_of_holders(census, present, pair, holders), gates=gates)
            known = seen[present, pair, holders, gates] = seen.setdefault(known, known)
        return known


def _of_holders(
    census: Census, present: bool, pair: tuple[GroupId | None, GroupId | None], holders: tuple[Holder, ...]
) -> Standing:
    sets: set[SetId] = set()
    ports: set[PortName] = set()
    for kind, named in holders:
        for set_id in census.kinds[kind].sets:
            definition = census.definitions[set_id]
            if not definition.port and not definition.with_ports:
                sets.add(set_id)
            ports.update((set_id, protocol, number) for name, protocol, number in named
                         if definition.with_ports or (name, protocol) == (definition.port, definition.protocol))
    return Standing(present, *pair, frozenset(sets), frozenset(ports))


class PrefixIndex:
    """Which of a few lists of prefixes hold an address: one look-up for each length that occurs."""

    def __init__(self, nets: Iterable[Cidr]) -> None:
        self._by_length: dict[int, dict[int, Cidr]] = {}
        for net in nets:
            address, _, length = net.partition("/")
            shift = (128 if ":" in net else 32) - int(length)
            self._by_length.setdefault(shift, {})[number_of(address) >> shift] = net

    def holding(self, number: int) -> tuple[Cidr, ...]:
        return tuple(
            found for shift, table in self._by_length.items() if (found := table.get(number >> shift)) is not None)

    def __iter__(self) -> Iterator[Cidr]:
        return (net for table in self._by_length.values() for net in table.values())


def number_of(address: str) -> int:
    """Canonical text to number, without the 2 us that `ipaddress` takes for the most common ones."""
    if ":" in address:
        return int(ipaddress.IPv6Address(address))
    first, second, third, fourth = address.split(".")
    return int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)


def _nested(prefixes: set[Cidr]) -> Iterator[tuple[Cidr, list[Cidr]]]:
    """(prefix, the largest of the others inside it)"""
    ordered = sorted(prefixes, key=lambda net: (bounds(net)[1], -bounds(net)[2]))
    inside: dict[Cidr, list[Cidr]] = {net: [] for net in ordered}
    above: list[Cidr] = []
    for net in ordered:
        while above and bounds(above[-1])[2] < bounds(net)[1]:
            above.pop()
        if above:
            inside[above[-1]].append(net)
        above.append(net)
    yield from inside.items()


def _free(prefix: Cidr, inside: list[Cidr], taken: set[Cidr]) -> str | None:
    """An address of the prefix that is in none of these and no workload's: the last of the first gap that has one."""
    version, low, last = bounds(prefix)
    if is_host(prefix):
        return None if prefix in taken else prefix.partition("/")[0]
    gaps = []
    for net in inside:
        _, first, beyond = bounds(net)
        gaps.append((low, first - 1))
        low = beyond + 1
    for first, end in (*gaps, (low, last)):
        for number in range(end, first - 1, -1):
            text = str(ipaddress.IPv6Address(number) if version == 6 else ipaddress.IPv4Address(number))
            if f"{text}/{128 if version == 6 else 32}" not in taken:
                return text
    return None

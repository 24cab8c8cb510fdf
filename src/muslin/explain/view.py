"""One or two censuses seen in one family of addresses: the classes that `cluster` and `difference` reckon with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from muslin.explain.algebra import Reading
from muslin.explain.census import Census
from muslin.explain.classes import AddressClass, address_classes
from muslin.explain.spoken import Mask
from muslin.explain.traffic import Sample
from muslin.intent import EndpointKey, Rule
from muslin.net import Cidr, host_cidr, version_of

FAMILIES = (4, 6)
Port = tuple[int, int]
"""(protocol, destination port); the port is 0 for protocols without ports."""


@dataclass(slots=True)
class View:
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


def lived_in(censuses: tuple[Census, ...], family: int) -> bool:
    """Has any workload an address of the family?"""
    return any(version_of(address) == family
               for each in censuses for one in each.residents.values() for address in one.addresses)


def view_of(
    censuses: tuple[Census, ...], family: int, among: Collection[EndpointKey] | None = None,
    *, apart: frozenset[EndpointKey | str] = frozenset(),
) -> View:
    """`among`: classes of these workloads only. `apart`: each of these is a class of its own."""
    nets = {net for found in censuses for rule in found.rules for net in _nets(rule)} | set(hosts_among(apart))
    return View(censuses, family, address_classes(censuses, nets, family, among=among, apart=apart))


def hosts_among(ends: Iterable[str]) -> Iterator[Cidr]:
    """Of keys and addresses, the addresses, as prefixes. A key has a slash, no address has one."""
    return (host_cidr(end) for end in ends if "/" not in end)


def _nets(rule: Rule) -> Iterator[Cidr]:
    for match in (rule.source, rule.destination):
        yield from match.nets
        yield from match.not_nets

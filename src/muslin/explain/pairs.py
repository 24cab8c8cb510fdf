"""Many questions to one cluster: what passes from one class of addresses to another, asked as often as one likes.

`matrix` and `diff` answer once and for all. Whoever has a thousand expectations asks each about a few pairs only. So
the classes and the sorts of traffic are made once, what an end says is worked out when it is first asked, and a pair is
two look-ups. `nets`: prefixes and addresses that the questions are about, so that no class lies across their edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muslin.explain.algebra import Mask, Outcomes, Reading, bits
from muslin.explain.census import Census
from muslin.explain.classes import AddressClass, address_classes
from muslin.explain.packet import EPHEMERAL, ICMP, Packet
from muslin.explain.traffic import ECHO_REQUEST, LAST_PORT, Traffic, sample, sorts
from muslin.explain.walk import IP_IN_IP, VXLAN_PORT
from muslin.intent import Rule
from muslin.net import PROTOCOL_NUMBERS, Cidr


class Pairs:
    """One family of one census. Classes go by their numbers in `classes`, sorts of traffic by theirs in `traffic`."""

    def __init__(self, census: Census, family: int, nets: Iterable[Cidr] = (), more: Iterable[Rule] = ()) -> None:
        """`more`: rules that tell packets apart and are in no policy."""
        rules = [*census.rules, *more]
        spoken = {net for rule in rules for match in (rule.source, rule.destination)
                  for net in (*match.nets, *match.not_nets)}
        self.family = family
        self.classes: list[AddressClass] = address_classes((census,), spoken | set(nets), family)
        named = {(protocol, port) for found in self.classes for standing in found.standings
                 for _, protocol, port in standing.ports}
        self.traffic: list[Traffic] = sorts(rules, named, family)
        self._reading = Reading(census, 0, self.classes, [sample(one) for one in self.traffic], family)
        self._leaving: dict[int, Outcomes] = {}
        self._entering: dict[int, Outcomes] = {}
        self._senders: dict[int, Mask] = {}

    @property
    def everything(self) -> Mask:
        return (1 << len(self.traffic)) - 1

    @property
    def tunnels(self) -> Mask:
        """Sorts that no policy can allow a workload to send."""
        return self._mask(number for number, one in enumerate(self.traffic) if one.protocol == IP_IN_IP or (
            one.protocol == PROTOCOL_NUMBERS["UDP"] and one.ports == ((VXLAN_PORT, VXLAN_PORT),)))

    def passing(self, source: int, destination: int) -> Mask:
        """The sorts of traffic that pass."""
        out = _at(self._left(source), destination)
        return out & _at(self._entered(destination), source) if out else 0

    def senders(self, destination: int) -> Mask:
        """Classes that the destination's own policy lets in with something; others need not be asked."""
        found = self._senders.get(destination)
        if found is None:
            found = 0
            for _, allowed in self._entered(destination):
                found |= allowed
            self._senders[destination] = found
        return found

    def ports(self, protocol: int, first: int, last: int, *, every: bool) -> Mask:
        """Sorts of a protocol with some port from `first` to `last`. Not `every`: from a port that a client has."""
        return self._mask(number for number, one in enumerate(self.traffic)
                          if one.protocol == protocol and any(low <= last and first <= high for low, high in one.ports)
                          and (every or any(low <= EPHEMERAL <= high for low, high in one.source_ports)))

    def pings(self, *, every: bool) -> Mask:
        """Sorts of the family's ICMP. Not `every`: an echo request."""
        echo = ECHO_REQUEST[self.family]
        mine = [(number, one.icmp) for number, one in enumerate(self.traffic) if one.protocol == ICMP[self.family]]
        exact = [number for number, icmp in mine if icmp == (echo, 0)]
        return self._mask(number for number, icmp in mine
                          if every or (number in exact if exact else icmp == (echo, None)))

    def protocol(self, number: int) -> Mask:
        """Sorts of a protocol; of one that no rule names, those of all such."""
        found = self._mask(at for at, one in enumerate(self.traffic) if one.protocol == number)
        return found or self._mask(at for at, one in enumerate(self.traffic) if one.protocol is None)

    def packet(self, sort: int, source: str, destination: str, first: int = 0, last: int = LAST_PORT) -> Packet:
        """One of the sort, with a port from `first` to `last` if it has any there."""
        traffic = self.traffic[sort]
        one = sample(traffic)
        port = next((max(low, first) for low, high in traffic.ports if low <= last and first <= high), one.port)
        kind, code = one.icmp or (None, 0)
        return Packet(source, destination, one.protocol, port or 0, one.source_port or EPHEMERAL, kind, code)

    def _left(self, number: int) -> Outcomes:
        if number not in self._leaving:
            self._leaving[number] = self._reading.egress(number)
        return self._leaving[number]

    def _entered(self, number: int) -> Outcomes:
        if number not in self._entering:
            self._entering[number] = self._reading.ingress(number)
        return self._entering[number]

    def _mask(self, numbers: Iterator[int]) -> Mask:
        found = 0
        for number in numbers:
            found |= 1 << number
        return found


def _at(outcomes: Outcomes, number: int) -> Mask:
    found = 0
    for spoken, allowed in outcomes:
        if allowed >> number & 1:
            found |= spoken
    return found


__all__ = ["Pairs", "bits"]

"""For which sorts of traffic does a rule speak? Its protocol, ports and ICMP type, apart from any address.

Asked of every rule and every sort, so each condition is worked out once, as a number with a bit for each sort.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from muslin.explain.packet import ICMP
from muslin.explain.traffic import Sample
from muslin.explain.walk import IP_IN_IP, VXLAN_PORT
from muslin.intent import Icmp, Match, Rule
from muslin.net import PROTOCOL_NUMBERS

Mask = int
"""A set of classes, or of sorts of traffic: one bit each."""
Ranges = tuple[tuple[int, int], ...]


class PortLine:
    """Sorts by one of their two ports."""

    def __init__(self, ports: Sequence[int | None]) -> None:
        self._at: dict[int, Mask] = {}
        for number, port in enumerate(ports):
            if port is not None:
                self._at[port] = self._at.get(port, 0) | 1 << number
        self._sorted = sorted(self._at)
        self._known: dict[Ranges, Mask] = {}

    def at(self, port: int) -> Mask:
        return self._at.get(port, 0)

    def within(self, ranges: Ranges) -> Mask:
        """Sorts whose port is in one of the ranges; what has no ports is in none."""
        found = self._known.get(ranges)
        if found is None:
            found = 0
            for low, high in ranges:
                for port in self._sorted[bisect_left(self._sorted, low):bisect_right(self._sorted, high)]:
                    found |= self._at[port]
            self._known[ranges] = found
        return found


class Spoken:
    """Of these sorts, in one family."""

    def __init__(self, samples: Sequence[Sample], family: int) -> None:
        self.samples = samples
        self.everything: Mask = (1 << len(samples)) - 1
        self.source = PortLine([one.source_port for one in samples])
        self.destination = PortLine([one.port for one in samples])
        self.tunnels = mask_of(number for number, one in enumerate(samples) if _is_tunnel(one))
        self._family = family
        self._protocols: dict[int, Mask] = {}
        for number, one in enumerate(samples):
            self._protocols[one.protocol] = self._protocols.get(one.protocol, 0) | 1 << number
        self._icmp: dict[Icmp, Mask] = {}

    def of_protocol(self, protocol: int) -> Mask:
        return self._protocols.get(protocol, 0)

    def by(self, rule: Rule) -> Mask:
        """Those that the rule may speak of, as far as no port name has a say."""
        if rule.ip_version not in (None, self._family):
            return 0
        found = self.everything
        if rule.protocol is not None:
            found &= self.of_protocol(rule.protocol)
        if rule.not_protocol is not None:
            found &= ~self.of_protocol(rule.not_protocol)
        if rule.icmp is not None:
            found &= self._of_icmp(rule.icmp)
        if rule.not_icmp is not None:
            found &= ~self._of_icmp(rule.not_icmp)
        return found & _numbers(rule.source, self.source, found) & _numbers(rule.destination, self.destination, found)

    def _of_icmp(self, icmp: Icmp) -> Mask:
        found = self._icmp.get(icmp)
        if found is None:
            found = self._icmp[icmp] = mask_of(
                number for number, one in enumerate(self.samples)
                if one.protocol == ICMP[self._family] and one.icmp is not None
                and one.icmp[0] == icmp.type and icmp.code in (None, one.icmp[1]))
        return found


def _numbers(match: Match, line: PortLine, every: Mask) -> Mask:
    """Ports given as numbers; where there are names beside them, the names may still hold."""
    found = every
    if match.ports and not match.named_ports:
        found &= line.within(match.ports)
    if match.not_ports:
        found &= ~line.within(match.not_ports)
    return found


def mask_of(numbers: Iterable[int]) -> Mask:
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def _is_tunnel(sample: Sample) -> bool:
    return sample.protocol == IP_IN_IP or (
        sample.protocol == PROTOCOL_NUMBERS["UDP"] and sample.port == VXLAN_PORT)

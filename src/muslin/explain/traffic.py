"""Packets that no rule can tell apart: of all there are, a few dozen sorts.

Rules speak of protocols, ranges of ports and types of ICMP. Cut the ports of a protocol wherever a range begins or
ends, and lay together again what lies in the same ranges: within such a sort every rule says the same of every packet,
so that one sample of each answers for all. "Any other port" and "any other protocol" are sorts like the rest. That
makes a comparison exact where asking for some ports would only be a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from muslin.explain.packet import EPHEMERAL, ICMP
from muslin.explain.walk import IP_IN_IP, VXLAN_PORT
from muslin.intent import Icmp, Rule
from muslin.net import PROTOCOL_NUMBERS, PROTOCOLS_WITH_PORTS, protocol_name

Range = tuple[int, int]
Ranges = tuple[Range, ...]
LAST_PORT = 65535
ECHO_REQUEST = {4: 8, 6: 128}
_UDP = PROTOCOL_NUMBERS["UDP"]
_EVERY_PORT: Ranges = ((0, LAST_PORT),)


class Traffic(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sort of packets, by all that rules can ask but addresses. `protocol` None: every one that no rule names, of
    which `sample_protocol` is one. `icmp`: (type, code), None for any other."""

    protocol: int | None
    ports: Ranges = ()
    source_ports: Ranges = _EVERY_PORT
    icmp: tuple[int | None, int | None] | None = None
    sample: tuple[int, int] = (0, 0)
    """(protocol, ICMP type) and code of one such packet, where they are not given."""

    def __str__(self) -> str:
        if self.protocol is None:
            return "any other protocol"
        name = protocol_name(self.protocol).lower()
        if self.icmp is not None:
            kind, code = self.icmp
            if kind is None:
                return f"any other {name}"
            return f"{name} type {kind}" + ("" if code is None else f" code {code}")
        if not self.ports:
            return name
        text = name if self.ports == _EVERY_PORT else f"{name}/{_ranges_text(self.ports)}"
        return text if self.source_ports == _EVERY_PORT else f"{text} from {_ranges_text(self.source_ports)}"


class Sample(NamedTuple):
    """One packet of a sort, without its addresses."""

    protocol: int
    port: int | None = None
    source_port: int | None = None
    icmp: tuple[int, int] | None = None


def asked(protocol: int, port: int, family: int, source_port: int = EPHEMERAL) -> Sample | None:
    """A question for one port. ICMP is an echo request of its own family, and no question in the other one."""
    if protocol in PROTOCOLS_WITH_PORTS:
        return Sample(protocol, port, source_port)
    if protocol == ICMP[10 - family]:
        return None
    return Sample(protocol, icmp=(ECHO_REQUEST[family], 0) if protocol == ICMP[family] else None)


def sample(traffic: Traffic) -> Sample:
    protocol = traffic.sample[0] if traffic.protocol is None else traffic.protocol
    if traffic.icmp is not None:
        return Sample(protocol, icmp=traffic.sample)
    if not traffic.ports:
        return Sample(protocol)
    source = next((EPHEMERAL for low, high in traffic.source_ports if low <= EPHEMERAL <= high),
                  traffic.source_ports[0][0])
    first = traffic.ports[0]
    return Sample(protocol, first[0] or min(1, first[1]), source)  # port 0 is a port to rules, and to nobody else


def sorts(rules: Iterable[Rule], named: Iterable[tuple[int, int]], family: int) -> list[Traffic]:
    """All sorts of packets of a family that these rules tell apart. `named`: (protocol, port) that port names mean."""
    rules, named = list(rules), sorted(set(named))
    found: list[Traffic] = []
    for protocol in sorted(PROTOCOLS_WITH_PORTS):
        found += _with_ports(protocol, rules, [port for of, port in named if of == protocol])
    found += _icmp(rules, family)
    plain = {protocol for rule in rules for protocol in (rule.protocol, rule.not_protocol) if protocol is not None}
    plain |= {IP_IN_IP, ICMP[10 - family]}
    plain -= {*PROTOCOLS_WITH_PORTS, ICMP[family]}
    found += [Traffic(protocol) for protocol in sorted(plain)]
    taken = {*plain, *PROTOCOLS_WITH_PORTS, ICMP[family]}
    other = next((number for number in (253, *range(256)) if number not in taken), None)
    if other is not None:
        found.append(Traffic(None, sample=(other, 0)))
    return found


def _with_ports(protocol: int, rules: list[Rule], named: list[int]) -> Iterator[Traffic]:
    concerned = [rule for rule in rules if rule.protocol in (None, protocol)]
    to = {ranges for rule in concerned for ranges in (rule.destination.ports, rule.destination.not_ports) if ranges}
    by = {ranges for rule in concerned for ranges in (rule.source.ports, rule.source.not_ports) if ranges}
    if any(rule.source.named_ports or rule.source.not_named_ports for rule in concerned):
        by |= {((port, port),) for port in named}
    to |= {((port, port),) for port in named}
    if protocol == _UDP:
        to.add(((VXLAN_PORT, VXLAN_PORT),))
    for ports in _partition(to):
        for source_ports in _partition(by):
            yield Traffic(protocol, ports, source_ports)


def _partition(conditions: set[Ranges]) -> list[Ranges]:
    """The ports, laid together where all conditions say the same; in the order of their first port."""
    cuts = sorted({0, *(edge for ranges in conditions for low, high in ranges for edge in (low, high + 1))})
    opens: dict[int, list[int]] = {}
    closes: dict[int, list[int]] = {}
    for number, ranges in enumerate(conditions):
        for low, high in _merged(ranges):
            opens.setdefault(low, []).append(number)
            closes.setdefault(high + 1, []).append(number)
    inside: set[int] = set()
    found: dict[frozenset[int], list[Range]] = {}
    for low, beyond in zip(cuts, [*cuts[1:], LAST_PORT + 1], strict=True):
        inside.difference_update(closes.get(low, ()))
        inside.update(opens.get(low, ()))
        if low <= LAST_PORT:
            found.setdefault(frozenset(inside), []).append((low, min(beyond - 1, LAST_PORT)))
    return [_merged(tuple(ranges)) for ranges in found.values()]


def _merged(ranges: Ranges) -> Ranges:
    """Sorted, without overlaps."""
    done: list[Range] = []
    for low, high in sorted(ranges):
        if done and low <= done[-1][1] + 1:
            done[-1] = (done[-1][0], max(high, done[-1][1]))
        else:
            done.append((low, high))
    return tuple(done)


def _icmp(rules: list[Rule], family: int) -> Iterator[Traffic]:
    """Each type, and each code of a type, that rules speak of; then all other types."""
    spoken: dict[int, set[int]] = {}
    for rule in rules:
        for icmp in (rule.icmp, rule.not_icmp):
            if icmp is not None:
                _note(spoken, icmp)
    protocol = ICMP[family]
    _note(spoken, Icmp(type=ECHO_REQUEST[family]))
    for kind, codes in sorted(spoken.items()):
        for code in sorted(codes):
            yield Traffic(protocol, icmp=(kind, code), sample=(kind, code))
        other = next((code for code in range(256) if code not in codes), None)
        if other is not None:
            yield Traffic(protocol, icmp=(kind, None), sample=(kind, other))
    rest = next((kind for kind in range(256) if kind not in spoken), None)
    if rest is not None:
        yield Traffic(protocol, icmp=(None, None), sample=(rest, 0))


def _note(spoken: dict[int, set[int]], icmp: Icmp) -> None:
    codes = spoken.setdefault(icmp.type, set())
    if icmp.code is not None:
        codes.add(icmp.code)


def _ranges_text(ranges: Ranges) -> str:
    return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in ranges)

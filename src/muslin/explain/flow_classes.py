"""Flows that the rules of one group cannot tell apart get one answer.

One answer with all its steps costs 0.1 ms, a host may have 100,000 flows. But whatever a rule asks of a packet is its
family and protocol, in which of the rule's prefixes and sets its two addresses are, between which of its ports its two
ports lie. So an address becomes the mask of the lists that hold it, a port the number of the gap between the ports
that are named, and only the first flow of each class is walked through the group.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Set
from functools import lru_cache, partial

import msgspec

from muslin.explain.decision import Outcome, Step
from muslin.explain.packet import Facts, Packet, facts_of
from muslin.explain.walk import VXLAN_PORT, egress_steps, group_steps
from muslin.intent import (
    AddressSet,
    Direction,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Match,
    Origin,
    PortSet,
    Rule,
    SetId,
)
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, TrackedFlow

_ICMP = (1, 58)
_HOSTS_ONLY = [32]

Lengths = dict[SetId, tuple[Set[object], frozenset[str]]]
"""Of the prefixes in each set, with the members that they were read from: to be kept from one judge to the next."""


class Denial(msgspec.Struct, frozen=True):
    """Who denies the flow now, and by which line."""

    endpoint: EndpointKey
    direction: Direction
    origin: Origin


class Bench:
    """One group, and the classes of flows that it cannot tell apart. `sends`: of a workload, which sends no tunnels."""

    def __init__(self, intent: HostIntent, group: GroupId, direction: Direction, lengths: Lengths, *,
                 sends: bool) -> None:
        self._intent = intent
        self._group = group
        self._direction = direction
        self._steps = egress_steps if sends else partial(_steps, direction)
        rules = tuple(_rules(intent, intent.groups.get(group), direction))
        sides = [side for rule in rules for side in (rule.source, rule.destination)]
        nets = {nets for side in sides for nets in (side.nets, side.not_nets) if nets}
        sets = {name for side in sides for name in (*side.sets, *side.not_sets) if _is(AddressSet, name, intent)}
        ports = {name for side in sides for name in (*side.named_ports, *side.not_named_ports)
                 if _is(PortSet, name, intent)}
        self._lists: list[Set[object]] = [frozenset(each) for each in sorted(nets)]
        self._lists += [intent.sets[name].members for name in sorted(sets)]
        self._numbered = [(1 << number, members) for number, members in enumerate(self._lists)]
        self._port_sets = [intent.sets[name].members for name in sorted(ports)]
        self._gaps = _gaps(sides)
        suffixes = {suffix(net) for each in nets for net in each}
        self._lengths = lengths_of(suffixes.union(*(_suffixes(name, intent, lengths) for name in sets)))
        self._masks: dict[bytes, int] = {}
        self._answers: dict[tuple[object, ...], tuple[Outcome, Origin]] = {}

    def denial(self, flow: TrackedFlow, endpoint: EndpointKey) -> Denial | None:
        outcome, origin = self.answer(flow)
        return Denial(endpoint, self._direction, origin) if outcome is Outcome.DENY else None

    def answer(self, flow: TrackedFlow) -> tuple[Outcome, Origin]:
        """Of the class that the flow belongs to."""
        protocol, source, source_port, _, _, receiver, port, _, _, _ = flow
        masks = self._masks
        mask, other = masks.get(source), masks.get(receiver)
        if mask is None:
            mask = masks[source] = self._mask(source)
        if other is None:
            other = masks[receiver] = self._mask(receiver)
        key: tuple[object, ...]
        if protocol in _ICMP:
            key = len(source), protocol, mask, other, port
        else:
            key = (len(source), protocol, mask, other, bisect_right(self._gaps, source_port),
                   bisect_right(self._gaps, port), self._named(flow) if self._port_sets else ())
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._ask(flow)
        return answer

    def _mask(self, address: bytes) -> int:
        """Which of the lists hold it."""
        if not self._lists:
            return 0
        lengths = self._lengths[len(address)]
        if lengths == _HOSTS_ONLY and len(address) == 4:
            host = "%d.%d.%d.%d/32" % tuple(address)  # noqa: UP031 (half the time of an f-string)
            return sum(bit for bit, members in self._numbered if host in members)
        around = within(address, lengths)
        return sum(bit for bit, members in self._numbered if not around.isdisjoint(members))

    def _named(self, flow: TrackedFlow) -> tuple[bool, ...]:
        if flow.protocol not in PROTOCOLS_WITH_PORTS:
            return ()
        ends = [(Cidr(f"{text(address)}/{len(address) * 8}"), flow.protocol, port)
                for address, port in ((flow.source, flow.source_port), (flow.receiver, flow.receiver_port))]
        return tuple(end in members for members in self._port_sets for end in ends)

    def _ask(self, flow: TrackedFlow) -> tuple[Outcome, Origin]:
        *_, last = self._steps(self._intent, self._group, facts_of(first_packet(flow)))
        return last.outcome, last.origin or Origin(kind="Group", name=self._group, direction=self._direction)


def _steps(direction: Direction, intent: HostIntent, group: GroupId, facts: Facts) -> Iterator[Step]:
    return group_steps(intent, group, direction, facts)


def first_packet(flow: TrackedFlow) -> Packet:
    """As policy sees it: behind the translation of its destination, before that of its source."""
    source, receiver = text(flow.source), text(flow.receiver)
    if flow.protocol in _ICMP:
        return Packet(source, receiver, flow.protocol, icmp_type=flow.receiver_port >> 8,
                      icmp_code=flow.receiver_port & 0xFF)
    return Packet(source, receiver, flow.protocol, flow.receiver_port, flow.source_port)


def packed(address: str) -> bytes:
    """Of an address with or without a length."""
    return _packed(address.partition("/")[0])


@lru_cache(maxsize=8192)
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def text(address: bytes) -> str:
    if len(address) == 4:  # `ipaddress` takes 2 us for it
        return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}"
    return str(ipaddress.IPv6Address(address))


def _rules(intent: HostIntent, group: Group | None, direction: Direction) -> Iterator[Rule]:
    """Of a group that is there. What is missing denies whatever the flow: then there is but one class."""
    if group is None:
        return
    for name in (*(name for stage in group.stages for name in stage.policies), *group.profiles):
        policy = intent.policies.get(name)
        if policy is not None:
            yield from policy.ingress if direction is Direction.INGRESS else policy.egress


def _gaps(sides: Iterable[Match]) -> list[int]:
    """Where a port begins to be another one to the rules, and to the host, which lets no tunnel out."""
    ranges = {ports for side in sides for ports in (*side.ports, *side.not_ports)} | {(VXLAN_PORT, VXLAN_PORT)}
    return sorted({first for first, _ in ranges} | {last + 1 for _, last in ranges})


def _is(sort: type[AddressSet | PortSet], name: SetId, intent: HostIntent) -> bool:
    """A set that is missing, or of the wrong sort, denies all that come to the rule: no class depends on it."""
    return isinstance(intent.sets.get(name), sort)


def suffix(net: str) -> str:
    """`/24`"""
    return net[net.index("/") :]


def _suffixes(name: SetId, intent: HostIntent, known: Lengths) -> frozenset[str]:
    """Of a set's members; read once for each content, which may be 100,000 of them."""
    members: Set[object] = intent.sets[name].members
    if name not in known or known[name][0] is not members:
        known[name] = members, frozenset(map(suffix, map(str, members)))
    return known[name][1]


def lengths_of(suffixes: Iterable[str]) -> dict[int, list[int]]:
    """The lengths of prefixes that may occur, by the length of a packed address. One too many does no harm."""
    found = sorted({int(each[1:]) for each in suffixes})
    return {4: [length for length in found if length <= 32], 16: found}


def within(address: bytes, lengths: Iterable[int]) -> frozenset[Cidr]:
    """The prefixes of these lengths that hold the address."""
    width = len(address) * 8
    number, found = int.from_bytes(address, "big"), []
    for length in lengths:
        rest = width - length
        base = (number >> rest << rest).to_bytes(width // 8, "big") if rest else address
        found.append(Cidr(f"{text(base)}/{length}"))
    return frozenset(found)

"""Flows that conntrack lets through because policy allowed them once: which of them would it deny today?

A host may have 100,000, and must know within a second. One answer with all its steps costs 0.1 ms. But flows are alike:
whatever a rule asks of a packet is its family and protocol, in which of the rule's prefixes and sets its two addresses
are, between which of its ports its two ports lie. Flows that agree in all of it, as far as the rules of one group ask,
get one answer. So an address becomes the mask of the lists that hold it, a port the number of the gap between the
ports that are named, and only the first flow of each class is walked through the group.

Asked is what a first packet would be asked now, in the flow's own direction, as policy sees it (`net.flow`), at every
gate of `intent.endpoint` that knows flows. Conntrack does not say by which interfaces a flow goes: `ways` does.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache, partial
from types import MappingProxyType

import msgspec

from muslin.explain.decision import Outcome, Step
from muslin.explain.failsafe import is_failsafe
from muslin.explain.journey import cover
from muslin.explain.packet import Facts, Packet, facts_of
from muslin.explain.path import to_host
from muslin.explain.walk import VXLAN_PORT, egress_steps, group_steps
from muslin.intent import (
    ALL_INTERFACES,
    Action,
    AddressSet,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    Match,
    Origin,
    PortSet,
    Rule,
    SetId,
)
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, TrackedFlow

_ICMP = (1, 58)
_HOSTS_ONLY = [32]
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS

Lengths = dict[SetId, tuple[Set[object], frozenset[str]]]
"""Of the prefixes in each set, with the members that they were read from: to be kept from one judge to the next."""


NO_WAYS: Mapping[bytes, str] = MappingProxyType({})


class Denial(msgspec.Struct, frozen=True):
    """Who denies the flow now, and by which line."""

    endpoint: EndpointKey
    direction: Direction
    origin: Origin


class Judge:
    """Of one intent, which must not change meanwhile. `own`: the host's own addresses, packed. `ways`: by which of the
    host's interfaces it reaches an address; needed only where an interface is covered by name."""

    def __init__(self, intent: HostIntent, own: Set[bytes] = frozenset(), ways: Mapping[bytes, str] = NO_WAYS,
                 lengths: Lengths | None = None) -> None:
        self._intent = intent
        self._own = own
        self._ways = ways
        self._set_lengths: Lengths = lengths if lengths is not None else {}
        self._senders: dict[GroupId, _Bench] = {}
        self._others: dict[tuple[GroupId, Direction], _Bench] = {}
        self._receivers: dict[GroupId, _Bench] = {}
        self._covers: dict[str, HostInterface | None] = {}
        covered = intent.host_interfaces.values()
        self._forwards = any(one.pre_dnat or one.forward_ingress or one.forward_egress for one in covered)
        self._by_name = any(one.interface != ALL_INTERFACES for one in covered)
        self._holders: dict[bytes, Endpoint] = {}
        self._ranges: dict[Cidr, Endpoint] = {}
        for _, endpoint in sorted(intent.endpoints.items(), reverse=True):  # of two with one address the smaller key
            self._holders.update((packed(address), endpoint) for address in endpoint.addresses)
            self._ranges.update((prefix, endpoint) for prefix in endpoint.spoofable)
        self._lengths = _lengths(suffix(prefix) for prefix in self._ranges)
        settings = intent.settings
        self._failsafes = {
            INGRESS: {(protocol, port) for protocol, port, _ in settings.failsafe_inbound},
            EGRESS: {(protocol, port) for protocol, port, _ in settings.failsafe_outbound},
        }

    def denial(self, flow: TrackedFlow) -> Denial | None:
        """None: it may go on, or nobody of us is asked."""
        flow = flow.parent or flow
        from_host, to_host = flow.source in self._own, flow.receiver in self._own
        if to_host:
            return None if from_host else self._inwards(flow)
        if from_host:
            return self._outwards(flow)
        return self._through(flow) if self._forwards else self._by_workloads(flow)

    def _by_workloads(self, flow: TrackedFlow) -> Denial | None:
        """Their groups: all there is to ask on most hosts, a hundred thousand times."""
        sender, receiver = self._endpoint(flow.source), self._holders.get(flow.receiver)
        if sender is not None:
            bench = self._senders.get(sender.egress) or self._sender_bench(sender.egress)
            denial = bench.denial(flow, sender.key)
            if denial is not None or receiver is None:
                return denial
        if receiver is None:
            return None
        bench = self._receivers.get(receiver.ingress) or self._receiver_bench(receiver.ingress)
        return bench.denial(flow, receiver.key)

    def _inwards(self, flow: TrackedFlow) -> Denial | None:
        sender = self._endpoint(flow.source)
        by = self._cover(flow.source, sender)
        denied, accepted = self._before_translation(flow, by)
        if denied is not None or (accepted and sender is None):  # of a workload it does not count at the host's door
            return denied
        if sender is not None:
            decision = to_host(self._intent, first_packet(flow), source=sender.key)
            refused = decision.verdict is Action.DENY
            return Denial(sender.key, EGRESS, decision.decided_by) if refused else None
        if by is None or self._is_failsafe(flow, INGRESS):
            return None
        return self._bench(by.ingress, INGRESS).denial(flow, by.key)

    def _outwards(self, flow: TrackedFlow) -> Denial | None:
        if flow.receiver in self._holders:
            return None
        by = self._cover(flow.receiver)
        if by is None or self._is_failsafe(flow, EGRESS):
            return None
        return self._bench(by.egress, EGRESS).denial(flow, by.key)

    def _through(self, flow: TrackedFlow) -> Denial | None:
        """Where host endpoints have a say in what is forwarded."""
        source = self._cover(flow.source, self._endpoint(flow.source))
        target = self._cover(flow.receiver, self._holders.get(flow.receiver))
        denied, accepted = self._before_translation(flow, source)
        if denied is None and source is not None and source.forward_ingress and not accepted:
            denied = self._bench(source.forward_ingress, INGRESS).denial(flow, source.key)
        if denied is None:
            denied = self._by_workloads(flow)
        if denied is None and target is not None and target.forward_egress:
            denied = self._bench(target.forward_egress, EGRESS).denial(flow, target.key)
        return denied

    def _before_translation(self, flow: TrackedFlow, by: HostInterface | None) -> tuple[Denial | None, bool]:
        """Of the pre-DNAT policy: whether it denies, whether it lets in past the policies of its interface."""
        if by is None or not by.pre_dnat:
            return None, False
        flow = flow._replace(receiver=flow.destination, receiver_port=flow.destination_port)
        if self._is_failsafe(flow, INGRESS):
            return None, False
        bench = self._bench(by.pre_dnat, INGRESS)
        return bench.denial(flow, by.key), bench.answer(flow)[0] is Outcome.ALLOW

    def _is_failsafe(self, flow: TrackedFlow, direction: Direction) -> bool:
        if (flow.protocol, flow.receiver_port) not in self._failsafes[direction]:
            return False
        return is_failsafe(self._intent.settings, facts_of(first_packet(flow)), direction)

    def _endpoint(self, address: bytes) -> Endpoint | None:
        found = self._holders.get(address)
        if found is None and self._ranges:
            within = _within(address, self._lengths[len(address)])
            found = next((self._ranges[prefix] for prefix in within if prefix in self._ranges), None)
        return found

    def _cover(self, address: bytes, endpoint: Endpoint | None = None) -> HostInterface | None:
        """Of the interface by which packets come from there, or go there."""
        if not self._intent.host_interfaces:
            return None
        interface = endpoint.interface if endpoint is not None else ""
        if endpoint is None and self._by_name:
            interface = self._ways.get(address, "")
        if interface not in self._covers:
            self._covers[interface] = cover(self._intent, interface)
        return self._covers[interface]

    def _bench(self, group: GroupId, direction: Direction) -> _Bench:
        """Of a host endpoint."""
        if (group, direction) not in self._others:
            self._others[group, direction] = self._made(group, direction)
        return self._others[group, direction]

    def _sender_bench(self, group: GroupId) -> _Bench:
        return self._senders.setdefault(group, self._made(group, EGRESS, sends=True))

    def _receiver_bench(self, group: GroupId) -> _Bench:
        return self._receivers.setdefault(group, self._made(group, INGRESS))

    def _made(self, group: GroupId, direction: Direction, *, sends: bool = False) -> _Bench:
        return _Bench(self._intent, group, direction, self._set_lengths, sends=sends)


class _Bench:
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
        self._lengths = _lengths(suffixes.union(*(_suffixes(name, intent, lengths) for name in sets)))
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
        within = _within(address, lengths)
        return sum(bit for bit, members in self._numbered if not within.isdisjoint(members))

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


def _lengths(suffixes: Iterable[str]) -> dict[int, list[int]]:
    """The lengths of prefixes that may occur, by the length of a packed address. One too many does no harm."""
    found = sorted({int(each[1:]) for each in suffixes})
    return {4: [length for length in found if length <= 32], 16: found}


def _within(address: bytes, lengths: Iterable[int]) -> frozenset[Cidr]:
    """The prefixes of these lengths that hold the address."""
    width = len(address) * 8
    number, found = int.from_bytes(address, "big"), []
    for length in lengths:
        rest = width - length
        base = (number >> rest << rest).to_bytes(width // 8, "big") if rest else address
        found.append(Cidr(f"{text(base)}/{length}"))
    return frozenset(found)

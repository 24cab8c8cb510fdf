"""Flows that conntrack lets through because policy allowed them once: which of them would it deny today?

A host may have 100,000, and must know within a second: see `flow_classes`.

Asked is what a first packet would be asked now, in the flow's own direction, as policy sees it (`net.flow`), at every
gate of `intent.endpoint` that knows flows. Conntrack does not say by which interfaces a flow goes: `ways` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from types import MappingProxyType

from muslin.explain.decision import Outcome
from muslin.explain.failsafe import is_failsafe
from muslin.explain.flow_classes import Bench, Denial, Lengths, first_packet, lengths_of, packed, suffix, within
from muslin.explain.journey import cover
from muslin.explain.packet import facts_of
from muslin.explain.path import to_host
from muslin.intent import (
    ALL_INTERFACES,
    Action,
    Direction,
    Endpoint,
    GroupId,
    HostIntent,
    HostInterface,
)
from muslin.net import Cidr, TrackedFlow

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS

NO_WAYS: Mapping[bytes, str] = MappingProxyType({})


class Judge:
    """Of one intent, which must not change meanwhile. `own`: the host's own addresses, packed. `ways`: by which of the
    host's interfaces it reaches an address; needed only where an interface is covered by name."""

    def __init__(self, intent: HostIntent, own: Set[bytes] = frozenset(), ways: Mapping[bytes, str] = NO_WAYS,
                 lengths: Lengths | None = None) -> None:
        self._intent = intent
        self._own = own
        self._ways = ways
        self._set_lengths: Lengths = lengths if lengths is not None else {}
        self._senders: dict[GroupId, Bench] = {}
        self._others: dict[tuple[GroupId, Direction], Bench] = {}
        self._receivers: dict[GroupId, Bench] = {}
        self._covers: dict[str, HostInterface | None] = {}
        covered = intent.host_interfaces.values()
        self._forwards = any(one.pre_dnat or one.forward_ingress or one.forward_egress for one in covered)
        self._by_name = any(one.interface != ALL_INTERFACES for one in covered)
        self._holders: dict[bytes, Endpoint] = {}
        self._ranges: dict[Cidr, Endpoint] = {}
        for _, endpoint in sorted(intent.endpoints.items(), reverse=True):  # of two with one address the smaller key
            self._holders.update((packed(address), endpoint) for address in endpoint.addresses)
            self._ranges.update((prefix, endpoint) for prefix in endpoint.spoofable)
        self._lengths = lengths_of(suffix(prefix) for prefix in self._ranges)
        self._floating, self._published = _floating(intent), _published(intent)
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

    def is_misled(self, flow: TrackedFlow) -> bool:
        """Was it translated, when it began, to somebody to whom its destination does not lead any more?"""
        if self._floating and (now := self._floating.get(flow.destination)) is not None:
            return now != flow.receiver
        if not self._published or flow.destination not in self._own or flow.receiver not in self._holders:
            return False
        for at in (flow.destination, bytes(len(flow.destination))):
            target = self._published.get((flow.protocol, flow.destination_port, at))
            if target is not None:
                return target != (flow.receiver, flow.receiver_port)
        return False

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
            found_in = within(address, self._lengths[len(address)])
            found = next((self._ranges[prefix] for prefix in found_in if prefix in self._ranges), None)
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

    def _bench(self, group: GroupId, direction: Direction) -> Bench:
        """Of a host endpoint."""
        if (group, direction) not in self._others:
            self._others[group, direction] = self._made(group, direction)
        return self._others[group, direction]

    def _sender_bench(self, group: GroupId) -> Bench:
        return self._senders.setdefault(group, self._made(group, EGRESS, sends=True))

    def _receiver_bench(self, group: GroupId) -> Bench:
        return self._receivers.setdefault(group, self._made(group, INGRESS))

    def _made(self, group: GroupId, direction: Direction, *, sends: bool = False) -> Bench:
        return Bench(self._intent, group, direction, self._set_lengths, sends=sends)


def _floating(intent: HostIntent) -> dict[bytes, bytes]:
    if not intent.settings.floating_addresses:
        return {}
    return {packed(external): packed(internal) for _, endpoint in sorted(intent.endpoints.items(), reverse=True)
            for external, internal in endpoint.nat}


def _published(intent: HostIntent) -> dict[tuple[int, int, bytes], tuple[bytes, int]]:
    """(protocol, port of the host, address of the host, zero for any) -> (workload's address, its port)"""
    found: dict[tuple[int, int, bytes], tuple[bytes, int]] = {}
    for _, endpoint in sorted(intent.endpoints.items(), reverse=True):
        for port in endpoint.published:
            for address in map(packed, reversed(endpoint.addresses)):  # of each family the first
                at = packed(port.host_address) if port.host_address else bytes(len(address))
                if len(at) == len(address):
                    found[port.protocol, port.host_port, at] = address, port.port
    return found

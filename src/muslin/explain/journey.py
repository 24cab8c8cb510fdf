"""A packet's way through one host, by the law that stands in `intent.endpoint`: every gate that it comes to, in order.

    arrives by i      untracked -> pre-DNAT -> translation --> input             it is for the host itself
                                                           \\-> forward           it leaves by o
    leaves by o       untracked -> output                                        it is from the host itself
    forward           forward ingress of i, sender's egress, receiver's ingress, forward egress of o: all must allow

The gates of the forward path are all asked, also behind one that denies: who mends the one wants to know of the other.
What decides is the first that denies.
"""

from __future__ import annotations

from enum import StrEnum

from muslin.errors import Invalid
from muslin.explain.decision import Gate, Journey, Outcome, Passage, Step
from muslin.explain.failsafe import answers_failsafe, is_failsafe
from muslin.explain.packet import Packet, facts_of
from muslin.explain.path import link_steps, to_host_steps
from muslin.explain.translation import Translation, applied, of_destination, of_source
from muslin.explain.walk import egress_steps, false_source, group_steps, parts_of
from muslin.intent import (
    ALL_INTERFACES,
    Action,
    Direction,
    Endpoint,
    EndpointKey,
    GroupId,
    HostIntent,
    HostInterface,
    Origin,
)

LOOPBACK = "lo"
_NOBODY = EndpointKey("")


class Flow(StrEnum):
    """What conntrack calls the packet."""

    NEW = "new"
    ESTABLISHED = "established"
    INVALID = "invalid"


def journey(
    intent: HostIntent, packet: Packet, *, arrives_by: str | None = None, leaves_by: str | None = None,
    flow: Flow = Flow.NEW,
) -> Journey:
    """`arrives_by` alone: to the host itself; `leaves_by` alone: from the host itself; both: through it."""
    if not arrives_by and not leaves_by:
        raise Invalid("a packet arrives by an interface, leaves by one, or both: say by which")
    way = _Way(intent, packet, flow)
    if not arrives_by:
        way.leave(leaves_by or "")
    else:
        way.arrive(arrives_by, leaves_by or "")
        if leaves_by:
            way.through(arrives_by, leaves_by)
        else:
            way.inwards(arrives_by)
    return way.end(leaves_by or "")


def cover(intent: HostIntent, interface: str) -> HostInterface | None:
    """The host endpoint that covers an interface, if any: the one that names it, or else `*`, which covers workloads'
    interfaces too. At the host's own door (gates 3 and 4) those have their own law, and nobody asks this."""
    all_others = None
    for key in sorted(intent.host_interfaces):
        found = intent.host_interfaces[key]
        if found.interface == interface:
            return found
        if found.interface == ALL_INTERFACES:
            all_others = all_others or found
    return None if interface == LOOPBACK else all_others


def workload_at(intent: HostIntent, interface: str) -> Endpoint | None:
    return next((found for found in intent.endpoints.values() if found.interface == interface), None)


def bears_prefix(intent: HostIntent, interface: str) -> bool:
    """Is it named as a workload's, whether or not there is an endpoint?"""
    return interface.startswith(tuple(filter(None, intent.settings.interface_prefix.split(","))))


class _Way:
    """The state of a packet on its way. `_accepted`: an untracked or pre-DNAT policy has let it in, so that the
    interface by which it came is not asked again."""

    def __init__(self, intent: HostIntent, packet: Packet, flow: Flow) -> None:
        self._intent = intent
        self._facts = facts_of(packet)
        self._flow = flow
        self._tracked = True
        self._accepted = False
        self._passages: list[Passage] = []
        self._translations: list[Translation] = []

    def arrive(self, interface: str, leaves_by: str) -> None:
        """Gates 1 and 2, and the translation of the destination."""
        covered = cover(self._intent, interface)
        if covered is not None and covered.untracked_ingress:
            self._untracked(covered, interface, Direction.INGRESS)
        if covered is not None and covered.pre_dnat and self._tracked and not self._denied():
            if self._flow is Flow.ESTABLISHED:
                self._say(Gate.PRE_DNAT, Outcome.PASS, _flow_origin("established"), interface, covered.key)
            elif self._failsafe(Direction.INGRESS):
                self._say(Gate.PRE_DNAT, Outcome.PASS, _failsafe_origin(Direction.INGRESS), interface, covered.key)
            else:
                found = self._ask(Gate.PRE_DNAT, interface, covered.key, covered.pre_dnat, Direction.INGRESS)
                self._accepted = found is Outcome.ALLOW
        if self._tracked:
            self._translate(leaves_by)

    def inwards(self, interface: str) -> None:
        """Gate 3. What `*` has accepted early of a workload does not count at the host's own door."""
        endpoint = workload_at(self._intent, interface)
        if self._denied():
            return
        if endpoint is not None or bears_prefix(self._intent, interface):
            self._from_workload(interface, endpoint)
        elif self._accepted:
            return
        elif (covered := cover(self._intent, interface)) is not None:
            self._own(Gate.INPUT, covered, interface, Direction.INGRESS)

    def _from_workload(self, interface: str, endpoint: Endpoint | None) -> None:
        key = endpoint.key if endpoint is not None else _NOBODY
        if link := link_steps(endpoint, self._facts):
            self._tell(Gate.SENDER, interface, key, link)
        elif endpoint is None:
            self._nobodys(interface, Direction.INGRESS)
        elif (false := false_source(endpoint, self._facts)) is not None:
            self._tell(Gate.SENDER, interface, key, [false])
        elif self._flow is Flow.ESTABLISHED:
            self._say(Gate.FLOW, Outcome.ALLOW, _flow_origin("established"), interface, key)
        elif self._dropped_as_invalid():
            self._say(Gate.FLOW, Outcome.DENY, _flow_origin("invalid"), interface, key)
        else:
            self._tell(Gate.SENDER, interface, key, to_host_steps(self._intent, endpoint, self._facts))

    def leave(self, interface: str) -> None:
        """Gate 4."""
        covered = cover(self._intent, interface)
        workload = workload_at(self._intent, interface) is not None or bears_prefix(self._intent, interface)
        if covered is None or workload:
            self._translate(interface)
            return
        if covered.untracked_egress:
            self._untracked(covered, interface, Direction.EGRESS)
        if self._tracked and not self._denied():
            self._translate(interface)
            self._own(Gate.OUTPUT, covered, interface, Direction.EGRESS)

    def through(self, arrives_by: str, leaves_by: str) -> None:
        """Gate 5."""
        intent, facts = self._intent, self._facts
        sender, receiver = workload_at(intent, arrives_by), workload_at(intent, leaves_by)
        if self._denied():
            return
        if sender is not None and (false := false_source(sender, facts)) is not None:
            self._tell(Gate.SENDER, arrives_by, sender.key, [false])
        elif sender is None and bears_prefix(intent, arrives_by):
            self._nobodys(arrives_by, Direction.INGRESS)
        elif self._flow is Flow.ESTABLISHED and self._tracked:
            self._say(Gate.FLOW, Outcome.ALLOW, _flow_origin("established"))
        elif self._dropped_as_invalid() and (sender is not None or receiver is not None):
            self._say(Gate.FLOW, Outcome.DENY, _flow_origin("invalid"))
        else:
            self._forward(arrives_by, leaves_by, sender, receiver)

    def end(self, leaves_by: str) -> Journey:
        denying = next((one for one in self._passages if one.outcome is Outcome.DENY), None)
        packet = self._facts.packet
        if denying is None and leaves_by and self._tracked and (new := of_source(self._intent, packet, leaves_by)):
            self._say(Gate.TRANSLATION, Outcome.PASS, _translation_origin(str(new)), leaves_by, new.endpoint)
            self._translations.append(new)
            packet = applied(packet, new)
        asked = [one for one in self._passages if one.gate is not Gate.TRANSLATION]
        deciding = denying or next((one for one in reversed(asked) if one.outcome is Outcome.ALLOW), None)
        return Journey(
            verdict=Action.ALLOW if denying is None else Action.DENY,
            decided_by=deciding.decided_by if deciding else _host_origin("", Direction.INGRESS, "no policy there"),
            packet=packet, passages=tuple(self._passages), tracked=self._tracked,
            translations=tuple(self._translations),
        )

    def _forward(self, arrives_by: str, leaves_by: str, sender: Endpoint | None, receiver: Endpoint | None) -> None:
        intent = self._intent
        source, target = cover(intent, arrives_by), cover(intent, leaves_by)
        if source is not None and source.forward_ingress and not self._accepted:
            self._ask(Gate.FORWARD_INGRESS, arrives_by, source.key, source.forward_ingress, Direction.INGRESS)
        if sender is not None:
            self._tell(Gate.SENDER, arrives_by, sender.key, list(egress_steps(intent, sender.egress, self._facts)))
        if receiver is not None:
            self._ask(Gate.RECEIVER, leaves_by, receiver.key, receiver.ingress, Direction.INGRESS)
        elif bears_prefix(intent, leaves_by):
            self._nobodys(leaves_by, Direction.EGRESS)
        if target is not None and target.forward_egress:
            self._ask(Gate.FORWARD_EGRESS, leaves_by, target.key, target.forward_egress, Direction.EGRESS)

    def _untracked(self, covered: HostInterface, interface: str, direction: Direction) -> None:
        """Allow is final for what conntrack and the host's own gate would say: it is never tracked."""
        if self._failsafe(direction) or answers_failsafe(self._intent.settings, self._facts, direction):
            self._say(Gate.UNTRACKED, Outcome.PASS, _failsafe_origin(direction), interface, covered.key)
            return
        group = covered.untracked_ingress if direction is Direction.INGRESS else covered.untracked_egress
        if self._ask(Gate.UNTRACKED, interface, covered.key, group, direction) is Outcome.ALLOW:
            self._tracked, self._accepted = False, True

    def _own(self, gate: Gate, covered: HostInterface, interface: str, direction: Direction) -> None:
        """What the host itself receives or sends."""
        if self._flow is Flow.ESTABLISHED:
            self._say(gate, Outcome.ALLOW, _flow_origin("established"), interface, covered.key)
        elif self._dropped_as_invalid():
            self._say(gate, Outcome.DENY, _flow_origin("invalid"), interface, covered.key)
        elif self._failsafe(direction):
            self._say(gate, Outcome.ALLOW, _failsafe_origin(direction), interface, covered.key)
        else:
            group = covered.ingress if direction is Direction.INGRESS else covered.egress
            self._ask(gate, interface, covered.key, group, direction)

    def _ask(self, gate: Gate, interface: str, key: EndpointKey, group: GroupId, direction: Direction) -> Outcome:
        return self._tell(gate, interface, key, list(group_steps(self._intent, group, direction, self._facts)))

    def _tell(self, gate: Gate, interface: str, key: EndpointKey, steps: list[Step]) -> Outcome:
        last = steps[-1]
        kind, namespace, name = parts_of(key)
        origin = last.origin or Origin(kind=kind, namespace=namespace, name=name)
        self._passages.append(Passage(gate=gate, outcome=last.outcome, decided_by=origin, interface=interface,
                                      endpoint=key, steps=tuple(steps)))
        return last.outcome

    def _say(self, gate: Gate, outcome: Outcome, origin: Origin, interface: str = "",
             key: EndpointKey = _NOBODY) -> None:
        self._passages.append(
            Passage(gate=gate, outcome=outcome, decided_by=origin, interface=interface, endpoint=key))

    def _nobodys(self, interface: str, direction: Direction) -> None:
        note = f"no endpoint declares {interface}, which is named as a workload's"
        self._say(Gate.NOBODYS, Outcome.DENY, _host_origin("interfaces", direction, note), interface)

    def _translate(self, leaves_by: str) -> None:
        new = of_destination(self._intent, self._facts.packet, leaves_by)
        if new is not None and not self._denied():
            self._say(Gate.TRANSLATION, Outcome.PASS, _translation_origin(str(new)), "", new.endpoint)
            self._translations.append(new)
            self._facts = facts_of(applied(self._facts.packet, new))

    def _failsafe(self, direction: Direction) -> bool:
        return is_failsafe(self._intent.settings, self._facts, direction)

    def _dropped_as_invalid(self) -> bool:
        return self._flow is Flow.INVALID and self._tracked and self._intent.settings.drop_invalid

    def _denied(self) -> bool:
        return bool(self._passages) and self._passages[-1].outcome is Outcome.DENY


def _host_origin(name: str, direction: Direction, note: str) -> Origin:
    return Origin(kind="Host", name=name, direction=direction, note=note)


def _flow_origin(word: str) -> Origin:
    note = "of a flow that was let through" if word == "established" else "conntrack calls it invalid"
    return _host_origin("conntrack", Direction.INGRESS, note)


def _failsafe_origin(direction: Direction) -> Origin:
    return _host_origin("failsafe", direction, "a failsafe port, which no policy of the host closes")


def _translation_origin(what: str) -> Origin:
    return _host_origin("translation", Direction.INGRESS, what)

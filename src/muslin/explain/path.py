"""From one end to the other: the sender's egress policy on its host, then the receiver's ingress policy on its own.

Either end may be outside: an address that is no workload of ours. Then only the other end's policy asks. What a
workload sends to its own host never meets an ingress policy; the host's settings answer, and before them the few
things without which the link does not work (neighbour discovery, DHCP).
"""

from __future__ import annotations

from muslin.explain.decision import Decision, Outcome, Path, Place, Step
from muslin.explain.packet import ICMP, Packet, covering
from muslin.explain.walk import endpoint_at, why
from muslin.intent import Action, Direction, EndpointKey, HostIntent, Origin
from muslin.net import PROTOCOL_NUMBERS

_NOWHERE = EndpointKey("")
_LINK_ICMP6 = (130, 131, 132, 133, 135, 136)
"""MLD and neighbour discovery, without router advertisements: a workload is no router."""
_DHCP = ((4, 68, 67), (6, 546, 547))
_NOBODY_YET = {4: ("0.0.0.0/32",), 6: ("::/128", "fe80::/10")}
"""Sources of a workload that has no address yet, or that speaks on its link only."""


def path(
    source_intent: HostIntent | None,
    destination_intent: HostIntent | None,
    packet: Packet,
    *,
    source: EndpointKey | None = None,
    destination: EndpointKey | None = None,
) -> Path:
    """Egress where the packet starts, ingress where it ends. An intent of None: that end is outside.

    Endpoints are found by the packet's addresses unless they are named. An intent that has no such endpoint denies.
    Ingress is asked even when egress denies: who mends the one wants to know whether the other would let it in.
    """
    egress = ingress = None
    if source_intent is not None:
        key = source or endpoint_at(source_intent, packet.source) or _NOWHERE
        egress = why(source_intent, key, Direction.EGRESS, packet)
    if destination_intent is not None:
        key = destination or endpoint_at(destination_intent, packet.destination) or _NOWHERE
        ingress = why(destination_intent, key, Direction.INGRESS, packet)
    denied = any(decision is not None and decision.verdict is Action.DENY for decision in (egress, ingress))
    return Path(verdict=Action.DENY if denied else Action.ALLOW, egress=egress, ingress=ingress)


def to_host(intent: HostIntent, packet: Packet, *, source: EndpointKey | None = None) -> Decision:
    """A packet from a workload to its own host."""
    key = source or endpoint_at(intent, packet.source) or _NOWHERE
    if what := _link_need(intent, key, packet):
        origin = Origin(kind="Host", name="link", direction=Direction.EGRESS, note=what)
        step = Step(place=Place.HOST, name=what, outcome=Outcome.ALLOW, origin=origin)
        return Decision(
            endpoint=key, direction=Direction.EGRESS, verdict=Action.ALLOW, decided_by=origin, steps=(step,)
        )
    decision = why(intent, key, Direction.EGRESS, packet)
    if decision.verdict is Action.DENY or intent.settings.endpoint_to_host_action != "Drop":
        return decision
    origin = Origin(
        kind="Host", name="endpointToHostAction", direction=Direction.EGRESS, note="Drop: from a workload to its host"
    )
    step = Step(place=Place.HOST, name="endpointToHostAction", outcome=Outcome.DENY, origin=origin)
    return Decision(
        endpoint=key, direction=Direction.EGRESS, verdict=Action.DENY, decided_by=origin, steps=(*decision.steps, step)
    )


def _link_need(intent: HostIntent, key: EndpointKey, packet: Packet) -> str:
    endpoint = intent.endpoints.get(key)
    own = (*endpoint.addresses, *endpoint.spoofable) if endpoint else ()
    if covering(packet.source).isdisjoint((*_NOBODY_YET[packet.version], *own)):
        return ""
    if packet.version == 6 and packet.protocol == ICMP[6] and packet.icmp_type in _LINK_ICMP6:
        return "neighbour discovery"
    ports = (packet.version, packet.source_port, packet.destination_port)
    return "DHCP" if packet.protocol == PROTOCOL_NUMBERS["UDP"] and ports in _DHCP else ""

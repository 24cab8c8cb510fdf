"""From one end to the other: the sender's egress policy on its host, then the receiver's ingress policy on its own.

Either end may be outside: an address that is no workload of ours. Then only the other end's policy asks. What a
workload sends to its own host never meets an ingress policy; the host's settings answer, and before them the few
things without which the link does not work (neighbour discovery, DHCP).
"""

from __future__ import annotations

from muslin.explain.decision import Decision, Outcome, Path, Place, Step
from muslin.explain.packet import ICMP, Facts, Packet, covering, facts_of
from muslin.explain.walk import endpoint_at, endpoint_steps, why
from muslin.intent import Action, Direction, Endpoint, EndpointKey, HostIntent, Origin
from muslin.net import PROTOCOL_NUMBERS

_NOWHERE = EndpointKey("")
LINK_ICMP6 = (130, 131, 132, 133, 135, 136)
"""MLD and neighbour discovery, without router advertisements: a workload is no router."""
DHCP = ((4, 68, 67), (6, 546, 547))
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
    facts, endpoint = facts_of(packet), intent.endpoints.get(key)
    steps = link_steps(endpoint, facts)
    if not steps and endpoint is None:
        return why(intent, key, Direction.EGRESS, packet)
    if not steps and endpoint is not None:
        steps = to_host_steps(intent, endpoint, facts)
    last = steps[-1]
    return Decision(
        endpoint=key, direction=Direction.EGRESS, steps=tuple(steps), decided_by=last.origin or _host_origin("", ""),
        verdict=Action.ALLOW if last.outcome is Outcome.ALLOW else Action.DENY,
    )


def link_steps(endpoint: Endpoint | None, facts: Facts) -> list[Step]:
    """The few things that pass before all policy, also where nobody has declared the interface yet."""
    what = _link_need(endpoint, facts.packet)
    if not what:
        return []
    return [Step(place=Place.HOST, name=what, outcome=Outcome.ALLOW, origin=_host_origin("link", what))]


def to_host_steps(intent: HostIntent, endpoint: Endpoint, facts: Facts) -> list[Step]:
    """The workload's policy, then the host's settings. The last one is the decision."""
    steps = list(endpoint_steps(intent, endpoint, Direction.EGRESS, facts))
    if steps[-1].outcome is Outcome.ALLOW and intent.settings.endpoint_to_host_action == "Drop":
        origin = _host_origin("endpointToHostAction", "Drop: from a workload to its host")
        steps.append(Step(place=Place.HOST, name="endpointToHostAction", outcome=Outcome.DENY, origin=origin))
    return steps


def _host_origin(name: str, note: str) -> Origin:
    return Origin(kind="Host", name=name, direction=Direction.EGRESS, note=note)


def _link_need(endpoint: Endpoint | None, packet: Packet) -> str:
    own = (*endpoint.addresses, *endpoint.spoofable) if endpoint is not None else ()
    if covering(packet.source).isdisjoint((*_NOBODY_YET[packet.version], *own)):
        return ""
    if packet.version == 6 and packet.protocol == ICMP[6] and packet.icmp_type in LINK_ICMP6:
        return "neighbour discovery"
    ports = (packet.version, packet.source_port, packet.destination_port)
    return "DHCP" if packet.protocol == PROTOCOL_NUMBERS["UDP"] and ports in DHCP else ""

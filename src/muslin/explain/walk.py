"""From an endpoint and a packet to a decision, by the law that stands in `intent.policy`.

    egress:   source address must be the endpoint's  ->  its egress group  ->  no tunnel inside the network
    ingress:  its ingress group
    group:    stages (tiers) in order, rules in order, end of tier; then profiles; nothing matched: the group's end

The walk writes down every step, because "why not?" is asked more often than "why?". It speaks of a flow's first
packet: replies and what conntrack relates to a flow are let through without any of this. A staged policy is walked
through like any other, and what it would do is noted beside it; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from muslin.explain.decision import Decision, Outcome, Place, Step
from muslin.explain.packet import Facts, Packet, covering, facts_of
from muslin.explain.rule import mismatches, missing_set
from muslin.intent import (
    Action,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Origin,
    PolicyId,
    Rule,
    TierStage,
)
from muslin.net import PROTOCOL_NUMBERS

IP_IN_IP = 4
VXLAN_PORT = 4789

_FINAL = (Outcome.ALLOW, Outcome.DENY)
_OUTCOMES = {action: Outcome(action.value) for action in Action}


def why(intent: HostIntent, endpoint_key: EndpointKey, direction: Direction, packet: Packet) -> Decision:
    """What the endpoint's policy on this host says of the packet, and every step of how it got there."""
    endpoint = intent.endpoints.get(endpoint_key)
    if endpoint is None:
        origin = _endpoint_origin(endpoint_key, direction, "no such endpoint on this host")
        steps = [Step(place=Place.ENDPOINT, name=endpoint_key, outcome=Outcome.DENY, origin=origin)]
    else:
        steps = list(endpoint_steps(intent, endpoint, direction, facts_of(packet)))
    last = steps[-1]
    decided_by = last.origin or _endpoint_origin(endpoint_key, direction, "")
    verdict = Action.ALLOW if last.outcome is Outcome.ALLOW else Action.DENY
    return Decision(
        endpoint=endpoint_key, direction=direction, verdict=verdict, decided_by=decided_by, steps=tuple(steps)
    )


def endpoint_steps(intent: HostIntent, endpoint: Endpoint, direction: Direction, facts: Facts) -> Iterator[Step]:
    """The last one is the decision."""
    if direction is Direction.INGRESS:
        yield from group_steps(intent, endpoint.ingress, direction, facts)
        return
    false = false_source(endpoint, facts)
    if false is not None:
        yield false
        return
    yield from egress_steps(intent, endpoint.egress, facts)


def false_source(endpoint: Endpoint, facts: Facts) -> Step | None:
    """The denial of what the workload sends from an address that is not its own."""
    if not facts.source.within.isdisjoint((*endpoint.addresses, *endpoint.spoofable)):
        return None
    note = f"{facts.source.address} is not an address of this endpoint"
    origin = _endpoint_origin(endpoint.key, Direction.EGRESS, note)
    return Step(place=Place.SOURCE, name=facts.source.address, outcome=Outcome.DENY, origin=origin)


def egress_steps(intent: HostIntent, group_id: GroupId, facts: Facts) -> Iterator[Step]:
    """Policy, and after it what no policy can allow."""
    for step in group_steps(intent, group_id, Direction.EGRESS, facts):
        if step.outcome is Outcome.ALLOW and (what := _tunnel(facts.packet)):
            note = f"a workload may not send {what}"
            origin = Origin(kind="Host", name="tunnels", direction=Direction.EGRESS, note=note)
            yield step
            yield Step(place=Place.HOST, name=what, outcome=Outcome.DENY, origin=origin)
        else:
            yield step


def _tunnel(packet: Packet) -> str:
    """The kind of tunnel, "" for none: inside one, a workload could hide any source address."""
    if packet.protocol == IP_IN_IP:
        return "IP in IP"
    vxlan = packet.protocol == PROTOCOL_NUMBERS["UDP"] and packet.destination_port == VXLAN_PORT
    return "VXLAN" if vxlan else ""


def group_steps(intent: HostIntent, group_id: GroupId, direction: Direction, facts: Facts) -> Iterator[Step]:
    group = intent.groups.get(group_id)
    if group is None or group.direction is not direction:
        origin = Origin(kind="Group", name=group_id, direction=direction, note="its policy list is missing")
        yield Step(place=Place.ENDPOINT, name=group_id, outcome=Outcome.DENY, origin=origin)
        return
    for stage in group.stages:
        for step in _stage_steps(intent, stage, direction, facts):
            yield step
            if step.outcome in _FINAL:
                return
    yield from _profile_steps(intent, group, facts)


def _stage_steps(intent: HostIntent, stage: TierStage, direction: Direction, facts: Facts) -> Iterator[Step]:
    """Through one tier; ends at Allow, Deny or Pass. Where all its policies are only staged, it is not there."""
    yield Step(place=Place.TIER, name=stage.tier, outcome=Outcome.ENTERED)
    enforced = [policy for policy in stage.policies if not _is_staged(intent, policy)]
    for policy in stage.policies:
        if policy not in enforced:
            yield _staged_step(intent, policy, direction, facts)
            continue
        for step in _policy_steps(intent, Place.POLICY, policy, direction, stage.tier, facts):
            yield step
            if step.outcome in _FINAL or step.outcome is Outcome.PASS:
                return
    if stage.policies and not enforced:
        return
    origin = Origin(kind="Tier", name=stage.tier, tier=stage.tier, direction=direction)
    outcome = Outcome.PASS if stage.default_action is Action.PASS else Outcome.DENY
    yield Step(place=Place.END_OF_TIER, name=stage.tier, outcome=outcome, origin=origin)


def _profile_steps(intent: HostIntent, group: Group, facts: Facts) -> Iterator[Step]:
    for profile in group.profiles:
        for step in _policy_steps(intent, Place.PROFILE, profile, group.direction, "", facts):
            yield step
            if step.outcome in _FINAL:
                return
            if step.outcome is Outcome.PASS:
                break
    origin = Origin(kind="Profile", name="", direction=group.direction, note=_end_note(group))
    yield Step(place=Place.END_OF_PROFILES, name="", outcome=_OUTCOMES[group.end], origin=origin)


def _end_note(group: Group) -> str:
    if group.end is Action.DENY:
        return "no profile allows it" if group.profiles else "no policy selects it and it has no profile"
    return "no policy decides it"


def _staged_step(intent: HostIntent, policy_id: PolicyId, direction: Direction, facts: Facts) -> Step:
    """What it would do here, if it were asked: `action` and `origin` of its rule; none when no rule matches."""
    policy = intent.policies[policy_id]
    for rule in policy.ingress if direction is Direction.INGRESS else policy.egress:
        step = _rule_step(intent, rule, facts)
        if step.outcome not in (Outcome.NO_MATCH, Outcome.LOG):
            return Step(place=Place.POLICY, name=policy_id, outcome=Outcome.SKIPPED, origin=step.origin,
                        action=Action(step.outcome.value))
    return Step(place=Place.POLICY, name=policy_id, outcome=Outcome.SKIPPED)


def _policy_steps(
    intent: HostIntent, place: Place, policy_id: PolicyId, direction: Direction, tier: str, facts: Facts
) -> Iterator[Step]:
    policy = intent.policies.get(policy_id)
    if policy is None or policy.staged:
        kind, namespace, name = parts_of(policy_id)
        origin = Origin(
            kind=kind, name=name, namespace=namespace, tier=tier, direction=direction, note=f"{policy_id} is missing"
        )
        yield Step(place=place, name=policy_id, outcome=Outcome.DENY, origin=origin)
        return
    yield Step(place=place, name=policy_id, outcome=Outcome.ENTERED)
    for rule in policy.ingress if direction is Direction.INGRESS else policy.egress:
        step = _rule_step(intent, rule, facts)
        yield step
        if step.outcome not in (Outcome.NO_MATCH, Outcome.LOG):
            return


def _rule_step(intent: HostIntent, rule: Rule, facts: Facts) -> Step:
    name = "" if rule.origin.rule is None else str(rule.origin.rule)
    missing = missing_set(rule, intent.sets)
    if missing is not None:
        origin = noted(rule.origin, f"set {missing} is missing")
        return Step(place=Place.RULE, name=name, outcome=Outcome.DENY, origin=origin, action=rule.action)
    found = tuple(mismatches(rule, facts, intent.sets))
    outcome = Outcome.NO_MATCH if found else _OUTCOMES[rule.action]
    return Step(
        place=Place.RULE, name=name, outcome=outcome, origin=rule.origin, action=rule.action, mismatches=found
    )


def noted(origin: Origin, note: str) -> Origin:
    return Origin(
        kind=origin.kind, name=origin.name, namespace=origin.namespace, tier=origin.tier, direction=origin.direction,
        rule=origin.rule, note=note,
    )


def _is_staged(intent: HostIntent, policy_id: PolicyId) -> bool:
    policy = intent.policies.get(policy_id)
    return policy is not None and policy.staged


def _endpoint_origin(key: EndpointKey, direction: Direction, note: str) -> Origin:
    kind, namespace, name = parts_of(key)
    return Origin(kind=kind, name=name, namespace=namespace, direction=direction, note=note)


def parts_of(key: str) -> tuple[str, str, str]:
    """(kind, namespace, name) of an endpoint's or a policy's key; the namespace is "" for cluster-wide ones."""
    kind, _, rest = key.partition("/")
    namespace, slash, name = rest.partition("/")
    return (kind, namespace, name) if slash else (kind, "", rest)


def endpoint_at(intent: HostIntent, address: str) -> EndpointKey | None:
    """The endpoint on this host that has the address; the smallest key, should there be two."""
    within = covering(address)
    found = (key for key, endpoint in intent.endpoints.items() if not within.isdisjoint(endpoint.addresses))
    return min(found, default=None)

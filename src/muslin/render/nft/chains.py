"""Policies and groups as chains.

A policy has one chain for each gate and family (see places), shared by all groups that hold it there, so that a change
of the policy rewrites that chain and nothing else. Two things cannot be said in a shared chain, because nftables has no
variables and we spend no packet marks on them:

  Allow   is final for its gate, and something else in each: `accept` at ingress; at egress the packet must still pass
          the ingress policy of a local destination: `goto` the chain `egress-allowed`, which ends in a verdict.
  Pass    leaves the tier, and only the group knows what comes next. So a policy with a Pass rule is written into the
          group, in a chain for that tier, where Pass is `return`. In a profile Pass means "the next profile", and
          `return` from its own chain is just that.

An egress group begins with conntrack, and with the flows that policy has ended (see `cutting`); at ingress the forward
chain or the sender's group has asked both already.

    ingress4/group/G:   jump ingress4/NetworkPolicy/a/p       <- tier without Pass, default Deny
                        drop
    ingress4/group/G:   jump ingress4/group/G/0               <- tier with a Pass rule in it
                        jump ingress4/Profile/x
                        drop
    ingress4/group/G/0: rules of the policy that passes, `return` where it does
                        jump ingress4/NetworkPolicy/a/q
                        drop                                   (default Deny)

The kernel allows sixteen chains in a row, gotos counted: no depth here grows with the number of tiers.
A group always ends in a verdict, Group.end. What is missing denies, at the place where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muslin.intent import Action, Direction, Group, Origin, Policy, PolicyId, Rule, SetId, TierStage
from muslin.render.matching import Scope, SetShape, missing_sets, rows
from muslin.render.nft import cutting, names
from muslin.render.nft.places import DENIED, Gate, Place
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Choose,
    Counter,
    CtState,
    Field,
    Log,
    Statement,
    goto,
    jump,
)
from muslin.render.nft.words import Rule as Line

LOG_PREFIX = "calico-packet"
INVALID_FROM_WORKLOAD = "invalid-from-workload"


def policy_chains(
    policy: Policy, places: Iterable[Place], shapes: Mapping[SetId, SetShape]
) -> tuple[Chain, ...]:
    """The policy's own chains: none where it is written into its groups, or is only watched."""
    if policy.staged:
        return ()
    return tuple(
        Chain(names.policy_chain(policy.id, place.gate, place.family), _policy_lines(policy, place, shapes))
        for place in places
        if has_own_chain(policy, place.direction)
    )


def has_own_chain(policy: Policy, direction: Direction) -> bool:
    passes = any(rule.action is Action.PASS for rule in rules_of(policy, direction))
    return not passes or policy.id.startswith("Profile/")


def rules_of(policy: Policy, direction: Direction) -> tuple[Rule, ...]:
    return policy.ingress if direction is Direction.INGRESS else policy.egress


def group_chains(
    group: Group, places: Iterable[Place], policies: Mapping[PolicyId, Policy], shapes: Mapping[SetId, SetShape]
) -> tuple[Chain, ...]:
    """The group's chain at each place of its direction, with one more for every tier that holds a Pass rule."""
    return tuple(
        chain
        for place in places
        if place.direction is group.direction
        for chain in _at(place, group, policies, shapes)
    )


def _at(
    place: Place, group: Group, policies: Mapping[PolicyId, Policy], shapes: Mapping[SetId, SetShape]
) -> tuple[Chain, ...]:
    flow = (of_a_flow(INVALID_FROM_WORKLOAD), cutting.rule(place.family))
    lines = [*flow] if place.gate is Gate.EGRESS else []
    tiers: list[Chain] = []
    for number, stage in enumerate(group.stages):
        enforced = [name for name in stage.policies if name not in policies or not policies[name].staged]
        if stage.policies and not enforced:
            continue
        body = [line for name in enforced for line in _called(policies.get(name), name, place, shapes)]
        body = _reachable(body + list(_end_of_tier(stage, place)))
        if any(RETURN in line.statements for line in body):
            name = names.stage_chain(group.id, place.gate, place.family, number)
            tiers.append(Chain(name, tuple(body)))
            lines.append(Line((jump(name),), names.printable(f"tier {stage.tier}", names.COMMENT_LIMIT)))
        else:
            lines += body
    for profile in group.profiles:
        lines += _called_profile(policies.get(profile), profile, place)
    nothing = f"no profile allows: {place.direction}" if group.end is Action.DENY else "nothing has decided"
    lines.append(Line(place.end(group.end), nothing))
    return (Chain(names.group_chain(group.id, place.gate, place.family), tuple(_reachable(lines))), *tiers)


def of_a_flow(invalid: str) -> Line:
    """Policy looks at the first packet of a flow; the others, and the errors about them, pay this one lookup."""
    accept = ((CtState.ESTABLISHED, ACCEPT), (CtState.RELATED, ACCEPT))
    return Line((Choose(Field.CT_STATE, (*accept, (CtState.INVALID, jump(invalid)))),))


def _reachable(lines: list[Line]) -> list[Line]:
    """The lines up to the first that every packet ends at."""
    end = next((number for number, line in enumerate(lines) if line.statements in _FINAL), len(lines))
    return lines[: end + 1]


_FINAL = ((Counter(), DROP), (Counter(), goto(DENIED)))


def _called(
    policy: Policy | None, name: PolicyId, place: Place, shapes: Mapping[SetId, SetShape]
) -> tuple[Line, ...]:
    if policy is None:
        return (_missing(name),)
    if has_own_chain(policy, place.direction):
        return (_jump(name, place),)
    return _policy_lines(policy, place, shapes)


def _called_profile(policy: Policy | None, name: PolicyId, place: Place) -> tuple[Line, ...]:
    return (_missing(name) if policy is None or policy.staged else _jump(name, place),)


def _jump(name: PolicyId, place: Place) -> Line:
    return Line((jump(names.policy_chain(name, place.gate, place.family)),))


def _missing(name: str) -> Line:
    return Line((Counter(), DROP), names.printable(f"missing: {name}", names.COMMENT_LIMIT))


def _end_of_tier(stage: TierStage, place: Place) -> tuple[Line, ...]:
    if stage.default_action is Action.PASS:
        return ()
    origin = Origin(kind="Tier", name=stage.tier, tier=stage.tier, direction=place.direction)
    return (Line(place.deny, names.comment(origin)),)


def _policy_lines(policy: Policy, place: Place, shapes: Mapping[SetId, SetShape]) -> tuple[Line, ...]:
    return tuple(
        line for rule in rules_of(policy, place.direction) for line in _rule_lines(rule, place, shapes)
    )


def _rule_lines(rule: Rule, place: Place, shapes: Mapping[SetId, SetShape]) -> tuple[Line, ...]:
    if missing := missing_sets(rule, shapes):
        return (_missing(f"set {missing[0]}, {names.comment(rule.origin)}"),)
    ending = _ending(rule, place)
    comment = names.comment(rule.origin)
    return tuple(Line((*row, *ending), comment) for row in rows(rule, Scope(place.family, shapes, names)))


def _ending(rule: Rule, place: Place) -> tuple[Statement, ...]:
    match rule.action:
        case Action.ALLOW:
            return (Counter(), *place.allow)
        case Action.DENY:
            return place.deny
        case Action.PASS:
            return (Counter(), RETURN)
        case Action.LOG:
            prefix = f"{rule.log_prefix or LOG_PREFIX}: "
            limit = (place.manner.log_limit,) if place.manner.log_limit else ()
            return (Counter(), *limit, Log(names.printable(prefix, names.LOG_PREFIX_LIMIT)))

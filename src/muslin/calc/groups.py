"""The policy list of a class, in order: tiers, in each its policies, then profiles.

Only a tier with at least one policy that selects the class in that direction counts; where it ends without a verdict
its default action decides. A tier that policies name but nobody declared comes after all others and denies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from muslin.calc.identity import profile_id, short_hash
from muslin.calc.policies import PolicyState
from muslin.intent import Action, Direction, Group, GroupId, TierStage
from muslin.model.policy import Tier


class TierState(msgspec.Struct, frozen=True):
    order: float = math.inf
    default_action: Action = Action.DENY


def tier_state(tier: Tier) -> TierState:
    """Whatever is not Pass denies."""
    return TierState(
        order=math.inf if tier.spec.order is None else tier.spec.order,
        default_action=Action.PASS if tier.spec.default_action == Action.PASS else Action.DENY,
    )


_UNDECLARED = TierState()


def groups(
    policies: Iterable[PolicyState], tiers: Mapping[str, TierState], profiles: Iterable[str]
) -> tuple[Group, Group]:
    """(ingress, egress)"""
    by_tier: dict[str, list[PolicyState]] = {}
    for policy in policies:
        by_tier.setdefault(policy.tier, []).append(policy)
    ordered = sorted(by_tier, key=lambda name: _place(name, tiers))
    for found in by_tier.values():
        found.sort(key=lambda policy: policy.rank)
    last = tuple(profile_id(name) for name in dict.fromkeys(profiles))

    def group(direction: Direction) -> Group:
        stages = []
        for name in ordered:
            chosen = tuple(policy.id for policy in by_tier[name] if direction in policy.directions)
            if chosen:
                action = tiers.get(name, _UNDECLARED).default_action
                stages.append(TierStage(tier=name, policies=chosen, default_action=action))
        content = Group(id=GroupId(""), direction=direction, stages=tuple(stages), profiles=last)
        return msgspec.structs.replace(content, id=GroupId(short_hash(msgspec.json.encode(content).decode())))

    return group(Direction.INGRESS), group(Direction.EGRESS)


def _place(name: str, tiers: Mapping[str, TierState]) -> tuple[bool, float, str]:
    return name not in tiers, tiers.get(name, _UNDECLARED).order, name

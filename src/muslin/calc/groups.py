"""The policy lists of a class, in order: tiers, in each its policies, then profiles.

Only a tier with at least one policy that selects the class in that direction counts; where it ends without a verdict
its default action decides. A tier that policies name but nobody declared comes after all others and denies.

A host endpoint is asked at more than one place of a packet's way, and each place has its own list, of the policies
that are meant for it:

    ingress, egress       to and from the host itself   neither doNotTrack nor preDNAT   then profiles, then deny
    forward_*             through the host              of those, the applyOnForward     no profiles, then allow
    untracked_*           before connections are known  doNotTrack                       tiers and all pass at their end
    pre_dnat (ingress)    before translation            preDNAT                          the same
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from muslin.calc.identity import profile_id, short_hash
from muslin.calc.members import Sort
from muslin.calc.policies import Passage, PolicyState
from muslin.intent import Action, Direction, Group, GroupId, PolicyId, TierStage
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
_BOTH = (Direction.INGRESS, Direction.EGRESS)


@dataclass(frozen=True, slots=True)
class Groups:
    """What an endpoint of a class is asked, on the way of a packet through its host (`intent.endpoint`). None: nothing
    of that sort. Workloads have the first two only."""

    ingress: Group
    egress: Group
    forward_ingress: Group | None = None
    forward_egress: Group | None = None
    untracked_ingress: Group | None = None
    untracked_egress: Group | None = None
    pre_dnat: Group | None = None

    def ids(self) -> dict[str, GroupId]:
        """By field; a field without a group is left out."""
        return {field: group.id for field, group in self.items()}

    def items(self) -> Iterator[tuple[str, Group]]:
        for field in self.__slots__:
            group = getattr(self, field)
            if group is not None:
                yield field, group


def groups(
    policies: Iterable[PolicyState], tiers: Mapping[str, TierState], profiles: Iterable[str], sort: Sort
) -> Groups:
    """Of a class of this sort, whom these policies select."""
    normal, untracked, pre_dnat = (_Ladder(tiers) for _ in range(3))
    forward = _Ladder(tiers)
    ladders = {Passage.NORMAL: normal, Passage.UNTRACKED: untracked, Passage.PRE_DNAT: pre_dnat}
    for policy in policies:
        ladders[policy.passage].add(policy)
        if policy.forward and policy.passage is Passage.NORMAL:
            forward.add(policy)
    last = tuple(profile_id(name) for name in dict.fromkeys(profiles))
    ingress, egress = (_named(direction, normal.stages(direction), last) for direction in _BOTH)
    if sort is not Sort.HOST:
        return Groups(ingress, egress)

    def unless_empty(ladder: _Ladder, direction: Direction, ends: Action | None, end: Action) -> Group | None:
        stages = ladder.stages(direction, ends)
        return _named(direction, stages, end=end) if stages else None

    return Groups(
        ingress, egress,
        forward_ingress=unless_empty(forward, Direction.INGRESS, None, Action.ALLOW),
        forward_egress=unless_empty(forward, Direction.EGRESS, None, Action.ALLOW),
        untracked_ingress=unless_empty(untracked, Direction.INGRESS, Action.PASS, Action.PASS),
        untracked_egress=unless_empty(untracked, Direction.EGRESS, Action.PASS, Action.PASS),
        pre_dnat=unless_empty(pre_dnat, Direction.INGRESS, Action.PASS, Action.PASS),
    )


class _Ladder:
    """Policies in the order in which they are asked."""

    def __init__(self, tiers: Mapping[str, TierState]) -> None:
        self._tiers = tiers
        self._policies: list[PolicyState] = []

    def add(self, policy: PolicyState) -> None:
        self._policies.append(policy)

    def stages(self, direction: Direction, default_action: Action | None = None) -> tuple[TierStage, ...]:
        """`default_action`: in place of the tiers' own."""
        by_tier: dict[str, list[PolicyState]] = {}
        for policy in self._policies:
            if direction in policy.directions:
                by_tier.setdefault(policy.tier, []).append(policy)
        return tuple(
            TierStage(
                tier=name,
                policies=tuple(policy.id for policy in sorted(by_tier[name], key=_rank)),
                default_action=default_action or self._tiers.get(name, _UNDECLARED).default_action,
            )
            for name in sorted(by_tier, key=lambda name: _place(name, self._tiers))
        )


def _named(
    direction: Direction, stages: tuple[TierStage, ...], profiles: tuple[PolicyId, ...] = (),
    end: Action = Action.DENY,
) -> Group:
    content = Group(id=GroupId(""), direction=direction, stages=stages, profiles=profiles, end=end)
    return msgspec.structs.replace(content, id=GroupId(short_hash(msgspec.json.encode(content).decode())))


def _rank(policy: PolicyState) -> tuple[float, str]:
    return policy.rank


def _place(name: str, tiers: Mapping[str, TierState]) -> tuple[bool, float, str]:
    return name not in tiers, tiers.get(name, _UNDECLARED).order, name

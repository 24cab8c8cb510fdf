"""Policies and groups as chains.

A policy has one chain for each direction and family, which every group calls that holds it. It ends in a drop, or says
by a bit of the mark what it found, and the caller goes by it (see marks):

    mus-pi-P:  -p 6 ... -g mus-allow          sets the bit, and returns to the group
               -p 6 ... -g mus-pass
               ...      -j DROP
    mus-gi-G:  both bits off
               -j mus-pi-P;  allowed? return        <- tier
               -j DROP                                 default Deny
               -j mus-pi-Profile;  allowed? return
               -j DROP                              <- the group's end

A tier in which a policy passes has a chain of its own, which returns on either bit, since the group goes on behind it
with the next tier. What is missing denies at the place where it is missing; and a policy of which a rule needs an
extension that this kernel lacks denies as a whole, since nobody can say what the rest would have let through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from muslin.intent import Action, Direction, Group, Origin, Policy, PolicyId, SetId, Settings, TierStage
from muslin.intent import Rule as PolicyRule
from muslin.net import Cidr
from muslin.render.iptables import names
from muslin.render.iptables.marks import Marks, marks
from muslin.render.iptables.rows import translated
from muslin.render.iptables.words import (
    Chain,
    Jump,
    Limit,
    Log,
    Marked,
    Protocol,
    Reject,
    Rule,
    Ruling,
    SetMark,
    Table,
    Target,
    needs,
)
from muslin.render.matching import Scope, SetShape, missing_sets, rows
from muslin.render.nft.names import comment, printable

COMMENT_LIMIT = 255
LOG_PREFIX_LIMIT = 29
LOG_PREFIX = "calico-packet"
TCP = 6

REJECT, DONE = "mus-reject", "mus-done"

DROP, ACCEPT, RETURN = Ruling.DROP, Ruling.ACCEPT, Ruling.RETURN


class Way(msgspec.Struct, frozen=True):
    """In which words the host's rules are written. `missing`: extensions that its kernel lacks. `other`: of the two
    flavours it is the one whose marks are the other ones."""

    settings: Settings = Settings()
    missing: frozenset[str] = frozenset()
    other: bool = False

    @property
    def marks(self) -> Marks:
        return marks(self.settings, other=self.other)

    def deny(self, table: Table) -> Target:
        """What a denied packet meets: only the filter table can tell its sender."""
        return Jump(REJECT, for_good=True) if self.tells and table is Table.FILTER else DROP

    @property
    def tells(self) -> bool:
        return self.settings.filter_deny == "Reject" and "REJECT" not in self.missing

    @property
    def allow(self) -> Target:
        """What an allowed packet meets at the very end: nobody behind us sees our bits."""
        return Jump(DONE, for_good=True)

    @property
    def known(self) -> Target:
        """What a packet of a flow meets that was allowed before."""
        return RETURN if self.settings.filter_allow == "Return" else ACCEPT

    def forget(self) -> Rule:
        return Rule((), SetMark(0, self.marks.all))

    def allowed(self, verdict: Target = RETURN) -> Rule:
        """Has a policy allowed it?"""
        return Rule((Marked(self.marks.accept, self.marks.accept),), verdict)

    def unanswered(self) -> Rule:
        return Rule((), SetMark(0, self.marks.answer))


class Written(msgspec.Struct, frozen=True):
    """Chains, the prefix lists that they look at, and what could not be said."""

    chains: tuple[Chain, ...] = ()
    lists: Mapping[str, tuple[Cidr, ...]] = {}
    problems: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where rules are being written."""

    table: Table
    family: int
    way: Way


def answers(way: Way) -> tuple[Chain, Chain]:
    """Where a policy goes with what it found. Every table with a policy in it needs them."""
    bits = way.marks
    return (
        Chain(names.ALLOW, (Rule((), SetMark(bits.accept, bits.accept)),)),
        Chain(names.PASS, (Rule((), SetMark(bits.leave, bits.leave)),)),
    )


def endings(way: Way, family: int) -> Iterator[Chain]:
    """How a packet leaves us, in the filter table."""
    yield Chain(DONE, (way.forget(), *(() if way.known is RETURN else (Rule((), way.known),))))
    if way.tells:
        yield Chain(REJECT, (Rule((Protocol(TCP),), Reject(family, reset=True)), Rule((), Reject(family))))


def policy_chains(
    policy: Policy, directions: Iterable[Direction], place: Place, shapes: Mapping[SetId, SetShape]
) -> Written:
    """None for a policy that is only watched."""
    if policy.staged:
        return Written()
    parts = [_policy_chain(policy, direction, place, shapes) for direction in directions]
    return Written(
        tuple(chain for part in parts for chain in part.chains),
        {name: nets for part in parts for name, nets in part.lists.items()},
        tuple(problem for part in parts for problem in part.problems),
    )


def _policy_chain(policy: Policy, direction: Direction, place: Place, shapes: Mapping[SetId, SetShape]) -> Written:
    name = names.policy_chain(policy.id, direction)
    rules: list[Rule] = []
    lists: dict[str, tuple[Cidr, ...]] = {}
    for rule in rules_of(policy, direction):
        if missing := missing_sets(rule, shapes):
            rules.append(denial(place, f"missing: set {missing[0]}, {comment(rule.origin)}"))
            break
        for row in rows(rule, Scope(place.family, shapes, names)):
            found = translated(row, _target(rule, place), comment(rule.origin), place.way.marks)
            rules += (_limited(each, place.way.settings) for each in found.rules)
            lists |= found.lists
    if lacking := sorted({word for rule in rules for word in needs(rule)} & place.way.missing):
        said = f"{policy.id} {direction} denies: this kernel's iptables cannot do {', '.join(lacking)}"
        return Written((Chain(name, (denial(place, said),)),), problems=(said,))
    return Written((Chain(name, tuple(rules)),), lists)


def _target(rule: PolicyRule, place: Place) -> Target:
    match rule.action:
        case Action.ALLOW:
            return Jump(names.ALLOW, for_good=True)
        case Action.PASS:
            return Jump(names.PASS, for_good=True)
        case Action.DENY:
            return place.way.deny(place.table)
        case Action.LOG:
            return Log(printable(f"{rule.log_prefix or LOG_PREFIX}: ", LOG_PREFIX_LIMIT))


def _limited(rule: Rule, settings: Settings) -> Rule:
    if not isinstance(rule.target, Log) or settings.log_rate is None:
        return rule
    limit = Limit(*settings.log_rate, settings.log_burst)
    return msgspec.structs.replace(rule, tests=(*rule.tests, limit))


def rules_of(policy: Policy, direction: Direction) -> tuple[PolicyRule, ...]:
    return policy.ingress if direction is Direction.INGRESS else policy.egress


def passes(policy: Policy, direction: Direction) -> bool:
    return any(rule.action is Action.PASS for rule in rules_of(policy, direction))


def denial(place: Place, says: str) -> Rule:
    return Rule((), place.way.deny(place.table), printable(says, COMMENT_LIMIT))


def group_chains(group: Group, policies: Mapping[PolicyId, Policy], place: Place) -> tuple[Chain, ...]:
    """The group's chain, with one more for every tier in which a policy passes."""
    lines = [place.way.unanswered()]
    tiers: list[Chain] = []
    for number, stage in enumerate(group.stages):
        enforced = [name for name in stage.policies if name not in policies or not policies[name].staged]
        if stage.policies and not enforced:
            continue
        if any(name in policies and passes(policies[name], group.direction) for name in enforced):
            name = names.stage_chain(group.id, group.direction, number)
            tiers.append(Chain(name, tuple(_tier_that_passes(stage, enforced, group.direction, policies, place))))
            lines += [
                Rule((), Jump(name), printable(f"tier {stage.tier}", COMMENT_LIMIT)),
                place.way.allowed(),
                Rule((), SetMark(0, place.way.marks.leave)),
            ]
        else:
            for policy in enforced:
                lines += _called(policy, group.direction, policies, place, place.way.allowed())
            lines += _end_of_tier(stage, group.direction, place)
    for profile in group.profiles:
        if profile in policies and policies[profile].staged:
            lines.append(denial(place, f"missing: {profile}"))
        else:
            lines += _called(profile, group.direction, policies, place, place.way.allowed())
    lines += _end(group, place)
    return (Chain(names.group_chain(group.id, group.direction), tuple(_reachable(lines))), *tiers)


def _tier_that_passes(
    stage: TierStage, enforced: list[PolicyId], direction: Direction, policies: Mapping[PolicyId, Policy], place: Place
) -> Iterator[Rule]:
    answered = Rule((Marked(0, place.way.marks.answer, True),), RETURN)
    lines = [
        line for policy in enforced for line in _called(policy, direction, policies, place, answered)
    ]
    yield from _reachable([*lines, *_end_of_tier(stage, direction, place)])


def _called(
    policy: PolicyId, direction: Direction, policies: Mapping[PolicyId, Policy], place: Place, then: Rule
) -> tuple[Rule, ...]:
    if policy not in policies:
        return (denial(place, f"missing: {policy}"),)
    return Rule((), Jump(names.policy_chain(policy, direction)), printable(policy, COMMENT_LIMIT)), then


def _end_of_tier(stage: TierStage, direction: Direction, place: Place) -> tuple[Rule, ...]:
    if stage.default_action is Action.PASS:
        return ()
    return (denial(place, comment(Origin(kind="Tier", name=stage.tier, tier=stage.tier, direction=direction))),)


def _end(group: Group, place: Place) -> tuple[Rule, ...]:
    match group.end:
        case Action.ALLOW:
            return (Rule((), SetMark(place.way.marks.accept, place.way.marks.accept)),)
        case Action.PASS:
            return ()
        case _:
            return (denial(place, f"no profile allows: {group.direction}"),)


def _reachable(lines: list[Rule]) -> list[Rule]:
    """The lines up to the first that every packet ends at."""
    end = next((number for number, line in enumerate(lines) if not line.tests and _is_final(line.target)), len(lines))
    return lines[: end + 1]


def _is_final(target: Target) -> bool:
    return isinstance(target, Ruling) or (isinstance(target, Jump) and target.chain == REJECT)

"""A group as chains: tiers in order, then profiles, then the end; and what Allow and Pass come to in a shared chain.

A policy's rules lie in chains of its own (see pieces), for each gate and family (see places), shared by all groups that
hold it there: a change of what a rule matches rewrites these and nothing else. Which of them a group calls, it picks by
the packet's protocol and port (see merging). Two things cannot be said in a shared chain, because nftables has no
variables and we spend no packet marks on them:

  Allow   is final for its gate, and something else in each: `accept` at ingress; at egress the packet must still pass
          the ingress policy of a local destination: `goto` the chain `egress-allowed`, which ends in a verdict.
  Pass    leaves the tier, and only the group knows what comes next. So a rule that passes is written into the group, in
          a chain for that tier, where Pass is `return`. In a profile Pass means "the next profile", and `return` from
          its own chain is just that.

An egress group begins with conntrack, and with the flows that policy has ended (see `cutting`); at ingress the forward
chain or the sender's group has asked both already.

A workload's ingress group is looked up by interface alone, in one map for both families, so that an endpoint is one
element there: its chain begins with what IPv6 meets, and goes on with IPv4.

    ingress/group/G:    ipv6 goto ingress6/group/G            <- or the only line of it
                        jump ingress4/NetworkPolicy/a/p       <- tier without Pass, default Deny
                        drop
    ingress6/group/G:   jump ingress6/group/G/0               <- tier with a Pass rule in it
                        jump ingress6/Profile/x
                        drop
    ingress6/group/G/0: jump ingress6/NetworkPolicy/a/r/0-2   <- its rules before the one that passes
                        that rule, `return`
                        jump ingress6/NetworkPolicy/a/q
                        drop                                   (default Deny)

The kernel allows sixteen chains in a row, gotos counted: no depth here grows with the number of tiers.
A group always ends in a verdict, Group.end. What is missing denies, at the place where it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from muslin.intent import Action, Group, Origin, Policy, PolicyId
from muslin.render.nft import cutting, names
from muslin.render.nft.crowds import Size
from muslin.render.nft.extent import of_family
from muslin.render.nft.merging import Merged, merged
from muslin.render.nft.pieces import Inline, Outline, missing
from muslin.render.nft.places import DENIED, Gate, Place
from muslin.render.nft.runs import Called
from muslin.render.nft.words import ACCEPT, DROP, RETURN, Chain, Choose, Counter, CtState, Field, goto, jump
from muslin.render.nft.words import Rule as Line

INVALID_FROM_WORKLOAD = "invalid-from-workload"

Item = Line | Called
Calls = Mapping[PolicyId, Sequence[Item]]
"""What every policy that is there and enforced comes to in a group, at one place."""


def group_chains(
    group: Group, place: Place, policies: Mapping[PolicyId, Policy], calls: Calls, size: Size
) -> tuple[Merged, ...]:
    """The group's chain at a place of its direction, and one more for every tier that holds a Pass rule. `calls`: see
    `called`, of that place."""
    own = names.group_chain(group.id, place.gate, place.family)
    flow = (of_a_flow(INVALID_FROM_WORKLOAD), cutting.rule(place.family))
    items: list[Item] = [*flow] if place.gate is Gate.EGRESS else []
    found: list[Merged] = []
    for number, stage in enumerate(group.stages):
        enforced = [name for name in stage.policies if name not in policies or not policies[name].staged]
        if stage.policies and not enforced:
            continue
        body = [item for name in enforced for item in _calls(name, calls)]
        body = _reachable([*body, *_end_of_tier(stage.tier, stage.default_action, place)])
        if any(isinstance(item, Line) and RETURN in item.statements for item in body):
            name = names.stage_chain(group.id, place.gate, place.family, number)
            found.append(merged(name, place, body, size))
            items.append(Line((jump(name),), names.printable(f"tier {stage.tier}", names.COMMENT_LIMIT)))
        else:
            items += body
    for profile in group.profiles:
        items += _called_profile(policies.get(profile), profile, calls)
    items.append(_end_of_group(group.end, place))
    return (merged(own, place, _reachable(items), size), *found)


def joined(ipv4: Chain, ipv6: Chain, way_in: str) -> tuple[Chain, ...]:
    """A group's own chains of both families as one chain of that name, and what does not fit into it. The last line of
    a group ends every packet, so that a single one may stand before others."""
    match ipv6.rules:
        case [only]:
            return (Chain(way_in, (Line((of_family(6), *only.statements), only.comment), *ipv4.rules)),)
    return Chain(way_in, (Line((of_family(6), goto(ipv6.name))), *ipv4.rules)), ipv6


def of_a_flow(invalid: str) -> Line:
    """Policy looks at the first packet of a flow; the others, and the errors about them, pay this one lookup."""
    accept = ((CtState.ESTABLISHED, ACCEPT), (CtState.RELATED, ACCEPT))
    return Line((Choose(Field.CT_STATE, (*accept, (CtState.INVALID, jump(invalid)))),))


def _reachable(items: list[Item]) -> list[Item]:
    """Those up to the first line that every packet ends at."""
    for number, item in enumerate(items):
        if isinstance(item, Line) and item.statements in _FINAL:
            return items[: number + 1]
    return items


_FINAL = ((Counter(), DROP), (Counter(), goto(DENIED)))


def called(name: PolicyId, outline: Outline) -> tuple[Item, ...]:
    """What groups write or call, in order: worked out once, and shared by all groups that hold the policy."""
    return tuple(step.line if isinstance(step, Inline) else Called(name, step, outline) for step in outline.steps)


def _calls(name: PolicyId, calls: Calls) -> Sequence[Item]:
    found = calls.get(name)
    return (missing(name),) if found is None else found


def _called_profile(policy: Policy | None, name: PolicyId, calls: Calls) -> Sequence[Item]:
    return (missing(name),) if policy is None or policy.staged else _calls(name, calls)


@lru_cache(maxsize=1024)
def _end_of_tier(tier: str, action: Action, place: Place) -> tuple[Line, ...]:
    if action is Action.PASS:
        return ()
    origin = Origin(kind="Tier", name=tier, tier=tier, direction=place.direction)
    return (Line(place.deny, names.comment(origin)),)


@lru_cache(maxsize=256)
def _end_of_group(action: Action, place: Place) -> Line:
    nothing = f"no profile allows: {place.direction}" if action is Action.DENY else "nothing has decided"
    return Line(place.end(action), nothing)

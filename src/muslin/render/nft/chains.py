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

    ingress4/group/G:   jump ingress4/NetworkPolicy/a/p       <- tier without Pass, default Deny
                        drop
    ingress4/group/G:   jump ingress4/group/G/0               <- tier with a Pass rule in it
                        jump ingress4/Profile/x
                        drop
    ingress4/group/G/0: jump ingress4/NetworkPolicy/a/r/0-2   <- its rules before the one that passes
                        that rule, `return`
                        jump ingress4/NetworkPolicy/a/q
                        drop                                   (default Deny)

The kernel allows sixteen chains in a row, gotos counted: no depth here grows with the number of tiers.
A group always ends in a verdict, Group.end. What is missing denies, at the place where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from muslin.intent import Action, Group, Origin, Policy, PolicyId, TierStage
from muslin.render.nft import cutting, names
from muslin.render.nft.merging import Called, Merged, merged
from muslin.render.nft.peers import Size
from muslin.render.nft.pieces import Inline, Outline, missing
from muslin.render.nft.places import DENIED, Gate, Place
from muslin.render.nft.words import ACCEPT, DROP, RETURN, Choose, Counter, CtState, Field, goto, jump
from muslin.render.nft.words import Rule as Line

INVALID_FROM_WORKLOAD = "invalid-from-workload"

Outlines = Mapping[PolicyId, Outline]
"""Of every policy that is there and enforced, at one place."""
Item = Line | Called


def group_chains(
    group: Group, place: Place, policies: Mapping[PolicyId, Policy], outlines: Outlines, size: Size
) -> tuple[Merged, ...]:
    """The group's chain at a place of its direction, and one more for every tier that holds a Pass rule."""
    own = names.group_chain(group.id, place.gate, place.family)
    flow = (of_a_flow(INVALID_FROM_WORKLOAD), cutting.rule(place.family))
    items: list[Item] = [*flow] if place.gate is Gate.EGRESS else []
    found: list[Merged] = []
    for number, stage in enumerate(group.stages):
        enforced = [name for name in stage.policies if name not in policies or not policies[name].staged]
        if stage.policies and not enforced:
            continue
        body = [item for name in enforced for item in _called(name, outlines)]
        body = _reachable(body + list(_end_of_tier(stage, place)))
        if any(isinstance(item, Line) and RETURN in item.statements for item in body):
            name = names.stage_chain(group.id, place.gate, place.family, number)
            found.append(merged(name, place, body, size))
            items.append(Line((jump(name),), names.printable(f"tier {stage.tier}", names.COMMENT_LIMIT)))
        else:
            items += body
    for profile in group.profiles:
        items += _called_profile(policies.get(profile), profile, outlines)
    nothing = f"no profile allows: {place.direction}" if group.end is Action.DENY else "nothing has decided"
    items.append(Line(place.end(group.end), nothing))
    return (merged(own, place, _reachable(items), size), *found)


def of_a_flow(invalid: str) -> Line:
    """Policy looks at the first packet of a flow; the others, and the errors about them, pay this one lookup."""
    accept = ((CtState.ESTABLISHED, ACCEPT), (CtState.RELATED, ACCEPT))
    return Line((Choose(Field.CT_STATE, (*accept, (CtState.INVALID, jump(invalid)))),))


def _reachable(items: list[Item]) -> list[Item]:
    """Those up to the first line that every packet ends at."""
    end = next((number for number, item in enumerate(items) if _is_final(item)), len(items))
    return items[: end + 1]


def _is_final(item: Item) -> bool:
    return isinstance(item, Line) and item.statements in _FINAL


_FINAL = ((Counter(), DROP), (Counter(), goto(DENIED)))


def _called(name: PolicyId, outlines: Outlines) -> Iterator[Item]:
    outline = outlines.get(name)
    if outline is None:
        yield missing(name)
        return
    for step in outline.steps:
        yield step.line if isinstance(step, Inline) else Called(name, step, outline)


def _called_profile(policy: Policy | None, name: PolicyId, outlines: Outlines) -> Iterator[Item]:
    if policy is None or policy.staged:
        yield missing(name)
    else:
        yield from _called(name, outlines)


def _end_of_tier(stage: TierStage, place: Place) -> tuple[Line, ...]:
    if stage.default_action is Action.PASS:
        return ()
    origin = Origin(kind="Tier", name=stage.tier, tier=stage.tier, direction=place.direction)
    return (Line(place.deny, names.comment(origin)),)

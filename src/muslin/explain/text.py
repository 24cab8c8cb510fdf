"""A decision as lines for a terminal: the way through tiers, policies and rules, with what did not match."""

from __future__ import annotations

from muslin.explain.decision import Decision, Outcome, Place, Step
from muslin.explain.walk import parts_of
from muslin.intent import Origin

_INDENT = {Place.POLICY: 2, Place.END_OF_TIER: 2}
_DECIDES = "   <- this decides"


def text(decision: Decision) -> list[str]:
    """One line a step; the last says which line decides."""
    lines = [f"{decision.direction} of {_endpoint(decision.endpoint)}: {decision.verdict}"]
    inside = 0
    for step in decision.steps:
        depth = inside + 1 if step.place is Place.RULE else _INDENT.get(step.place, 1)
        lines.append("  " * depth + _line(step))
        inside = depth if step.place in (Place.POLICY, Place.PROFILE) else inside
    lines[-1] += _DECIDES
    return lines


def origin_text(origin: Origin) -> str:
    """`NetworkPolicy shop/allow-web, ingress rule 0`, as kernel comments and flow logs count them."""
    name = "/".join(part for part in (origin.namespace, origin.name) if part)
    what = f"{origin.kind} {name}".rstrip()
    if origin.kind == "Tier":
        what = f"the end of tier {origin.name}"
    elif origin.kind == "Profile" and not origin.name:
        what = "the end of the profiles"
    if origin.rule is not None:
        what += f", {origin.direction} rule {origin.rule}"
    return f"{what}: {origin.note}" if origin.note else what


def _line(step: Step) -> str:
    note = f": {step.origin.note}" if step.origin is not None and step.origin.note else ""
    match step.place:
        case Place.TIER:
            return f"tier {step.name}"
        case Place.POLICY | Place.PROFILE:
            return f"{_named(step.name)}{_skipped(step) or note}"
        case Place.RULE:
            return f"rule {step.name} {step.action}: {_rule_outcome(step)}{note}"
        case Place.END_OF_TIER:
            return f"no rule of tier {step.name} matched: {step.outcome}"
        case _:
            return f"{step.outcome}{note}"


def _rule_outcome(step: Step) -> str:
    if step.outcome is Outcome.NO_MATCH:
        return "no, " + "; ".join(map(str, step.mismatches))
    return "yes" if step.outcome.value == step.action else f"{step.outcome}"


def _skipped(step: Step) -> str:
    if step.outcome is not Outcome.SKIPPED:
        return ""
    if step.action is None or step.origin is None:
        return " (staged, not enforced)"
    which = "" if step.origin.rule is None else f" by its rule {step.origin.rule}"
    return f" (staged, not enforced: would be {step.action}{which})"


def _named(key: str) -> str:
    kind, namespace, name = parts_of(key)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _endpoint(key: str) -> str:
    _, namespace, name = parts_of(key)
    return f"{namespace}/{name}" if namespace else name or "an address that no endpoint here has"

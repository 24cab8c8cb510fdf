"""An answer that can be read back to the line that gave it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from muslin.explain.rule import Mismatch
from muslin.intent import Action, Direction, EndpointKey, Origin, SetId


class Place(StrEnum):
    """What a step was a step through."""

    ENDPOINT = "endpoint"
    SOURCE = "source"
    TIER = "tier"
    POLICY = "policy"
    RULE = "rule"
    END_OF_TIER = "end of tier"
    PROFILE = "profile"
    END_OF_PROFILES = "end of profiles"
    HOST = "host"


class Outcome(StrEnum):
    """What came of it. ENTERED: its own steps follow. NO_MATCH: on to the next. SKIPPED: staged, so not enforced."""

    ALLOW = "Allow"
    DENY = "Deny"
    PASS = "Pass"
    LOG = "Log"
    ENTERED = "entered"
    NO_MATCH = "no match"
    SKIPPED = "skipped"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing on the packet's way. `action`: what a rule would do. `mismatches`: why it did not."""

    place: Place
    name: str
    outcome: Outcome
    origin: Origin | None = None
    action: Action | None = None
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def near_miss(self) -> bool:
        """One field more, and the rule would have matched."""
        return len(self.mismatches) == 1


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint's policy says of a packet in one direction, and by which line."""

    endpoint: EndpointKey
    direction: Direction
    verdict: Action
    decided_by: Origin
    steps: tuple[Step, ...] = ()


def named(decision: Decision, names: Mapping[SetId, str]) -> Decision:
    """The same with sets called by what people wrote (`role == "web"`), where that is known."""
    def words(mismatch: Mismatch) -> Mismatch:
        wanted = _SET.sub(lambda found: names.get(SetId(found[1]), found[0]), mismatch.wanted)
        return Mismatch(mismatch.field, wanted, mismatch.found)

    steps = tuple(
        msgspec.structs.replace(step, mismatches=tuple(map(words, step.mismatches))) if step.mismatches else step
        for step in decision.steps
    )
    return msgspec.structs.replace(decision, steps=steps)


_SET = re.compile(r"\bset (\S+)")


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """The whole way. None: that end is no workload of ours, and nobody there asks. `verdict` is Deny if either denies;
    `ingress` says what the receiver's policy would, also when the sender's stops the packet before."""

    verdict: Action
    egress: Decision | None = None
    ingress: Decision | None = None

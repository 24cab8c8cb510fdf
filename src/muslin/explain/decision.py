"""An answer that can be read back to the line that gave it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from muslin.explain.packet import Packet
from muslin.explain.rule import Mismatch
from muslin.explain.translation import Translation
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


class Gate(StrEnum):
    """Where on its way the packet is asked. NOBODYS: at an interface that bears our prefix and that nobody declares."""

    UNTRACKED = "untracked"
    PRE_DNAT = "pre-DNAT"
    TRANSLATION = "translation"
    SENDER = "sender"
    INPUT = "input"
    OUTPUT = "output"
    FORWARD_INGRESS = "forward ingress"
    RECEIVER = "receiver"
    FORWARD_EGRESS = "forward egress"
    FLOW = "flow"
    NOBODYS = "nobody's interface"


class Passage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One gate. Allow, Deny, or Pass: it goes on as if the gate were not there."""

    gate: Gate
    outcome: Outcome
    decided_by: Origin
    interface: str = ""
    endpoint: EndpointKey = EndpointKey("")
    steps: tuple[Step, ...] = ()


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """`packet`: as it arrives at its next hop, if it does. `tracked` False: conntrack never sees it.
    `translations`: of its addresses, in order."""

    verdict: Action
    decided_by: Origin
    packet: Packet
    passages: tuple[Passage, ...] = ()
    tracked: bool = True
    translations: tuple[Translation, ...] = ()


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """The whole way. None: that end is no workload of ours, and nobody there asks. `verdict` is Deny if either denies;
    `ingress` says what the receiver's policy would, also when the sender's stops the packet before."""

    verdict: Action
    egress: Decision | None = None
    ingress: Decision | None = None
    journeys: tuple[tuple[str, Journey], ...] = ()
    """(host, the way through it), of each host that the packet comes to; empty where nobody reckoned them."""

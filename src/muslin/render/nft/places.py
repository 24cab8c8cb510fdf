"""Where a policy list is asked, and what its words come to there.

The same policy may be asked about a packet for a workload, for the host itself, and for the world beyond the host. Its
matches are the same everywhere; what Allow does is not, because what must still be asked behind it is not:

    ingress             a workload's or the host's own: nothing is asked behind it      accept
    egress              a workload's: the receiver's policy                             goto egress-allowed
    host-egress         what leaves the host by an interface of its own                 accept
    forward-ingress     what comes in to be forwarded: the interface that it leaves by  goto forwarded
    untracked-ingress   raw: no flow, and the interface is not asked again              notrack, remember, accept
    untracked-egress    likewise
    pre-dnat            the interface is not asked again                                remember, accept

nftables has no variables, so rules are written once for each gate and family in which they are asked. "Remember" is one
bit of the packet's mark, which the hook that reads it takes away again.
What a denied packet meets, and how often Log speaks, follows from the settings, as long as it can be said in that hook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from muslin.intent import Action, Direction, GroupId, Settings
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    ClearMark,
    Counter,
    Limit,
    Marked,
    NoTrack,
    SetMark,
    Statement,
    goto,
)

FAMILIES = (4, 6)
EGRESS_ALLOWED = "egress-allowed"
"""Where a packet goes that its sender's policy allows."""
FORWARDED = {4: "forwarded4", 6: "forwarded6"}
"""Where a packet goes that may come in to be forwarded, by the policy of the interface that it comes in by."""
DENIED = "denied"
"""Where a packet goes that policy denies, when it is to be told so."""


class Gate(StrEnum):
    INGRESS = "ingress"
    EGRESS = "egress"
    HOST_EGRESS = "host-egress"
    FORWARD_INGRESS = "forward-ingress"
    UNTRACKED_INGRESS = "untracked-ingress"
    UNTRACKED_EGRESS = "untracked-egress"
    PRE_DNAT = "pre-dnat"

    __hash__ = str.__hash__
    """In C: it is part of the key of every piece and place, and enum's own is Python."""

    @property
    def direction(self) -> Direction:
        return Direction.EGRESS if self in _EGRESS else Direction.INGRESS

    @property
    def early(self) -> bool:
        """In a hook where no packet can be answered, and from where others follow."""
        return self in _EARLY


_EGRESS = frozenset({Gate.EGRESS, Gate.HOST_EGRESS, Gate.UNTRACKED_EGRESS})
_EARLY = frozenset({Gate.UNTRACKED_INGRESS, Gate.UNTRACKED_EGRESS, Gate.PRE_DNAT})
WORKLOAD_GATES = (Gate.INGRESS, Gate.EGRESS)
"""Every policy and group is written for these, whoever holds it."""
Gates = Mapping[GroupId, frozenset[Gate]]
"""Where interfaces of the host ask these groups."""


class Manner(msgspec.Struct, frozen=True, cache_hash=True):
    """What the settings make of rules. `bit`: of the packet's mark, 0 when there is none to spend."""

    reject: bool = False
    log_limit: Limit | None = None
    bit: int = 0

    @property
    def remember(self) -> tuple[Statement, ...]:
        return (SetMark(self.bit),) if self.bit else ()

    @property
    def remembered(self) -> tuple[Statement, ...]:
        """Matches what was remembered, and forgets it."""
        return (Marked(self.bit), ClearMark(self.bit))


def manner_of(settings: Settings) -> Manner:
    limit = Limit(*settings.log_rate, settings.log_burst) if settings.log_rate else None
    return Manner(settings.filter_deny == "Reject", limit, settings.mark_mask & -settings.mark_mask)


class Place(msgspec.Struct, frozen=True, cache_hash=True):
    """Where rules are being written."""

    gate: Gate
    family: int
    manner: Manner = Manner()

    @property
    def direction(self) -> Direction:
        return self.gate.direction

    @property
    def allow(self) -> tuple[Statement, ...]:
        match self.gate:
            case Gate.INGRESS | Gate.HOST_EGRESS:
                return (ACCEPT,)
            case Gate.EGRESS:
                return (goto(EGRESS_ALLOWED),)
            case Gate.FORWARD_INGRESS:
                return (goto(FORWARDED[self.family]),)
            case Gate.PRE_DNAT:
                return (*self.manner.remember, ACCEPT)
            case Gate.UNTRACKED_INGRESS | Gate.UNTRACKED_EGRESS:
                return (NoTrack(), *self.manner.remember, ACCEPT)

    @property
    def deny(self) -> tuple[Statement, ...]:
        return (Counter(), goto(DENIED) if self.manner.reject and not self.gate.early else DROP)

    def end(self, action: Action) -> tuple[Statement, ...]:
        """What `Group.end` comes to. Pass, where others follow: this hook has nothing against the packet."""
        match action:
            case Action.ALLOW:
                return (Counter(), *self.allow)
            case Action.PASS:
                return (ACCEPT,) if self.gate.early else self.allow
            case _:
                return self.deny


def places(gates: Iterable[Gate], manner: Manner) -> tuple[Place, ...]:
    return tuple(Place(gate, family, manner) for gate in sorted(gates, key=_ORDER.index) for family in FAMILIES)


def gates_of(uses: Iterable[tuple[GroupId, Gate]]) -> Gates:
    found: dict[GroupId, frozenset[Gate]] = {}
    for group, gate in uses:
        found[group] = found.get(group, frozenset()) | {gate}
    return found


def places_of(groups: Iterable[GroupId], gates: Gates, manner: Manner) -> tuple[Place, ...]:
    """Where these groups are asked. Those of workloads are written for everybody."""
    found = set(WORKLOAD_GATES)
    if gates:
        for key in groups:
            found |= gates.get(key, frozenset())
    return places(found, manner)


_ORDER = list(Gate)

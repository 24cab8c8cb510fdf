"""Policy as one host must enforce it.

    endpoint --direction--> Group = stages (tiers in order, each with its ordered policies), then profiles
                              Policy = rules in order --> Match on AddressSet / PortSet, by id

Evaluation of a group, the law for every reader (calico-compatible):
  for each stage: each policy of the stage in order, each rule (of the group's direction) in order:
      Allow or Deny: final. Pass: leave this stage, go to the next. Log: log, go on.
      no rule of any policy in the stage matched: the stage's `default_action` (Deny is final, Pass goes to the next).
  after the last stage: each profile's rules in order; Allow or Deny final, Pass leaves this profile for the next.
  nothing matched: the group's `end`.
Nothing in a Rule refers to a selector or a name any more: protocols are numbers, selectors are set ids.
A stage whose policies are all staged is as if it were not there. A staged policy is evaluated for report only.
What staged policies would do, the law for `explain` alone (kernels never look at it): evaluate the group as above, but
  take every staged policy as enforced, and every policy with `replaced_by` as if it were not there (nor its stage,
  when nothing else is left in it). A staged policy that only removes another one is in no group: the other one's
  `replaced_by` is all there is of it.
A set or a policy that a group or rule names but that is not there matches nothing / denies: see calc.host.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from muslin.intent.keys import GroupId, PolicyId, SetId
from muslin.net import Cidr


class Action(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"
    PASS = "Pass"
    LOG = "Log"


class Direction(StrEnum):
    """As the endpoint sees it: INGRESS is towards the workload, EGRESS away from it."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a decision comes from: kernel comment, `why` and flow log speak of the same line.

    `rule` is the 0-based index in spec.ingress or spec.egress; None for a tier's default action, the end of the
    profiles, or a stand-in. `note` says what is missing or wrong when this is a stand-in that denies.
    """

    kind: str
    name: str
    namespace: str = ""
    tier: str = ""
    direction: Direction = Direction.INGRESS
    rule: int | None = None
    note: str = ""


class Icmp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    type: int
    code: int | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One side of a rule; every given field must hold (AND).

    nets: the address is in one of them (OR). not_nets: in none.
    sets: in EVERY one (AND). not_sets: in none.
    ports (inclusive ranges) and named_ports are alternatives: one range OR one port set must hold.
    not_ports and not_named_ports: none may hold.
    A port set holds (address, protocol, port); this side's address, the packet's protocol and this side's port are
    looked up together.
    """

    nets: tuple[Cidr, ...] = ()
    not_nets: tuple[Cidr, ...] = ()
    sets: tuple[SetId, ...] = ()
    not_sets: tuple[SetId, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    named_ports: tuple[SetId, ...] = ()
    not_ports: tuple[tuple[int, int], ...] = ()
    not_named_ports: tuple[SetId, ...] = ()


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule. A family that a rule cannot speak of (v6 packet, v4 nets) does not match it.

    `ip_version` None: both families. Fields with None do not restrict. `log_prefix` only for Action.LOG:
    readers write it, cut to what their kernel takes, and a colon and a blank after it.
    """

    action: Action
    origin: Origin
    ip_version: int | None = None
    protocol: int | None = None
    not_protocol: int | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: Match = Match()
    destination: Match = Match()
    log_prefix: str = ""


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rules of one policy or profile. `staged` ones are evaluated for report, never enforced.

    `replaced_by`, of an enforced policy: the staged one of the same name. If that took effect this one would be gone;
    the staged one stands for it (stagedAction Set) or nothing does (Delete). It changes nothing of what is enforced.
    """

    id: PolicyId
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    staged: bool = False
    replaced_by: PolicyId = PolicyId("")


class TierStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policies of one tier that apply to the group's endpoints in the group's direction, in order."""

    tier: str
    policies: tuple[PolicyId, ...]
    default_action: Action = Action.DENY


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one policy list that many endpoints share, in one direction. `id` is a hash of the rest.

    `end`, when nothing has decided: Deny for workloads and a host's own traffic; Allow for what a host forwards; Pass
    for untracked and pre-DNAT groups: the packet goes on as if the group were not there. (Their stages end with Pass.)
    """

    id: GroupId
    direction: Direction
    stages: tuple[TierStage, ...] = ()
    profiles: tuple[PolicyId, ...] = ()
    end: Action = Action.DENY


PortMember = tuple[Cidr, int, int]
"""(host address, protocol number, port)"""


class AddressSet(msgspec.Struct, frozen=True, kw_only=True, tag="address"):
    """Addresses and prefixes of both families; overlaps are allowed (a /32 inside a /8)."""

    id: SetId
    members: frozenset[Cidr] = frozenset()


class PortSet(msgspec.Struct, frozen=True, kw_only=True, tag="port"):
    """Named ports, resolved per endpoint; or the ports of a service, with the addresses that serve them."""

    id: SetId
    members: frozenset[PortMember] = frozenset()

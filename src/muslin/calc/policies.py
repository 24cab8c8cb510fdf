"""What a policy is, apart from the endpoints it meets: whom it selects, where it stands, what it says.

A policy that cannot be used is the dangerous one. Leaving it out would open whatever it closes. So

    its rules cannot be used      it denies whom it selects, in the directions that it governs
    its selector cannot be read   it denies its whole scope: every workload of its namespace; for a global policy, of
                                  the namespaces it selects, and of all if that cannot be read either
    its order cannot be read      it stands first in its tier; an unreadable tier is the default tier
    nothing of it can be read     it is absent, because nobody can say whom it touches

and in each case it is reported. Only global policies meet host endpoints; those of the sorts doNotTrack and preDNAT
meet nothing else. Staged policies are read in the same way and marked, see `staging`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from muslin.calc.definitions import SetDefinition
from muslin.calc.identity import policy_id
from muslin.calc.illegible import Illegible, texts, word
from muslin.calc.members import LabelClass, Sort
from muslin.calc.rules import compiled, in_namespace, of_service_accounts, selector
from muslin.calc.selectors import Entry
from muslin.errors import Invalid
from muslin.intent import Action, Direction, Origin, Policy, PolicyId, Rule
from muslin.model.labels import SERVICE_ACCOUNT
from muslin.model.meta import ResourceKey
from muslin.model.policy import GlobalNetworkPolicy, GlobalNetworkPolicySpec, NetworkPolicy, Profile
from muslin.model.policy import Rule as RuleWords
from muslin.model.selector import ALL, Selector, both
from muslin.model.staged import KINDS as STAGED
from muslin.model.staged import StagedGlobalNetworkPolicy, StagedNetworkPolicy

DEFAULT_TIER = "default"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules without names, and the definitions of the sets that they use."""

    policy: Policy
    sets: tuple[SetDefinition, ...] = ()


class Passage(Enum):
    """Where on a packet's way through a host a policy is asked."""

    NORMAL = auto()
    UNTRACKED = auto()
    PRE_DNAT = auto()


@dataclass(frozen=True, slots=True)
class Head:
    """Everything of a policy but its rules. `hosts`: it meets host endpoints, too. `forward`: there it meets what the
    host forwards, beside the host's own traffic."""

    tier: str
    order: float
    directions: frozenset[Direction]
    selector: str = ""
    namespace_selector: str = ""
    service_account_selector: str = ""
    passage: Passage = Passage.NORMAL
    hosts: bool = False
    forward: bool = False


class PolicyState:
    """A policy that is there. `rank` is its place in its tier."""

    __slots__ = ("compiled", "directions", "entry", "forward", "hosts", "id", "name", "passage", "rank", "scope",
                 "tier")

    def __init__(self, key: ResourceKey, head: Head, scope: Selector, compiled: Compiled) -> None:
        self.id: PolicyId = policy_id(key)
        self.name = key.name
        self.tier = head.tier
        self.rank = (head.order, f"{key.name}/{key.namespace}/{key.kind}")
        self.directions = head.directions
        self.passage = head.passage
        self.hosts = head.hosts
        self.forward = head.forward
        self.scope = scope
        self.compiled = compiled
        self.entry: Entry | None = None

    def stands_like(self, other: PolicyState) -> bool:
        """Does it meet the same endpoints in the same place?"""
        return self._standing() == other._standing()

    def meets(self, label_class: LabelClass) -> bool:
        """Is it for members of this sort at all?"""
        match label_class.sort:
            case Sort.WORKLOAD:
                return self.passage is Passage.NORMAL
            case Sort.HOST:
                return self.hosts
            case Sort.NETWORK_SET:
                return False

    def _standing(self) -> tuple[object, ...]:
        return self.tier, self.rank, self.directions, self.passage, self.hosts, self.forward, self.scope


def policy_state(
    key: ResourceKey,
    resource: NetworkPolicy | GlobalNetworkPolicy | StagedNetworkPolicy | StagedGlobalNetworkPolicy | Illegible,
) -> tuple[PolicyState | None, str | None]:
    """(the policy, what is wrong with it)"""
    if isinstance(resource, Illegible):
        head = _salvaged(resource)
        if head is None:
            return None, f"{resource.reason}; nothing of it can be read, so that it touches nobody; write it anew"
        scope, fault = _scope(key, head)
        faults = [resource.reason, *([fault] if fault else [])]
        return _denying(key, head, scope, faults), _report(faults, key)
    spec = resource.spec
    faults = []
    namespace_selector, passage, forward = "", Passage.NORMAL, False
    if isinstance(spec, GlobalNetworkPolicySpec):
        namespace_selector, forward = spec.namespace_selector, spec.apply_on_forward
        passage = _passage(untracked=spec.do_not_track, pre_dnat=spec.pre_dnat)
    try:
        directions = _directions(spec.types, bool(spec.ingress), bool(spec.egress))
    except Invalid as error:
        faults.append(str(error))
        directions = frozenset(Direction)
    head = Head(
        tier=spec.tier or DEFAULT_TIER,
        order=math.inf if spec.order is None else spec.order,
        directions=directions,
        selector=spec.selector,
        namespace_selector=namespace_selector,
        service_account_selector=spec.service_account_selector,
        passage=passage,
        hosts=isinstance(spec, GlobalNetworkPolicySpec),
        forward=forward,
    )
    scope, fault = _scope(key, head)
    if fault:
        faults.append(fault)
    try:
        done = _compiled(key, head, scope, spec.ingress, spec.egress)
    except Invalid as error:
        faults.append(str(error))
    if faults:
        return _denying(key, head, scope, faults), _report(faults, key)
    return PolicyState(key, head, scope, done), None


def profile_rules(name: str, profile: Profile) -> tuple[Compiled, str | None]:
    """(its rules, what is wrong with them)"""
    key = ResourceKey("Profile", "", name)
    head = Head(tier="", order=math.inf, directions=frozenset(Direction))
    try:
        return _compiled(key, head, ALL, profile.spec.ingress, profile.spec.egress), None
    except Invalid as error:
        return denying_profile(name, str(error)), _report([str(error)], key)


def denying_profile(name: str, note: str) -> Compiled:
    """Stands in for a profile that is missing or cannot be used."""
    return Compiled(denying(ResourceKey("Profile", "", name), "", frozenset(Direction), note))


def denying(key: ResourceKey, tier: str, directions: frozenset[Direction], note: str) -> Policy:
    """A policy that denies everything in these directions, and says why; of a staged one, that would."""
    def rules(direction: Direction) -> tuple[Rule, ...]:
        if direction not in directions:
            return ()
        return (Rule(action=Action.DENY, origin=Origin(
            kind=key.kind, name=key.name, namespace=key.namespace, tier=tier, direction=direction, note=note)),)

    return Policy(id=policy_id(key), ingress=rules(Direction.INGRESS), egress=rules(Direction.EGRESS),
                  staged=key.kind in STAGED)


def _denying(key: ResourceKey, head: Head, scope: Selector, faults: list[str]) -> PolicyState:
    return PolicyState(key, head, scope, Compiled(denying(key, head.tier, head.directions, "; ".join(faults))))


def _report(faults: list[str], key: ResourceKey) -> str:
    denies = "would deny, if it were enforced," if key.kind in STAGED else "denies"
    return f"{'; '.join(faults)}. Until this is mended it {denies} everything that it selects"


def _compiled(
    key: ResourceKey, head: Head, scope: Selector, ingress: tuple[RuleWords, ...], egress: tuple[RuleWords, ...]
) -> Compiled:
    origin = Origin(kind=key.kind, name=key.name, namespace=key.namespace, tier=head.tier)
    inwards, outwards, sets = compiled(
        ingress if Direction.INGRESS in head.directions else (),
        egress if Direction.EGRESS in head.directions else (),
        key.namespace, scope if key.namespace else ALL, origin,
    )
    return Compiled(Policy(id=policy_id(key), ingress=inwards, egress=outwards, staged=key.kind in STAGED), sets)


def _directions(types: tuple[str, ...], ingress: bool, egress: bool) -> frozenset[Direction]:
    """Those that it names; else egress if it has egress rules only, both if it has both, else ingress.
    Raises Invalid."""
    if types:
        try:
            return frozenset(Direction(word.lower()) for word in types)
        except ValueError:
            raise Invalid(f"spec.types: {', '.join(types)}: only Ingress and Egress exist") from None
    found = {Direction.EGRESS} if egress else set()
    return frozenset(found | {Direction.INGRESS} if ingress or not egress else found)


def _scope(key: ResourceKey, head: Head) -> tuple[Selector, str | None]:
    """(whom it selects, why that is more than it says). No answer is narrower than what it may have meant."""
    faults = []
    if key.namespace:
        scope = in_namespace(key.namespace)
        means_all = ""
    else:
        means_all = SERVICE_ACCOUNT
        scope = ALL
        if head.namespace_selector:
            try:
                scope = selector("spec.namespaceSelector", head.namespace_selector).of_namespaces()
            except Invalid as error:
                faults.append(str(error))
    try:
        narrowed = both(scope, selector("spec.selector", head.selector))
        if head.service_account_selector:
            accounts = selector("spec.serviceAccountSelector", head.service_account_selector)
            narrowed = both(narrowed, of_service_accounts(accounts, all_means=means_all))
        scope = narrowed
    except Invalid as error:
        faults.append(str(error))
    return scope, "; ".join(faults) or None


def _salvaged(illegible: Illegible) -> Head | None:
    """The head of a policy that does not decode, as far as it can be read; None when it has no spec at all.
    A selector that is no text is as good as none, the scope stands for it."""
    if illegible.obj is None:
        return None
    spec = illegible.part("spec")
    return Head(
        tier=word(spec.get("tier")) or DEFAULT_TIER,
        order=_order(spec),
        directions=_legible_directions(spec),
        selector=word(spec.get("selector")),
        namespace_selector=word(spec.get("namespaceSelector")) if not illegible.key.namespace else "",
        service_account_selector=word(spec.get("serviceAccountSelector")),
        passage=_passage(untracked=spec.get("doNotTrack") is True, pre_dnat=spec.get("preDNAT") is True),
        hosts=illegible.key.kind in ("GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"),
        forward=spec.get("applyOnForward", False) is not False,
    )


def _passage(*, untracked: bool, pre_dnat: bool) -> Passage:
    return Passage.UNTRACKED if untracked else Passage.PRE_DNAT if pre_dnat else Passage.NORMAL


def _order(spec: Mapping[str, object]) -> float:
    order = spec.get("order")
    if order is None:
        return math.inf
    return float(order) if isinstance(order, int | float) and not isinstance(order, bool) else -math.inf


def _legible_directions(spec: Mapping[str, object]) -> frozenset[Direction]:
    try:
        if "types" in spec:
            types = spec["types"]
            found = texts(types)
            if isinstance(types, list) and found and len(found) == len(types):
                return _directions(found, False, False)
            return frozenset(Direction)
        return _directions((), bool(spec.get("ingress")), bool(spec.get("egress")))
    except Invalid:
        return frozenset(Direction)

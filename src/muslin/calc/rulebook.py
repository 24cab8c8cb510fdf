"""Policies, tiers and profiles: which rules there are, and in which order they meet a class.

Whom a policy selects is asked of the index once, when it comes or its selector changes. What it says may change without
that: then only the hosts that use it need the new rules. A change of a tier moves its policies for all their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from muslin.calc.faults import Faults
from muslin.calc.groups import Groups, TierState, groups, tier_state
from muslin.calc.identity import policy_id, profile_id
from muslin.calc.illegible import Illegible
from muslin.calc.members import LabelClass
from muslin.calc.policies import Compiled, Passage, PolicyState, policy_state
from muslin.calc.population import Value
from muslin.calc.profiles import Profiles
from muslin.calc.selectors import SelectorIndex
from muslin.calc.services import Services
from muslin.calc.staging import Replacements, staged_state
from muslin.errors import Broken
from muslin.intent import PolicyId
from muslin.model.labels import account_profile_name, namespace_profile_name
from muslin.model.meta import ResourceKey
from muslin.model.network import Namespace
from muslin.model.policy import GlobalNetworkPolicy, NetworkPolicy, Profile, Tier
from muslin.model.service_account import ServiceAccount
from muslin.model.staged import StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy, StagedNetworkPolicy


class Rulebook:
    def __init__(self, index: SelectorIndex, faults: Faults, services: Services,
                 soil: Callable[[LabelClass], None]) -> None:
        """`soil` is told of each class whose policy list may have changed."""
        self._index = index
        self._faults = faults
        self._services = services
        self._soil = soil
        self._policies: dict[PolicyId, PolicyState] = {}
        self._tiers: dict[str, TierState] = {}
        self._replacements = Replacements()
        self.profiles = Profiles()
        self.changed: set[PolicyId] = set()
        """Policies and profiles whose rules may differ from those of the last flush."""

    def update_policy(self, key: ResourceKey, value: Value) -> None:
        new, fault = None, None
        if isinstance(value, NetworkPolicy | GlobalNetworkPolicy | Illegible):
            new, fault = policy_state(key, value)
        self._put(key, new, fault)

    def update_staged(self, key: ResourceKey, value: Value) -> None:
        found, new, fault = None, None, None
        if isinstance(
            value, StagedNetworkPolicy | StagedGlobalNetworkPolicy | StagedKubernetesNetworkPolicy | Illegible
        ):
            found = value
            new, fault = staged_state(key, value)
        marked = self._replacements.update(key, found)
        if marked in self._policies:
            self.changed.add(marked)
        self._put(key, new, fault)

    def _put(self, key: ResourceKey, new: PolicyState | None, fault: str | None) -> None:
        self._faults.note(key, "object", fault)
        self._services.name(key, new.compiled.sets if new is not None else ())
        name = policy_id(key)
        old = self._policies.get(name)
        if old is not None and new is not None and old.stands_like(new):
            if old.compiled != new.compiled:
                old.compiled = new.compiled
                self.changed.add(name)
            return
        if new is not None:
            self._policies[name] = new
            self.changed.add(name)
            self._enter(new)
        else:
            self._policies.pop(name, None)
        if old is not None:
            self._leave(old)

    def update_profile(self, key: ResourceKey, value: Value) -> str | None:
        """The name of the profile if it hands down other labels now."""
        profile = value if isinstance(value, Profile | Illegible) else None
        return self._profile_changed(key.name, self.profiles.store(key.name, profile))

    def update_namespace(self, key: ResourceKey, value: Value) -> str | None:
        """As `update_profile`, for the profile that the namespace stands for."""
        self._faults.note(key, "object", f"{value.reason}. Until this is mended its profile denies"
                          if isinstance(value, Illegible) else None)
        namespace = value if isinstance(value, Namespace | Illegible) else None
        change = self.profiles.store_namespace(key.name, namespace)
        return self._profile_changed(namespace_profile_name(key.name), change)

    def update_account(self, key: ResourceKey, value: Value) -> str | None:
        """As `update_profile`, for the profile that the service account stands for."""
        self._faults.note(key, "object", f"{value.reason}. Until this is mended what can be read of its labels counts"
                          if isinstance(value, Illegible) else None)
        account = value if isinstance(value, ServiceAccount | Illegible) else None
        change = self.profiles.store_account(key.namespace, key.name, account)
        return self._profile_changed(account_profile_name(key.namespace, key.name), change)

    def update_tier(self, key: ResourceKey, value: Value) -> None:
        self._faults.note(key, "object", f"{value.reason}. Until this is mended it comes last and denies"
                          if isinstance(value, Illegible) else None)
        new = tier_state(value) if isinstance(value, Tier) else None
        if self._tiers.get(key.name) == new:
            return
        if new is None:
            del self._tiers[key.name]
        else:
            self._tiers[key.name] = new
        for policy in self._policies.values():
            if policy.tier == key.name:
                self._soil_classes(policy)

    def groups(self, label_class: LabelClass) -> Groups:
        """Of a class. Worked out when somebody asks, and kept."""
        if label_class.groups is None:
            policies = self._that_meet(label_class)
            label_class.groups = groups(policies, self._tiers, label_class.profiles, label_class.sort)
        return label_class.groups

    def untracked(self, label_class: LabelClass) -> list[str]:
        """Names of the enforced policies that ask it before connections are tracked."""
        return sorted(
            policy.name for policy in self._that_meet(label_class)
            if policy.passage is Passage.UNTRACKED and not policy.compiled.policy.staged)

    def compiled(self, policy: PolicyId) -> Compiled:
        """The rules of a policy that is there, or of a profile, there or not."""
        kind, _, name = policy.partition("/")
        if kind == "Profile":
            return self.profiles.rules(name)
        if policy not in self._policies:
            raise Broken(f"a group names {policy}, which is not there")
        found = self._policies[policy].compiled
        if mark := self._replacements.of(policy):
            marked = msgspec.structs.replace(found.policy, replaced_by=mark)
            return Compiled(marked, found.sets)
        return found

    def statistics(self) -> dict[str, int]:
        return {"policies": len(self._policies), "tiers": len(self._tiers)}

    @staticmethod
    def _that_meet(label_class: LabelClass) -> Iterator[PolicyState]:
        for entry in label_class.entries:
            for policy in entry.policies:
                if policy.meets(label_class):
                    yield policy

    def _enter(self, policy: PolicyState) -> None:
        policy.entry = self._index.entry(policy.scope)
        policy.entry.policies.add(policy)
        self._soil_classes(policy)

    def _leave(self, policy: PolicyState) -> None:
        if policy.entry is not None:
            policy.entry.policies.discard(policy)
            self._soil_classes(policy)
            self._index.release(policy.entry)

    def _profile_changed(self, name: str, change: tuple[bool, bool, str | None]) -> str | None:
        rules, labels, fault = change
        key = ResourceKey("Profile", "", name)
        self._faults.note(key, "object", fault)
        self._services.name(key, self.profiles.rules(name).sets)
        if rules:
            self.changed.add(profile_id(name))
        return name if labels else None

    def _soil_classes(self, policy: PolicyState) -> None:
        if policy.entry is not None:
            for label_class in policy.entry.classes:
                if policy.meets(label_class):
                    self._soil(label_class)

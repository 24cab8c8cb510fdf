"""What one subscribed host has been told, and the difference to what it should know now.

    endpoints of the host --name--> groups --name--> policies --use--> sets

Each arrow is counted. When an endpoint changes, its groups are counted up and down; a group that appears counts its
policies up, and so on. What appears is sent, what vanishes is withdrawn, and what both appears and vanishes between two
flushes was never there. So a host holds exactly what its endpoints need, however it came about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from msgspec import UNSET

from muslin.calc.definitions import AnySet, SetDefinition
from muslin.calc.groups import Groups
from muslin.calc.policies import Compiled
from muslin.calc.services import ServiceSet
from muslin.calc.sets import ActiveSet, difference
from muslin.calc.tally import Tally
from muslin.intent import (
    BgpSpeaker,
    Delta,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostInterface,
    MemberChange,
    PolicyId,
    SetId,
    Settings,
)
from muslin.net import Cidr


class Source(Protocol):
    """Where a view reads the present state."""

    def local_endpoint(self, host: str, key: EndpointKey) -> tuple[Endpoint | HostInterface, Groups] | None: ...

    def local_keys(self, host: str) -> AbstractSet[EndpointKey]: ...

    def compiled(self, policy: PolicyId) -> Compiled: ...

    def open_set(self, definition: SetDefinition, user: View) -> ActiveSet | ServiceSet: ...

    def active_set(self, set_id: SetId) -> ActiveSet | ServiceSet: ...

    def set_among(self, set_id: SetId, addresses: AbstractSet[Cidr]) -> AnySet: ...

    def close_set(self, set_id: SetId, user: View) -> None: ...

    def settings(self, host: str) -> Settings: ...

    def speaker(self, host: str) -> BgpSpeaker | None: ...


class View:
    def __init__(self, host: str, about: AbstractSet[Cidr] | None = None) -> None:
        """`about`: of the sets only what lies among these addresses and prefixes, for whoever asks about them alone."""
        self.host = host
        self._about = about
        self.dirty: set[EndpointKey] = set()
        self._endpoints: dict[EndpointKey, tuple[Endpoint | HostInterface, tuple[GroupId, ...]]] = {}
        """With the groups that were counted for it."""
        self._groups: dict[GroupId, Group] = {}
        self._compiled: dict[PolicyId, Compiled] = {}
        self._definitions: dict[SetId, SetDefinition] = {}
        self._group_tally: Tally[GroupId] = Tally()
        self._policy_tally: Tally[PolicyId] = Tally()
        self._set_tally: Tally[SetId] = Tally()
        self._given_early: dict[SetId, AnySet] = {}
        """Sets that were told in the middle of a batch of changes, which the next flush will speak of."""
        self._settings: Settings | None = None
        self._speaker: BgpSpeaker | None = None

    def snapshot(self, source: Source, only: Collection[EndpointKey] | None = None) -> Delta:
        """Everything, for a host that knows nothing yet. Once, on a new view. `only`: of its workloads these alone."""
        self.dirty = {key for key in source.local_keys(self.host)
                      if only is None or key in only or key.startswith("HostEndpoint/")}
        delta = self.flush(source, frozenset(), {}, (True, True))
        delta.snapshot = True
        if delta.bgp is UNSET:
            delta.bgp = None
        for set_id in delta.sets if self._about is None else ():
            active = source.active_set(set_id)
            if active.touched:
                self._given_early[set_id] = active.value()
        return delta

    def flush(
        self, source: Source, policies: AbstractSet[PolicyId], members: Mapping[SetId, MemberChange],
        host: tuple[bool, bool],
    ) -> Delta:
        """What changed. `policies`: those whose rules may differ; `members`: what joined or left sets in use;
        `host`: whether its (settings, speaker) may differ."""
        delta = Delta()
        self._flush_endpoints(source, delta)
        self._flush_groups(delta)
        self._flush_policies(source, delta, policies)
        self._flush_sets(source, delta, members)
        self._flush_host(source, delta, *host)
        return delta

    def close(self, source: Source) -> None:
        """The host is gone: let go of its sets."""
        for set_id in list(self._set_tally):
            source.close_set(set_id, self)

    @property
    def given_early(self) -> bool:
        """Must the next flush look at it though nothing may have changed?"""
        return bool(self._given_early)

    def uses(self, policy: PolicyId) -> bool:
        return policy in self._policy_tally

    def _flush_endpoints(self, source: Source, delta: Delta) -> None:
        for key in sorted(self.dirty):
            old = self._endpoints.get(key)
            found = source.local_endpoint(self.host, key)
            if found is None:
                if old is not None:
                    del self._endpoints[key]
                    _tell(delta, key, old[0], gone=True)
                    self._group_tally.drop(old[1])
                continue
            new, groups = found
            if old is not None and new == old[0]:
                continue
            for _, group in groups.items():
                self._groups.setdefault(group.id, group)
            ids = tuple(groups.ids().values())
            self._endpoints[key] = new, ids
            _tell(delta, key, new)
            self._group_tally.add(ids)
            if old is not None:
                self._group_tally.drop(old[1])
        self.dirty.clear()

    def _flush_groups(self, delta: Delta) -> None:
        appeared, vanished = self._group_tally.settle()
        for group_id in sorted(appeared):
            group = delta.groups[group_id] = self._groups[group_id]
            self._policy_tally.add(_policies(group))
        for group_id in sorted(vanished):
            delta.groups[group_id] = None
            self._policy_tally.drop(_policies(self._groups.pop(group_id)))
        if len(self._groups) > len(self._group_tally):  # some came and went between two looks
            self._groups = {group_id: group for group_id, group in self._groups.items()
                            if group_id in self._group_tally}

    def _flush_policies(self, source: Source, delta: Delta, changed: AbstractSet[PolicyId]) -> None:
        appeared, vanished = self._policy_tally.settle()
        for policy in sorted({*appeared, *(policy for policy in changed if policy in self._policy_tally)}):
            new = source.compiled(policy)
            old = self._compiled.get(policy)
            if new == old:
                continue
            self._compiled[policy] = new
            delta.policies[policy] = new.policy
            for definition in new.sets:
                self._definitions.setdefault(definition.id, definition)
            self._set_tally.add(definition.id for definition in new.sets)
            if old is not None:
                self._set_tally.drop(definition.id for definition in old.sets)
        for policy in sorted(vanished):
            delta.policies[policy] = None
            self._set_tally.drop(definition.id for definition in self._compiled.pop(policy).sets)

    def _flush_sets(self, source: Source, delta: Delta, members: Mapping[SetId, MemberChange]) -> None:
        appeared, vanished = self._set_tally.settle()
        for set_id in sorted(appeared):
            opened = source.open_set(self._definitions.pop(set_id), self)
            delta.sets[set_id] = opened.value() if self._about is None else source.set_among(set_id, self._about)
        for set_id in sorted(members.keys() | self._given_early.keys()):
            if set_id in self._set_tally and set_id not in delta.sets:
                early = self._given_early.get(set_id)
                change = difference(early, source.active_set(set_id).value()) if early else members[set_id]
                if change is not None:
                    delta.sets[set_id] = change
        for set_id in sorted(vanished):
            delta.sets[set_id] = None
            source.close_set(set_id, self)
        self._definitions.clear()
        self._given_early.clear()

    def _flush_host(self, source: Source, delta: Delta, settings: bool, speaker: bool) -> None:
        if settings and (found := source.settings(self.host)) != self._settings:
            self._settings = delta.settings = found
        if speaker and (speaks := source.speaker(self.host)) != self._speaker:
            self._speaker = delta.bgp = speaks


def _tell(delta: Delta, key: EndpointKey, endpoint: Endpoint | HostInterface, *, gone: bool = False) -> None:
    if isinstance(endpoint, Endpoint):
        delta.endpoints[key] = None if gone else endpoint
    else:
        delta.host_interfaces[key] = None if gone else endpoint


def _policies(group: Group) -> list[PolicyId]:
    return [*(policy for stage in group.stages for policy in stage.policies), *group.profiles]

"""All resources of the cluster in, and for each subscribed host the difference of what it must do out.

    resource --> describe/compile --> who is there        members, places (who holds what)
                                      what they are       classes, profiles (labels)
                                      what selects them   selectors (index), policies, sets
                                                |
                 flush:  sets' changes, dirty classes --> views of subscribed hosts --> deltas

Work goes where the change is: a new endpoint of a known class touches the sets that its class is in and the view of its
host, nothing else. Hosts that nobody subscribed cost nothing beyond their members. The output is a function of the
resources that are there; it does not matter in which order, how often, or in how many batches they came.

What cannot be read denies what it touches and is reported, see `policies`, `profiles`, `endpoints`; on one host the
smaller key wins an address or interface that two endpoints claim, see `places`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from muslin.calc.classes import Classes
from muslin.calc.endpoints import Description, describe, salvaged
from muslin.calc.faults import Faults
from muslin.calc.groups import TierState, groups, tier_state
from muslin.calc.identity import endpoint_key, policy_id, profile_id, resource_key
from muslin.calc.illegible import Illegible
from muslin.calc.members import LabelClass, Member
from muslin.calc.network import Network
from muslin.calc.places import Places
from muslin.calc.policies import Compiled, PolicyState, policy_state
from muslin.calc.profiles import Profiles
from muslin.calc.selectors import SelectorIndex
from muslin.calc.sets import ActiveSet, SetDefinition, Sets
from muslin.calc.views import View
from muslin.errors import Broken
from muslin.intent import BgpSpeaker, Delta, Endpoint, EndpointKey, Group, PolicyId, SetId, Settings
from muslin.model.endpoint import HostEndpoint, WorkloadEndpoint
from muslin.model.ipam import Block
from muslin.model.labels import namespace_profile_name
from muslin.model.meta import Resource, ResourceKey
from muslin.model.network import Namespace
from muslin.model.policy import GlobalNetworkPolicy, GlobalNetworkSet, NetworkPolicy, NetworkSet, Profile, Tier
from muslin.net import Cidr, host_cidr

__all__ = ["ClusterDelta", "Graph", "Illegible", "Known"]

Value = Resource | Block | Illegible | None


@dataclass(slots=True)
class ClusterDelta:
    """`hosts`: subscribed hosts that must change something. `faults`: objects of which something else is wrong than
    before, None when nothing is wrong any more."""

    hosts: dict[str, Delta] = field(default_factory=dict)
    faults: dict[ResourceKey, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """An endpoint or network set as the graph sees it. `addresses` are those that it holds."""

    key: ResourceKey
    host: str
    interface: str
    addresses: tuple[Cidr, ...]
    labels: Mapping[str, str]
    profiles: tuple[str, ...]


class Graph:
    def __init__(self) -> None:
        self._faults = Faults()
        self._index = SelectorIndex()
        self._profiles = Profiles()
        self._classes = Classes(self._index, self._profiles.labels)
        self._sets = Sets(self._index)
        self._places = Places(self._before, self._rights_changed)
        self._network = Network(self._faults)
        self._members: dict[EndpointKey, Member] = {}
        self._policies: dict[PolicyId, PolicyState] = {}
        self._tiers: dict[str, TierState] = {}
        self._views: dict[str, View] = {}
        self._dirty_classes: set[LabelClass] = set()
        self._dirty_hosts: set[str] = set()
        self._changed_policies: set[PolicyId] = set()

    # --- resources in ---------------------------------------------------------------------------------------------

    def update(self, batch: Mapping[ResourceKey, Value]) -> None:
        """Take in what changed; None: it is gone. Nothing is sent before `flush`."""
        for key, value in batch.items():
            match key.kind:
                case "WorkloadEndpoint" | "HostEndpoint" | "NetworkSet" | "GlobalNetworkSet":
                    self._update_member(key, value)
                case "NetworkPolicy" | "GlobalNetworkPolicy":
                    self._update_policy(key, value)
                case "Profile":
                    self._update_profile(key, value)
                case "Namespace":
                    self._update_namespace(key, value)
                case "Tier":
                    self._update_tier(key, value)
                case _:
                    self._network.update(key, value)

    def _update_member(self, key: ResourceKey, value: Value) -> None:
        match value:
            case WorkloadEndpoint() | HostEndpoint() | NetworkSet() | GlobalNetworkSet():
                found: Description | None = describe(value)
            case Illegible():
                found = salvaged(value)
            case _:
                found = None
        fault = found.fault if found is not None else _absent(value)
        self._faults.note(key, "object", fault)
        name = endpoint_key(key)
        old = self._members.get(name)
        if found is None or not found.present:
            if old is not None:
                self._remove(old)
                self._classes.release(old.label_class)
            return
        label_class = self._classes.get(found.workload, found.own, found.profiles)
        if old is None:
            self._add(_member(name, label_class, found))
        elif (old.claims, old.host, old.interface) == (found.claims, found.host, found.interface):
            self._alter(old, label_class, found)
        else:
            self._remove(old)
            self._add(_member(name, label_class, found))
            self._classes.release(old.label_class)

    def _add(self, member: Member) -> None:
        self._members[member.key] = member
        member.label_class.members[member.key] = member
        self._places.add(member)
        self._soil(member)

    def _remove(self, member: Member) -> None:
        self._soil(member)
        del self._members[member.key]
        self._places.remove(member)
        del member.label_class.members[member.key]
        self._faults.note(resource_key(member.key), "place", None)

    def _alter(self, member: Member, label_class: LabelClass, found: Description) -> None:
        """Something of it changed, but not where it is."""
        old = member.label_class
        if label_class is not old or found.ports != member.ports:
            for entries in (old.entries, label_class.entries):
                for ports in (member.ports, found.ports):
                    self._sets.before(entries, member.held, ports, self._places)
            member.ports = found.ports
            del old.members[member.key]
            label_class.members[member.key] = member
            member.label_class = label_class
            self._classes.release(old)
        member.mac, member.spoofable, member.nat = found.mac, found.spoofable, found.nat
        self._soil(member)

    def _update_policy(self, key: ResourceKey, value: Value) -> None:
        new, fault = None, None
        if isinstance(value, NetworkPolicy | GlobalNetworkPolicy | Illegible):
            new, fault = policy_state(key, value)
        self._faults.note(key, "object", fault)
        name = policy_id(key)
        old = self._policies.get(name)
        if old is not None and new is not None and old.stands_like(new):
            if old.compiled != new.compiled:
                old.compiled = new.compiled
                self._changed_policies.add(name)
            return
        if new is not None:
            self._policies[name] = new
            self._changed_policies.add(name)
            if new.workload:
                new.entry = self._index.entry(new.scope)
                new.entry.policies.add(new)
                self._soil_classes(new)
        else:
            self._policies.pop(name, None)
        if old is not None and old.entry is not None:
            old.entry.policies.discard(old)
            self._soil_classes(old)
            self._index.release(old.entry)

    def _update_profile(self, key: ResourceKey, value: Value) -> None:
        profile = value if isinstance(value, Profile | Illegible) else None
        self._profile_changed(key.name, self._profiles.store(key.name, profile))

    def _update_namespace(self, key: ResourceKey, value: Value) -> None:
        self._faults.note(key, "object", _absent(value))
        namespace = value if isinstance(value, Namespace) else None
        name = namespace_profile_name(key.name)
        self._profile_changed(name, self._profiles.store_namespace(key.name, namespace))

    def _profile_changed(self, name: str, change: tuple[bool, bool, str | None]) -> None:
        rules, labels, fault = change
        self._faults.note(ResourceKey("Profile", "", name), "object", fault)
        if rules:
            self._changed_policies.add(profile_id(name))
        if labels:
            for label_class in self._classes.with_profile(name):
                self._relabel(label_class)

    def _relabel(self, label_class: LabelClass) -> None:
        labels, entries = self._classes.matches_anew(label_class)
        if labels == label_class.labels:
            return
        moved = label_class.entries ^ entries
        for member in label_class.members.values():
            self._sets.before(moved, member.held, member.ports, self._places)
        self._classes.relabel(label_class, labels, entries)
        if any(entry.policies for entry in moved):
            self._soil_class(label_class)

    def _update_tier(self, key: ResourceKey, value: Value) -> None:
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

    # --- what must be looked at again -------------------------------------------------------------------------------

    def _before(self, member: Member, addresses: tuple[Cidr, ...]) -> None:
        self._sets.before(member.label_class.entries, addresses, member.ports, self._places)

    def _rights_changed(self, member: Member) -> None:
        """Somebody else on its host came or went who claims the same."""
        self._soil(member)
        interface, addresses = self._places.rivals(member)
        faults = []
        if interface is not None:
            faults.append(f"{member.interface} on {member.host} belongs to {resource_key(interface.key)}; "
                          "give it another interface. Until then it is as if it did not exist")
        elif addresses:
            faults += [f"{address} on {member.host} belongs to {resource_key(addresses[address].key)}; "
                       "give it another address. Until then it is without it" for address in sorted(addresses)]
        self._faults.note(resource_key(member.key), "place", "; ".join(faults) or None)

    def _soil(self, member: Member) -> None:
        view = self._views.get(member.host)
        if view is not None and member.label_class.workload:
            view.dirty.add(member.key)
            self._dirty_hosts.add(member.host)

    def _soil_classes(self, policy: PolicyState) -> None:
        if policy.entry is not None:
            for label_class in policy.entry.classes:
                self._soil_class(label_class)

    def _soil_class(self, label_class: LabelClass) -> None:
        if label_class.workload:
            label_class.groups = None
            self._dirty_classes.add(label_class)

    # --- deltas out -------------------------------------------------------------------------------------------------

    def flush(self) -> ClusterDelta:
        """What changed since the last call, for the hosts that are subscribed."""
        for label_class in self._dirty_classes:
            for member in label_class.members.values():
                self._soil(member)
        self._dirty_classes.clear()
        members = self._sets.settle(self._places)
        self._network.settle()
        hosts = {}
        for host in sorted(self._concerned(members)):
            view = self._views[host]
            everywhere = self._network.changed_everywhere or host in self._network.changed_hosts
            delta = view.flush(self, self._changed_policies, members, everywhere=everywhere)
            if delta:
                hosts[host] = delta
        self._dirty_hosts.clear()
        self._changed_policies.clear()
        self._network.changed_everywhere = False
        self._network.changed_hosts.clear()
        return ClusterDelta(hosts=hosts, faults=self._faults.flush())

    def _concerned(self, members: Mapping[SetId, object]) -> set[str]:
        if self._network.changed_everywhere:
            return set(self._views)
        concerned = {host for host in self._dirty_hosts | self._network.changed_hosts if host in self._views}
        concerned.update(user.host for set_id in members for user in self._sets.get(set_id).users)
        if self._changed_policies:
            concerned.update(host for host, view in self._views.items() if any(map(view.uses, self._changed_policies)))
        return concerned

    def subscribe(self, host: str) -> Delta:
        """All that the host must do now. From now on `flush` tells what changes. Again: start over."""
        self.unsubscribe(host)
        view = self._views[host] = View(host)
        delta = view.snapshot(self)
        if view.given_early:
            self._dirty_hosts.add(host)
        return delta

    def unsubscribe(self, host: str) -> None:
        view = self._views.pop(host, None)
        if view is not None:
            view.close(self)

    def snapshot(self, host: str) -> Delta:
        """All that the host must do now, subscribed or not. Changes nothing."""
        view = View(host)
        try:
            return view.snapshot(self)
        finally:
            view.close(self)

    @property
    def subscribed(self) -> AbstractSet[str]:
        return self._views.keys()

    # --- questions --------------------------------------------------------------------------------------------------

    def faults(self) -> dict[ResourceKey, str]:
        """Everything that is wrong now."""
        return self._faults.all()

    def endpoint(self, key: ResourceKey) -> Known | None:
        """An endpoint or network set by its key."""
        member = self._members.get(endpoint_key(key))
        return _known(member) if member is not None else None

    def endpoints(self, host: str | None = None) -> Iterator[Known]:
        """Workload endpoints of one host or of all, in key order."""
        members = self._members.values() if host is None else self._places.hosts.get(host, {}).values()
        for member in sorted(members, key=lambda member: member.key):
            if member.label_class.workload:
                yield _known(member)

    def statistics(self) -> dict[str, int]:
        """How much there is of everything. All zero when nothing is there and nobody is subscribed."""
        return {
            "members": len(self._members), "classes": len(self._classes), "policies": len(self._policies),
            "tiers": len(self._tiers), "sets": len(self._sets), "hosts": len(self._views),
            **self._index.statistics(), **self._places.statistics(), **self._network.statistics(),
        }

    def at(self, address: str) -> tuple[Known, ...]:
        """Who holds this one address, in key order: endpoints, and network sets that name exactly it."""
        holders = self._places.holders(host_cidr(address))
        return tuple(_known(member) for member in sorted(holders, key=lambda member: member.key))

    # --- what views read (calc.views.Source) ------------------------------------------------------------------------

    def local_keys(self, host: str) -> AbstractSet[EndpointKey]:
        return {member.key for member in self._places.hosts.get(host, {}).values()}

    def local_endpoint(self, host: str, key: EndpointKey) -> tuple[Endpoint, tuple[Group, Group]] | None:
        member = self._members.get(key)
        if member is None or member.host != host or not self._places.is_local(member):
            return None
        ingress, egress = found = self._groups(member.label_class)
        return Endpoint(
            key=key, interface=member.interface, ingress=ingress.id, egress=egress.id, mac=member.mac,
            addresses=member.held, spoofable=member.spoofable, nat=member.nat,
        ), found

    def compiled(self, policy: PolicyId) -> Compiled:
        kind, _, name = policy.partition("/")
        if kind == "Profile":
            return self._profiles.rules(name)
        if policy not in self._policies:
            raise Broken(f"a group names {policy}, which is not there")
        return self._policies[policy].compiled

    def open_set(self, definition: SetDefinition, user: View) -> ActiveSet:
        return self._sets.open(definition, user)

    def active_set(self, set_id: SetId) -> ActiveSet:
        return self._sets.get(set_id)

    def close_set(self, set_id: SetId, user: View) -> None:
        self._sets.close(set_id, user)

    def settings(self, host: str) -> Settings:
        return self._network.settings(host)

    def speaker(self, host: str) -> BgpSpeaker | None:
        return self._network.speaker(host)

    def _groups(self, label_class: LabelClass) -> tuple[Group, Group]:
        if label_class.groups is None:
            policies = (policy for entry in label_class.entries for policy in entry.policies)
            label_class.groups = groups(policies, self._tiers, label_class.profiles)
        return label_class.groups


def _absent(value: Value) -> str | None:
    return value.absent if isinstance(value, Illegible) else None


def _member(key: EndpointKey, label_class: LabelClass, found: Description) -> Member:
    return Member(
        key=key, label_class=label_class, claims=found.claims, host=found.host, interface=found.interface,
        mac=found.mac, ports=found.ports, spoofable=found.spoofable, nat=found.nat,
    )


def _known(member: Member) -> Known:
    found = member.label_class
    return Known(resource_key(member.key), member.host, member.interface, member.held, found.labels, found.profiles)

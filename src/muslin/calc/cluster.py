"""All resources of the cluster in, and for each subscribed host the difference of what it must do out.

    endpoints, sets        policies, tiers, profiles      nodes, pools, blocks, BGP, Felix
          |                          |                                |
      population                 rulebook                          network
    who is there, with        which rules, in which           settings, speakers
    which labels, where          order, for whom                      |
          |______ selectors: which class does which selector match    |
          |                          |                                |
         sets: who joined or left    |                                |
          |__________________________|________________________________|
                                     |
                     flush: views of subscribed hosts -> deltas

Work goes where the change is: a new endpoint of a known class touches the sets that its class is in and the view of its
host, nothing else. Hosts that nobody subscribed cost nothing beyond their members. The output is a function of the
resources that are there; it does not matter in which order, how often, or in how many batches they came.

What cannot be read denies what it touches and is reported, see `policies`, `profiles`, `endpoints`; on one host the
smaller key wins an address or interface that two endpoints claim, see `places`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice

from muslin.calc.definitions import AnySet, SetDefinition
from muslin.calc.faults import Faults
from muslin.calc.groups import Groups
from muslin.calc.identity import endpoint_key, resource_key
from muslin.calc.illegible import Illegible
from muslin.calc.members import LabelClass, Member, NamedPort, Sort
from muslin.calc.network import Network
from muslin.calc.policies import Compiled
from muslin.calc.population import Population, Value
from muslin.calc.rulebook import Rulebook
from muslin.calc.selectors import SelectorIndex
from muslin.calc.services import Item, Services, ServiceSet
from muslin.calc.sets import ActiveSet, Sets
from muslin.calc.views import View
from muslin.intent import (
    ALL_INTERFACES,
    BgpSpeaker,
    Delta,
    Endpoint,
    EndpointKey,
    HostInterface,
    PolicyId,
    SetId,
    Settings,
)
from muslin.model.ipam import Block
from muslin.model.meta import ResourceKey
from muslin.model.network import Node
from muslin.model.selector import Selector
from muslin.model.service import EndpointSlice, Service
from muslin.net import Cidr, host_cidr

__all__ = ["ClusterDelta", "Graph", "Illegible", "Known"]


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
    """The door to the calculation. It wires the parts, remembers who must be looked at again, and owns the views."""

    def __init__(self) -> None:
        self._faults = Faults()
        self._index = SelectorIndex()
        self._services = Services(self._faults)
        self._sets = Sets(self._index, self._services)
        self._rulebook = Rulebook(self._index, self._faults, self._services, self._soil_class)
        self._population = Population(
            self._index, self._sets, self._faults, self._rulebook.profiles.labels, self._soil)
        self._network = Network(self._faults)
        self._views: dict[str, View] = {}
        self._dirty_classes: set[LabelClass] = set()
        self._dirty_hosts: set[str] = set()
        self._dirty_host_endpoints: set[EndpointKey] = set()

    # --- resources in ---------------------------------------------------------------------------------------------

    def update(self, batch: Mapping[ResourceKey, Value]) -> None:
        """Take in what changed; None: it is gone. Nothing is sent before `flush`."""
        for key, value in batch.items():
            match key.kind:
                case "WorkloadEndpoint" | "HostEndpoint" | "NetworkSet" | "GlobalNetworkSet":
                    self._population.update(key, value)
                case "NetworkPolicy" | "GlobalNetworkPolicy":
                    self._rulebook.update_policy(key, value)
                case "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" | "StagedKubernetesNetworkPolicy":
                    self._rulebook.update_staged(key, value)
                case "Profile":
                    self._relabel(self._rulebook.update_profile(key, value))
                case "Namespace":
                    self._relabel(self._rulebook.update_namespace(key, value))
                case "ServiceAccount":
                    self._relabel(self._rulebook.update_account(key, value))
                case "Tier":
                    self._rulebook.update_tier(key, value)
                case "Service":
                    self._faults.note(key, "object", value.absent if isinstance(value, Illegible) else None)
                    self._services.update_service(key, there=isinstance(value, Service))
                case "EndpointSlice":
                    found = value if isinstance(value, EndpointSlice | Illegible) else None
                    self._services.update_slice(key, found)
                case _:
                    self._network.update(key, value)

    def _relabel(self, profile: str | None) -> None:
        if profile is not None:
            for label_class in self._population.relabel(profile):
                self._soil_class(label_class)

    def _soil(self, member: Member) -> None:
        """Its host may have to hear of it."""
        sort = member.label_class.sort
        if sort is Sort.NETWORK_SET:
            return
        if sort is Sort.HOST:
            self._dirty_host_endpoints.add(member.key)
        view = self._views.get(member.host)
        if view is not None:
            view.dirty.add(member.key)
            self._dirty_hosts.add(member.host)

    def _soil_class(self, label_class: LabelClass) -> None:
        """Its policy list may have changed."""
        if label_class.sort is not Sort.NETWORK_SET:
            label_class.groups = None
            self._dirty_classes.add(label_class)

    # --- deltas out -------------------------------------------------------------------------------------------------

    def flush(self) -> ClusterDelta:
        """What changed since the last call, for the hosts that are subscribed."""
        for label_class in self._dirty_classes:
            for member in label_class.members.values():
                self._soil(member)
        for key in self._dirty_host_endpoints:
            self._faults.note(resource_key(key), "policy", self._unsupported(key))
        members = self._sets.settle(self._population.places)
        self._network.settle()
        hosts = {}
        for host in sorted(self._concerned(members)):
            delta = self._views[host].flush(self, self._rulebook.changed, members, self._network.concerns(host))
            if delta:
                hosts[host] = delta
        self._dirty_classes.clear()
        self._dirty_hosts.clear()
        self._dirty_host_endpoints.clear()
        self._rulebook.changed.clear()
        self._network.clear()
        return ClusterDelta(hosts=hosts, faults=self._faults.flush())

    def _unsupported(self, key: EndpointKey) -> str | None:
        """What policies want of a host endpoint that it cannot give."""
        member = self._population.get(key)
        if member is None or member.interface != ALL_INTERFACES:
            return None
        names = self._rulebook.untracked(member.label_class)
        if not names:
            return None
        return (f"doNotTrack does not apply to interface *, so that {', '.join(names)} is not enforced here; give the "
                "host endpoint the name of an interface, or let the policy select others")

    def _concerned(self, members: Mapping[SetId, object]) -> set[str]:
        if self._network.settings_changed or self._network.bgp_changed:
            return set(self._views)
        concerned = {host for host in self._dirty_hosts | self._network.changed_hosts if host in self._views}
        concerned.update(user.host for set_id in members for user in self._sets.get(set_id).users)
        changed = self._rulebook.changed
        if changed:
            concerned.update(host for host, view in self._views.items() if any(map(view.uses, changed)))
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

    def snapshot(
        self, host: str, only: Collection[EndpointKey] | None = None, *, about: AbstractSet[Cidr] | None = None,
    ) -> Delta:
        """All that the host must do now, subscribed or not. Changes nothing. `only`: for these workloads and its host
        endpoints, as if it had no others. `about`: of sets only what is one of these addresses and prefixes: a question
        about one packet needs no copy of a set of 100,000."""
        view = View(host, about)
        try:
            return view.snapshot(self, only)
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
        member = self._population.get(endpoint_key(key))
        return _known(member) if member is not None else None

    def named_ports(self, key: EndpointKey) -> tuple[NamedPort, ...]:
        """What an endpoint calls its ports."""
        member = self._population.get(key)
        return member.ports if member is not None else ()

    def endpoints(self, host: str | None = None) -> Iterator[Known]:
        """Workload endpoints of one host or of all, in key order."""
        members = iter(self._population) if host is None else iter(self._population.places.at(host))
        for member in sorted(members, key=_key):
            if member.label_class.workload:
                yield _known(member)

    def at(self, address: str) -> tuple[Known, ...]:
        """Who holds this one address, in key order: endpoints, and network sets that name exactly it."""
        return tuple(map(_known, sorted(self._population.places.holders(host_cidr(address)), key=_key)))

    def label_classes(self) -> Iterator[LabelClass]:
        """Everybody who can be selected, by equal labels. Treat as read-only."""
        return self._population.classes()

    def selected(self, selector: Selector) -> Iterator[LabelClass]:
        """The classes that a selector matches."""
        return self._index.matching(selector)

    def behind(self, service: str) -> Iterable[Item]:
        """Addresses, and (address, protocol, port), of a service: `shop/db`."""
        return self._services.behind(service)

    def groups(self, label_class: LabelClass) -> Groups:
        """What the endpoints of a class are asked."""
        return self._rulebook.groups(label_class)

    def is_placed(self, member: Member) -> bool:
        """Does its interface belong to it, so that its host serves it?"""
        return self._population.places.is_local(member)

    def search(self, part: str, end: str, most: int | None = None) -> list[Known]:
        """Workload endpoints whose key has one text in it, or another at its end, in key order; the first of very
        many. Of 100,000 in some milliseconds."""
        found = (member for member in self._population.search(part, end) if member.label_class.workload)
        return [_known(member) for member in islice(found, most)]

    def floating(self, address: str) -> Known | None:
        """The workload that has this floating address; of several, that with the smallest key."""
        found = [member for member in self._population
                 if member.nat and any(address == external for external, _ in member.nat)]
        return _known(min(found, key=_key)) if found else None

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._network.nodes

    def block_of(self, address: str) -> Block | None:
        """The block that the address lies in, as far as it matters: its owner, and what others hold in it."""
        return self._network.block_of(host_cidr(address))

    def statistics(self) -> dict[str, int]:
        """How much there is of everything. All zero when nothing is there and nobody is subscribed."""
        return {
            **self._population.statistics(), **self._rulebook.statistics(), **self._index.statistics(),
            **self._services.statistics(), **self._network.statistics(), "sets": len(self._sets),
            "hosts": len(self._views),
        }

    # --- what views read (calc.views.Source) ------------------------------------------------------------------------

    def local_keys(self, host: str) -> AbstractSet[EndpointKey]:
        return set(map(_key, self._population.at(host)))

    def local_endpoint(self, host: str, key: EndpointKey) -> tuple[Endpoint | HostInterface, Groups] | None:
        member = self._population.local(key, host)
        if member is None:
            return None
        groups = self._rulebook.groups(member.label_class)
        if member.label_class.sort is Sort.HOST:
            if member.interface == ALL_INTERFACES:
                groups = replace(groups, untracked_ingress=None, untracked_egress=None)
            return HostInterface(
                key=key, interface=member.interface, addresses=member.held, **groups.ids()), groups
        return Endpoint(
            key=key, interface=member.interface, ingress=groups.ingress.id, egress=groups.egress.id, mac=member.mac,
            addresses=member.held, spoofable=member.spoofable, nat=member.nat,
            published=member.published, gateway_v6=member.gateway_v6,
            qos=member.qos,
        ), groups

    def compiled(self, policy: PolicyId) -> Compiled:
        return self._rulebook.compiled(policy)

    def open_set(self, definition: SetDefinition, user: View) -> ActiveSet | ServiceSet:
        return self._sets.open(definition, user)

    def active_set(self, set_id: SetId) -> ActiveSet | ServiceSet:
        return self._sets.get(set_id)

    def set_among(self, set_id: SetId, addresses: AbstractSet[Cidr]) -> AnySet:
        found = self._sets.get(set_id)
        return found.among(addresses) if isinstance(found, ServiceSet) else found.among(
            addresses, self._population.places)

    def close_set(self, set_id: SetId, user: View) -> None:
        self._sets.close(set_id, user)

    def settings(self, host: str) -> Settings:
        return self._network.settings(host)

    def speaker(self, host: str) -> BgpSpeaker | None:
        return self._network.speaker(host)


def _key(member: Member) -> EndpointKey:
    return member.key


def _known(member: Member) -> Known:
    found = member.label_class
    return Known(resource_key(member.key), member.host, member.interface, member.held, found.labels, found.profiles)

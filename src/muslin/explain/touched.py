"""After a change of what a host must do: of which flows may the verdict be another?

Somewhere in the cluster a workload comes or goes every second, and with it a member of sets. That touches the flows of
one address, not the 100,000 of the host. So changes are gathered as what they are, and become addresses only when
somebody wants to look:

    members of a set that are addresses     these addresses
    anything else of a set, a policy        the addresses of the endpoints in whose groups it is
    a group, an endpoint                    the addresses of the endpoints concerned; of host endpoints: everything
    settings, host endpoints, a snapshot    everything

An endpoint that has just come has no flows yet: those of its addresses were forgotten before there was a way to it.
What it has later, today's policy let in, until a change concerns it. Flows of one that goes are forgotten anyway.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from msgspec import UNSET

from muslin.explain.flow_classes import packed
from muslin.intent import (
    Delta,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    MemberChange,
    Policy,
    PolicyId,
    SetId,
)
from muslin.net import Cidr, is_host


class Changed:
    """What is different since it was made; mutable while it is gathered."""

    def __init__(self) -> None:
        self.everything = False
        self._addresses: set[Cidr] = set()
        self._sets: set[SetId] = set()
        self._policies: set[PolicyId] = set()
        self._groups: set[GroupId] = set()
        self._endpoints: set[EndpointKey] = set()
        self._arrived: set[Cidr] = set()
        """Of endpoints that came, and that nothing concerned since: what flows they have, today's policy let in."""
        self._departed: set[Cidr] = set()
        """Of endpoints that went: their flows are forgotten, whatever sets they were in."""

    def __bool__(self) -> bool:
        return bool(self.everything or self._addresses or self._sets or self._policies or self._groups
                    or self._endpoints)

    def add(self, delta: Delta, known: Container[EndpointKey]) -> None:
        """`known`: the endpoints that there were before."""
        self._add_coming_and_going(delta, known)
        self.everything |= bool(delta.snapshot or delta.settings is not UNSET or delta.host_interfaces)
        for name, change in delta.sets.items():
            members = _members(change) if isinstance(change, MemberChange) else None
            if members is None or not all(map(is_host, members)):
                self._sets.add(name)
            else:
                self._addresses.update(members)
        self._policies |= delta.policies.keys()
        self._groups |= delta.groups.keys()
        self._endpoints |= delta.endpoints.keys()

    def _add_coming_and_going(self, delta: Delta, known: Container[EndpointKey]) -> None:
        come = {
            address for key, one in delta.endpoints.items() if one is not None and key not in known
            for address in one.addresses
        }
        went = any(one is None for one in delta.endpoints.values())
        gone = {address for address, route in delta.routes.items() if route is None} if went else set()
        if _concerns_many(delta):
            self._arrived.clear()
        for one in delta.endpoints.values():
            self._arrived.difference_update(one.addresses if one is not None else ())
        for change in delta.sets.values():
            members = _members(change) if isinstance(change, MemberChange) else ()
            self._arrived.difference_update(members)
            self._departed.difference_update(members)
        self._arrived = (self._arrived - gone) | come
        self._departed = (self._departed - come) | gone

    def merge(self, more: Changed) -> None:
        self.everything |= more.everything
        self._addresses |= more._addresses
        self._sets |= more._sets
        self._policies |= more._policies
        self._groups |= more._groups
        self._endpoints |= more._endpoints
        self._arrived.clear()
        self._departed.clear()

    def addresses(self, intent: HostIntent, names: SetNames) -> set[bytes] | None:
        """By an end among these the flows concerned are found. None: all flows."""
        if self.everything:
            return None
        groups = self._groups_concerned(intent, names)
        if any(not groups.isdisjoint(_groups(one)) for one in intent.host_interfaces.values()):
            return None  # whose flows go by that interface, conntrack does not say
        found = set(map(packed, self._addresses - self._departed))
        for endpoint in self._endpoints_concerned(intent, groups):
            if endpoint.spoofable:
                return None
            found.update(map(packed, endpoint.addresses))
        return found.difference(map(packed, self._arrived))

    def _endpoints_concerned(self, intent: HostIntent, groups: set[GroupId]) -> Iterator[Endpoint]:
        """Twice where both is so. All are gone through only where a group is concerned."""
        yield from (intent.endpoints[key] for key in self._endpoints if key in intent.endpoints)
        if groups:
            yield from (one for one in intent.endpoints.values() if one.ingress in groups or one.egress in groups)

    def _groups_concerned(self, intent: HostIntent, names: SetNames) -> set[GroupId]:
        policies = self._policies | names.users(intent, self._sets)
        return self._groups | {
            name for name, group in intent.groups.items() if policies and not policies.isdisjoint(_policies(group))
        }


class SetNames:
    """Which sets a policy speaks of; read once for each policy, and kept by whoever looks again and again."""

    def __init__(self) -> None:
        self._known: dict[PolicyId, tuple[Policy, frozenset[SetId]]] = {}

    def users(self, intent: HostIntent, sets: set[SetId]) -> set[PolicyId]:
        if not sets:
            return set()
        for gone in self._known.keys() - intent.policies.keys():
            del self._known[gone]
        return {name for name, policy in intent.policies.items() if not sets.isdisjoint(self._of(name, policy))}

    def _of(self, name: PolicyId, policy: Policy) -> frozenset[SetId]:
        known = self._known.get(name)
        if known is None or known[0] is not policy:
            known = self._known[name] = policy, frozenset(_sets(policy))
        return known[1]


def _concerns_many(delta: Delta) -> bool:
    """More than the endpoints and the addresses that it names."""
    return bool(
        delta.snapshot or delta.settings is not UNSET or delta.host_interfaces or delta.policies or delta.groups
        or any(not isinstance(change, MemberChange) for change in delta.sets.values())
    )


def _members(change: MemberChange) -> Iterable[Cidr]:
    ports = (member[0] for member in (*change.ports_added, *change.ports_removed))
    return {*change.added, *change.removed, *ports}


def _policies(group: Group) -> Iterator[PolicyId]:
    for stage in group.stages:
        yield from stage.policies
    yield from group.profiles


def _groups(one: HostInterface) -> Iterator[GroupId]:
    yield from (one.ingress, one.egress, one.forward_ingress, one.forward_egress, one.pre_dnat)


def _sets(policy: Policy) -> Iterator[SetId]:
    for rule in (*policy.ingress, *policy.egress):
        for side in (rule.source, rule.destination):
            yield from (*side.sets, *side.not_sets, *side.named_ports, *side.not_named_ports)

"""The table of one host, kept in step with its intent.

Each key of the intent contributes objects of its own: a set its nft sets, a policy its chains, a group its chains, an
endpoint its elements, the settings the base chains. A change of one key rewrites its own contribution, and those of
others only where they were written with knowledge of it:

    a set's shape (is it there, does it hold prefixes)  ->  the policies that name it
    a policy that is there or not, staged, or speaks
    of other ports, or in another order (see lists)     ->  the groups that hold it
    a set's members, where rules are looked up by them  ->  the maps of these rules (see peers)
    the first address of a family, or its last          ->  the policies that name sets (see families)
    a group that is there or not                        ->  the endpoints in it
    a group that a host interface asks at another gate  ->  the group and its policies

`render` writes the whole from the intent alone, with none of this bookkeeping: the two must always agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from muslin.intent import (
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    PolicyId,
    SetId,
    Settings,
)
from muslin.net import Cidr
from muslin.render.matching import named_sets
from muslin.render.nft import hooks, qos, translation
from muslin.render.nft.book import Book
from muslin.render.nft.contents import Contents
from muslin.render.nft.extent import OTHERS, Extent
from muslin.render.nft.families import Families, families_of
from muslin.render.nft.hosts import Covering, covering
from muslin.render.nft.lists import Effect, Lists
from muslin.render.nft.members import endpoint_elements
from muslin.render.nft.peers import Peers
from muslin.render.nft.pieces import rules_of
from muslin.render.nft.places import FAMILIES, Gates, Manner, gates_of, manner_of, places_of
from muslin.render.nft.qos import Limits, limits_of
from muslin.render.nft.table import Changes, Table
from muslin.render.relations import Claims, Interfaces, Users

SETTINGS = "Settings"
HOST_INTERFACES = "HostInterfaces"


class NftState:
    """What each key of the intent has put into the table, and who must be written anew when it changes."""

    def __init__(self) -> None:
        self._book = Book(hooks.optional_sets())
        self._peers = Peers(self._book)
        self._families = Families()
        self._unspoken: frozenset[int] = frozenset()
        self._contents = Contents(self._book, self._peers.follows, self._families)
        self._lists = Lists(self._book, self._contents.shapes, self._peers)
        self._policies: dict[PolicyId, bool] = {}
        """Is it staged?"""
        self._groups: dict[GroupId, Direction] = {}
        self._set_users: Users[SetId, PolicyId] = Users()
        self._policy_users: Users[PolicyId, GroupId] = Users()
        self._group_users: Users[GroupId, EndpointKey] = Users()
        self._interfaces = Interfaces()
        self._floating: Claims[Cidr, EndpointKey] = Claims()
        self._services: Claims[translation.Service, EndpointKey] = Claims()
        self._limits: Users[Limits, EndpointKey] = Users()
        self._gates: Gates = {}
        self._manner = Manner()
        self._settings: Settings | None = None
        self._extent: Extent | None = None

    @property
    def table(self) -> Table:
        """The whole table as it should be in the kernel. Read only."""
        return self._book.table

    def update(self, delta: Delta, intent: HostIntent) -> Changes:
        """Takes a delta over; `intent` is the whole with that delta in it. What the kernel must change, in one go.

        The first update makes the table anew, in place of whatever a predecessor left.
        """
        first = self._settings is None
        if first:
            for declared in hooks.sets():
                self._book.put_set(declared)
        before, self._manner = self._manner, manner_of(intent.settings)
        everything = first or delta.snapshot or before != self._manner
        policies = self._update_sets(delta, intent, everything)
        moved_members = self._contents.moved()
        groups = self._peers.outgrown(moved_members)
        if not (everything or policies or groups) and self._is_of_members(delta, intent):
            self._peers.follow(moved_members)
            return self._book.changes()
        covered = covering(intent.host_interfaces, intent.groups, intent.settings)
        moved = self._move(gates_of(covered.uses))
        groups |= moved | (self._groups.keys() | intent.groups.keys() if everything else delta.groups.keys())
        policies |= self._relate(groups, moved, intent)
        policies |= self._policies.keys() | intent.policies.keys() if everything else delta.policies.keys()
        known = self._interfaces.endpoints | intent.endpoints.keys() if everything else delta.endpoints.keys()
        policies |= self._speak(known, intent)
        groups |= self._update_policies(policies, intent)
        endpoints = self._update_groups(groups, intent)
        self._peers.follow(moved_members)
        self._lists.settle()
        if everything or intent.settings != self._settings:
            endpoints |= self._interfaces.endpoints | intent.endpoints.keys()
        endpoints |= delta.endpoints.keys()
        self._update_endpoints(endpoints, intent)
        self._book.put_elements(HOST_INTERFACES, covered.elements)
        self._update_base(intent.settings, covered)
        changes = self._book.changes()
        return msgspec.structs.replace(changes, fresh=True) if first else changes

    def _is_of_members(self, delta: Delta, intent: HostIntent) -> bool:
        """Does it say no more than who comes to sets, or leaves them? The most frequent change of all: nothing that the
        rest of the host comes to is looked at for it."""
        if delta.policies or delta.groups or delta.endpoints or delta.host_interfaces:
            return False
        return intent.settings == self._settings and self._families.unspoken == self._unspoken

    def refused(self) -> None:
        """The kernel did not take what the last update came to: the next one must say it as well."""
        self._book.refused()

    def _update_base(self, settings: Settings, covered: Covering) -> None:
        if settings != self._settings:
            self._settings = settings
            self._book.put_elements(SETTINGS, translation.elements(settings))
        extent = extent_of(self._book, settings, covered)
        if extent != self._extent:
            self._extent = extent
            self._book.put_chains(SETTINGS, hooks.chains(extent))

    def _move(self, gates: Gates) -> set[GroupId]:
        """The groups that are asked at other gates now."""
        before, self._gates = self._gates, gates
        return {key for key in before.keys() | gates.keys() if before.get(key) != gates.get(key)}

    def _relate(self, groups: Iterable[GroupId], moved: Set[GroupId], intent: HostIntent) -> set[PolicyId]:
        """The policies that are asked at other gates now."""
        touched: set[PolicyId] = set()
        for key in groups:
            before, after = self._policy_users.by(key), policies_of(intent.groups.get(key))
            self._policy_users.put(key, after)
            if key in moved:
                touched |= before | after
            elif key in self._gates:
                touched |= before ^ after
        return touched

    def _update_sets(self, delta: Delta, intent: HostIntent, everything: bool) -> set[PolicyId]:
        """The policies that must be written anew for it."""
        touched: set[PolicyId] = set()
        keys = self._contents.shapes.keys() | intent.sets.keys() if everything else delta.sets.keys()
        for key in sorted(keys):
            change = delta.sets.get(key)
            if everything or (change is not None and key not in self._contents.shapes):
                change = intent.sets.get(key)
            if self._contents.update(key, change):
                touched |= self._set_users.of(key)
        return touched

    def _speak(self, endpoints: Iterable[EndpointKey], intent: HostIntent) -> set[PolicyId]:
        """The policies that must be written anew, since a family is spoken now that was not, or is no more."""
        for key in endpoints:
            self._families.put(key, families_of(intent.endpoints.get(key)))
        self._families.put(HOST_INTERFACES, frozenset(FAMILIES if intent.host_interfaces else ()))
        before, self._unspoken = self._unspoken, self._families.unspoken
        return set(self._set_users.users) if before != self._unspoken else set()

    def _update_policies(self, keys: Iterable[PolicyId], intent: HostIntent) -> set[GroupId]:
        """The groups that must be written anew for it."""
        touched: set[GroupId] = set()
        for key in sorted(keys):
            after = intent.policies.get(key)
            rules = (rule for direction in Direction for rule in rules_of(after, direction)) if after else ()
            self._set_users.put(key, {name for rule in rules for name in named_sets(rule)})
            where = places_of(self._policy_users.of(key), self._gates, self._manner)
            staged = None if after is None else after.staged
            effect = self._lists.put_policy(key, after, where, self._unspoken)
            if effect is Effect.ALL or self._policies.get(key) != staged:
                touched |= self._policy_users.of(key)
            elif effect is Effect.BY_PORT:
                touched |= self._lists.unmoved
            if staged is None:
                self._policies.pop(key, None)
            else:
                self._policies[key] = staged
        return touched

    def _update_groups(self, keys: Iterable[GroupId], intent: HostIntent) -> set[EndpointKey]:
        """The endpoints that must be written anew for it."""
        touched: set[EndpointKey] = set()
        for key in sorted(keys):
            group = intent.groups.get(key)
            self._lists.put_group(key, group, places_of((key,), self._gates, self._manner), intent.policies)
            before = self._groups.pop(key, None)
            if group is not None:
                self._groups[key] = group.direction
            if before is not self._groups.get(key):
                touched |= self._group_users.of(key)
        return touched

    def _update_endpoints(self, keys: Iterable[EndpointKey], intent: HostIntent) -> None:
        """All that are touched give up their elements first, so that one can take over the interface of another."""
        changed = {key: intent.endpoints.get(key) for key in keys}
        for key, endpoint in changed.items():
            self._group_users.put(key, (endpoint.ingress, endpoint.egress) if endpoint else ())
        touched = self._interfaces.update(changed)
        touched |= self._floating.update({key: translation.addresses_of(each) for key, each in changed.items()})
        touched |= self._services.update({key: translation.services_of(each) for key, each in changed.items()})
        for key in sorted(touched):
            self._book.put_elements(key, {})
        for key in sorted(touched):
            found = intent.endpoints[key] if self._interfaces.holds(key) else None
            self._update_limits(key, found)
            if found is not None:
                own = self._floating.held(key), self._services.held(key)
                self._book.put_elements(key, endpoint_elements(found, intent.groups, intent.settings, *own))

    def _update_limits(self, key: EndpointKey, endpoint: Endpoint | None) -> None:
        before = self._limits.by(key)
        self._limits.put(key, limits_of(endpoint))
        for limits in before | self._limits.by(key):
            _put_limits(self._book, limits, used=bool(self._limits.of(limits)))


def render(intent: HostIntent) -> Table:
    """The whole table, from the intent alone."""
    book = Book(hooks.optional_sets())
    peers = Peers(book)
    families = Families()
    contents = Contents(book, peers.follows, families)
    for declared in hooks.sets():
        book.put_set(declared)
    for set_id, members in intent.sets.items():
        contents.update(set_id, members)
    for endpoint in intent.endpoints.values():
        families.put(endpoint.key, families_of(endpoint))
    families.put(HOST_INTERFACES, frozenset(FAMILIES if intent.host_interfaces else ()))
    covered = covering(intent.host_interfaces, intent.groups, intent.settings)
    gates, manner = gates_of(covered.uses), manner_of(intent.settings)
    lists, holders = Lists(book, contents.shapes, peers), Users[PolicyId, GroupId]()
    for key, group in intent.groups.items():
        holders.put(key, policies_of(group))
    for policy in intent.policies.values():
        where = places_of(holders.of(policy.id), gates, manner)
        lists.put_policy(policy.id, policy, where, families.unspoken)
    for key, group in intent.groups.items():
        lists.put_group(key, group, places_of((key,), gates, manner), intent.policies)
    lists.settle()
    interfaces, floating = Interfaces(), Claims[Cidr, EndpointKey]()
    interfaces.update(intent.endpoints)
    floating.update({key: translation.addresses_of(endpoint) for key, endpoint in intent.endpoints.items()})
    services: Claims[translation.Service, EndpointKey] = Claims()
    services.update({key: translation.services_of(endpoint) for key, endpoint in intent.endpoints.items()})
    for endpoint in intent.endpoints.values():
        if interfaces.holds(endpoint.key):
            for limits in limits_of(endpoint):
                _put_limits(book, limits, used=True)
            own = floating.held(endpoint.key), services.held(endpoint.key)
            book.put_elements(endpoint.key, endpoint_elements(endpoint, intent.groups, intent.settings, *own))
    book.put_elements(HOST_INTERFACES, covered.elements)
    book.put_elements(SETTINGS, translation.elements(intent.settings))
    book.put_chains(SETTINGS, hooks.chains(extent_of(book, intent.settings, covered)))
    return book.table


def _put_limits(book: Book, limits: Limits, *, used: bool) -> None:
    """A chain, and the sets in which it counts."""
    for declared in qos.measures(limits):
        if used:
            book.put_set(declared)
        elif declared.name in book.table.sets:
            book.drop_set(declared.name)
    book.put_chains(limits.name, (qos.chain(limits),) if used else ())


def extent_of(book: Book, settings: Settings, covered: Covering) -> Extent:
    return Extent(settings, bool(book.table.elements[OTHERS]), book.optional, covered.rest)


def policies_of(group: Group | None) -> frozenset[PolicyId]:
    if group is None:
        return frozenset()
    return frozenset((*group.profiles, *(policy for stage in group.stages for policy in stage.policies)))

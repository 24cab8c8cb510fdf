"""The chains and sets of one host, kept in step with its intent.

As in render.nft.state, each key of the intent contributes what is its own: a set its ipsets, a policy its chains, a
group its chains and the sets of its endpoints, an endpoint its elements. A change of one key rewrites that, and of
others only what was written with knowledge of it. The base chains, and all of raw, mangle and nat, are small: they are
worked out anew each time, and what came out the same is not written.

`render` writes the whole from the intent alone, with none of this bookkeeping: the two must always agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from muslin.intent import (
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Policy,
    PolicyId,
    SetId,
    Settings,
)
from muslin.render.iptables.book import Book
from muslin.render.iptables.chains import (
    Way,
    Written,
    rules_of,
)
from muslin.render.iptables.marks import too_few
from muslin.render.iptables.members import (
    Contents,
    behind_sets,
    endpoint_elements,
    group_sets,
    list_sets,
    receives,
)
from muslin.render.iptables.parts import (
    calling,
    keyed,
    policies_of,
    pool_elements,
    site_of,
    standing_sets,
    written_base,
    written_group,
    written_policy,
)
from muslin.render.iptables.ruleset import Changes, Ruleset
from muslin.render.iptables.site import is_special
from muslin.render.iptables.words import Table
from muslin.render.matching import named_sets
from muslin.render.relations import Interfaces, Users

SETTINGS = "Settings"


class IptablesState:
    """What each key of the intent has put into the kernel, and who must be written anew when it changes. `missing`: the
    extensions that this host's kernel lacks. `other`: the flavour whose marks are the other ones, see marks."""

    def __init__(self, missing: frozenset[str] = frozenset(), *, other: bool = False) -> None:
        self._missing = missing
        self._other = other
        self._book = Book()
        self._contents = Contents(self._book)
        self._policies: dict[PolicyId, Policy] = {}
        self._groups: dict[GroupId, Group] = {}
        self._set_users: Users[SetId, PolicyId] = Users()
        self._policy_users: Users[PolicyId, GroupId] = Users()
        self._group_users: Users[GroupId, EndpointKey] = Users()
        self._interfaces = Interfaces()
        self._behind: dict[GroupId, dict[EndpointKey, str]] = {}
        """Ingress group -> the interfaces of its endpoints."""
        self._receiver: dict[EndpointKey, GroupId] = {}
        self._special: dict[EndpointKey, Endpoint] = {}
        self._settings: Settings | None = None
        self._problems: dict[str, tuple[str, ...]] = {}

    @property
    def ruleset(self) -> Ruleset:
        """All that should be in the kernel. Read only."""
        return self._book.ruleset

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be said in this host's iptables, and denies instead."""
        return tuple(dict.fromkeys(said for _, told in sorted(self._problems.items()) for said in told))

    def update(self, delta: Delta, intent: HostIntent) -> Changes:
        """Takes a delta over; `intent` is the whole with that delta in it. The first update is the whole."""
        first = self._settings is None
        if first:
            for declared in standing_sets():
                self._book.put_set(declared)
        everything = first or delta.snapshot or intent.settings != self._settings
        self._settings = intent.settings
        policies = self._update_sets(delta, intent, everything)
        policies |= self._policies.keys() | intent.policies.keys() if everything else delta.policies.keys()
        groups = self._update_policies(policies, intent)
        groups |= self._groups.keys() | intent.groups.keys() if everything else delta.groups.keys()
        endpoints = self._update_groups(groups, intent)
        if everything:
            endpoints |= self._interfaces.endpoints | intent.endpoints.keys()
        endpoints |= delta.endpoints.keys()
        self._update_endpoints(endpoints, intent)
        self._update_base(intent)
        changes = self._book.changes()
        return msgspec.structs.replace(changes, fresh=True) if first else changes

    @property
    def _way(self) -> Way:
        return Way(self._settings or Settings(), self._missing, self._other)

    def _update_sets(self, delta: Delta, intent: HostIntent, everything: bool) -> set[PolicyId]:
        touched: set[PolicyId] = set()
        keys = self._contents.shapes.keys() | intent.sets.keys() if everything else delta.sets.keys()
        for key in sorted(keys):
            change = None if everything else delta.sets.get(key)
            if self._contents.update(key, change, intent.sets.get(key)):
                touched |= self._set_users.of(key)
        return touched

    def _update_policies(self, keys: Iterable[PolicyId], intent: HostIntent) -> set[GroupId]:
        touched: set[GroupId] = set()
        for key in sorted(keys):
            before, after = self._policies.pop(key, None), intent.policies.get(key)
            rules = (rule for direction in Direction for rule in rules_of(after, direction)) if after else ()
            self._set_users.put(key, {name for rule in rules for name in named_sets(rule)})
            self._write(key, Table.FILTER, written_policy(after, self._way, self._contents.shapes) if after else {})
            if calling(before) != calling(after):
                touched |= self._policy_users.of(key)
            if after is not None:
                self._policies[key] = after
        return touched

    def _update_groups(self, keys: Iterable[GroupId], intent: HostIntent) -> set[EndpointKey]:
        touched: set[EndpointKey] = set()
        for key in sorted(keys):
            before, group = self._groups.pop(key, None), intent.groups.get(key)
            was = group_sets(before) if before else ()
            now = group_sets(group) if group else ()
            for declared in was:
                if declared not in now:
                    self._book.drop_set(declared.name)
            for declared in now:
                self._book.put_set(declared)
            self._policy_users.put(key, policies_of(group) if group else ())
            self._write(f"group/{key}", Table.FILTER, written_group(group, intent.policies, self._way) if group else {})
            if group is not None:
                self._groups[key] = group
            if was != now:
                touched |= self._group_users.of(key)
        return touched

    def _update_endpoints(self, keys: Iterable[EndpointKey], intent: HostIntent) -> None:
        for key in keys:
            endpoint = intent.endpoints.get(key)
            self._group_users.put(key, (endpoint.ingress, endpoint.egress) if endpoint else ())
        touched = self._interfaces.update({key: intent.endpoints.get(key) for key in keys})
        moved: set[GroupId] = set()
        for key in sorted(touched):
            self._book.put_elements(key, {})
            self._special.pop(key, None)
            if before := self._receiver.pop(key, None):
                del self._behind[before][key]
                moved.add(before)
        for key in sorted(touched):
            if self._interfaces.holds(key):
                endpoint = intent.endpoints[key]
                self._book.put_elements(key, endpoint_elements(endpoint, intent.groups))
                if is_special(endpoint, intent.settings):
                    self._special[key] = endpoint
                if receives(endpoint, intent.groups):
                    self._receiver[key] = endpoint.ingress
                    self._behind.setdefault(endpoint.ingress, {})[key] = endpoint.interface
                    moved.add(endpoint.ingress)
        for group in sorted(moved):
            self._book.put_sets(f"behind/{group}", behind_sets(group, self._behind[group].values()))
            if not self._behind[group]:
                del self._behind[group]

    def _update_base(self, intent: HostIntent) -> None:
        used = {group for group in self._groups if self._group_users.of(group)}
        site = site_of(intent, self._way, self._contents.shapes, self._special, used, self._behind)
        for table, written in written_base(site).items():
            self._write(SETTINGS, table, written)
        self._problems[SETTINGS] = (*filter(None, [too_few(intent.settings)]),)
        self._book.put_elements(SETTINGS, pool_elements(intent.settings))

    def _write(self, owner: str, table: Table, by_family: Mapping[int, Written]) -> None:
        """`owner`: a key of the intent, which owns the name in every table."""
        place = f"{owner} in {table}"
        chains, lists, problems = keyed(table, by_family, self._missing)
        self._book.put_lists(place, list_sets(lists))
        self._book.put_chains(place, chains)
        self._problems.pop(place, None)
        if problems:
            self._problems[place] = problems


def render(intent: HostIntent, missing: frozenset[str] = frozenset()) -> Ruleset:
    """The whole, from the intent alone."""
    book = Book()
    contents = Contents(book)
    way = Way(intent.settings, missing)

    def write(owner: str, table: Table, by_family: Mapping[int, Written]) -> None:
        chains, lists, _ = keyed(table, by_family, missing)
        book.put_lists(f"{owner} in {table}", list_sets(lists))
        book.put_chains(f"{owner} in {table}", chains)

    for declared in standing_sets():
        book.put_set(declared)
    for set_id, members in intent.sets.items():
        contents.update(set_id, None, members)
    for policy in intent.policies.values():
        write(policy.id, Table.FILTER, written_policy(policy, way, contents.shapes))
    for group in intent.groups.values():
        for declared in group_sets(group):
            book.put_set(declared)
        write(f"group/{group.id}", Table.FILTER, written_group(group, intent.policies, way))
    interfaces = Interfaces()
    interfaces.update(intent.endpoints)
    held = {key: one for key, one in intent.endpoints.items() if interfaces.holds(key)}
    for key, endpoint in held.items():
        book.put_elements(key, endpoint_elements(endpoint, intent.groups))
    used = {group for one in intent.endpoints.values() for group in (one.ingress, one.egress)}
    behind: dict[GroupId, dict[EndpointKey, str]] = {}
    for key, endpoint in held.items():
        if receives(endpoint, intent.groups):
            behind.setdefault(endpoint.ingress, {})[key] = endpoint.interface
    for ingress, names_behind in behind.items():
        book.put_sets(f"behind/{ingress}", behind_sets(ingress, names_behind.values()))
    special = {key: one for key, one in held.items() if is_special(one, intent.settings)}
    site = site_of(intent, way, contents.shapes, special, used & intent.groups.keys(), behind)
    for table, written in written_base(site).items():
        write(SETTINGS, table, written)
    book.put_elements(SETTINGS, pool_elements(intent.settings))
    return book.ruleset

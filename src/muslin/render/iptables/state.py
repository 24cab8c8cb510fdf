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
from muslin.net import Cidr, version_of
from muslin.render.iptables import cutting, names
from muslin.render.iptables.book import Book
from muslin.render.iptables.chains import (
    Place,
    Way,
    Written,
    answers,
    denial,
    group_chains,
    passes,
    policy_chains,
    rules_of,
)
from muslin.render.iptables.extras import mangling, translating
from muslin.render.iptables.hooks import filtering, raw
from muslin.render.iptables.hosts import ROLES, role_chains
from muslin.render.iptables.marks import too_few
from muslin.render.iptables.members import (
    FAMILIES,
    Contents,
    behind_sets,
    elements_of,
    endpoint_elements,
    group_sets,
    list_sets,
    parts_of,
    receives,
)
from muslin.render.iptables.ruleset import ChainKey, Changes, Ruleset
from muslin.render.iptables.site import Site, group_of, is_special
from muslin.render.iptables.words import Chain, IpSet, Kind, Table, needs
from muslin.render.matching import SetShape, named_sets
from muslin.render.relations import Interfaces, Users

SETTINGS = "Settings"
BOTH = tuple(Direction)


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
            for declared in _standing_sets():
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
            self._write(key, Table.FILTER, _policy(after, self._way, self._contents.shapes) if after else {})
            if _calling(before) != _calling(after):
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
            self._policy_users.put(key, _policies_of(group) if group else ())
            self._write(f"group/{key}", Table.FILTER, _group(group, intent.policies, self._way) if group else {})
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
        site = _site(intent, self._way, self._contents.shapes, self._special, used, self._behind)
        for table, written in _base(site).items():
            self._write(SETTINGS, table, written)
        self._problems[SETTINGS] = (*filter(None, [too_few(intent.settings)]),)
        self._book.put_elements(SETTINGS, _pool_elements(intent.settings))

    def _write(self, owner: str, table: Table, by_family: Mapping[int, Written]) -> None:
        """`owner`: a key of the intent, which owns the name in every table."""
        place = f"{owner} in {table}"
        chains, lists, problems = _keyed(table, by_family, self._missing)
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
        chains, lists, _ = _keyed(table, by_family, missing)
        book.put_lists(f"{owner} in {table}", list_sets(lists))
        book.put_chains(f"{owner} in {table}", chains)

    for declared in _standing_sets():
        book.put_set(declared)
    for set_id, members in intent.sets.items():
        contents.update(set_id, None, members)
    for policy in intent.policies.values():
        write(policy.id, Table.FILTER, _policy(policy, way, contents.shapes))
    for group in intent.groups.values():
        for declared in group_sets(group):
            book.put_set(declared)
        write(f"group/{group.id}", Table.FILTER, _group(group, intent.policies, way))
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
    site = _site(intent, way, contents.shapes, special, used & intent.groups.keys(), behind)
    for table, written in _base(site).items():
        write(SETTINGS, table, written)
    book.put_elements(SETTINGS, _pool_elements(intent.settings))
    return book.ruleset


def _site(
    intent: HostIntent, way: Way, shapes: Mapping[SetId, SetShape], special: Mapping[EndpointKey, Endpoint],
    used: Iterable[GroupId], behind: Mapping[GroupId, Mapping[EndpointKey, str]],
) -> Site:
    return Site(
        way=way,
        groups=intent.groups,
        policies=intent.policies,
        shapes=shapes,
        senders=tuple(sorted(one for one in used if intent.groups[one].direction is Direction.EGRESS)),
        receivers={group: len(parts_of(behind[group].values())) for group in sorted(behind)},
        special=tuple(special[key] for key in sorted(special)),
        host_interfaces=tuple(intent.host_interfaces[key] for key in sorted(intent.host_interfaces)),
    )


def _standing_sets() -> tuple[IpSet, ...]:
    return tuple(
        declared
        for family in FAMILIES
        for declared in (
            IpSet(names.sources(family), Kind.ADDRESS_INTERFACES, family),
            IpSet(names.masqueraded(family), Kind.NETS, family),
            IpSet(names.pools(family), Kind.NETS, family),
        )
    ) + cutting.sets()


def _pool_elements(settings: Settings) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name, nets in (
        (names.masqueraded, settings.masquerade),
        (names.pools, (*settings.pools, *settings.masquerade_exclude)),
    ):
        for family in FAMILIES:
            found[name(family)] = elements_of(net for net in nets if version_of(net) == family)
    return found


def _policy(policy: Policy, way: Way, shapes: Mapping[SetId, SetShape]) -> dict[int, Written]:
    return {family: policy_chains(policy, BOTH, Place(Table.FILTER, family, way), shapes) for family in FAMILIES}


def _group(group: Group, policies: Mapping[PolicyId, Policy], way: Way) -> dict[int, Written]:
    return {
        family: Written(group_chains(group, policies, Place(Table.FILTER, family, way))) for family in FAMILIES
    }


def _policies_of(group: Group) -> tuple[PolicyId, ...]:
    return (*group.profiles, *(policy for stage in group.stages for policy in stage.policies))


def _base(site: Site) -> dict[Table, dict[int, Written]]:
    """All chains that no policy and no group of the filter table owns."""
    bases = {Table.RAW: raw, Table.MANGLE: mangling, Table.NAT: translating, Table.FILTER: filtering}
    return {
        table: {family: _with_groups(write(site, family), site, table, family) for family in FAMILIES}
        for table, write in bases.items()
    }


def _with_groups(chains: tuple[Chain, ...], site: Site, table: Table, family: int) -> Written:
    """The base chains of a table, the roles of host endpoints in it, and outside filter what those lead to."""
    place = site.place(table, family)
    found = [*chains, *role_chains(site, family, table)]
    wanted = {
        group_of(one, role.field)
        for role in ROLES if role.table is table for one in site.covered if group_of(one, role.field)
    }
    if table is Table.FILTER or wanted:
        found += answers(site.way)
    if table is Table.FILTER:
        return Written(tuple(found))
    parts: list[Written] = []
    groups = [site.groups[group] for group in sorted(wanted) if group in site.groups]
    for group in groups:
        found += group_chains(group, site.policies, place)
    for key in sorted({(policy, group.direction) for group in groups for policy in _policies_of(group)}):
        if key[0] in site.policies:
            parts.append(policy_chains(site.policies[key[0]], (key[1],), place, site.shapes))
    return Written(
        (*found, *(chain for part in parts for chain in part.chains)),
        {name: nets for part in parts for name, nets in part.lists.items()},
        tuple(said for part in parts for said in part.problems),
    )


def _keyed(
    table: Table, by_family: Mapping[int, Written], missing: frozenset[str]
) -> tuple[dict[ChainKey, Chain], dict[str, tuple[Cidr, ...]], tuple[str, ...]]:
    chains: dict[ChainKey, Chain] = {}
    lists: dict[str, tuple[Cidr, ...]] = {}
    problems: list[str] = []
    for family, written in by_family.items():
        problems += written.problems
        lists |= written.lists
        for chain in written.chains:
            possible, said = _possible(chain, missing)
            chains[ChainKey(family, table, chain.name)] = possible
            problems += said
    return chains, lists, tuple(problems)


def _possible(chain: Chain, missing: frozenset[str]) -> tuple[Chain, list[str]]:
    """The chain without what this kernel cannot do; a host endpoint's denies as a whole, as a policy does."""
    lacking = sorted({word for rule in chain.rules for word in needs(rule)} & missing)
    if not lacking:
        return chain, []
    words = ", ".join(lacking)
    if chain.name.startswith(f"{names.CHAIN}h-"):
        said = f"a host endpoint denies: this kernel's iptables cannot do {words}"
        place = Place(Table.RAW, 4, Way())
        return Chain(chain.name, (denial(place, said),)), [said]
    rest = tuple(rule for rule in chain.rules if not needs(rule) & missing)
    told = sorted({rule.comment or "class of service" for rule in chain.rules if needs(rule) & missing})
    return Chain(chain.name, rest), [f"this kernel's iptables cannot do {words}: {', '.join(told)}"]


def _calling(policy: Policy | None) -> tuple[bool, ...] | None:
    """What a group must know of a policy to call it."""
    return None if policy is None else (policy.staged, *(passes(policy, direction) for direction in Direction))

"""What each key of the intent contributes to the chains and sets of a host, worked out from what it is.

A policy and a group have chains in the filter table, in both families. All other chains belong to the site as a whole:
the base chains, and what host endpoints ask in raw and mangle, where policies and groups are written once more, as far
as they are asked there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muslin.intent import (
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
from muslin.render.iptables.chains import (
    Place,
    Way,
    Written,
    answers,
    denial,
    group_chains,
    passes,
    policy_chains,
)
from muslin.render.iptables.extras import mangling, translating
from muslin.render.iptables.hooks import filtering, raw
from muslin.render.iptables.hosts import ROLES, role_chains
from muslin.render.iptables.members import (
    FAMILIES,
    elements_of,
    parts_of,
)
from muslin.render.iptables.ruleset import ChainKey
from muslin.render.iptables.site import Site, group_of
from muslin.render.iptables.words import Chain, IpSet, Kind, Table, needs
from muslin.render.matching import SetShape

BOTH = tuple(Direction)


def site_of(
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


def standing_sets() -> tuple[IpSet, ...]:
    return tuple(
        declared
        for family in FAMILIES
        for declared in (
            IpSet(names.sources(family), Kind.ADDRESS_INTERFACES, family),
            IpSet(names.masqueraded(family), Kind.NETS, family),
            IpSet(names.pools(family), Kind.NETS, family),
        )
    ) + cutting.sets()


def pool_elements(settings: Settings) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name, nets in (
        (names.masqueraded, settings.masquerade),
        (names.pools, (*settings.pools, *settings.masquerade_exclude)),
    ):
        for family in FAMILIES:
            found[name(family)] = elements_of(net for net in nets if version_of(net) == family)
    return found


def written_policy(policy: Policy, way: Way, shapes: Mapping[SetId, SetShape]) -> dict[int, Written]:
    return {family: policy_chains(policy, BOTH, Place(Table.FILTER, family, way), shapes) for family in FAMILIES}


def written_group(group: Group, policies: Mapping[PolicyId, Policy], way: Way) -> dict[int, Written]:
    return {
        family: Written(group_chains(group, policies, Place(Table.FILTER, family, way))) for family in FAMILIES
    }


def policies_of(group: Group) -> tuple[PolicyId, ...]:
    return (*group.profiles, *(policy for stage in group.stages for policy in stage.policies))


def written_base(site: Site) -> dict[Table, dict[int, Written]]:
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
    for key in sorted({(policy, group.direction) for group in groups for policy in policies_of(group)}):
        if key[0] in site.policies:
            parts.append(policy_chains(site.policies[key[0]], (key[1],), place, site.shapes))
    return Written(
        (*found, *(chain for part in parts for chain in part.chains)),
        {name: nets for part in parts for name, nets in part.lists.items()},
        tuple(said for part in parts for said in part.problems),
    )


def keyed(
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


def calling(policy: Policy | None) -> tuple[bool, ...] | None:
    """What a group must know of a policy to call it."""
    return None if policy is None else (policy.staged, *(passes(policy, direction) for direction in Direction))

"""Who is there, and what is asked of them: one reading of a whole cluster, which no later change touches.

`why` asks one host about one packet. Whoever asks about all of them reads the cluster's graph once, by its label
classes: a `Census` is small (a hundred thousand workloads are a few thousand kinds, and an address each), and it stays
as it is while the graph goes on, so that a server can reckon with it elsewhere.

`enacted`: the census as it would be if all staged policies were enforced, by the law in `intent.policy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.definitions import SetDefinition
from muslin.calc.members import LabelClass, NamedPort, Sort
from muslin.explain.gates import Arrival, Gates, gates, rules_of
from muslin.intent import EndpointKey, Group, GroupId, HostIntent, Policy, PolicyId, Rule, SetId, TierStage
from muslin.net import Cidr, is_host

__all__ = [
    "Arrival", "Census", "Gates", "Holder", "Kind", "Resident", "census", "enacted", "enacting", "staged_policies",
]

Holder = tuple[int, tuple[NamedPort, ...]]
"""Who holds an address or prefix: (kind, its named ports)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Endpoints or network sets that policy cannot tell apart but by address: equal labels, equal profiles. Or what is
    behind a service.

    `ingress` and `egress` are None for all but workloads. `sets`: the address sets and port sets that they are in.
    """

    labels: Mapping[str, str]
    ingress: GroupId | None
    egress: GroupId | None
    sets: frozenset[SetId]


@dataclass(frozen=True, slots=True)
class Resident:
    """A workload in its place."""

    kind: int
    host: str
    addresses: tuple[Cidr, ...]


@dataclass(frozen=True, slots=True)
class Census:
    """`holders`: whoever holds exactly this address; `prefixes`: the same for network sets' longer lists."""

    kinds: tuple[Kind, ...]
    residents: Mapping[EndpointKey, Resident]
    holders: Mapping[Cidr, tuple[Holder, ...]]
    prefixes: Mapping[Cidr, tuple[Holder, ...]]
    groups: Mapping[GroupId, Group]
    policies: Mapping[PolicyId, Policy]
    definitions: Mapping[SetId, SetDefinition]
    gates: Mapping[str, Gates]
    """By host, of those that ask anything themselves."""

    @property
    def rules(self) -> Iterator[Rule]:
        """All that tell packets apart."""
        for policy in self.policies.values():
            yield from policy.ingress
            yield from policy.egress
        yield from dict.fromkeys(rule for asked in self.gates.values() for rule in rules_of(asked))


def census(graph: Graph, *, enacted: bool = False, hosts: bool = False) -> Census:
    """Of the graph as it is now. `hosts`: what hosts themselves are asked tells packets apart, too."""
    classes = sorted(graph.label_classes(), key=lambda found: (found.sort.value, found.key[1:]))
    groups: dict[GroupId, Group] = {}
    asked = [_groups(graph, found, groups) for found in classes]
    if hosts:
        groups |= {group.id: group for found in classes if found.sort is Sort.HOST
                   for _, group in graph.groups(found).items()}
    asking, more = gates(graph)
    groups |= more
    policies, definitions = _rules(graph, groups.values())
    selected = _selected(graph, definitions)
    kinds = tuple(
        Kind(found.labels, *pair, frozenset(selected.get(id(found), ())))
        for found, pair in zip(classes, asked, strict=True)
    )
    residents, holders, prefixes = _places(graph, classes)
    kinds += tuple(_services(graph, definitions, len(kinds), holders))
    found = Census(kinds, residents, holders, prefixes, groups, policies, definitions, asking)
    return _enacted(found) if enacted else found


def enacted(intent: HostIntent) -> HostIntent:
    """What the host would do if its staged policies were enforced. Groups keep their names, which endpoints use."""
    groups, policies = _enforced(intent.groups, intent.policies)
    return msgspec.structs.replace(intent, groups=groups, policies=policies)


def _groups(graph: Graph, found: LabelClass, groups: dict[GroupId, Group]) -> tuple[GroupId | None, GroupId | None]:
    if not found.workload:
        return None, None
    pair = graph.groups(found)
    for group in (pair.ingress, pair.egress):
        groups.setdefault(group.id, group)
    return pair.ingress.id, pair.egress.id


def _rules(
    graph: Graph, groups: Iterable[Group]
) -> tuple[dict[PolicyId, Policy], dict[SetId, SetDefinition]]:
    policies: dict[PolicyId, Policy] = {}
    definitions: dict[SetId, SetDefinition] = {}
    for group in groups:
        for policy in (*(name for stage in group.stages for name in stage.policies), *group.profiles):
            if policy not in policies:
                compiled = graph.compiled(policy)
                policies[policy] = compiled.policy
                definitions.update((definition.id, definition) for definition in compiled.sets)
    return policies, definitions


def _selected(graph: Graph, definitions: Mapping[SetId, SetDefinition]) -> dict[int, list[SetId]]:
    """Class -> sets. By identity: a class is hashable, but this is only about this very graph."""
    found: dict[int, list[SetId]] = {}
    for set_id, definition in definitions.items():
        for label_class in () if definition.service else graph.selected(definition.selector):
            found.setdefault(id(label_class), []).append(set_id)
    return found


def _places(graph: Graph, classes: list[LabelClass]) -> tuple[
        dict[EndpointKey, Resident], dict[Cidr, tuple[Holder, ...]], dict[Cidr, tuple[Holder, ...]]]:
    residents: dict[EndpointKey, Resident] = {}
    holders: dict[Cidr, tuple[Holder, ...]] = {}
    prefixes: dict[Cidr, tuple[Holder, ...]] = {}
    shared: dict[Holder, tuple[Holder, ...]] = {}
    for kind, found in enumerate(classes):
        for key, member in found.members.items():
            alone = shared.setdefault((kind, member.ports), ((kind, member.ports),))
            if found.workload and graph.is_placed(member):
                residents[key] = Resident(kind, member.host, member.held)
            for address in member.held:
                table = holders if is_host(address) else prefixes
                others = table.get(address)
                table[address] = alone if others is None else (*others, *alone)
    return residents, holders, prefixes


def _services(
    graph: Graph, definitions: Mapping[SetId, SetDefinition], first: int, holders: dict[Cidr, tuple[Holder, ...]]
) -> Iterator[Kind]:
    """One kind for each service that rules name, from number `first` on; enters its addresses, with their ports."""
    named: dict[str, list[SetId]] = {}
    for set_id, definition in definitions.items():
        if definition.service:
            named.setdefault(definition.service, []).append(set_id)
    for number, (service, sets) in enumerate(sorted(named.items()), first):
        ports: dict[Cidr, list[NamedPort]] = {}
        for item in graph.behind(service):
            if isinstance(item, str):
                ports.setdefault(item, [])
            else:
                ports.setdefault(item[0], []).append(("", item[1], item[2]))
        for address, served in ports.items():
            holders[address] = (*holders.get(address, ()), (number, tuple(sorted(served))))
        yield Kind({}, None, None, frozenset(sets))


def staged_policies(found: Census) -> tuple[PolicyId, ...]:
    """Those that would change something; one that would only take an enforced one away is known by that."""
    return tuple(sorted({name for name, policy in found.policies.items() if policy.staged} | {
        policy.replaced_by for policy in found.policies.values() if policy.replaced_by}))


def enacting(found: Census, only: PolicyId) -> Census:
    """As if this one of the staged policies were enforced."""
    return _enacted(found, only)


def _enacted(found: Census, only: PolicyId | None = None) -> Census:
    groups, policies = _enforced(found.groups, found.policies, only)
    return Census(found.kinds, found.residents, found.holders, found.prefixes, groups, policies, found.definitions,
                  found.gates)


def _enforced(
    groups: Mapping[GroupId, Group], policies: Mapping[PolicyId, Policy], only: PolicyId | None = None
) -> tuple[dict[GroupId, Group], dict[PolicyId, Policy]]:
    """`only` None: all of them."""
    gone = {name for name, policy in policies.items() if policy.replaced_by and only in (None, policy.replaced_by)}
    others = {name: msgspec.structs.replace(policy, staged=False) if policy.staged and only in (None, name) else policy
              for name, policy in policies.items() if name not in gone}
    return {name: msgspec.structs.replace(group, stages=tuple(_stages(group, gone)))
            for name, group in groups.items()}, others


def _stages(group: Group, gone: set[PolicyId]) -> Iterator[TierStage]:
    for stage in group.stages:
        left = tuple(policy for policy in stage.policies if policy not in gone)
        if left:
            yield msgspec.structs.replace(stage, policies=left)

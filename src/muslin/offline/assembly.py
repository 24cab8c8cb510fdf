"""From documents to the resources that a server would have after `apply`, with what Kubernetes would add.

    Calico's kinds, Kubernetes' policies     as a server stores them: checked, with defaults
    Pods, Deployments, Jobs ...              a WorkloadEndpoint each (`model.kubernetes_endpoints`)
    Services                                 their EndpointSlices too, of the pods that they select, if none are there
    ServiceAccounts                          profiles; one that a pod names and nobody declares hands down its name
    Namespaces                               also those that nobody declares, but in which something stands
    the three tiers that always exist        unless the files say something of them

A pod stands for itself and then its maker does not: `kubectl get all -o yaml` has a Deployment, its ReplicaSets and
their Pods, and they are one workload each pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from muslin.model import documents, validation
from muslin.model.documents import Located
from muslin.model.endpoint import WorkloadEndpoint
from muslin.model.fault import Fault, Reason
from muslin.model.kinds import BY_NAME
from muslin.model.kubernetes_endpoints import KubernetesAddress, endpoint_of, node_of
from muslin.model.kubernetes_pods import Pod, makes_pods, pod_of
from muslin.model.labels import account_profile, account_profile_name
from muslin.model.meta import Meta, Resource, ResourceKey
from muslin.model.names import DEFAULT_NAMESPACE
from muslin.model.network import IPPool, Namespace, Node
from muslin.model.policy import Tier, TierSpec
from muslin.model.validation.policy import WELL_KNOWN_TIERS
from muslin.net import Cidr, host_cidr, parse_cidr
from muslin.offline.foreign import is_foreign, matters, slip
from muslin.offline.numbering import numbered
from muslin.offline.services import slices
from muslin.offline.world import World

__all__ = ["Assembly", "assemble", "is_foreign"]

NAMESPACE_NAME = "kubernetes.io/metadata.name"
WITH_TIERS = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assembly:
    """The world, and what is wrong with the documents: with a fault, the world is not what was meant."""

    world: World
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class _Work:
    """What is being gathered."""

    resources: dict[ResourceKey, Resource] = field(default_factory=dict)
    lines: dict[ResourceKey, Located] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    pods: list[tuple[Pod, Located]] = field(default_factory=list)
    accounts: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    made_up: set[str] = field(default_factory=set)

    def put(self, resource: Resource, located: Located) -> None:
        key = resource.key
        if key in self.lines:
            first = self.lines[key]
            self.notes.append(f"{located.file}:{located.line}: {key} stands in {first.file}:{first.line} already: "
                              "the last one counts, as for apply")
        self.resources[key], self.lines[key] = resource, located


def assemble(objects: Iterable[Located], foreign: Iterable[Located]) -> Assembly:
    """`foreign`: what `is_foreign` said of documents that were read."""
    work = _Work()
    for located in objects:
        resource = _resource(located.object)
        if resource.metadata.name:
            work.put(resource, located)
        else:
            work.faults.append(_placed(Fault(
                path=("metadata", "name"), what="the object has no name", why="it could not be found again",
                mend="give it a metadata.name", reason=Reason.REQUIRED), located))
    for located in foreign:
        _translate(located, work)
    _add_pods(work)
    _add_accounts(work)
    _add_built_in(work)
    _number(work)
    work.resources.update({one.key: one for one in slices(work.resources)})
    _check_tiers(work)
    _tell(work)
    world = World(resources=work.resources, lines=work.lines, made_up=frozenset(work.made_up),
                  notes=tuple(work.notes))
    return Assembly(world, tuple(work.faults))


def _resource(obj: Object) -> Resource:
    """As a server stores it."""
    kind = BY_NAME[obj["kind"]]
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name != "namespace"}
    if kind.namespaced:
        metadata["namespace"] = (obj.get("metadata") or {}).get("namespace") or DEFAULT_NAMESPACE
    if kind.name == "Namespace":
        metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_NAME: metadata["name"]}
    return msgspec.convert(validation.normal({**obj, "metadata": metadata}), kind.struct)


def _translate(located: Located, work: _Work) -> None:
    obj = located.object
    if documents.expects(obj):
        return
    version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    if makes_pods(version, kind):
        pod, faults = pod_of(obj)
        work.faults += [_placed(fault, located) for fault in faults]
        if pod is not None:
            work.pods.append((pod, located))
    elif matters(version, kind):
        _translate_small(kind, located, work)
    elif fault := slip(version, kind):
        work.faults.append(_placed(fault, located))
    else:
        work.skipped[kind or "no resource"] += 1


def _translate_small(kind: str, located: Located, work: _Work) -> None:
    """ServiceAccount and Node."""
    try:
        found = msgspec.convert(located.object, _Small)
    except msgspec.ValidationError as error:
        work.faults.append(_placed(Fault(path=(), what=f"this {kind} cannot be read: {error}", why="",
                                         mend="write it as Kubernetes does"), located))
        return
    meta = found.metadata
    if not meta.name:
        work.faults.append(_placed(Fault(path=("metadata", "name"), what="metadata.name is missing",
                                         why=f"pods speak of a {kind} by its name", mend="write name: under metadata",
                                         reason=Reason.REQUIRED), located))
    elif kind == "Node":
        node = node_of(meta.name, meta.labels or {}, found.status.addresses if found.status else ())
        if node.key not in work.resources:  # a Calico Node says more
            work.put(node, located)
    else:
        work.accounts[meta.namespace or DEFAULT_NAMESPACE, meta.name] = dict(meta.labels or {})


class _SmallMeta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str | None = ""
    labels: dict[str, str] | None = None


class _SmallStatus(msgspec.Struct, frozen=True):
    addresses: tuple[KubernetesAddress, ...] = ()


class _Small(msgspec.Struct, frozen=True):
    metadata: _SmallMeta = _SmallMeta()
    status: _SmallStatus | None = None


def _placed(fault: Fault, located: Located) -> Fault:
    line, column = located.written_position(fault.path)
    return msgspec.structs.replace(fault, file=located.file, line=line, column=column)


def _add_pods(work: _Work) -> None:
    chosen = list(_without_makers(work.pods))
    at_home = sum(pod.host_network and not pod.over for pod, _ in chosen)
    if at_home:
        work.notes.append(f"{at_home} of the host's own network (hostNetwork): no workload; ask of the host")
    for pod, located in chosen:
        if pod.host_network or pod.over:
            continue
        endpoint = endpoint_of(pod)
        if endpoint.key in work.lines and pod.maker != "Pod":  # a Deployment and a StatefulSet of one name
            endpoint = endpoint_of(msgspec.structs.replace(pod, name=f"{pod.name}-{pod.maker.lower()}"))
        work.put(endpoint, located)
        work.accounts.setdefault((pod.namespace, pod.account), {})


def _without_makers(pods: Sequence[tuple[Pod, Located]]) -> Iterator[tuple[Pod, Located]]:
    """Each once: a maker goes when something that it made is there."""
    owners = {(pod.namespace, pod.maker, pod.name): pod.owner for pod, _ in pods}
    made = set()
    for pod, _ in pods:
        seen, owner = set(), pod.owner if pod.maker == "Pod" else None
        while owner is not None and owner not in seen:
            seen.add(owner)
            made.add((pod.namespace, *owner))
            owner = owners.get((pod.namespace, *owner))
    for pod, located in pods:
        mine = pod.owner is not None and (pod.namespace, *pod.owner) in owners
        if (pod.namespace, pod.maker, pod.name) not in made and not (pod.maker != "Pod" and mine):
            yield pod, located


def _add_accounts(work: _Work) -> None:
    for (namespace, account), labels in work.accounts.items():
        if ResourceKey("ServiceAccount", namespace, account) in work.resources:
            continue  # it stands for its profile by itself
        key = ResourceKey("Profile", "", account_profile_name(namespace, account))
        work.resources.setdefault(key, account_profile(namespace, account, labels))


def _add_built_in(work: _Work) -> None:
    for name, (order, action) in WELL_KNOWN_TIERS.items():
        tier = Tier(kind="Tier", metadata=Meta(name=name), spec=TierSpec(order=order, default_action=action))
        work.resources.setdefault(tier.key, tier)
    for namespace in sorted({DEFAULT_NAMESPACE, *(key.namespace for key in work.resources if key.namespace)}):
        key = ResourceKey("Namespace", "", namespace)
        work.resources.setdefault(key, Namespace(
            kind="Namespace", metadata=Meta(name=namespace, labels={NAMESPACE_NAME: namespace})))


def _number(work: _Work) -> None:
    """Addresses for endpoints that have none."""
    endpoints = {key: found for key, found in work.resources.items() if isinstance(found, WorkloadEndpoint)}
    lacking = {f"{key.namespace}/{key.name}": key for key, found in endpoints.items() if not found.spec.ip_networks}
    taken = {cidr for found in work.resources.values() for cidr in _addresses(found)}
    pools = [resource.spec.cidr for _, resource in sorted(work.resources.items())
             if isinstance(resource, IPPool) and not resource.spec.disabled]
    for name, addresses in numbered(lacking, [parse_cidr(pool) for pool in pools], taken).items():
        key = lacking[name]
        spec = msgspec.structs.replace(endpoints[key].spec, ip_networks=addresses)
        work.resources[key] = msgspec.structs.replace(endpoints[key], spec=spec)
        work.made_up |= {address.partition("/")[0] for address in addresses}


def _addresses(resource: Resource) -> Iterator[Cidr]:
    match resource:
        case WorkloadEndpoint(spec=spec):
            yield from map(host_cidr, spec.ip_networks)
        case Node(spec=spec) if spec.addresses:
            yield from (host_cidr(address.address) for address in spec.addresses if address.address)
        case _:
            return


def _check_tiers(work: _Work) -> None:
    """What the server would say of a policy in a tier that is not there."""
    for key, located in work.lines.items():
        if key.kind not in WITH_TIERS:
            continue
        tier = getattr(getattr(work.resources[key], "spec", None), "tier", "") or "default"
        if ResourceKey("Tier", "", tier) not in work.resources:
            line, column = located.position(("spec", "tier"))
            work.faults.append(Fault(
                path=("spec", "tier"), what=f'there is no tier "{tier}" in these files', why="its order is unknown",
                mend="add the Tier, or leave spec.tier out for the tier default", reason=Reason.INVALID,
                file=located.file, line=line, column=column))


def _tell(work: _Work) -> None:
    endpoints = sum(key.kind == "WorkloadEndpoint" for key in work.resources)
    policies = sum(key.kind.endswith("NetworkPolicy") for key in work.resources)
    said = [f"{_many(endpoints, 'workload')}, {_many(policies, 'policy', 'policies')} from files"]
    if work.made_up:
        said.append(f"{_many(len(work.made_up), 'address', 'addresses')} made up")
    if work.skipped:
        kinds = ", ".join(f"{number} {kind}" for kind, number in work.skipped.most_common(5))
        more = ", ..." if len(work.skipped) > 5 else ""
        said.append(f"{_many(sum(work.skipped.values()), 'document')} passed over ({kinds}{more})")
    work.notes.append("; ".join(said))


def _many(number: int, what: str, several: str = "") -> str:
    return f"{number} {what if number == 1 else several or what + 's'}"

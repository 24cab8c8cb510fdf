"""Kubernetes' pods, and whatever makes pods, as far as the network is concerned.

A chart or a manifest holds no endpoints: it holds Deployments, whose pods will be made later, somewhere, with addresses
that nobody knows yet. What policy sees of a pod is written there all the same: its namespace, its labels, its service
account, its named ports. So a Deployment (or any other maker of pods) stands for one pod of its template, and a Pod for
itself. All else in these documents (images, volumes, hundreds of fields) is passed over unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from muslin.model.fault import Fault, Reason
from muslin.model.nulls import without_nulls
from muslin.model.policy import Spec
from muslin.model.shape import Address, Labels, Name, about
from muslin.model.validation.findings import Findings
from muslin.model.validation.forms import NAME
from muslin.model.validation.walk import walk
from muslin.net import parse_address

Object = dict[str, Any]
DEFAULT_ACCOUNT = "default"
OVER = ("Succeeded", "Failed")
"""Phases of a pod that has no network any more."""


class Owner(Spec, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class PodMeta(Spec, frozen=True, kw_only=True):
    """What of ObjectMeta counts."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: Labels = msgspec.field(default_factory=dict)
    owner_references: tuple[Owner, ...] = ()


class ContainerPort(Spec, frozen=True, kw_only=True):
    """A port that has a name, so that rules can mean it by that."""

    name: str = ""
    container_port: Annotated[int, about(least=1, most=65535, required=True)] = 0
    protocol: Annotated[str, about(enum=("TCP", "UDP", "SCTP"))] = ""


class Container(Spec, frozen=True, kw_only=True):
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Spec, frozen=True, kw_only=True):
    node_name: Name = ""
    service_account_name: Name = ""
    service_account: Name = ""
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodAddress(Spec, frozen=True, kw_only=True):
    ip: Address = ""


class PodStatus(Spec, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: Annotated[str, about(form="address")] = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodAddress, ...] = msgspec.field(default=(), name="podIPs")


class Document(Spec, frozen=True, kw_only=True):
    """What all these documents have."""

    api_version: str = ""
    kind: str = ""
    metadata: PodMeta = PodMeta()


class PodDocument(Document, frozen=True, kw_only=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Template(Spec, frozen=True, kw_only=True):
    metadata: PodMeta = PodMeta()
    spec: PodSpec = PodSpec()


class MakerSpec(Spec, frozen=True, kw_only=True):
    replicas: int | None = None
    template: Annotated[Template, about(required=True)] = Template()


class Maker(Document, frozen=True, kw_only=True):
    """Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job."""

    spec: Annotated[MakerSpec, about(required=True)] = MakerSpec()


class JobTemplate(Spec, frozen=True, kw_only=True):
    spec: Annotated[MakerSpec, about(required=True)] = MakerSpec()


class CronSpec(Spec, frozen=True, kw_only=True):
    job_template: Annotated[JobTemplate, about(required=True)] = JobTemplate()


class CronMaker(Document, frozen=True, kw_only=True):
    spec: Annotated[CronSpec, about(required=True)] = CronSpec()


_STRUCTS: dict[str, type[Document]] = {
    "Pod": PodDocument, "CronJob": CronMaker,
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), Maker),
}
_GROUPS = {"Pod": "", "ReplicationController": "", "Job": "batch", "CronJob": "batch"}


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod, or what stands for the pods of one maker. `maker`: its kind, Pod for a pod itself. `owner`: (kind, name)
    of the object that made it. `host_network`: it has the addresses of its host, and no interface of its own."""

    namespace: str
    name: str
    maker: str
    labels: dict[str, str]
    account: str
    node: str = ""
    addresses: tuple[str, ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()
    owner: tuple[str, str] | None = None
    host_network: bool = False
    over: bool = False


def makes_pods(api_version: str, kind: str) -> bool:
    """Is this a Pod, or an object that makes pods?"""
    return kind in _STRUCTS and api_version.rpartition("/")[0] == _GROUPS.get(kind, "apps")


def pod_of(obj: Object) -> tuple[Pod | None, tuple[Fault, ...]]:
    """The pod that the document is or stands for, None when it is faulty; and every fault of it that matters."""
    findings = Findings()
    struct = _STRUCTS[obj["kind"]]
    found = walk(struct, without_nulls(obj), findings)
    faults = [fault for fault in findings.faults if fault.reason is not Reason.UNKNOWN]
    metadata = found.get("metadata", {})
    name = metadata.get("name") or metadata.get("generateName", "").rstrip("-")
    if not name:
        faults.append(Fault(path=("metadata", "name"), what="metadata.name is missing",
                            why="workloads are known by their names", mend="write name: under metadata",
                            reason=Reason.REQUIRED))
    elif not NAME.fullmatch(name):
        faults.append(Fault(path=("metadata", "name"), what=f"{name!r} is no name", mend="write a lower-case name",
                            why="it has a-z, 0-9, '-' and '.', letters or digits at its ends"))
    if faults:
        return None, tuple(faults)
    return _pod(msgspec.convert(found, struct), obj["kind"], name), ()


def _pod(document: Document, kind: str, name: str) -> Pod:
    meta, replicas = document.metadata, None
    match document:
        case PodDocument(spec=spec, status=status):
            return _made(kind, name, meta, meta.labels, spec, status)
        case Maker(spec=maker):
            template, replicas = maker.template, maker.replicas
        case CronMaker(spec=cron):
            template = cron.job_template.spec.template
        case _:
            raise AssertionError(f"no maker of pods: {kind}")
    rests = replicas == 0 and kind == "ReplicaSet"  # a Deployment keeps those of its earlier revisions
    return _made(kind, name, meta, template.metadata.labels, template.spec, PodStatus(phase=OVER[0] if rests else ""))


def _made(kind: str, name: str, meta: PodMeta, labels: dict[str, str], spec: PodSpec, status: PodStatus) -> Pod:
    owners = sorted(meta.owner_references, key=lambda owner: not owner.controller)
    given = (status.pod_ip, *(address.ip for address in status.pod_ips))
    return Pod(
        namespace=meta.namespace or "default", name=name, maker=kind, labels=dict(labels),
        account=spec.service_account_name or spec.service_account or DEFAULT_ACCOUNT, node=spec.node_name,
        addresses=tuple(dict.fromkeys(parse_address(one) for one in given if one)),
        ports=tuple(dict.fromkeys(_ports(spec))), owner=(owners[0].kind, owners[0].name) if owners else None,
        host_network=spec.host_network, over=status.phase in OVER,
    )


def _ports(spec: PodSpec) -> Iterator[tuple[str, str, int]]:
    """(name, protocol, number) of ports that have names."""
    for container in (*spec.containers, *spec.init_containers):
        for port in container.ports:
            if port.name:
                yield port.name, port.protocol or "TCP", port.container_port

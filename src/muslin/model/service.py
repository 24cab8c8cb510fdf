"""Services of Kubernetes, as far as policy knows them: a name, and the addresses and ports behind it.

A rule that names a service means its EndpointSlices: objects of the service's namespace whose label
`kubernetes.io/service-name` is its name. An orchestrator writes them; muslin chooses no endpoints and balances nothing.
Of the Service itself nothing is read, it is kept for those who look.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from muslin.model.meta import Resource
from muslin.model.policy import Spec
from muslin.model.shape import Labels, about

SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: whose endpoints these are."""
PROTOCOLS = ("TCP", "UDP", "SCTP")
FAMILIES = ("IPv4", "IPv6")


class ServicePort(Spec, frozen=True, kw_only=True):
    """A port of the service, and that of its endpoints."""

    name: Annotated[str, about("Needed where there are several.")] = ""
    protocol: Annotated[str, about("TCP when left out.", enum=PROTOCOLS)] = ""
    app_protocol: str = ""
    port: Annotated[int, about("The service's port.", least=1, most=65535, required=True)] = 0
    target_port: Annotated[int | str | None, about("The endpoints' port: a number or a name.",
                                                   form="kubernetes_port")] = None
    node_port: Annotated[int | None, about(least=0, most=65535)] = None


class ServiceSpec(Spec, frozen=True, kw_only=True):
    """What Kubernetes says of a service. Policy reads none of it, only the EndpointSlices."""

    selector: Labels = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    type: Annotated[str, about(enum=("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))] = ""
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    external_name: str = ""
    external_traffic_policy: str = ""
    internal_traffic_policy: str = ""
    ip_families: Annotated[tuple[Annotated[str, about(enum=FAMILIES)], ...], about()] = msgspec.field(
        default=(), name="ipFamilies")
    ip_family_policy: str = msgspec.field(default="", name="ipFamilyPolicy")
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    load_balancer_class: str = ""
    load_balancer_source_ranges: tuple[str, ...] = ()
    allocate_load_balancer_node_ports: bool | None = None
    health_check_node_port: int | None = None
    publish_not_ready_addresses: bool = False
    session_affinity: str = ""
    session_affinity_config: Any = None
    traffic_distribution: str = ""


class Service(Resource, frozen=True, kw_only=True):
    """core/v1 Service. Rules name it; the addresses behind it are those of its EndpointSlices."""

    api_version: str = "v1"
    spec: Annotated[ServiceSpec, about("As Kubernetes has it.")] = ServiceSpec()
    status: Any = None


class EndpointConditions(Spec, frozen=True, kw_only=True):
    """What the orchestrator has found out. Policy holds for endpoints in every condition."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Spec, frozen=True, kw_only=True):
    """One endpoint of the service."""

    addresses: Annotated[tuple[str, ...], about("Addresses of the slice's family.", most=100, required=True)] = ()
    conditions: EndpointConditions | None = None
    hostname: str = ""
    target_ref: Any = None
    node_name: str = ""
    zone: str = ""
    hints: Any = None
    deprecated_topology: Any = None


class SlicePort(Spec, frozen=True, kw_only=True):
    """A port that every endpoint of the slice serves."""

    name: str = ""
    protocol: Annotated[str, about("TCP when left out.", enum=PROTOCOLS)] = ""
    port: Annotated[int | None, about("Without a number: no port is meant.", least=1, most=65535)] = None
    app_protocol: str = ""


class EndpointSlice(Resource, frozen=True, kw_only=True):
    """discovery.k8s.io/v1 EndpointSlice: addresses and ports behind the service that its label
    kubernetes.io/service-name names."""

    api_version: str = "discovery.k8s.io/v1"
    address_type: Annotated[str, about("Family of the addresses. FQDN: names, which policy cannot match.",
                                       enum=(*FAMILIES, "FQDN"), required=True)] = ""
    endpoints: Annotated[tuple[SliceEndpoint, ...], about("Who serves.", most=1000)] = ()
    ports: Annotated[tuple[SlicePort, ...], about("What each of them serves.", most=100)] = ()

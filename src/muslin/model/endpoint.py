"""Endpoint kinds: the interfaces that packets enter and leave by."""

from __future__ import annotations

import msgspec

from muslin.model.meta import Resource
from muslin.model.policy import Spec


class EndpointPort(Spec, frozen=True, kw_only=True):
    """A named port. `protocol` by name or number."""

    name: str = ""
    protocol: int | str = "TCP"
    port: int = 0
    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")


class IPNAT(Spec, frozen=True, kw_only=True):
    internal_ip: str = msgspec.field(default="", name="internalIP")
    external_ip: str = msgspec.field(default="", name="externalIP")


class QoSControls(Spec, frozen=True, kw_only=True):
    """Bandwidth, Burst, Peakrate in bits (per second), Minburst in bytes, the rest in packets or connections."""

    ingress_bandwidth: int | None = None
    ingress_burst: int | None = None
    ingress_peakrate: int | None = None
    ingress_minburst: int | None = None
    ingress_packet_rate: int | None = None
    ingress_packet_burst: int | None = None
    ingress_max_connections: int | None = None
    egress_bandwidth: int | None = None
    egress_burst: int | None = None
    egress_peakrate: int | None = None
    egress_minburst: int | None = None
    egress_packet_rate: int | None = None
    egress_packet_burst: int | None = None
    egress_max_connections: int | None = None
    dscp: int | str | None = None


class WorkloadEndpointSpec(Spec, frozen=True, kw_only=True):
    """`node` is where it runs; `interface_name` is the host's side of its link; `ip_networks` are /32 or /128."""

    orchestrator: str = ""
    workload: str = ""
    node: str = ""
    container_id: str = msgspec.field(default="", name="containerID")
    pod: str = ""
    endpoint: str = ""
    service_account_name: str = ""
    ip_networks: tuple[str, ...] = msgspec.field(default=(), name="ipNetworks")
    ip_nats: tuple[IPNAT, ...] = msgspec.field(default=(), name="ipNATs")
    ipv4_gateway: str = msgspec.field(default="", name="ipv4Gateway")
    ipv6_gateway: str = msgspec.field(default="", name="ipv6Gateway")
    profiles: tuple[str, ...] = ()
    interface_name: str = ""
    mac: str = ""
    ports: tuple[EndpointPort, ...] = ()
    allow_spoofed_source_prefixes: tuple[str, ...] = ()
    qos_controls: QoSControls | None = None


class WorkloadEndpoint(Resource, frozen=True, kw_only=True):
    """One NIC of one VM or container. Its name is `<node>-<orchestrator>-<workload>-<endpoint>`, dashes doubled."""

    spec: WorkloadEndpointSpec = WorkloadEndpointSpec()


class HostEndpointSpec(Spec, frozen=True, kw_only=True):
    """`interface_name` is a name, or `*` for all interfaces of the host."""

    node: str = ""
    interface_name: str = ""
    expected_ips: tuple[str, ...] = msgspec.field(default=(), name="expectedIPs")
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class HostEndpoint(Resource, frozen=True, kw_only=True):
    """An interface of a host itself."""

    spec: HostEndpointSpec = HostEndpointSpec()

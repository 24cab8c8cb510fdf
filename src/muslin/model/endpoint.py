"""Endpoint kinds: the interfaces that packets enter and leave by."""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.meta import Resource
from muslin.model.policy import Spec
from muslin.model.shape import DSCP, Address, Address4, Address6, Cidr, Interface, Mac, Name, Net, Protocol, about


class EndpointPort(Spec, frozen=True, kw_only=True):
    """A named port. `protocol` by name or number."""

    name: Annotated[str, about("The name that rules use.", form="port_name")] = ""
    protocol: Annotated[Protocol, about("TCP, UDP or SCTP.", required=True)] = "TCP"
    port: Annotated[int, about("The number.", least=1, most=65535, required=True)] = 0


class WorkloadEndpointPort(EndpointPort, frozen=True, kw_only=True):
    """A named or published port of a workload. A port without a name must have a host port."""

    host_port: Annotated[int, about("Port of the host that leads to it.", least=0, most=65535)] = 0
    host_ip: Annotated[Net, about("Address of the host that leads to it.")] = msgspec.field(default="", name="hostIP")


class IPNAT(Spec, frozen=True, kw_only=True):
    """A floating address: what is sent to `external_ip` arrives at `internal_ip`."""

    internal_ip: Annotated[Address, about("One of the endpoint's own addresses.", required=True)] = msgspec.field(
        default="", name="internalIP")
    external_ip: Annotated[Address, about("The floating address.", required=True)] = msgspec.field(
        default="", name="externalIP")


class QoSControls(Spec, frozen=True, kw_only=True):
    """Bandwidth, Burst, Peakrate in bits (per second), Minburst in bytes, the rest in packets or connections.

    Zero means no limit. Bounds of the values: see `model.validation.endpoint`.
    """

    ingress_bandwidth: Annotated[int | None, about("Bits per second.")] = None
    ingress_burst: Annotated[int | None, about("Bits.")] = None
    ingress_peakrate: Annotated[int | None, about("Bits per second within a burst.")] = None
    ingress_minburst: Annotated[int | None, about("Bytes.")] = None
    ingress_packet_rate: Annotated[int | None, about("Packets per second.")] = None
    ingress_packet_burst: Annotated[int | None, about("Packets.")] = None
    ingress_max_connections: Annotated[int | None, about("Connections at a time.")] = None
    egress_bandwidth: Annotated[int | None, about("Bits per second.")] = None
    egress_burst: Annotated[int | None, about("Bits.")] = None
    egress_peakrate: Annotated[int | None, about("Bits per second within a burst.")] = None
    egress_minburst: Annotated[int | None, about("Bytes.")] = None
    egress_packet_rate: Annotated[int | None, about("Packets per second.")] = None
    egress_packet_burst: Annotated[int | None, about("Packets.")] = None
    egress_max_connections: Annotated[int | None, about("Connections at a time.")] = None
    dscp: Annotated[DSCP | None, about("Mark of packets that leave: 0-63, or DF, EF, AF11..AF43, CS0..CS6.")] = None


class WorkloadEndpointSpec(Spec, frozen=True, kw_only=True):
    """`node` is where it runs; `interface_name` is the host's side of its link; `ip_networks` are /32 or /128."""

    orchestrator: Annotated[Name, about("Who made it: muslin, k8s, cni, libnetwork, openstack, ...")] = ""
    workload: Annotated[Name, about("The VM or container it belongs to.")] = ""
    node: Annotated[Name, about("The host it runs on.")] = ""
    container_id: Annotated[str, about("Container, for orchestrator cni.", form="container_id")] = msgspec.field(
        default="", name="containerID")
    pod: Annotated[Name, about("Pod, for orchestrator k8s.")] = ""
    endpoint: Annotated[Name, about("The interface inside the workload, such as eth0.")] = ""
    service_account_name: Annotated[Name, about("The service account it runs as.")] = ""
    ip_networks: Annotated[tuple[Net, ...], about("Its addresses, each a /32 or /128.")] = msgspec.field(
        default=(), name="ipNetworks")
    ip_nats: Annotated[tuple[IPNAT, ...], about("Floating addresses.")] = msgspec.field(default=(), name="ipNATs")
    ipv4_gateway: Annotated[Address4, about("Its IPv4 gateway.")] = msgspec.field(default="", name="ipv4Gateway")
    ipv6_gateway: Annotated[Address6, about("Its IPv6 gateway.")] = msgspec.field(default="", name="ipv6Gateway")
    profiles: Annotated[tuple[Name, ...], about("Profiles, asked in order after all policy.")] = ()
    interface_name: Annotated[Interface, about("The host's side of its link.", required=True)] = ""
    mac: Annotated[Mac, about("The workload's MAC address.")] = ""
    ports: Annotated[tuple[WorkloadEndpointPort, ...], about("Ports that rules can use by name.")] = ()
    allow_spoofed_source_prefixes: Annotated[tuple[Cidr, ...], about(
        "Further source addresses it may send from.")] = ()
    qos_controls: Annotated[QoSControls | None, about("Limits of bandwidth, packets and connections.")] = None


class WorkloadEndpoint(Resource, frozen=True, kw_only=True):
    """One NIC of one VM or container. Its name is `<node>-<orchestrator>-<workload>-<endpoint>`, dashes doubled."""

    spec: Annotated[WorkloadEndpointSpec, about("Where it is, and its addresses.")] = WorkloadEndpointSpec()


class HostEndpointSpec(Spec, frozen=True, kw_only=True):
    """`interface_name` is a name, or `*` for all interfaces of the host."""

    node: Annotated[Name, about("The host it is on.", required=True)] = ""
    interface_name: Annotated[Interface, about("An interface of the host, or * for all of them.")] = ""
    expected_ips: Annotated[tuple[Address, ...], about(
        "Addresses of the interface; selectors match these.", unique=True)] = msgspec.field(
        default=(), name="expectedIPs")
    profiles: Annotated[tuple[Name, ...], about("Profiles, asked in order after all policy.", unique=True)] = ()
    ports: Annotated[tuple[EndpointPort, ...], about("Ports that rules can use by name.")] = ()


class HostEndpoint(Resource, frozen=True, kw_only=True):
    """An interface of a host itself."""

    spec: Annotated[HostEndpointSpec, about("Which interface.")] = HostEndpointSpec()

"""Network kinds: hosts, address pools and BGP. Fields, names and defaults are Calico v3's."""

from __future__ import annotations

import msgspec

from muslin.model.meta import Resource
from muslin.model.policy import Spec


class NodeBGPSpec(Spec, frozen=True, kw_only=True):
    """`ipv4_address` is address/length as on the interface."""

    as_number: int | str | None = msgspec.field(default=None, name="asNumber")
    ipv4_address: str = msgspec.field(default="", name="ipv4Address")
    ipv6_address: str = msgspec.field(default="", name="ipv6Address")
    ipv4_ipip_tunnel_addr: str = msgspec.field(default="", name="ipv4IPIPTunnelAddr")
    route_reflector_cluster_id: str = msgspec.field(default="", name="routeReflectorClusterID")


class OrchRef(Spec, frozen=True, kw_only=True):
    node_name: str = ""
    orchestrator: str = ""


class NodeWireguardSpec(Spec, frozen=True, kw_only=True):
    interface_ipv4_address: str = msgspec.field(default="", name="interfaceIPv4Address")
    interface_ipv6_address: str = msgspec.field(default="", name="interfaceIPv6Address")


class NodeAddress(Spec, frozen=True, kw_only=True):
    address: str = ""
    type: str = ""


class NodeInterface(Spec, frozen=True, kw_only=True):
    name: str = ""
    addresses: tuple[str, ...] = ()


class NodeSpec(Spec, frozen=True, kw_only=True):
    bgp: NodeBGPSpec | None = None
    ipv4_vxlan_tunnel_addr: str = msgspec.field(default="", name="ipv4VXLANTunnelAddr")
    vxlan_tunnel_mac_addr: str = msgspec.field(default="", name="vxlanTunnelMACAddr")
    ipv6_vxlan_tunnel_addr: str = msgspec.field(default="", name="ipv6VXLANTunnelAddr")
    vxlan_tunnel_mac_addr_v6: str = msgspec.field(default="", name="vxlanTunnelMACAddrV6")
    orch_refs: tuple[OrchRef, ...] = ()
    wireguard: NodeWireguardSpec | None = None
    addresses: tuple[NodeAddress, ...] = ()
    interfaces: tuple[NodeInterface, ...] = ()


class NodeStatus(Spec, frozen=True, kw_only=True):
    wireguard_public_key: str = ""
    wireguard_public_key_v6: str = msgspec.field(default="", name="wireguardPublicKeyV6")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class Node(Resource, frozen=True, kw_only=True):
    """One host."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class IPPoolSpec(Spec, frozen=True, kw_only=True):
    """`cidr` and `block_size` cannot change. Block size: v4 20..32, default 26; v6 116..128, default 122."""

    cidr: str = ""
    vxlan_mode: str = ""
    ipip_mode: str = ""
    nat_outgoing: bool = False
    disabled: bool = False
    disable_bgp_export: bool = msgspec.field(default=False, name="disableBGPExport")
    block_size: int | None = None
    node_selector: str = ""
    namespace_selector: str = ""
    allowed_uses: tuple[str, ...] = ()
    assignment_mode: str | None = None


class IPPool(Resource, frozen=True, kw_only=True):
    spec: IPPoolSpec = IPPoolSpec()


class IPReservationSpec(Spec, frozen=True, kw_only=True):
    reserved_cidrs: tuple[str, ...] = msgspec.field(default=(), name="reservedCIDRs")


class IPReservation(Resource, frozen=True, kw_only=True):
    """Addresses that are never newly assigned automatically."""

    spec: IPReservationSpec = IPReservationSpec()


class ServiceIPBlock(Spec, frozen=True, kw_only=True):
    cidr: str = ""


class Community(Spec, frozen=True, kw_only=True):
    name: str = ""
    value: str = ""


class PrefixAdvertisement(Spec, frozen=True, kw_only=True):
    cidr: str = ""
    communities: tuple[str, ...] = ()


class SecretKeyRef(Spec, frozen=True, kw_only=True):
    name: str = ""
    key: str = ""
    optional: bool | None = None


class BGPPassword(Spec, frozen=True, kw_only=True):
    secret_key_ref: SecretKeyRef | None = None


class BGPConfigurationSpec(Spec, frozen=True, kw_only=True):
    """`default` speaks for the cluster, `node.NAME` for one host."""

    log_severity_screen: str = ""
    node_to_node_mesh_enabled: bool | None = None
    as_number: int | str | None = msgspec.field(default=None, name="asNumber")
    service_load_balancer_ips: tuple[ServiceIPBlock, ...] = msgspec.field(default=(), name="serviceLoadBalancerIPs")
    service_external_ips: tuple[ServiceIPBlock, ...] = msgspec.field(default=(), name="serviceExternalIPs")
    service_cluster_ips: tuple[ServiceIPBlock, ...] = msgspec.field(default=(), name="serviceClusterIPs")
    service_load_balancer_aggregation: str = ""
    communities: tuple[Community, ...] = ()
    prefix_advertisements: tuple[PrefixAdvertisement, ...] = ()
    listen_port: int | None = None
    node_mesh_password: BGPPassword | None = None
    node_mesh_max_restart_time: str | None = None
    bind_mode: str | None = None
    ignored_interfaces: tuple[str, ...] = ()
    local_workload_peering_ipv4: str = msgspec.field(default="", name="localWorkloadPeeringIPV4")
    local_workload_peering_ipv6: str = msgspec.field(default="", name="localWorkloadPeeringIPV6")
    program_cluster_routes: str | None = None
    ipv4_normal_route_priority: int | None = msgspec.field(default=None, name="ipv4NormalRoutePriority")
    ipv6_normal_route_priority: int | None = msgspec.field(default=None, name="ipv6NormalRoutePriority")


class BGPConfiguration(Resource, frozen=True, kw_only=True):
    spec: BGPConfigurationSpec = BGPConfigurationSpec()


class BGPPeerSpec(Spec, frozen=True, kw_only=True):
    """Which hosts (`node` or `node_selector`) talk to which peers (`peer_ip` or `peer_selector`)."""

    node: str = ""
    node_selector: str = ""
    peer_ip: str = msgspec.field(default="", name="peerIP")
    as_number: int | str | None = msgspec.field(default=None, name="asNumber")
    local_as_number: int | str | None = msgspec.field(default=None, name="localASNumber")
    peer_selector: str = ""
    local_workload_selector: str = ""
    keep_original_next_hop: bool = False
    next_hop_mode: str | None = None
    password: BGPPassword | None = None
    source_address: str = ""
    max_restart_time: str | None = None
    keepalive_time: str | None = None
    num_allowed_local_as_numbers: int | None = msgspec.field(default=None, name="numAllowedLocalASNumbers")
    ttl_security: int | None = None
    reachable_by: str = ""
    filters: tuple[str, ...] = ()
    reverse_peering: str | None = None


class BGPPeer(Resource, frozen=True, kw_only=True):
    spec: BGPPeerSpec = BGPPeerSpec()


class FilterPrefixLength(Spec, frozen=True, kw_only=True):
    min: int | None = None
    max: int | None = None


class FilterCommunities(Spec, frozen=True, kw_only=True):
    values: tuple[str, ...] = ()


class FilterAddCommunity(Spec, frozen=True, kw_only=True):
    value: str = ""


class FilterPrependASPath(Spec, frozen=True, kw_only=True):
    prefix: tuple[int | str, ...] = ()


class FilterSetPriority(Spec, frozen=True, kw_only=True):
    value: int | None = None


class FilterOperation(Spec, frozen=True, kw_only=True):
    """Exactly one of the three."""

    add_community: FilterAddCommunity | None = None
    prepend_as_path: FilterPrependASPath | None = msgspec.field(default=None, name="prependASPath")
    set_priority: FilterSetPriority | None = None


class FilterRule(Spec, frozen=True, kw_only=True):
    """One rule of a BGPFilter; all given matches must hold, the first rule that matches decides."""

    cidr: str = ""
    prefix_length: FilterPrefixLength | None = None
    source: str = ""
    interface: str = ""
    match_operator: str = ""
    peer_type: str = ""
    communities: FilterCommunities | None = None
    as_path_prefix: tuple[int | str, ...] = msgspec.field(default=(), name="asPathPrefix")
    priority: int | None = None
    action: str = ""
    operations: tuple[FilterOperation, ...] = ()


class BGPFilterSpec(Spec, frozen=True, kw_only=True):
    export_v4: tuple[FilterRule, ...] = msgspec.field(default=(), name="exportV4")
    import_v4: tuple[FilterRule, ...] = msgspec.field(default=(), name="importV4")
    export_v6: tuple[FilterRule, ...] = msgspec.field(default=(), name="exportV6")
    import_v6: tuple[FilterRule, ...] = msgspec.field(default=(), name="importV6")


class BGPFilter(Resource, frozen=True, kw_only=True):
    spec: BGPFilterSpec = BGPFilterSpec()


class ClusterInformationSpec(Spec, frozen=True, kw_only=True):
    cluster_guid: str = msgspec.field(default="", name="clusterGUID")
    cluster_type: str = ""
    calico_version: str = ""
    datastore_ready: bool | None = None
    variant: str = ""


class ClusterInformation(Resource, frozen=True, kw_only=True):
    spec: ClusterInformationSpec = ClusterInformationSpec()


class NamespaceStatus(Spec, frozen=True, kw_only=True):
    phase: str = "Active"


class NamespaceSpec(Spec, frozen=True, kw_only=True):
    finalizers: tuple[str, ...] = ()


class Namespace(Resource, frozen=True, kw_only=True):
    """core/v1 Namespace: its labels are what namespaceSelector sees."""

    api_version: str = "v1"
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()

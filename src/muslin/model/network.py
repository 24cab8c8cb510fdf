"""Network kinds: hosts, address pools and BGP. Fields, names and defaults are Calico v3's."""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.meta import Condition, Resource
from muslin.model.policy import Spec, Status
from muslin.model.shape import (
    Address4,
    Address6,
    ASNumber,
    Cidr,
    Cidr4,
    Cidr6,
    CommunityValue,
    Duration,
    Mac,
    Name,
    Net,
    Selector,
    about,
)

ENCAPSULATIONS = ("Never", "Always", "CrossSubnet")
CLUSTER_ROUTES = ("Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled")
LOG_LEVELS = ("Trace", "Debug", "Info", "Warning", "Error", "Fatal")
HIGHEST_PRIORITY = 2_147_483_646
"""Of a route: BIRD and the kernel take 32 bits, the ends are reserved."""


class NodeBGPSpec(Spec, frozen=True, kw_only=True):
    """`ipv4_address` is address/length as on the interface."""

    as_number: Annotated[ASNumber | None, about("Its AS number; default: that of BGPConfiguration default.")] = (
        msgspec.field(default=None, name="asNumber"))
    ipv4_address: Annotated[Cidr4, about("Its IPv4 address and length, as on the interface: 10.0.0.1/24.")] = (
        msgspec.field(default="", name="ipv4Address"))
    ipv6_address: Annotated[Cidr6, about("Its IPv6 address and length, as on the interface.")] = msgspec.field(
        default="", name="ipv6Address")
    ipv4_ipip_tunnel_addr: Annotated[Address4, about("Address of its IPIP tunnel.")] = msgspec.field(
        default="", name="ipv4IPIPTunnelAddr")
    route_reflector_cluster_id: Annotated[Address4, about(
        "Makes it a route reflector: an id in the form of an IPv4 address, equal on reflectors of one cluster.")] = (
        msgspec.field(default="", name="routeReflectorClusterID"))


class OrchRef(Spec, frozen=True, kw_only=True):
    """What an orchestrator calls this host."""

    node_name: str = ""
    orchestrator: Annotated[str, about(required=True)] = ""


class NodeWireguardSpec(Spec, frozen=True, kw_only=True):
    """Addresses of the WireGuard interfaces."""

    interface_ipv4_address: Address4 = msgspec.field(default="", name="interfaceIPv4Address")
    interface_ipv6_address: Address6 = msgspec.field(default="", name="interfaceIPv6Address")


class NodeAddress(Spec, frozen=True, kw_only=True):
    """An address at which the host can be reached."""

    address: Annotated[Cidr, about("The address, with the length of its network if it is known.", required=True)] = ""
    type: Annotated[str, about("CalicoNodeIP, InternalIP or ExternalIP.")] = ""


class NodeInterface(Spec, frozen=True, kw_only=True):
    """An interface of the host."""

    name: str = ""
    addresses: tuple[str, ...] = ()


class NodeSpec(Spec, frozen=True, kw_only=True):
    """A host as the network sees it."""

    bgp: Annotated[NodeBGPSpec | None, about("Its BGP identity; without it, the host speaks no BGP.")] = None
    ipv4_vxlan_tunnel_addr: Annotated[Address4, about("Address of its VXLAN tunnel.")] = msgspec.field(
        default="", name="ipv4VXLANTunnelAddr")
    vxlan_tunnel_mac_addr: Mac = msgspec.field(default="", name="vxlanTunnelMACAddr")
    ipv6_vxlan_tunnel_addr: Address6 = msgspec.field(default="", name="ipv6VXLANTunnelAddr")
    vxlan_tunnel_mac_addr_v6: Mac = msgspec.field(default="", name="vxlanTunnelMACAddrV6")
    orch_refs: Annotated[tuple[OrchRef, ...], about("What orchestrators call it.")] = ()
    wireguard: NodeWireguardSpec | None = None
    addresses: Annotated[tuple[NodeAddress, ...], about("Addresses at which it can be reached.")] = ()
    interfaces: Annotated[tuple[NodeInterface, ...], about("Its interfaces.")] = ()


class NodeStatus(Spec, frozen=True, kw_only=True):
    """What the host tells of itself."""

    wireguard_public_key: Annotated[str, about(form="wireguard_key")] = ""
    wireguard_public_key_v6: Annotated[str, about(form="wireguard_key")] = msgspec.field(
        default="", name="wireguardPublicKeyV6")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class Node(Resource, frozen=True, kw_only=True):
    """One host."""

    spec: Annotated[NodeSpec, about("Addresses and BGP identity.")] = NodeSpec()
    status: Annotated[NodeStatus, about("What the host tells of itself.")] = NodeStatus()


class IPPoolSpec(Spec, frozen=True, kw_only=True):
    """`cidr` and `block_size` cannot change. Block size: v4 20..32, default 26; v6 116..128, default 122."""

    cidr: Annotated[str, about("The pool's prefix. Cannot change.", form="pool_cidr", required=True)] = ""
    vxlan_mode: Annotated[str, about("VXLAN between hosts. Default: Never.", enum=ENCAPSULATIONS)] = ""
    ipip_mode: Annotated[str, about("IPIP between hosts, IPv4 only. Default: Never.", enum=ENCAPSULATIONS)] = ""
    nat_outgoing: Annotated[bool, about("Masquerade what leaves the pools towards the outside.")] = False
    disabled: Annotated[bool, about("Assign no new addresses from it.")] = False
    disable_bgp_export: Annotated[bool, about("Announce no routes of it.")] = msgspec.field(
        default=False, name="disableBGPExport")
    block_size: Annotated[int | None, about(
        "Prefix length of the blocks that hosts take from it. IPv4 20-32, default 26; IPv6 116-128, default 122. "
        "Cannot change.", least=0, most=128)] = None
    node_selector: Annotated[Selector, about("Labels of the hosts that may use it. Default: all().")] = ""
    namespace_selector: Annotated[Selector, about("Labels of the namespaces that may use it.")] = ""
    allowed_uses: Annotated[tuple[Annotated[str, about(enum=("Workload", "Tunnel", "LoadBalancer"))], ...], about(
        "What it is for. Default: Workload and Tunnel.", unique=True)] = ()
    assignment_mode: Annotated[str | None, about(
        "Manual: addresses are only given when asked for by pool or by address. Default: Automatic.",
        enum=("Automatic", "Manual"))] = None


class IPPool(Resource, frozen=True, kw_only=True):
    """A prefix that workloads get addresses from."""

    spec: Annotated[IPPoolSpec, about("The prefix and how it is used.")] = IPPoolSpec()
    status: Annotated[Status, about("Whether addresses can be assigned from it.")] = Status()


class IPReservationSpec(Spec, frozen=True, kw_only=True):
    """What is reserved."""

    reserved_cidrs: Annotated[tuple[Cidr, ...], about(
        "Addresses and prefixes that are never assigned automatically.", unique=True)] = msgspec.field(
        default=(), name="reservedCIDRs")


class IPReservation(Resource, frozen=True, kw_only=True):
    """Addresses that are never newly assigned automatically."""

    spec: Annotated[IPReservationSpec, about("What is reserved.")] = IPReservationSpec()


class ServiceIPBlock(Spec, frozen=True, kw_only=True):
    """A prefix that services take addresses from."""

    cidr: Annotated[Net, about("The prefix.")] = ""


class Community(Spec, frozen=True, kw_only=True):
    """A name for a BGP community."""

    name: Annotated[Name, about("The name, for prefixAdvertisements.", required=True)] = ""
    value: Annotated[CommunityValue, about("65000:1 or, large, 65000:1:2.", required=True)] = ""


class PrefixAdvertisement(Spec, frozen=True, kw_only=True):
    """Communities that go with the routes of a prefix."""

    cidr: Annotated[Net, about("The prefix.", required=True)] = ""
    communities: Annotated[tuple[str, ...], about(
        "Names from spec.communities, or values such as 65000:1.", required=True)] = ()


class SecretKeyRef(Spec, frozen=True, kw_only=True):
    """A key of a secret."""

    name: Annotated[str, about("The secret.")] = ""
    key: Annotated[str, about("The key in it.", required=True)] = ""
    optional: bool | None = None


class BGPPassword(Spec, frozen=True, kw_only=True):
    """Where a session's password lies."""

    secret_key_ref: Annotated[SecretKeyRef | None, about("A key of a secret.")] = None


class BGPConfigurationSpec(Spec, frozen=True, kw_only=True):
    """`default` speaks for the cluster, `node.NAME` for one host."""

    log_severity_screen: Annotated[str, about("Default: Info.", enum=LOG_LEVELS, any_case=True)] = ""
    node_to_node_mesh_enabled: Annotated[bool | None, about(
        "Every host peers with every other. Default: true. Only in `default`.")] = None
    as_number: Annotated[ASNumber | None, about(
        "AS number of hosts that have none of their own. Default: 64512. Only in `default`.")] = msgspec.field(
        default=None, name="asNumber")
    service_load_balancer_ips: Annotated[tuple[ServiceIPBlock, ...], about(
        "Prefixes of load balancer addresses to announce. Only in `default`.")] = msgspec.field(
        default=(), name="serviceLoadBalancerIPs")
    service_external_ips: Annotated[tuple[ServiceIPBlock, ...], about(
        "Prefixes of external service addresses to announce. Only in `default`.")] = msgspec.field(
        default=(), name="serviceExternalIPs")
    service_cluster_ips: Annotated[tuple[ServiceIPBlock, ...], about(
        "Prefixes of cluster service addresses to announce. Only in `default`.")] = msgspec.field(
        default=(), name="serviceClusterIPs")
    service_load_balancer_aggregation: Annotated[str, about(
        "Announce the prefix instead of each load balancer address. Default: Enabled.",
        enum=("Enabled", "Disabled"))] = ""
    communities: Annotated[tuple[Community, ...], about("Names for BGP communities.")] = ()
    prefix_advertisements: Annotated[tuple[PrefixAdvertisement, ...], about(
        "Communities that go with the routes of a prefix.")] = ()
    listen_port: Annotated[int | None, about("TCP port of BGP. Default: 179.", least=1, most=65535)] = None
    node_mesh_password: Annotated[BGPPassword | None, about("Password of the mesh's sessions.")] = None
    node_mesh_max_restart_time: Annotated[Duration | None, about(
        "How long the mesh's sessions wait for a peer that restarts. Default: 120s.")] = None
    bind_mode: Annotated[str | None, about(
        "NodeIP: listen on the host's BGP addresses only.", enum=("None", "NodeIP"))] = None
    ignored_interfaces: Annotated[tuple[Annotated[str, about(form="ignored_interface")], ...], about(
        "Interfaces whose routes are not imported; * stands for any letters.", unique=True)] = ()
    local_workload_peering_ipv4: Annotated[Address4, about(
        "Address at which workloads of the host peer with it.")] = msgspec.field(
        default="", name="localWorkloadPeeringIPV4")
    local_workload_peering_ipv6: Annotated[Address6, about(
        "Address at which workloads of the host peer with it.")] = msgspec.field(
        default="", name="localWorkloadPeeringIPV6")
    program_cluster_routes: Annotated[str | None, about(
        "Which pools' routes BIRD puts into the kernel.", enum=CLUSTER_ROUTES)] = None
    ipv4_normal_route_priority: Annotated[int | None, about(
        "Metric of IPv4 routes. Default: 1024.", least=1, most=HIGHEST_PRIORITY)] = msgspec.field(
        default=None, name="ipv4NormalRoutePriority")
    ipv6_normal_route_priority: Annotated[int | None, about(
        "Metric of IPv6 routes. Default: 1024.", least=1, most=HIGHEST_PRIORITY)] = msgspec.field(
        default=None, name="ipv6NormalRoutePriority")


class BGPConfiguration(Resource, frozen=True, kw_only=True):
    """BGP of the cluster (`default`) or of one host (`node.NAME`)."""

    spec: Annotated[BGPConfigurationSpec, about("The settings.")] = BGPConfigurationSpec()


class BGPPeerSpec(Spec, frozen=True, kw_only=True):
    """Which hosts (`node` or `node_selector`) talk to which peers (`peer_ip` or `peer_selector`)."""

    node: Annotated[Name, about("The host that peers; excludes nodeSelector. Neither: every host.")] = ""
    node_selector: Annotated[Selector, about("Labels of the hosts that peer; excludes node.")] = ""
    peer_ip: Annotated[str, about(
        "Address of the peer, with a port if it is not 179: 10.0.0.1, 10.0.0.1:1790, [fd00::1]:1790.",
        form="peer_address", most=64)] = msgspec.field(default="", name="peerIP")
    as_number: Annotated[ASNumber | None, about("AS number of the peer.")] = msgspec.field(
        default=None, name="asNumber")
    local_as_number: Annotated[ASNumber | None, about("Our AS number towards this peer.")] = msgspec.field(
        default=None, name="localASNumber")
    peer_selector: Annotated[Selector, about("Labels of hosts to peer with; excludes peerIP and asNumber.")] = ""
    local_workload_selector: Annotated[Selector, about(
        "Labels of the host's own workloads to peer with; needs asNumber.")] = ""
    keep_original_next_hop: Annotated[bool, about("Deprecated: write nextHopMode: Keep.")] = False
    next_hop_mode: Annotated[str | None, about(
        "Next hop of routes sent to the peer.", enum=("Auto", "Self", "Keep"))] = None
    password: Annotated[BGPPassword | None, about("Password of the session (TCP MD5).")] = None
    source_address: Annotated[str, about(
        "UseNodeIP (default): from the host's BGP address. None: as the kernel chooses.",
        enum=("UseNodeIP", "None"))] = ""
    max_restart_time: Annotated[Duration | None, about(
        "How long to keep routes of a peer that restarts. Default: 120s.")] = None
    keepalive_time: Annotated[Duration | None, about("Time between keepalives. Default: a third of the hold time.")] = (
        None)
    num_allowed_local_as_numbers: Annotated[int | None, about(
        "How often our own AS may stand in the path of a route received.", least=0, most=2_147_483_647)] = (
        msgspec.field(default=None, name="numAllowedLocalASNumbers"))
    ttl_security: Annotated[int | None, about(
        "Hops to the peer: packets that come from farther away are dropped (GTSM).", least=0, most=255)] = None
    reachable_by: Annotated[str, about("Gateway of a static route to the peer.", form="address", most=64)] = ""
    filters: Annotated[tuple[Name, ...], about("BGPFilters, in order.")] = ()
    reverse_peering: Annotated[str | None, about(
        "Auto (default): hosts that peerSelector picks peer back by themselves.", enum=("Auto", "Manual"))] = None


class BGPPeer(Resource, frozen=True, kw_only=True):
    """BGP sessions of some hosts with a router, or with other hosts."""

    spec: Annotated[BGPPeerSpec, about("Who peers with whom.")] = BGPPeerSpec()


class FilterPrefixLength(Spec, frozen=True, kw_only=True):
    """Bounds of a route's prefix length."""

    min: Annotated[int | None, about("At least.", least=0, most=128)] = None
    max: Annotated[int | None, about("At most.", least=0, most=128)] = None


class FilterCommunities(Spec, frozen=True, kw_only=True):
    """A community that the route carries."""

    values: Annotated[tuple[CommunityValue, ...], about("One value.", least=1, most=1, required=True)] = ()


class FilterAddCommunity(Spec, frozen=True, kw_only=True):
    """Adds a community to the route."""

    value: Annotated[CommunityValue, about("65000:1 or 65000:1:2.", required=True)] = ""


class FilterPrependASPath(Spec, frozen=True, kw_only=True):
    """Puts AS numbers before the route's path, in this order."""

    prefix: Annotated[tuple[ASNumber, ...], about("AS numbers.", least=1, most=10, required=True)] = ()


class FilterSetPriority(Spec, frozen=True, kw_only=True):
    """Sets the route's metric."""

    value: Annotated[int | None, about("The metric.", least=1, most=HIGHEST_PRIORITY, required=True)] = None


class FilterOperation(Spec, frozen=True, kw_only=True):
    """Exactly one of the three."""

    add_community: Annotated[FilterAddCommunity | None, about("Adds a community.")] = None
    prepend_as_path: Annotated[FilterPrependASPath | None, about("Lengthens the AS path.")] = msgspec.field(
        default=None, name="prependASPath")
    set_priority: Annotated[FilterSetPriority | None, about("Sets the metric.")] = None


class FilterRule(Spec, frozen=True, kw_only=True):
    """One rule of a BGPFilter; all given matches must hold, the first rule that matches decides."""

    cidr: Annotated[Net, about("A prefix to compare the route with; needs matchOperator.")] = ""
    prefix_length: Annotated[FilterPrefixLength | None, about("Bounds of the route's prefix length; needs cidr.")] = (
        None)
    source: Annotated[str, about("RemotePeers: only routes learnt by BGP.", enum=("RemotePeers",))] = ""
    interface: Annotated[str, about("Only routes out of this interface; * stands for any letters.",
                                    form="filter_interface")] = ""
    match_operator: Annotated[str, about("How the route compares with cidr.",
                                         enum=("Equal", "NotEqual", "In", "NotIn"))] = ""
    peer_type: Annotated[str, about("Only peers of another AS (eBGP), or of ours (iBGP).", enum=("eBGP", "iBGP"))] = ""
    communities: Annotated[FilterCommunities | None, about("Only routes that carry this community.")] = None
    as_path_prefix: Annotated[tuple[ASNumber, ...], about("Only routes whose AS path begins so.")] = msgspec.field(
        default=(), name="asPathPrefix")
    priority: Annotated[int | None, about("Only routes with this metric.", least=1, most=HIGHEST_PRIORITY)] = None
    action: Annotated[str, about("What happens to the route.", enum=("Accept", "Reject"), required=True)] = ""
    operations: Annotated[tuple[FilterOperation, ...], about(
        "Changes to a route that is accepted, in order.", most=10)] = ()


class BGPFilterSpec(Spec, frozen=True, kw_only=True):
    """Rules for routes, per direction and family, in order; a route that none matches is left to what follows."""

    export_v4: Annotated[tuple[FilterRule, ...], about("IPv4 routes that we send.")] = msgspec.field(
        default=(), name="exportV4")
    import_v4: Annotated[tuple[FilterRule, ...], about("IPv4 routes that we receive.")] = msgspec.field(
        default=(), name="importV4")
    export_v6: Annotated[tuple[FilterRule, ...], about("IPv6 routes that we send.")] = msgspec.field(
        default=(), name="exportV6")
    import_v6: Annotated[tuple[FilterRule, ...], about("IPv6 routes that we receive.")] = msgspec.field(
        default=(), name="importV6")


class BGPFilter(Resource, frozen=True, kw_only=True):
    """Which routes go to and come from the peers that name it."""

    spec: Annotated[BGPFilterSpec, about("The rules.")] = BGPFilterSpec()


class ClusterInformationSpec(Spec, frozen=True, kw_only=True):
    """What all parts must agree on."""

    cluster_guid: Annotated[str, about("Tells this cluster from others.")] = msgspec.field(
        default="", name="clusterGUID")
    cluster_type: Annotated[str, about("Where it runs, comma-separated.")] = ""
    calico_version: Annotated[str, about("Version that wrote the data last.")] = ""
    datastore_ready: Annotated[bool | None, about("false: agents must wait, data is being migrated.")] = None
    variant: Annotated[str, about("Variant of Calico.")] = ""


class ClusterInformation(Resource, frozen=True, kw_only=True):
    """The one object `default`: what all parts must agree on."""

    spec: Annotated[ClusterInformationSpec, about("The facts.")] = ClusterInformationSpec()


class NamespaceStatus(Spec, frozen=True, kw_only=True):
    """Active, or Terminating."""

    phase: str = "Active"
    conditions: tuple[Condition, ...] = ()


class NamespaceSpec(Spec, frozen=True, kw_only=True):
    """Nothing that the network reads."""

    finalizers: tuple[str, ...] = ()


class Namespace(Resource, frozen=True, kw_only=True):
    """core/v1 Namespace: its labels are what namespaceSelector sees."""

    api_version: str = "v1"
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()

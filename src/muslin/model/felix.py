"""FelixConfiguration: settings of the host agent, field for field as Calico v3's.

muslin honours few of them (see calc's Settings) and takes all of them, so that an operator's file applies unchanged.
Words that Calico reads in any case (`DROP`, `drop`) are accepted and stored as written: compare them without case.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.meta import Resource
from muslin.model.network import CLUSTER_ROUTES, LOG_LEVELS
from muslin.model.policy import Spec
from muslin.model.shape import (
    DSCP,
    Address4,
    Address6,
    Cidr,
    Cidr4,
    Duration,
    Interface,
    NumericPort,
    Regex,
    Selector,
    about,
)

Switch = Annotated[str, about(enum=("Enabled", "Disabled"))]
InterfaceFilter = Annotated[str, about(form="interface_filter")]
_Timer = Annotated[str | None, about(form="timer")]


class ProtoPort(Spec, frozen=True, kw_only=True):
    """A port that policy cannot close. No protocol means TCP, no net means everybody."""

    protocol: Annotated[str, about("tcp, udp or sctp; default tcp.", enum=("TCP", "UDP", "SCTP"), any_case=True)] = ""
    port: Annotated[int, about("The number.", least=0, most=65535, required=True)] = 0
    net: Annotated[Cidr, about("Only for addresses in this prefix.")] = ""


class HealthTimeoutOverride(Spec, frozen=True, kw_only=True):
    """How long one part of the agent may be silent."""

    name: Annotated[str, about("The part.", form="health_name", required=True)] = ""
    timeout: Annotated[Duration, about("How long.", required=True)] = ""


class RouteTableRange(Spec, frozen=True, kw_only=True):
    """Within 1..250, both ends included."""

    min: Annotated[int, about("First table.", required=True)] = 0
    max: Annotated[int, about("Last table.", required=True)] = 0


class RouteTableIDRange(Spec, frozen=True, kw_only=True):
    """Both ends included; 65535 tables in all ranges together at most."""

    min: Annotated[int, about("First table.", least=1, most=4_294_967_295, required=True)] = 0
    max: Annotated[int, about("Last table.", least=1, most=4_294_967_295, required=True)] = 0


class BPFConntrackTimeouts(Spec, frozen=True, kw_only=True):
    """A duration each, or Auto for what Linux uses."""

    creation_grace_period: _Timer = None
    tcp_syn_sent: _Timer = None
    tcp_established: _Timer = None
    tcp_fins_seen: _Timer = None
    tcp_reset_seen: _Timer = None
    udp_timeout: _Timer = None
    generic_timeout: _Timer = None
    icmp_timeout: _Timer = None


class FelixConfigurationSpec(Spec, frozen=True, kw_only=True):
    """In the order of their names. A field without words is taken and not used."""

    allow_ipip_packets_from_workloads: Annotated[bool | None, about(
        "Let workloads send IPIP packets. Default: false.")] = (
        msgspec.field(default=None, name="allowIPIPPacketsFromWorkloads"))
    allow_vxlan_packets_from_workloads: Annotated[bool | None, about(
        "Let workloads send VXLAN packets. Default: false.")] = (
        msgspec.field(default=None, name="allowVXLANPacketsFromWorkloads"))
    aws_src_dst_check: Annotated[str | None, about(
        "Source/destination check of EC2 instances. Default: DoNothing.", enum=("DoNothing", "Enable", "Disable"))] = (
        None)
    bpf_attach_type: Annotated[str | None, about(enum=("TC", "TCX"))] = None
    bpf_ctlb_log_filter: str = msgspec.field(default="", name="bpfCTLBLogFilter")
    bpf_connect_time_load_balancing: Annotated[str | None, about(enum=("TCP", "Enabled", "Disabled"))] = None
    bpf_connect_time_load_balancing_enabled: Annotated[bool | None, about(
        "Deprecated: write bpfConnectTimeLoadBalancing.")] = None
    bpf_conntrack_log_level: Annotated[str | None, about(enum=("Off", "Debug"))] = None
    bpf_conntrack_mode: Annotated[str | None, about(enum=("Auto", "Userspace", "BPFProgram"))] = None
    bpf_conntrack_timeouts: BPFConntrackTimeouts | None = None
    bpf_dsr_optout_cidrs: tuple[Cidr, ...] | None = msgspec.field(default=None, name="bpfDSROptoutCIDRs")
    bpf_data_iface_pattern: Regex = ""
    bpf_disable_gro_for_ifaces: Regex = msgspec.field(default="", name="bpfDisableGROForIfaces")
    bpf_disable_unprivileged: bool | None = None
    bpf_enabled: Annotated[bool | None, about("Use the eBPF data plane. Default: false.")] = None
    bpf_enforce_rpf: Annotated[str | None, about(
        enum=("Disabled", "Strict", "Loose"), any_case=True)] = msgspec.field(default=None, name="bpfEnforceRPF")
    bpf_exclude_cidrs_from_nat: tuple[Cidr, ...] | None = msgspec.field(default=None, name="bpfExcludeCIDRsFromNAT")
    bpf_export_buffer_size_mb: int | None = msgspec.field(default=None, name="bpfExportBufferSizeMB")
    bpf_ext_to_service_connmark: Annotated[int | None, about(least=0, most=4294967295)] = None
    bpf_external_service_mode: Annotated[str | None, about(enum=("Tunnel", "DSR"), any_case=True)] = None
    bpf_force_track_packets_from_ifaces: tuple[InterfaceFilter, ...] | None = None
    bpf_host_conntrack_bypass: bool | None = None
    bpf_host_networked_nat_without_ctlb: Switch | None = msgspec.field(
        default=None, name="bpfHostNetworkedNATWithoutCTLB")
    bpf_ip_frag_timeout: Duration | None = msgspec.field(default=None, name="bpfIPFragTimeout")
    bpf_ip_fragment_reassembly_enabled: bool | None = msgspec.field(default=None, name="bpfIPFragmentReassemblyEnabled")
    bpf_jit_hardening: Annotated[str | None, about(
        enum=("Auto", "Strict"))] = msgspec.field(default=None, name="bpfJITHardening")
    bpf_kube_proxy_healthz_port: Annotated[int | None, about(least=0, most=65535)] = None
    bpf_kube_proxy_iptables_cleanup_enabled: bool | None = None
    bpf_kube_proxy_min_sync_period: Duration | None = None
    bpf_l3_iface_pattern: Regex = ""
    bpf_log_filters: Annotated[dict[str, str] | None, about(form="log_filters")] = None
    bpf_log_level: Annotated[str | None, about(enum=("Off", "Info", "Debug"), any_case=True)] = None
    bpf_maglev_max_endpoints_per_service: Annotated[int | None, about(least=1, most=3000)] = None
    bpf_maglev_max_services: Annotated[int | None, about(least=1, most=3000)] = None
    bpf_map_size_conntrack: int | None = None
    bpf_map_size_conntrack_cleanup_queue: Annotated[int | None, about(least=1)] = None
    bpf_map_size_conntrack_scaling: Annotated[str | None, about(
        enum=("Disabled", "DoubleIfFull"), any_case=True)] = None
    bpf_map_size_ipsets: int | None = msgspec.field(default=None, name="bpfMapSizeIPSets")
    bpf_map_size_if_state: int | None = None
    bpf_map_size_nat_affinity: int | None = msgspec.field(default=None, name="bpfMapSizeNATAffinity")
    bpf_map_size_nat_backend: int | None = msgspec.field(default=None, name="bpfMapSizeNATBackend")
    bpf_map_size_nat_frontend: int | None = msgspec.field(default=None, name="bpfMapSizeNATFrontend")
    bpf_map_size_per_cpu_conntrack: int | None = None
    bpf_map_size_route: int | None = None
    bpf_overlay_host_source_ip: Annotated[str | None, about(
        enum=("TunnelAddress", "HostAddress"))] = msgspec.field(default=None, name="bpfOverlayHostSourceIP")
    bpf_psnat_ports: NumericPort | None = msgspec.field(default=None, name="bpfPSNATPorts")
    bpf_policy_debug_enabled: bool | None = None
    bpf_profiling: Switch | None = None
    bpf_redirect_to_peer: Annotated[str | None, about(enum=("Enabled", "Disabled", "L2Only"))] = None
    cgroup_v2_path: str = ""
    chain_insert_mode: Annotated[str | None, about(
        "Whether our rules stand before or after those of others. Default: Insert.",
        enum=("Insert", "Append"), any_case=True)] = None
    dataplane_driver: str = ""
    dataplane_watchdog_timeout: Annotated[Duration | None, about("Deprecated: write healthTimeoutOverrides.")] = None
    debug_disable_log_dropping: bool | None = None
    debug_host: str | None = None
    debug_memory_profile_path: str = ""
    debug_port: Annotated[int | None, about(least=0, most=65535)] = None
    debug_simulate_calc_graph_hang_after: Duration | None = None
    debug_simulate_dataplane_apply_delay: Duration | None = None
    debug_simulate_dataplane_hang_after: Duration | None = None
    default_endpoint_to_host_action: Annotated[str | None, about(
        "What happens to packets from a workload to its own host, after its egress policy. Default: Drop.",
        enum=("Drop", "Accept", "Return"), any_case=True)] = None
    device_route_protocol: Annotated[int | None, about(
        "Protocol number on the routes we add.", least=0, most=255)] = None
    device_route_source_address: Annotated[Address4, about("Source address hint on IPv4 routes to workloads.")] = ""
    device_route_source_address_ipv6: Annotated[Address6, about(
        "Source address hint on IPv6 routes to workloads.")] = (
        msgspec.field(default="", name="deviceRouteSourceAddressIPv6"))
    disable_conntrack_invalid_check: Annotated[bool | None, about(
        "Do not drop packets that connection tracking calls invalid. Default: false.")] = None
    endpoint_reporting_delay: Annotated[Duration | None, about(
        "How long to gather endpoint states before a report. Default: 1s.")] = None
    endpoint_reporting_enabled: Annotated[bool | None, about(
        "Report the state of endpoints to the store. Default: false.")] = None
    endpoint_status_path_prefix: Annotated[str, about(
        "Directory of endpoint status files. Default: /var/run/calico.")] = ""
    external_nodes_list: Annotated[tuple[Cidr4, ...] | None, about(
        "Addresses outside the cluster from which tunnels are accepted.")] = None
    failsafe_inbound_host_ports: Annotated[tuple[ProtoPort, ...] | None, about(
        "Ports of the host that no policy can close. Default: ssh, DHCP, BGP, etcd, the API.")] = None
    failsafe_outbound_host_ports: Annotated[tuple[ProtoPort, ...] | None, about(
        "Ports elsewhere that no policy can close to the host. Default: DNS, DHCP, BGP, etcd, the API.")] = None
    feature_detect_override: Annotated[str, about(
        "Kernel features to take as there or not: A=true,B=false.", form="feature_detection")] = ""
    feature_gates: Annotated[str, about("Previews to switch on: A=enabled.", form="feature_gates")] = ""
    floating_ips: Annotated[Switch | None, about(
        "Whether floating addresses are translated. Default: Disabled.")] = (
        msgspec.field(default=None, name="floatingIPs"))
    flow_logs_collector_debug_trace: bool | None = None
    flow_logs_flush_interval: Annotated[Duration | None, about("How often flows are handed on.")] = None
    flow_logs_goldmane_server: str | None = None
    flow_logs_local_reporter: Annotated[str | None, about(enum=("Disabled", "Enabled"))] = None
    flow_logs_policy_evaluation_mode: Annotated[str | None, about(enum=("None", "Continuous"))] = None
    generic_xdp_enabled: bool | None = msgspec.field(default=None, name="genericXDPEnabled")
    go_gc_threshold: Annotated[int | None, about(least=-1)] = msgspec.field(default=None, name="goGCThreshold")
    go_max_procs: Annotated[int | None, about(least=-1)] = None
    go_memory_limit_mb: Annotated[int | None, about(least=-1)] = msgspec.field(default=None, name="goMemoryLimitMB")
    health_enabled: Annotated[bool | None, about("Answer health checks over HTTP. Default: false.")] = None
    health_host: Annotated[str | None, about("Address of the health checks. Default: localhost.")] = None
    health_port: Annotated[int | None, about("Port of the health checks. Default: 9099.", least=0, most=65535)] = None
    health_timeout_overrides: Annotated[tuple[HealthTimeoutOverride, ...], about(
        "Longer watchdog times for single parts of the agent.")] = ()
    interface_exclude: Annotated[str, about(
        "Host interfaces to leave alone, comma-separated; /.../ is a regular expression.")] = ""
    interface_prefix: Annotated[str, about("How workload interfaces begin, comma-separated. Default here: mus.")] = ""
    interface_refresh_interval: Annotated[Duration | None, about(
        "How often interfaces are listed afresh. Default: 90s.")] = None
    ip_forwarding: Annotated[Switch | None, about("Switch on IP forwarding on the host. Default: Enabled.")] = None
    ipip_enabled: Annotated[bool | None, about("Make an IPIP device even if no pool asks for it.")] = None
    ipip_mtu: Annotated[int | None, about(
        "MTU of the IPIP device. Default: 0, found out.")] = msgspec.field(default=None, name="ipipMTU")
    ipsets_refresh_interval: Annotated[Duration | None, about("How often sets are read back. Default: 90s.")] = None
    iptables_backend: Annotated[str | None, about(
        "Which iptables. Default: Auto.", enum=("Legacy", "NFT", "Auto"))] = None
    iptables_filter_allow_action: Annotated[str | None, about(enum=("Accept", "Return"), any_case=True)] = None
    iptables_filter_deny_action: Annotated[str | None, about(
        "What happens to a packet that policy denies. Default: Drop.", enum=("Drop", "Reject"), any_case=True)] = None
    iptables_lock_file_path: str = ""
    iptables_lock_probe_interval: Duration | None = None
    iptables_lock_timeout: Duration | None = None
    iptables_mangle_allow_action: Annotated[str | None, about(enum=("Accept", "Return"), any_case=True)] = None
    iptables_mark_mask: Annotated[int | None, about(
        "Bits of the packet mark that are ours. Default: 0xffff0000.", least=0, most=4294967295)] = None
    iptables_nat_outgoing_interface_filter: Annotated[InterfaceFilter, about(
        "Masquerade only on these interfaces; eth+ stands for eth0, eth1, ...")] = (
        msgspec.field(default="", name="iptablesNATOutgoingInterfaceFilter"))
    iptables_post_write_check_interval: Duration | None = None
    iptables_refresh_interval: Duration | None = None
    ipv4_elevated_route_priority: Annotated[int | None, about(
        "Metric of IPv4 routes during a live migration. Default: 512.", least=1, most=2147483646)] = None
    ipv4_normal_route_priority: Annotated[int | None, about(
        "Metric of IPv4 routes. Default: 1024.", least=1, most=2147483646)] = None
    ipv6_elevated_route_priority: Annotated[int | None, about(
        "Metric of IPv6 routes during a live migration. Default: 512.", least=1, most=2147483646)] = None
    ipv6_normal_route_priority: Annotated[int | None, about(
        "Metric of IPv6 routes. Default: 1024.", least=1, most=2147483646)] = None
    ipv6_support: Annotated[bool | None, about("Whether IPv6 is programmed.")] = None
    istio_ambient_mode: Switch | None = None
    istio_dscp_mark: DSCP | None = msgspec.field(default=None, name="istioDSCPMark")
    kube_node_port_ranges: Annotated[tuple[NumericPort, ...] | None, about(
        "Ports of the host that stand for services. Default: 30000:32767.", most=7)] = None
    live_migration_route_convergence_time: Annotated[Duration | None, about(
        "How long the elevated metric stays after a live migration. Default: 30s.")] = None
    local_subnet_l2_reachability: Annotated[str | None, about(
        "Answer ARP and ND on host interfaces for workloads of the same subnet. Default: Disabled.",
        enum=("Disabled", "PodsAndLoadBalancers"))] = None
    local_subnet_l2_reachability_refresh_interval: Duration | None = None
    log_action_rate_limit: Annotated[str | None, about(
        "Most packets that Log rules log: 10/second, 100/hour.", form="log_rate")] = None
    log_action_rate_limit_burst: Annotated[int | None, about(
        "Packets logged at once before the rate counts.", least=0, most=9999)] = None
    log_debug_filename_regex: Regex = ""
    log_file_path: Annotated[str, about("File of the agent's log; None: no file.")] = ""
    log_prefix: Annotated[str, about(
        "Beginning of lines that Log rules write; %t tier, %k kind (gnp), %p the policy's full name (namespace/name), "
        "%n its name alone. Default: muslin, tier/policy and the rule.",
        form="log_prefix")] = ""
    log_severity_file: Annotated[str | None, about(
        "Least severity in the log file. Default: Info.", enum=LOG_LEVELS, any_case=True)] = None
    log_severity_screen: Annotated[str | None, about(
        "Least severity on standard output. Default: Info.", enum=LOG_LEVELS, any_case=True)] = None
    log_severity_sys: Annotated[str | None, about(
        "Least severity in syslog. Default: Info.", enum=LOG_LEVELS, any_case=True)] = None
    max_ipset_size: int | None = None
    metadata_addr: Annotated[str, about(
        "Server that answers 169.254.169.254 for VMs; None: no translation. Default: 127.0.0.1.")] = ""
    metadata_port: Annotated[int | None, about("Its port. Default: 8775.", least=0, most=65535)] = None
    mtu_iface_pattern: Annotated[Regex, about("Interfaces whose MTU bounds that of workloads.")] = ""
    nat_outgoing_address: Annotated[Address4, about(
        "Source address of masqueraded traffic instead of the interface's.")] = ""
    nat_outgoing_exclusions: Annotated[str | None, about(
        "Destinations that are not masqueraded. Default: IPPoolsOnly.", enum=("IPPoolsOnly", "IPPoolsAndHostIPs"))] = (
        None)
    nat_port_range: Annotated[NumericPort | None, about(
        "Source ports of masqueraded traffic, such as 32768:65535.")] = None
    netlink_timeout: Duration | None = None
    nftables_filter_allow_action: Annotated[str | None, about(enum=("Accept", "Return"), any_case=True)] = None
    nftables_filter_deny_action: Annotated[str | None, about(
        "What happens to a packet that policy denies. Default: Drop.", enum=("Drop", "Reject"), any_case=True)] = None
    nftables_mangle_allow_action: Annotated[str | None, about(enum=("Accept", "Return"), any_case=True)] = None
    nftables_mark_mask: Annotated[int | None, about(
        "Bits of the packet mark that are ours. Default: 0xffff0000.", least=0, most=4294967295)] = None
    nftables_mode: Annotated[str | None, about(
        "Program nftables instead of iptables. Default: Auto.", enum=("Disabled", "Enabled", "Auto"))] = None
    nftables_refresh_interval: Annotated[Duration | None, about(
        "How often the tables are read back. Default: 90s.")] = None
    node_selector: Annotated[Selector, about(
        "Labels of the hosts it is for; only in objects not named default or node.NAME.")] = ""
    openstack_region: Annotated[str, about("Region of an OpenStack with several.", form="region")] = ""
    policy_sync_path_prefix: str = ""
    program_cluster_routes: Annotated[str | None, about(
        "Which pools' routes the agent programs instead of BIRD.", enum=CLUSTER_ROUTES)] = None
    prometheus_go_metrics_enabled: bool | None = None
    prometheus_metrics_ca_file: str = msgspec.field(default="", name="prometheusMetricsCAFile")
    prometheus_metrics_cert_file: str = ""
    prometheus_metrics_client_auth: str = ""
    prometheus_metrics_enabled: Annotated[bool | None, about("Serve metrics. Default: false.")] = None
    prometheus_metrics_host: Annotated[str, about("Address of the metrics. Default: all.", form="metrics_host")] = ""
    prometheus_metrics_key_file: str = ""
    prometheus_metrics_port: Annotated[int | None, about(
        "Port of the metrics. Default: 9091.", least=0, most=65535)] = None
    prometheus_process_metrics_enabled: bool | None = None
    prometheus_wireguard_metrics_enabled: bool | None = msgspec.field(
        default=None, name="prometheusWireGuardMetricsEnabled")
    remove_external_routes: Annotated[bool | None, about(
        "Remove routes to workload interfaces that somebody else added. Default: true.")] = None
    reporting_interval: Annotated[Duration | None, about(
        "How often the agent reports its own state; 0s: never. Default: 30s.")] = None
    reporting_ttl: Annotated[Duration | None, about(
        "How long such a report is good for. Default: 90s.")] = msgspec.field(default=None, name="reportingTTL")
    require_mtu_file: bool | None = msgspec.field(default=None, name="requireMTUFile")
    route_refresh_interval: Annotated[Duration | None, about("How often routes are read back. Default: 90s.")] = None
    route_source: Annotated[str | None, about(
        "Where routes of other hosts come from. Default: CalicoIPAM.",
        enum=("WorkloadIPs", "CalicoIPAM"), any_case=True)] = None
    route_sync_disabled: Annotated[bool | None, about("Program no routes at all, only policy. Default: false.")] = None
    route_table_range: Annotated[RouteTableRange | None, about("Deprecated: write routeTableRanges.")] = None
    route_table_ranges: Annotated[tuple[RouteTableIDRange, ...] | None, about(
        "Linux routing tables that are ours to use.")] = None
    service_loop_prevention: Annotated[str | None, about(
        "What happens to packets to service addresses that nobody serves. Default: Drop.",
        enum=("Drop", "Reject", "Disabled"), any_case=True)] = None
    sidecar_acceleration_enabled: bool | None = None
    usage_reporting_enabled: Annotated[bool | None, about(
        "Tell projectcalico.org version and cluster size. muslin never does.")] = None
    usage_reporting_initial_delay: Duration | None = None
    usage_reporting_interval: Duration | None = None
    use_internal_dataplane_driver: bool | None = None
    vxlan_enabled: Annotated[bool | None, about("Make a VXLAN device even if no pool asks for it.")] = None
    vxlan_mtu: Annotated[int | None, about(
        "MTU of the IPv4 VXLAN device. Default: 0, found out.")] = msgspec.field(default=None, name="vxlanMTU")
    vxlan_mtu_v6: Annotated[int | None, about(
        "MTU of the IPv6 VXLAN device. Default: 0, found out.")] = msgspec.field(default=None, name="vxlanMTUV6")
    vxlan_port: Annotated[int | None, about("UDP port of VXLAN. Default: 4789.", least=0, most=65535)] = None
    vxlan_vni: Annotated[int | None, about(
        "VXLAN network identifier. Default: 4096.")] = msgspec.field(default=None, name="vxlanVNI")
    windows_manage_firewall_rules: Switch | None = None
    wireguard_enabled: Annotated[bool | None, about("Encrypt IPv4 between hosts. Default: false.")] = None
    wireguard_enabled_v6: Annotated[bool | None, about("Encrypt IPv6 between hosts. Default: false.")] = None
    wireguard_host_encryption_enabled: bool | None = None
    wireguard_interface_name: Interface = ""
    wireguard_interface_name_v6: Interface = ""
    wireguard_keep_alive: Duration | None = None
    wireguard_listening_port: Annotated[int | None, about(least=1, most=65535)] = None
    wireguard_listening_port_v6: Annotated[int | None, about(least=1, most=65535)] = None
    wireguard_mtu: int | None = msgspec.field(default=None, name="wireguardMTU")
    wireguard_mtu_v6: int | None = msgspec.field(default=None, name="wireguardMTUV6")
    wireguard_routing_rule_priority: Annotated[int | None, about(least=1, most=32765)] = None
    wireguard_threading_enabled: bool | None = None
    workload_source_spoofing: Annotated[str | None, about(
        "Whether workloads may ask for further source addresses. Default: Disabled.",
        enum=("Disabled", "Any"), any_case=True)] = None
    xdp_enabled: bool | None = None
    xdp_refresh_interval: Duration | None = None


class FelixConfiguration(Resource, frozen=True, kw_only=True):
    """Settings of the agents: `default` for all, `node.NAME` for one host, any other name for those it selects."""

    spec: Annotated[FelixConfigurationSpec, about("The settings.")] = FelixConfigurationSpec()

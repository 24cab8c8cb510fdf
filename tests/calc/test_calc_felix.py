"""FelixConfiguration's fields in the host's settings: which configuration speaks, and what each word becomes.

Mutants of src/muslin/calc that fail here, named `module: what`; each was tried:

    felix          an unreadable value hides a weaker one
    settings       of two by labels the later name is first; default over those by labels; those by labels over the
                   Node's; salvaged forgets the nodeSelector; mark of the other backend
    network        a Node's labels change nobody's settings; hosts' addresses are remembered for ever
    population     `_alter` forgets the limits
"""

from __future__ import annotations

from typing import Any

import pytest

from calcwords import Cluster, Object, Things, illegible, thing, wl
from muslin.intent import Backend, EndpointKey, Qos, Settings
from muslin.model.meta import ResourceKey


def felix(name: str = "default", **spec: object) -> Things:
    return thing("FelixConfiguration", name, spec)


def node(name: str, *addresses: str, bgp: str = "", **labels: str) -> Things:
    spec: Object = {"addresses": [{"address": address} for address in addresses]}
    return thing("Node", name, {**spec, "bgp": {"ipv4Address": bgp}} if bgp else spec, labels=labels)


def settings(*things: Things, at: str = "h1") -> Settings:
    return Cluster(*things, hosts=("h1", "h2")).intent(at).settings


def fault(cluster: Cluster, name: str = "default") -> str:
    return cluster.graph.faults().get(ResourceKey("FelixConfiguration", "", name), "")


@pytest.mark.parametrize(("spec", "backend"), [
    ({}, Backend.NFTABLES),
    ({"nftablesMode": "Auto"}, Backend.NFTABLES),
    ({"nftablesMode": "Enabled", "iptablesBackend": "Legacy"}, Backend.NFTABLES),
    ({"nftablesMode": "Disabled"}, Backend.IPTABLES_NFT),
    ({"nftablesMode": "Disabled", "iptablesBackend": "Auto"}, Backend.IPTABLES_NFT),
    ({"nftablesMode": "Disabled", "iptablesBackend": "NFT"}, Backend.IPTABLES_NFT),
    ({"nftablesMode": "Disabled", "iptablesBackend": "Legacy"}, Backend.IPTABLES_LEGACY),
    ({"nftablesMode": "perhaps", "iptablesBackend": "Legacy"}, Backend.NFTABLES),
])
def test_the_kernel_interface_is_the_one_that_calicos_words_name(spec: Object, backend: Backend) -> None:
    assert settings(felix(**spec)).backend is backend


@pytest.mark.parametrize("mode", ["Enabled", "Disabled"])
def test_mark_and_actions_are_those_of_the_backend_in_use(mode: str) -> None:
    found = settings(felix(
        nftablesMode=mode, nftablesMarkMask=0xF0000000, iptablesMarkMask=0x00F00000,
        nftablesFilterAllowAction="ACCEPT", nftablesFilterDenyAction="Drop",
        iptablesFilterAllowAction="return", iptablesFilterDenyAction="REJECT"))
    wanted = (0xF0000000, "Accept", "Drop") if mode == "Enabled" else (0x00F00000, "Return", "Reject")
    assert (found.mark_mask, found.filter_allow, found.filter_deny) == wanted


def test_without_a_word_everything_is_calicos_default() -> None:
    assert settings() == settings(felix())
    found = settings()
    assert (found.mark_mask, found.log_rate, found.log_burst, found.floating_addresses) == (0xFFFF0000, None, 5, False)
    assert (found.masquerade_address, found.masquerade_ports, found.masquerade_interfaces) == ("", None, "")
    assert (found.filter_allow, found.filter_deny, found.mtu_interfaces) == ("Accept", "Drop", "")


def test_every_other_field_is_read() -> None:
    found = settings(felix(
        logActionRateLimit="10/minute", logActionRateLimitBurst=7, floatingIPs="Enabled",
        natOutgoingAddress="192.0.2.9", natPortRange="32768:65535", iptablesNATOutgoingInterfaceFilter="eth+",
        mtuIfacePattern="^en.*"))
    assert (found.log_rate, found.log_burst, found.floating_addresses) == ((10, "minute"), 7, True)
    assert (found.masquerade_address, found.masquerade_ports) == ("192.0.2.9", (32768, 65535))
    assert (found.masquerade_interfaces, found.mtu_interfaces) == ("eth+", "^en.*")


@pytest.mark.parametrize(("field", "bad"), [
    ("nftablesMode", "on"), ("iptablesBackend", "nftables"), ("nftablesMarkMask", 0), ("iptablesMarkMask", 2**40),
    ("logActionRateLimit", "10/fortnight"), ("logActionRateLimit", "0/second"), ("logActionRateLimitBurst", -1),
    ("floatingIPs", "yes"), ("natOutgoingAddress", "fd65::1"), ("natOutgoingAddress", "nowhere"),
    ("natPortRange", "9:1"), ("natPortRange", "0:5"), ("natPortRange", "http"), ("natOutgoingExclusions", "none"),
    ("iptablesNATOutgoingInterfaceFilter", "eth0; drop"), ("mtuIfacePattern", "["),
    ("nftablesFilterAllowAction", "Pass"), ("iptablesFilterDenyAction", "Allow"),
])
def test_a_value_that_cannot_be_read_counts_as_not_given_and_is_told(field: str, bad: Any) -> None:
    """Nor does it hide what a weaker configuration says: the host has the settings of `default`."""
    cluster = Cluster(felix(logActionRateLimit="5/second"), felix("node.h1", **{field: bad}))
    assert cluster.intent().settings == settings(felix(logActionRateLimit="5/second"))
    assert f"spec.{field}: " in fault(cluster, "node.h1")
    cluster.drop(felix("node.h1"))
    assert not fault(cluster, "node.h1")


def test_a_configuration_by_labels_stands_between_that_of_the_node_and_the_default() -> None:
    cluster = Cluster(
        node("h1", rack="a"), node("h2", rack="b"),
        felix(logActionRateLimitBurst=1, natPortRange="1:1", natOutgoingAddress="192.0.2.1", floatingIPs="Enabled"),
        felix("b-racks", nodeSelector="rack == 'a'", logActionRateLimitBurst=2, natPortRange="2:2",
              natOutgoingAddress="192.0.2.2"),
        felix("a-racks", nodeSelector="has(rack)", logActionRateLimitBurst=3, natPortRange="3:3"),
        felix("node.h1", logActionRateLimitBurst=4), hosts=("h1", "h2"))
    one, two = cluster.intent("h1").settings, cluster.intent("h2").settings
    assert (one.log_burst, one.masquerade_ports, one.masquerade_address) == (4, (3, 3), "192.0.2.2")
    assert (two.log_burst, two.masquerade_ports, two.masquerade_address) == (3, (3, 3), "192.0.2.1")
    assert one.floating_addresses
    assert two.floating_addresses
    assert not cluster.graph.faults()

    delta = cluster.put(node("h2", rack="a"))
    assert set(delta.hosts) == {"h2"}
    assert cluster.intent("h2").settings.masquerade_address == "192.0.2.2"
    assert set(cluster.drop(node("h2")).hosts) == {"h2"}
    assert cluster.intent("h2").settings.masquerade_address == "192.0.2.1"


@pytest.mark.parametrize(("spec", "words"), [({}, "for no host"), ({"nodeSelector": "rack ="}, "spec.nodeSelector")])
def test_a_configuration_that_selects_nobody_is_told(spec: Object, words: str) -> None:
    cluster = Cluster(node("h1"), felix("racks", logActionRateLimitBurst=2, **spec))
    assert cluster.intent().settings.log_burst == 5
    assert words in fault(cluster, "racks")


def test_a_scoped_configuration_that_does_not_decode_keeps_shut_whom_it_selects() -> None:
    bad = {"spec": {"nodeSelector": "rack == 'a'", "defaultEndpointToHostAction": 7}}
    cluster = Cluster(node("h1", rack="a"), node("h2"), felix(defaultEndpointToHostAction="Accept"),
                      illegible(felix("racks"), obj=bad), hosts=("h1", "h2"))
    assert cluster.intent("h1").settings.endpoint_to_host_action == "Drop"
    assert cluster.intent("h2").settings.endpoint_to_host_action == "Accept"


def test_hosts_are_excluded_from_masquerading_only_where_it_is_said() -> None:
    hosts = (node("h1", "198.51.100.1/24", bgp="172.16.0.1/24"), node("h2", "fd65::2", "172.16.0.2"),
             node("h3", "nonsense"))
    assert settings(*hosts).masquerade_exclude == ()
    assert settings(*hosts, felix(natOutgoingExclusions="IPPoolsOnly")).masquerade_exclude == ()
    cluster = Cluster(*hosts, felix(natOutgoingExclusions="IPPoolsAndHostIPs"))
    assert cluster.intent().settings.masquerade_exclude == (
        "172.16.0.1/32", "172.16.0.2/32", "198.51.100.1/32", "fd65::2/128")
    cluster.drop(node("h1"))
    assert cluster.intent().settings.masquerade_exclude == ("172.16.0.2/32", "fd65::2/128")


def test_an_empty_list_of_failsafes_means_none_and_no_list_means_calicos() -> None:
    found = settings(felix(failsafeInboundHostPorts=[]))
    assert found.failsafe_inbound == ()
    cluster_ports = tuple((6, port, "") for port in (179, 2379, 2380, 5473, 6443, 6666, 6667))
    assert found.failsafe_outbound == ((17, 53, ""), (17, 67, ""), *cluster_ports)
    assert settings().failsafe_inbound == ((6, 22, ""), *cluster_ports, (17, 68, ""))


# --- limits of a workload's link --------------------------------------------------------------------------------------


def qos(**controls: object) -> tuple[Qos | None, str]:
    cluster = Cluster(wl("a", "h1", "10.65.0.2", spec={"qosControls": controls}))
    key = "WorkloadEndpoint/shop/a"
    fault = cluster.graph.faults().get(ResourceKey("WorkloadEndpoint", "shop", "a"), "")
    return cluster.intent().endpoints[EndpointKey(key)].qos, fault


def test_limits_of_a_link_reach_its_host() -> None:
    found, fault = qos(
        ingressBandwidth=1000, ingressBurst=2000, ingressPeakrate=3000, ingressMinburst=4000, ingressPacketRate=5,
        ingressPacketBurst=6, ingressMaxConnections=7, egressBandwidth=8000, egressBurst=9000, egressPeakrate=10000,
        egressMinburst=11000, egressPacketRate=12, egressPacketBurst=13, egressMaxConnections=14, dscp="AF11")
    assert found == Qos(
        ingress_bandwidth=1000, ingress_burst=2000, ingress_peakrate=3000, ingress_minburst=4000,
        ingress_packet_rate=5, ingress_packet_burst=6, ingress_connections=7, egress_bandwidth=8000, egress_burst=9000,
        egress_peakrate=10000, egress_minburst=11000, egress_packet_rate=12, egress_packet_burst=13,
        egress_connections=14, dscp=10)
    assert not fault


@pytest.mark.parametrize(("given", "number"), [
    ("DF", 0), ("EF", 46), ("ef", 46), ("CS0", 0), ("CS6", 48), ("AF43", 38), ("AF21", 18), (63, 63), ("7", 7)])
def test_a_class_of_service_by_name_is_its_number(given: int | str, number: int) -> None:
    assert qos(dscp=given) == (Qos(dscp=number), "")


@pytest.mark.parametrize("controls", [{}, {"ingressBandwidth": 0}, {"egressMaxConnections": None}])
def test_no_limit_is_none_at_all(controls: Object) -> None:
    assert qos(**controls) == (None, "")


@pytest.mark.parametrize(("field", "bad"), [
    ("ingressBandwidth", 999), ("ingressPacketRate", -1), ("egressPacketBurst", 10_001), ("dscp", "AF44"), ("dscp", 64),
    ("dscp", "CS7"), ("egressPeakrate", 2**60)])
def test_a_limit_out_of_bounds_is_left_out_and_told(field: str, bad: int | str) -> None:
    found, fault = qos(**{field: bad}, egressMaxConnections=3)
    assert found == Qos(egress_connections=3)
    assert f"spec.qosControls.{field}: " in fault


def test_limits_that_change_are_told_alone() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.2"))
    delta = cluster.put(wl("a", "h1", "10.65.0.2", spec={"qosControls": {"egressBandwidth": 5000}})).hosts["h1"]
    assert list(delta.endpoints) == ["WorkloadEndpoint/shop/a"]
    assert not delta.groups
    assert not delta.policies

"""Laws of endpoints and nodes, the good value beside the bad one."""

from typing import Any

import pytest

from modelwords import Object, at, fields, made

NAT = {"internalIP": "10.65.0.1", "externalIP": "192.0.2.1"}

WORKLOAD: list[tuple[Object, str | None, str]] = [
    ({"ipNetworks": ["1.2.3.4/32", "1.2.0.0/32", "aabb::ffff/128"]}, None, ""),
    ({"ipNetworks": ["1.2.3.4", "aabb::1"]}, None, ""),
    ({"ipNetworks": ["1.2.3.0/26"]}, "spec.ipNetworks[0]", "write 1.2.3.0/32"),
    ({"ipNetworks": ["aabb::/122"]}, "spec.ipNetworks[0]", "write aabb::/128"),
    ({"ipNetworks": ["1.2.3.4/24"]}, "spec.ipNetworks[0]", "1.2.3.4/32"),
    ({"ipNATs": [NAT]}, None, ""),
    ({"ipNetworks": [], "ipNATs": [NAT]}, "spec.ipNATs[0].internalIP", "under ipNetworks too"),
    ({"ipNATs": [{**NAT, "internalIP": "10.65.0.2"}]}, "spec.ipNATs[0].internalIP", "write one of 10.65.0.1/32"),
    ({"ipNATs": [{**NAT, "externalIP": "2001:db8::1"}]}, "spec.ipNATs[0].externalIP", "write an IPv4 address"),
    ({"ipNATs": [{"internalIP": "10.65.0.1"}]}, "spec.ipNATs[0].externalIP", "write externalIP"),
    ({"ipv4Gateway": "169.254.1.1", "ipv6Gateway": "fe80::1"}, None, ""),
    ({"ipv4Gateway": "fe80::1"}, "spec.ipv4Gateway", "10.0.0.1"),
    ({"ipv6Gateway": "169.254.1.1"}, "spec.ipv6Gateway", "fd00::1"),
    ({"interfaceName": "Valid_Iface.0-9"}, None, ""),
    ({"interfaceName": "interfaceTooLong"}, "spec.interfaceName", "eth0"),
    ({"interfaceName": "a&b"}, "spec.interfaceName", "eth0"),
    ({"interfaceName": ...}, "spec.interfaceName", "write interfaceName"),
    ({"mac": "EE:ee:ee:ee:ee:ee"}, None, ""), ({"mac": "ee-ee-ee-ee-ee-ee"}, None, ""), ({"mac": ""}, None, ""),
    ({"mac": "ee:ee:ee:ee:ee"}, "spec.mac", "02:00:0a:00:00:01"),
    ({"mac": "ee:ee-ee:ee:ee:ee"}, "spec.mac", "02:00:0a:00:00:01"),
    ({"profiles": ["kns.default", "ksa.default.sa"]}, None, ""),
    ({"profiles": [".fun"]}, "spec.profiles[0]", "write fun"),
    ({"containerID": "Cath01234-G"}, None, ""), ({"containerID": "-abc"}, "spec.containerID", "as the runtime"),
    ({"ports": [{"name": "http", "protocol": "TCP", "port": 80}]}, None, ""),
    ({"ports": [{"name": "http", "protocol": 132, "port": 80}]}, None, ""),
    ({"ports": [{"protocol": "UDP", "port": 1234, "hostPort": 2345, "hostIP": "10.0.0.1"}]}, None, ""),
    ({"ports": [{"protocol": "UDP", "port": 1234}]}, "spec.ports[0].name", "name: http"),
    ({"ports": [{"name": "http", "port": 1234}]}, "spec.ports[0].protocol", "write protocol: TCP"),
    ({"ports": [{"name": "http", "protocol": 123, "port": 1}]}, "spec.ports[0].protocol", "TCP, UDP or SCTP"),
    ({"ports": [{"name": "http", "protocol": "TCP"}]}, "spec.ports[0].port", "write port"),
    ({"ports": [{"name": "http", "protocol": "TCP", "port": 0}]}, "spec.ports[0].port", "write 1"),
    ({"ports": [{"name": "HTTP", "protocol": "TCP", "port": 1}]}, "spec.ports[0].name", "http-alt"),
    ({"ports": [{"name": "a", "protocol": "TCP", "port": 1, "hostPort": 2, "hostIP": "x"}]}, "spec.ports[0].hostIP",
     "10.0.0.0/24"),
    ({"allowSpoofedSourcePrefixes": ["10.0.0.1", "192.168.0.0/16"]}, None, ""),
    ({"allowSpoofedSourcePrefixes": ["10.abcd"]}, "spec.allowSpoofedSourcePrefixes[0]", "10.0.0.0/24"),
    ({"qosControls": {"ingressBandwidth": 1000, "egressPacketRate": 10_000, "ingressBurst": 0, "dscp": "af11"}},
     None, ""),
    ({"qosControls": {"ingressBandwidth": 999}}, "spec.qosControls.ingressBandwidth", "write 1000"),
    ({"qosControls": {"egressPacketRate": 10_001}}, "spec.qosControls.egressPacketRate", "write 10000"),
    ({"qosControls": {"ingressMaxConnections": 2**32}}, "spec.qosControls.ingressMaxConnections", "4294967295"),
    ({"qosControls": {"dscp": 64}}, "spec.qosControls.dscp", "write one of them"),
    ({"qosControls": {"dscp": "XX"}}, "spec.qosControls.dscp", "write one of them"),
    ({"workload": ...}, "spec.workload", "write workload"), ({"endpoint": ...}, "spec.endpoint", "write endpoint"),
    ({"orchestrator": ...}, "spec.orchestrator", "write orchestrator"), ({"node": ...}, "spec.node", "write node"),
]


@pytest.mark.parametrize(("spec", "field", "mend"), WORKLOAD, ids=str)
def test_laws_of_a_workload_endpoint(spec: Object, field: str | None, mend: str) -> None:
    """What a plugin or a person gets wrong."""
    obj = made("WorkloadEndpoint", **spec)

    assert fields(obj) == ({field} if field else set())
    assert not field or mend in at(obj, field)[0].mend


def test_an_endpoints_name_is_made_of_its_identity() -> None:
    """A wrong name would be another host's endpoint."""
    assert fields(made("WorkloadEndpoint", "h1-muslin-web--1-eth0", workload="web-1")) == set()
    assert fields(made("WorkloadEndpoint", "")) == set()
    [fault] = at(made("WorkloadEndpoint", "web"), "metadata.name")
    assert "write h1-muslin-web-eth0" in fault.mend


@pytest.mark.parametrize(("identity", "name"), [
    ({"orchestrator": "k8s", "pod": "p-1", "workload": ...}, "h1-k8s-p--1-eth0"),
    ({"orchestrator": "cni", "containerID": "c0ffee", "workload": ...}, "h1-cni-c0ffee-eth0"),
    ({"orchestrator": "libnetwork", "workload": ...}, "h1-libnetwork-libnetwork-eth0"),
    ({"orchestrator": "openstack", "workload": "6f1c-2a"}, "h1-openstack-6f1c--2a-eth0"),
])
def test_each_orchestrator_keeps_the_workload_in_its_own_field(identity: Object, name: str) -> None:
    """As Calico's names package does."""
    assert fields(made("WorkloadEndpoint", name, **identity)) == set()


HOST: list[tuple[Object, str | None]] = [
    ({"interfaceName": "*"}, None), ({"interfaceName": ..., "expectedIPs": ["1.2.3.4", "aabb::1"]}, None),
    ({"interfaceName": ...}, "spec.interfaceName"), ({"interfaceName": "", "expectedIPs": []}, "spec.interfaceName"),
    ({"node": ...}, "spec.node"), ({"expectedIPs": ["10.0.0.1/24"]}, "spec.expectedIPs[0]"),
    ({"profiles": ["knp.default.fun", "fun-1"]}, None), ({"profiles": ["a", "a"]}, "spec.profiles[1]"),
    ({"ports": [{"name": "a", "protocol": "TCP", "port": 1}, {"name": "a", "protocol": "UDP", "port": 2}]}, None),
    ({"ports": [{"protocol": "TCP", "port": 1}]}, "spec.ports[0].name"),
    ({"ports": [{"name": "a", "protocol": "TCP", "port": 1, "hostPort": 2}]}, "spec.ports[0].hostPort"),
]


@pytest.mark.parametrize(("spec", "field"), HOST, ids=str)
def test_laws_of_a_host_endpoint(spec: Object, field: str | None) -> None:
    """It must be clear which interface of which host is meant."""
    assert fields(made("HostEndpoint", **spec)) == ({field} if field else set())


KEY = "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="
NODES: list[tuple[Object, str | None]] = [
    ({"bgp": {"ipv4Address": "1.2.3.4/32"}}, None), ({"bgp": {"ipv4Address": "1.2.3.4/24"}}, None),
    ({"bgp": {"ipv6Address": "aabb::1/64"}}, None), ({"bgp": {"ipv4IPIPTunnelAddr": "10.0.0.1"}}, None),
    ({"bgp": ...}, None), ({"bgp": {}}, "spec.bgp"), ({"bgp": {"ipv4Address": "aabb::1/128"}}, "spec.bgp.ipv4Address"),
    ({"bgp": {"ipv6Address": "1.2.3.4/24"}}, "spec.bgp.ipv6Address"),
    ({"bgp": {"routeReflectorClusterID": "245.0.0.1"}}, None),
    ({"bgp": {"routeReflectorClusterID": "300.34.3.1"}}, "spec.bgp.routeReflectorClusterID"),
    ({"bgp": {"routeReflectorClusterID": 1}}, "spec.bgp.routeReflectorClusterID"),
    ({"bgp": {"asNumber": 4_200_000_000}}, None), ({"bgp": {"asNumber": "64512"}}, None),
    ({"bgp": {"asNumber": "1.10"}}, None), ({"bgp": {"asNumber": 1.1}}, "spec.bgp.asNumber"),
    ({"bgp": {"asNumber": 2**32}}, "spec.bgp.asNumber"), ({"bgp": {"asNumber": "65536.1"}}, "spec.bgp.asNumber"),
    ({"bgp": {"asNumber": 0}}, "spec.bgp.asNumber"), ({"wireguard": {"interfaceIPv4Address": "1.2.3.4"}}, None),
    ({"wireguard": {"interfaceIPv4Address": "foo.bar"}}, "spec.wireguard.interfaceIPv4Address"),
    ({"addresses": [{"address": "10.0.0.1/24", "type": "CalicoNodeIP"}]}, None),
    ({"addresses": [{"address": "10.0.0.1/33", "type": "CalicoNodeIP"}]}, "spec.addresses[0].address"),
    ({"addresses": [{"address": "10.0.0.1", "type": "InternalIP"}]}, None),
    ({"orchRefs": [{"orchestrator": "k8s", "nodeName": "h1"}]}, None),
    ({"orchRefs": [{"nodeName": "h1"}]}, "spec.orchRefs[0].orchestrator"),
]


@pytest.mark.parametrize(("spec", "field"), NODES, ids=str)
def test_laws_of_a_node(spec: Object, field: str | None) -> None:
    """Its BGP identity above all."""
    assert fields(made("Node", **spec)) == ({field} if field else set())


@pytest.mark.parametrize(("key", "good"), [(KEY, True), ("foobar", False), ("!", False)])
def test_a_wireguard_key_is_32_bytes(key: Any, good: bool) -> None:
    """In base64."""
    obj = {**made("Node"), "status": {"wireguardPublicKey": key}}

    assert fields(obj) == (set() if good else {"status.wireguardPublicKey"})

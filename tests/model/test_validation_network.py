"""Laws of pools, reservations, BGP and the agents' settings, the good value beside the bad one."""

import pytest

from modelwords import Object, at, fields, made
from muslin.model.validation import faults

POOLS: list[tuple[Object, str | None, str]] = [
    ({"cidr": "1.2.3.0/26"}, None, ""), ({"cidr": "1.0.0.0/10"}, None, ""), ({"cidr": "aabb::/122"}, None, ""),
    ({"cidr": "1.2.3.0/27", "disabled": True}, None, ""), ({"cidr": "1.2.3.0/27"}, "spec.cidr", "blockSize: 27"),
    ({"cidr": "aabb::/128"}, "spec.cidr", "blockSize: 128"), ({"cidr": "1.2.3.0/27", "blockSize": 28}, None, ""),
    ({"cidr": "1.2.3.4/33"}, "spec.cidr", "1.2.3.4/32"), ({"cidr": "1.2.3.4/24"}, "spec.cidr", "write 1.2.3.0/24"),
    ({"cidr": "1.2.3.4"}, "spec.cidr", "1.2.3.4/32"), ({"cidr": ...}, "spec.cidr", "write cidr: 10.65.0.0/16"),
    ({"cidr": "169.254.5.0/24"}, "spec.cidr", "10.65.0.0/16"), ({"cidr": "fe80::/64"}, "spec.cidr", "fd00:65::/48"),
    ({"cidr": "0.0.0.0/0"}, "spec.cidr", "10.65.0.0/16"),
    ({"blockSize": 20}, None, ""), ({"blockSize": 32}, None, ""), ({"blockSize": 19}, "spec.blockSize", "write 20"),
    ({"blockSize": 33}, "spec.blockSize", "write 32"), ({"blockSize": 122}, "spec.blockSize", "write 32"),
    ({"cidr": "fd00::/48", "blockSize": 116}, None, ""),
    ({"cidr": "fd00::/48", "blockSize": 26}, "spec.blockSize", "write 116"),
    ({"blockSize": "26"}, "spec.blockSize", "write 26"), ({"blockSize": 26.0}, "spec.blockSize", "write 26"),
    ({"ipipMode": "CrossSubnet"}, None, ""), ({"ipipMode": "never"}, "spec.ipipMode", "write Never"),
    ({"ipipMode": "badVal"}, "spec.ipipMode", "one of them"), ({"vxlanMode": "Always"}, None, ""),
    ({"ipipMode": "Always", "vxlanMode": "Always"}, "spec.vxlanMode", "write Never"),
    ({"cidr": "fd00::/64", "ipipMode": "Always"}, "spec.ipipMode", "vxlanMode: Always"),
    ({"cidr": "fd00::/64", "vxlanMode": "Always"}, None, ""),
    ({"allowedUses": ["Workload", "Tunnel"]}, None, ""),
    ({"allowedUses": ["Garbage"]}, "spec.allowedUses[0]", "one of"),
    ({"allowedUses": ["workload"]}, "spec.allowedUses[0]", "write Workload"),
    ({"allowedUses": ["LoadBalancer"]}, None, ""),
    ({"allowedUses": ["LoadBalancer", "Workload"]}, "spec.allowedUses[1]", "a pool of its own"),
    ({"allowedUses": ["LoadBalancer"], "ipipMode": "Always"}, "spec.ipipMode", "ipipMode: Never"),
    ({"allowedUses": ["LoadBalancer"], "nodeSelector": "has(a)"}, "spec.nodeSelector", "all()"),
    ({"allowedUses": ["LoadBalancer"], "disableBGPExport": True}, "spec.disableBGPExport", "take it out"),
    ({"nodeSelector": 'foo == "bar"', "namespaceSelector": "has(a)"}, None, ""),
    ({"nodeSelector": "this is not valid"}, "spec.nodeSelector", "=="),
    ({"nodeSelector": "global()"}, "spec.nodeSelector",
                                                                         "all()"),
    ({"assignmentMode": "Manual"}, None, ""), ({"assignmentMode": "manual"}, "spec.assignmentMode", "write Manual"),
    ({"natOutgoing": "true"}, "spec.natOutgoing", "write true, without quotes"),
    ({"ipip": {"enabled": True}}, "spec.ipip", "ipipMode: Always"),
    ({"nat-outgoing": True}, "spec[nat-outgoing]", "call it natOutgoing"),
]


@pytest.mark.parametrize(("spec", "field", "mend"), POOLS, ids=str)
def test_laws_of_a_pool(spec: Object, field: str | None, mend: str) -> None:
    """Hosts take whole blocks, of one size, from a routable prefix."""
    obj = made("IPPool", **spec)

    assert fields(obj) == ({field} if field else set())
    assert not field or mend in at(obj, field)[0].mend


@pytest.mark.parametrize(("cidrs", "field"), [
    (["10.0.1.0/24", "192.168.0.34", "cafe::1", "cafe:f00d::/96"], None), (["garbage"], "spec.reservedCIDRs[0]"),
    (["10.0.1.0/33"], "spec.reservedCIDRs[0]"), (["10.0.0.1", "10.0.0.1"], "spec.reservedCIDRs[1]"),
])
def test_laws_of_a_reservation(cidrs: list[str], field: str | None) -> None:
    """Addresses and prefixes."""
    assert fields(made("IPReservation", reservedCIDRs=cidrs)) == ({field} if field else set())


ADS = [{"cidr": "192.168.10.0/28", "communities": ["100:100"]}]
PASSWORD = {"secretKeyRef": {"name": "bgp", "key": "password"}}
BGP: list[tuple[Object, str | None]] = [
    ({"logSeverityScreen": "Info"}, None), ({"logSeverityScreen": "info"}, None),
    ({"logSeverityScreen": "Loud"}, "spec.logSeverityScreen"),
    ({"serviceClusterIPs": [{"cidr": "1.2.3.4"}, {"cidr": "fdf5::/64"}]}, None),
    ({"serviceExternalIPs": [{"cidr": "x.x.x.x"}]}, "spec.serviceExternalIPs[0].cidr"),
    ({"nodeMeshPassword": PASSWORD, "nodeToNodeMeshEnabled": True}, None), ({"nodeMeshPassword": PASSWORD}, None),
    ({"nodeMeshPassword": PASSWORD, "nodeToNodeMeshEnabled": False}, "spec.nodeMeshPassword"),
    ({"nodeMeshPassword": {"secretKeyRef": {"name": "a"}}}, "spec.nodeMeshPassword.secretKeyRef.key"),
    ({"nodeMeshMaxRestartTime": "200s", "nodeToNodeMeshEnabled": True}, None),
    ({"nodeMeshMaxRestartTime": "200s", "nodeToNodeMeshEnabled": False}, "spec.nodeMeshMaxRestartTime"),
    ({"nodeMeshMaxRestartTime": 200}, "spec.nodeMeshMaxRestartTime"),
    ({"ignoredInterfaces": ["valid_iface*", "name"]}, None),
    ({"ignoredInterfaces": ["*"]}, "spec.ignoredInterfaces[0]"),
    ({"listenPort": 1790}, None), ({"listenPort": 0}, "spec.listenPort"), ({"listenPort": 65536}, "spec.listenPort"),
    ({"bindMode": "NodeIP"}, None), ({"bindMode": "nodeip"}, "spec.bindMode"),
    ({"programClusterRoutes": "EnabledNoEncapOnly"}, None),
    ({"programClusterRoutes": True}, "spec.programClusterRoutes"),
    ({"localWorkloadPeeringIPV4": "169.254.0.179"}, None), ({"localWorkloadPeeringIPV4": "fd00::1"},
                                                           "spec.localWorkloadPeeringIPV4"),
    ({"communities": [{"name": "c", "value": "101:5695"}]}, "spec.communities"),
    ({"communities": [{"value": "536:785"}], "prefixAdvertisements": ADS}, "spec.communities[0].name"),
    ({"communities": [{"name": "c"}], "prefixAdvertisements": ADS}, "spec.communities[0].value"),
    ({"communities": [{"name": "c", "value": "100:520"}], "prefixAdvertisements": ADS}, None),
    ({"communities": [{"name": "c", "value": "100:520:56"}], "prefixAdvertisements": ADS}, None),
    ({"communities": [{"name": "c", "value": "100"}], "prefixAdvertisements": ADS}, "spec.communities[0].value"),
    ({"communities": [{"name": "c", "value": "65536:99"}], "prefixAdvertisements": ADS}, "spec.communities[0].value"),
    ({"communities": [{"name": "c", "value": "4147483647:9:5147483647"}], "prefixAdvertisements": ADS},
     "spec.communities[0].value"),
    ({"prefixAdvertisements": [{"communities": ["100:5964"]}]}, "spec.prefixAdvertisements[0].cidr"),
    ({"prefixAdvertisements": [{"cidr": "192.168.10.0/28"}]}, "spec.prefixAdvertisements[0].communities"),
    ({"prefixAdvertisements": [{"cidr": "192.168.10.0/28", "communities": []}]},
     "spec.prefixAdvertisements[0].communities"),
    ({"prefixAdvertisements": [{"cidr": "2001:4860::/128", "communities": ["100:5964:1147483647", "1:2"]}]}, None),
    ({"prefixAdvertisements": [{"cidr": "2001:4860::/128", "communities": ["100:1147483647"]}]},
     "spec.prefixAdvertisements[0].communities[0]"),
    ({"prefixAdvertisements": [{"cidr": "2001:4860::/128", "communities": ["nobody"]}]},
     "spec.prefixAdvertisements[0].communities[0]"),
    ({"communities": [{"name": "c", "value": "1:2"}],
      "prefixAdvertisements": [{"cidr": "2001:4860::/128", "communities": ["c", "8988:202"]}]}, None),
]


@pytest.mark.parametrize(("spec", "field"), BGP, ids=str)
def test_laws_of_a_bgp_configuration(spec: Object, field: str | None) -> None:
    """Communities by name must be defined, and defined ones used."""
    assert fields(made("BGPConfiguration", **spec)) == ({field} if field else set())


@pytest.mark.parametrize("spec", [
    {"nodeToNodeMeshEnabled": True}, {"asNumber": 64512}, {"serviceClusterIPs": [{"cidr": "10.0.0.0/8"}]},
    {"serviceExternalIPs": [{"cidr": "10.0.0.0/8"}]}, {"serviceLoadBalancerIPs": [{"cidr": "10.0.0.0/8"}]},
], ids=str)
def test_what_holds_for_the_cluster_stands_in_default_only(spec: Object) -> None:
    """node.NAME speaks for one host."""
    field = next(iter(spec))

    assert fields(made("BGPConfiguration", **spec)) == set()
    assert fields(made("BGPConfiguration", "node.h1", **{"asNumber": ..., **spec})) == {f"spec.{field}"}
    assert fields(made("BGPConfiguration", "node.h1", asNumber=..., logSeverityScreen="Debug")) == set()


NO_PEER = {"peerIP": ..., "asNumber": ...}
PEERS: list[tuple[Object, set[str]]] = [
    ({}, set()), ({**NO_PEER, "nodeSelector": "has(a)", "peerSelector": "has(b)"}, set()),
    ({"node": "h1", "nodeSelector": "has(a)"}, {"spec.node"}),
    ({"asNumber": ..., "peerSelector": "has(a)"}, {"spec.peerIP"}),
    ({"peerIP": ..., "peerSelector": "has(a)"}, {"spec.asNumber"}),
    ({**NO_PEER, "localWorkloadSelector": "color == 'red'", "asNumber": 65401}, set()),
    ({**NO_PEER, "localWorkloadSelector": "color == 'red'"}, {"spec.asNumber"}),
    ({"localWorkloadSelector": "color == 'red'"}, {"spec.peerIP"}),
    ({**NO_PEER, "localWorkloadSelector": "a == 'b'", "peerSelector": "has(a)", "asNumber": 1},
     {"spec.asNumber", "spec.peerSelector"}),
    ({"reachableBy": "10.0.0.254"}, set()), ({"reachableBy": "10.0.0.254", "peerIP": ...}, {"spec.reachableBy"}),
    ({"reachableBy": "10.0.0.254", "peerIP": "10.0.0.9:1790"}, set()),
    ({"reachableBy": "fd00::1", "peerIP": "[fd00::9]:1790"}, set()),
    ({"reachableBy": "fd00::1"}, {"spec.reachableBy"}), ({"reachableBy": "999.1.1.1"}, {"spec.reachableBy"}),
    ({"reachableBy": "10.0.0.1", "peerIP": "[fd00::9]:1790"}, {"spec.reachableBy"}),
    ({"password": PASSWORD}, set()), ({"nodeSelector": "a: == 'b'"}, {"spec.nodeSelector"}),
    ({"sourceAddress": "None"}, set()), ({"sourceAddress": "rubbish"}, {"spec.sourceAddress"}),
    ({"maxRestartTime": "10s", "keepaliveTime": "20s"}, set()), ({"maxRestartTime": "10"}, {"spec.maxRestartTime"}),
    ({"nextHopMode": "Self"}, set()), ({"nextHopMode": "self"}, {"spec.nextHopMode"}),
    ({"keepOriginalNextHop": True}, set()),
    ({"keepOriginalNextHop": True, "nextHopMode": "Keep"}, {"spec.keepOriginalNextHop"}),
    ({"filters": ["a", "b"]}, set()), ({"filters": ["A"]}, {"spec.filters[0]"}), ({"filters": "a"}, {"spec.filters"}),
    ({"ttlSecurity": 1, "numAllowedLocalASNumbers": 2, "reversePeering": "Manual", "localASNumber": "1.10"}, set()),
    ({"ttlSecurity": 256}, {"spec.ttlSecurity"}), ({"numAllowedLocalASNumbers": -1}, {"spec.numAllowedLocalASNumbers"}),
    ({"asNumber": "65001"}, set()), ({"asNumber": "AS65001"}, {"spec.asNumber"}),
]


@pytest.mark.parametrize(("spec", "wrong"), PEERS, ids=lambda p: str(sorted(p) if isinstance(p, set) else p))
def test_laws_of_a_peer(spec: Object, wrong: set[str]) -> None:
    """Who peers with whom is said once."""
    assert fields(made("BGPPeer", **spec)) == wrong


@pytest.mark.parametrize(("peer", "good"), [
    ("192.168.1.1", True), ("192.168.1.1:500", True), ("9000::", True), ("[9000::]:500", True),
    ("999.999.999.999", False), ("xyz:::", False), ("[192.168.0.0]:98", False), ("192.168.0.0:65536", False),
    ("192.168.0.0:0", False), ("192.168.0.330:170", False), ("[9000::]:98956", False), ("192.168.0.0:", False),
    ("[9000::]:", False), ("[9000::FFFFF]:170", False), (":8552", False), ("[]:8552", False), ("[9000::]", False),
    ("10.0.0.1/32", False), ("router.example.com", False),
])
def test_a_peer_is_an_address_with_a_port_if_need_be(peer: str, good: bool) -> None:
    """Every spelling of Calico's own tests."""
    assert fields(made("BGPPeer", peerIP=peer)) == (set() if good else {"spec.peerIP"})


OPS = [{"addCommunity": {"value": "65000:1"}}, {"prependASPath": {"prefix": [65000]}}, {"setPriority": {"value": 100}}]
FILTERS: list[tuple[str, Object, str | None]] = [
    ("exportV4", {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 16, "max": 24}}, None),
    ("exportV6", {"cidr": "fd00::/8", "matchOperator": "NotIn", "prefixLength": {"min": 48}}, None),
    ("importV4", {"cidr": "10.0.0.0/8"}, ".matchOperator"), ("importV4", {"matchOperator": "In"}, ".cidr"),
    ("importV4", {"prefixLength": {"min": 16}}, ".cidr"),
    ("importV4", {"cidr": "10.0.0.0/8", "matchOperator": "in"}, ".matchOperator"),
    ("importV4", {"cidr": "10.0.0.1/8", "matchOperator": "In"}, ".cidr"),
    ("importV4", {"cidr": "fd00::/8", "matchOperator": "In"}, ".cidr"),
    ("importV6", {"cidr": "10.0.0.0/8", "matchOperator": "In"}, ".cidr"),
    ("importV4", {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"max": 33}}, ".prefixLength.max"),
    ("importV6", {"cidr": "fd00::/8", "matchOperator": "In", "prefixLength": {"max": 129}}, ".prefixLength.max"),
    ("importV4", {"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 24, "max": 16}},
     ".prefixLength"),
    ("importV4", {"source": "RemotePeers", "interface": "eth*", "peerType": "eBGP", "priority": 5}, None),
    ("importV4", {"source": "Local"}, ".source"), ("importV4", {"interface": "a b"}, ".interface"),
    ("importV4", {"peerType": "ebgp"}, ".peerType"), ("importV4", {"priority": 0}, ".priority"),
    ("importV4", {"communities": {"values": ["65000:1"]}, "asPathPrefix": [65000, "1.10"]}, None),
    ("importV4", {"communities": {"values": ["65000:1", "65000:2"]}}, ".communities.values"),
    ("importV4", {"communities": {"values": []}}, ".communities.values"),
    ("importV4", {"communities": {"values": ["x"]}}, ".communities.values[0]"),
    ("importV4", {"asPathPrefix": ["x"]}, ".asPathPrefix[0]"), ("importV4", {"operations": OPS}, None),
    ("importV4", {"operations": [{}]}, ".operations[0]"), ("importV4", {"operations": [{**OPS[0], **OPS[2]}]},
                                                           ".operations[0]"),
    ("importV4", {"operations": [{"setPriority": {}}]}, ".operations[0].setPriority.value"),
    ("importV4", {"operations": [{"prependASPath": {"prefix": []}}]}, ".operations[0].prependASPath.prefix"),
    ("importV4", {"action": "Reject", "operations": OPS}, ".operations"), ("importV4", {"operations": OPS * 4},
                                                                           ".operations"),
    ("importV4", {"action": "Allow"}, ".action"), ("importV4", {"action": None}, ".action"),
]


@pytest.mark.parametrize(("field", "rule", "wrong"), FILTERS, ids=str)
def test_laws_of_a_filter(field: str, rule: Object, wrong: str | None) -> None:
    """A filter that BIRD would refuse, or that matches nothing, stops here."""
    obj = made("BGPFilter", **{"importV4": ..., field: [{"action": "Accept", **rule}]})

    assert fields(obj) == ({f"spec.{field}[0]{wrong}"} if wrong else set())


def test_an_iptables_word_for_a_route_is_answered() -> None:
    """Allow is policy's word, Accept is BGP's."""
    [fault] = faults(made("BGPFilter", importV4=[{"action": "Allow"}]))

    assert fault.mend == "write Accept"


FELIX: list[tuple[Object, str | None]] = [
    ({"iptablesBackend": "NFT"}, None), ({"iptablesBackend": "badVal"}, "spec.iptablesBackend"),
    ({"defaultEndpointToHostAction": "Drop"}, None), ({"defaultEndpointToHostAction": "DROP"}, None),
    ({"defaultEndpointToHostAction": "Allow"}, "spec.defaultEndpointToHostAction"),
    ({"iptablesMangleAllowAction": "Drop"}, "spec.iptablesMangleAllowAction"),
    ({"iptablesFilterDenyAction": "Reject"}, None), ({"kubeNodePortRanges": ["3000:4000", 15000, "5000"]}, None),
    ({"kubeNodePortRanges": list(range(1, 9))}, "spec.kubeNodePortRanges"),
    ({"kubeNodePortRanges": ["testport"]}, "spec.kubeNodePortRanges[0]"),
    ({"externalNodesList": ["1.1.1.1", "1.1.1.2/32", "1.1.3.0/23"]}, None),
    ({"externalNodesList": ["foobar"]}, "spec.externalNodesList[0]"),
    ({"externalNodesList": ["abcd::1"]}, "spec.externalNodesList[0]"), ({"openstackRegion": ""}, None),
    ({"openstackRegion": "foo"}, None), ({"openstackRegion": "FOO"}, "spec.openstackRegion"),
    ({"openstackRegion": "my-region-has-a-very-long-and-extremely-interesting-name"}, "spec.openstackRegion"),
    ({"logSeverityScreen": "badVal"}, "spec.logSeverityScreen"),
    ({"logSeveritySys": "Critical"}, "spec.logSeveritySys"),
    ({"iptablesNATOutgoingInterfaceFilter": "cali-123"}, None),
    ({"iptablesNATOutgoingInterfaceFilter": "cali@123"}, "spec.iptablesNATOutgoingInterfaceFilter"),
    ({"bpfLogLevel": "Off"}, None), ({"bpfLogLevel": False}, "spec.bpfLogLevel"),
    ({"bpfExtToServiceConnmark": 0xFFFFFFFF}, None), ({"bpfExtToServiceConnmark": -1}, "spec.bpfExtToServiceConnmark"),
    ({"bpfExtToServiceConnmark": 2**32}, "spec.bpfExtToServiceConnmark"), ({"bpfDataIfacePattern": "eth.*"}, None),
    ({"bpfDataIfacePattern": "*"}, "spec.bpfDataIfacePattern"), ({"mtuIfacePattern": "(?=a)"}, "spec.mtuIfacePattern"),
    ({"mtuIfacePattern": "(" * 5000}, "spec.mtuIfacePattern"),
    ({"routeTableRange": {"min": 1, "max": 250}}, None), ({"routeTableRange": {"min": 0, "max": 250}},
                                                          "spec.routeTableRange"),
    ({"routeTableRange": {"min": 50, "max": 45}}, "spec.routeTableRange"),
    ({"routeTableRange": {"min": 1}}, "spec.routeTableRange.max"),
    ({"routeTableRanges": [{"min": 8, "max": 8}, {"min": 7, "max": 7}]}, None),
    ({"routeTableRanges": [{"min": 0, "max": 250}]}, "spec.routeTableRanges[0].min"),
    ({"routeTableRanges": [{"min": 50, "max": 45}]}, "spec.routeTableRanges[0]"),
    ({"routeTableRanges": [{"min": 1, "max": 0x10000}]}, "spec.routeTableRanges"),
    ({"routeTableRanges": [{"min": 1, "max": 2}], "routeTableRange": {"min": 1, "max": 2}}, "spec.routeTableRange"),
    ({"healthTimeoutOverrides": [{"name": "Valid", "timeout": "0s"}]}, None),
    ({"healthTimeoutOverrides": [{"name": "Valid", "timeout": "-1s"}]}, "spec.healthTimeoutOverrides[0].timeout"),
    ({"healthTimeoutOverrides": [{"name": "%", "timeout": "1s"}]}, "spec.healthTimeoutOverrides[0].name"),
    ({"healthTimeoutOverrides": [{"timeout": "1s"}]}, "spec.healthTimeoutOverrides[0].name"),
    ({"natOutgoingAddress": "1.2.3.4"}, None), ({"natOutgoingAddress": "1.2.3.4/32"}, "spec.natOutgoingAddress"),
    ({"natOutgoingAddress": "aabb::1"}, "spec.natOutgoingAddress"), ({"deviceRouteSourceAddressIPv6": "aabb::1"}, None),
    ({"deviceRouteSourceAddressIPv6": "1.2.3.4"}, "spec.deviceRouteSourceAddressIPv6"),
    ({"prometheusMetricsHost": "fe80::ea7a:70fa:cf74:25d5"}, None),
    ({"prometheusMetricsHost": "localhost#"}, "spec.prometheusMetricsHost"), ({"wireguardListeningPort": 12345}, None),
    ({"wireguardListeningPort": 99999}, "spec.wireguardListeningPort"),
    ({"wireguardRoutingRulePriority": 99999}, "spec.wireguardRoutingRulePriority"),
    ({"wireguardInterfaceName": "wg&0"}, "spec.wireguardInterfaceName"), ({"serviceLoopPrevention": "Reject"}, None),
    ({"serviceLoopPrevention": "Wibbly"}, "spec.serviceLoopPrevention"), ({"awsSrcDstCheck": "enable"},
                                                                         "spec.awsSrcDstCheck"),
    ({"reportingInterval": "1m30s", "routeRefreshInterval": "0.5s", "netlinkTimeout": "0"}, None),
    ({"routeRefreshInterval": 90}, "spec.routeRefreshInterval"), ({"routeRefreshInterval": "90"},
                                                                  "spec.routeRefreshInterval"),
    ({"failsafeInboundHostPorts": [{"protocol": "tcp", "port": 22}, {"port": 0, "net": "10.0.0.0/8"}]}, None),
    ({"failsafeInboundHostPorts": []}, None),
    ({"failsafeInboundHostPorts": [{"protocol": "icmp", "port": 1}]}, "spec.failsafeInboundHostPorts[0].protocol"),
    ({"failsafeOutboundHostPorts": [{"protocol": "udp"}]}, "spec.failsafeOutboundHostPorts[0].port"),
    ({"logActionRateLimit": "10/second"}, None), ({"logActionRateLimit": "10"}, "spec.logActionRateLimit"),
    ({"logPrefix": "x %t/%n"}, None), ({"logPrefix": "a!b"}, "spec.logPrefix"),
    ({"featureDetectOverride": "SNATFullyRandom=true,RestoreSupportsLock="}, None),
    ({"featureDetectOverride": "a=maybe"}, "spec.featureDetectOverride"),
    ({"bpfConntrackTimeouts": {"tcpSynSent": "20s", "udpTimeout": "Auto"}}, None),
    ({"bpfConntrackTimeouts": {"tcpSynSent": "soon"}}, "spec.bpfConntrackTimeouts.tcpSynSent"),
    ({"bpfLogFilters": {"all": "host 10.0.0.1"}}, None), ({"bpfLogFilters": {"a b": ""}}, "spec.bpfLogFilters[a b]"),
    ({"nodeSelector": "has(a)"}, "spec.nodeSelector"), ({"istioDSCPMark": "EF"}, None),
    ({"bpfMaglevMaxServices": 3000}, None), ({"bpfMaglevMaxServices": 0}, "spec.bpfMaglevMaxServices"),
    ({"bpfMaglevMaxEndpointsPerService": 3001}, "spec.bpfMaglevMaxEndpointsPerService"),
    ({"iptablesMarkMask": 0xFFFF0000}, None), ({"iptablesMarkMask": "0xffff0000"}, "spec.iptablesMarkMask"),
]


@pytest.mark.parametrize(("spec", "field"), FELIX, ids=lambda part: str(part)[:80])
def test_laws_of_the_agents_settings(spec: Object, field: str | None) -> None:
    """From Calico's own tests of FelixConfiguration."""
    assert fields(made("FelixConfiguration", **spec)) == ({field} if field else set())


def test_a_selector_of_hosts_needs_a_free_name() -> None:
    """default and node.NAME already say for whom they are."""
    assert fields(made("FelixConfiguration", "racks", nodeSelector="has(rack)")) == set()
    assert fields(made("FelixConfiguration", "node.h1", nodeSelector="has(rack)")) == {"spec.nodeSelector"}


def test_a_bare_number_as_duration_is_given_its_unit() -> None:
    """The most common slip in this kind."""
    [text] = faults(made("FelixConfiguration", routeRefreshInterval="90"))
    [number] = faults(made("FelixConfiguration", routeRefreshInterval=90))

    assert text.mend == "say the unit: 90s"
    assert "90s" in number.mend


def docker_network(name: str, **spec: object) -> Object:
    return {"apiVersion": "muslin.dev/v1", "kind": "DockerNetwork", "metadata": {"name": name}, "spec": spec}


def test_a_docker_network_s_name_is_a_label_and_its_links_speak_ipv6() -> None:
    """dockerd would be told so by each host, one after the other."""
    assert fields(docker_network("n" * 63, mtu=1280)) == set()
    assert fields(docker_network("shop", mtu=0)) == set()
    [name] = faults(docker_network("n" * 64))
    assert (name.field, name.mend) == ("metadata.name", "write " + "n" * 63)
    [mtu] = faults(docker_network("shop", mtu=1279))
    assert (mtu.field, mtu.mend) == ("spec.mtu", "write 1280, or leave it out")
    assert fields(docker_network("shop", mtu=65535)) == set()
    assert fields(docker_network("shop", mtu=65536)) == {"spec.mtu"}

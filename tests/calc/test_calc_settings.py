"""What a host hears besides policy: settings, pools, its speaker."""

from __future__ import annotations

import pytest

from calcwords import Cluster, Object, Things, gnp, illegible, np, thing, wl
from muslin.intent import PolicyId, Settings
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import ResourceKey
from muslin.render.nft.names import prefixes


def felix(name: str = "default", **spec: object) -> Things:
    return thing("FelixConfiguration", name, spec)


def pool(name: str, cidr: str, **spec: object) -> Things:
    return thing("IPPool", name, {"cidr": cidr, **spec})


def node(name: str, address: str) -> Things:
    return thing("Node", name, {"bgp": {"ipv4Address": address}})


def block(cidr: str, owner: str | None, *borrowers: str) -> Things:
    """`borrowers` hold its first addresses."""
    return {ResourceKey("IPAMBlock", "", cidr): Block(
        cidr=cidr, affinity=owner and f"host:{owner}",
        allocations=tuple(range(len(borrowers))) + (None,) * (64 - len(borrowers)),
        attributes=tuple(BlockAttribute(handle_id="x", secondary={"node": name, "pod": "p"}) for name in borrowers))}


def settings(cluster: Cluster, at: str = "h1") -> Settings:
    return cluster.intent(at).settings


def test_without_configuration_settings_are_calicos_with_our_interface_prefix() -> None:
    found = settings(Cluster())
    assert (found.interface_prefix, found.endpoint_to_host_action, found.drop_invalid, found.ipv6, found.mtu) == (
        "mus", "Drop", True, True, 0)
    assert found.failsafe_inbound == (
        (6, 22, ""), *((6, port, "") for port in (179, 2379, 2380, 5473, 6443, 6666, 6667)), (17, 68, ""))
    assert found.failsafe_outbound[:2] == ((17, 53, ""), (17, 67, ""))


def test_the_hosts_own_configuration_wins_field_by_field() -> None:
    cluster = Cluster(
        felix(interfacePrefix="cali,tap", defaultEndpointToHostAction="ACCEPT", disableConntrackInvalidCheck=True),
        felix("node.h1", defaultEndpointToHostAction="Return", ipv6Support=False, failsafeInboundHostPorts=[]),
        hosts=("h1", "h2"),
    )
    one, two = settings(cluster, "h1"), settings(cluster, "h2")
    assert (one.interface_prefix, one.endpoint_to_host_action, one.drop_invalid, one.ipv6) == (
        "cali,tap,mus", "Return", False, False)
    assert (two.endpoint_to_host_action, two.ipv6) == ("Accept", True)
    assert one.failsafe_inbound == ()
    assert two.failsafe_inbound != ()
    delta = cluster.drop(felix("node.h1"))
    assert set(delta.hosts) == {"h1"}


@pytest.mark.parametrize("given", ["cali", " cali , tap,", "*", ",", "mus"])
def test_our_own_interfaces_are_workloads_whatever_prefix_is_configured(given: str) -> None:
    """Our links are named `mus...` all the same, and one whose endpoint is gone is shut by its prefix alone."""
    found = settings(Cluster(felix(interfacePrefix=given)))
    assert "mus" in prefixes(found)
    assert "" not in prefixes(found)


def test_failsafe_ports_have_a_protocol_and_may_have_a_net() -> None:
    cluster = Cluster(felix(failsafeOutboundHostPorts=[
        {"port": 22}, {"port": 53, "protocol": "udp", "net": "10.1.2.3/8"}, {"port": 0}, {"port": 1, "protocol": "x"}]))
    assert settings(cluster).failsafe_outbound == ((6, 22, ""), (17, 53, "10.0.0.0/8"))
    (fault,) = cluster.graph.faults().values()
    assert "port 0" in fault
    assert "'x'" in fault


def test_an_unknown_action_counts_as_not_given() -> None:
    cluster = Cluster(felix(defaultEndpointToHostAction="Reject"))
    assert settings(cluster).endpoint_to_host_action == "Drop"
    assert "Reject" in next(iter(cluster.graph.faults().values()))


@pytest.mark.parametrize(("obj", "action"), [
    (None, "Drop"),
    ({"spec": {"defaultEndpointToHostAction": 7}}, "Drop"),
    ({"spec": {"defaultEndpointToHostAction": "dropp", "mtu": "x"}}, "Drop"),
    ({"spec": {"defaultEndpointToHostAction": "DROP", "mtu": "x"}}, "Drop"),
    ({"spec": {"mtu": "x"}}, "Accept"),
])
def test_what_shut_a_host_shuts_it_though_it_cannot_be_read(obj: Object | None, action: str) -> None:
    """Else a damaged `node.h1` would open its host as far as `default` opens the others."""
    cluster = Cluster(felix(defaultEndpointToHostAction="Accept"), illegible(felix("node.h1"), obj=obj))
    assert settings(cluster).endpoint_to_host_action == action


def test_an_unknown_action_is_drop_whatever_a_weaker_configuration_says() -> None:
    cluster = Cluster(felix(defaultEndpointToHostAction="Accept"),
                      felix("node.h1", defaultEndpointToHostAction="Dropp"))
    assert settings(cluster).endpoint_to_host_action == "Drop"


def test_pools_and_those_that_masquerade() -> None:
    cluster = Cluster(pool("b", "10.66.0.0/16"), pool("a", "10.65.0.1/16", natOutgoing=True), pool("c", "x"),
                      pool("six", "fd65::/48"))
    assert settings(cluster).pools == ("10.65.0.0/16", "10.66.0.0/16", "fd65::/48")
    assert settings(cluster).masquerade == ("10.65.0.0/16",)
    assert "spec.cidr" in cluster.graph.faults()[ResourceKey("IPPool", "", "c")]
    cluster.put(pool("a", "10.65.0.0/16"))
    assert settings(cluster).masquerade == ()
    cluster.drop(pool("c", "x"))
    assert not cluster.graph.faults()


def test_a_configuration_that_does_not_decode_is_absent_and_reported() -> None:
    cluster = Cluster(felix(ipv6Support=False), pool("a", "10.65.0.0/16"))
    cluster.put(illegible(felix()), illegible(pool("a", "")))
    assert settings(cluster).ipv6
    assert settings(cluster).pools == ()
    assert len(cluster.graph.faults()) == 2


def test_a_host_with_a_node_speaks_and_announces_its_blocks() -> None:
    cluster = Cluster(node("h1", "172.16.0.1/24"), node("h2", "172.16.0.2/24"), pool("a", "10.65.0.0/16"),
                      block("10.65.0.0/26", "h1"), hosts=("h1", "h2", "h3"))
    speaker = cluster.intent("h1").bgp
    assert speaker is not None
    assert [session.peer_address for session in speaker.sessions] == ["172.16.0.2"]
    assert [origin.prefix for origin in speaker.originate] == ["10.65.0.0/26"]
    assert cluster.intent("h3").bgp is None


def test_a_block_concerns_its_owner_and_those_who_borrow_from_it() -> None:
    """Every assignment changes a block; hosts that it does not concern must not hear of it."""
    cluster = Cluster(*(node(f"h{n}", f"172.16.0.{n}/24") for n in (1, 2, 3)), pool("a", "10.65.0.0/16"),
                      hosts=("h1", "h2", "h3"))
    assert set(cluster.put(block("10.65.0.0/26", "h1", "h1")).hosts) == {"h1"}
    assert set(cluster.put(block("10.65.0.0/26", "h1", "h1", "h1")).hosts) == set()
    assert set(cluster.put(block("10.65.0.0/26", "h1", "h1", "h2")).hosts) == {"h2"}
    speaker = cluster.intent("h2").bgp
    assert speaker is not None
    assert [origin.prefix for origin in speaker.originate] == ["10.65.0.1/32"]
    assert set(cluster.put(block("10.65.0.0/26", "h3")).hosts) == {"h1", "h2", "h3"}
    assert set(cluster.drop(block("10.65.0.0/26", None)).hosts) == {"h3"}
    assert cluster.graph.statistics()["blocks of hosts"] == 0


def test_a_block_that_cannot_be_read_is_absent_and_reported() -> None:
    cluster = Cluster(node("h1", "172.16.0.1/24"))
    bad = {ResourceKey("IPAMBlock", "", "x"): Block(cidr="x", affinity="host:h1")}
    assert "cidr" in str(cluster.put(bad).faults)
    assert list(cluster.drop(bad).faults.values()) == [None]


def test_faults_of_bgp_objects_come_and_go() -> None:
    peer = thing("BGPPeer", "p", {"peerIP": "nonsense", "asNumber": 65000})
    cluster = Cluster(node("h1", "172.16.0.1/24"))
    assert list(cluster.put(peer).faults) == [ResourceKey("BGPPeer", "", "p")]
    assert list(cluster.put(wl("a", "h1", "10.65.0.2")).faults) == []
    assert list(cluster.drop(peer).faults.values()) == [None]


LOGGING = gnp("first.g", tier="first", ingress=[{"action": "Log"}, {"action": "Allow"}])


def prefix(cluster: Cluster, policy: str, at: str = "h1") -> str:
    return cluster.intent(at).policies[PolicyId(policy)].ingress[0].log_prefix


def test_a_log_rule_begins_with_what_the_configuration_says() -> None:
    """Existing configurations, and whoever reads their logs, find the words that they know."""
    cluster = Cluster(wl("web", "h1", "10.65.0.1"), LOGGING, np("n", ingress=[{"action": "Log"}]))
    assert prefix(cluster, "GlobalNetworkPolicy/first.g") == "muslin first/first.g ingress[0]"
    cluster.put(felix(logPrefix="calico-packet"))
    assert prefix(cluster, "NetworkPolicy/shop/n") == "calico-packet"
    cluster.put(felix(logPrefix="%t %k %p %n %%t %x"))
    assert prefix(cluster, "GlobalNetworkPolicy/first.g") == "first gnp first.g first.g %first %x"
    assert prefix(cluster, "NetworkPolicy/shop/n") == "default np shop/n n %default %x"
    cluster.drop(felix())
    assert prefix(cluster, "NetworkPolicy/shop/n") == "muslin default/shop/n ingress[0]"


def test_a_log_prefix_may_be_one_hosts_own() -> None:
    cluster = Cluster(wl("web", "h1", "10.65.0.1"), wl("db", "h2", "10.65.0.2"), LOGGING, felix(logPrefix="all"),
                      felix("node.h2", logPrefix="second %n"), hosts=("h1", "h2"))
    found = [prefix(cluster, "GlobalNetworkPolicy/first.g", at) for at in ("h1", "h2")]
    assert found == ["all", "second first.g"]


@pytest.mark.parametrize(("spec", "follows"), [({}, True), ({"establishedFlows": "Follow"}, True),
                                               ({"establishedFlows": "Keep"}, False)])
def test_whether_flows_follow_policy_is_the_clusters_choice(spec: Object, follows: bool) -> None:
    configuration = thing("ClusterConfiguration", "default", spec)
    cluster = Cluster(wl("web", "h1", "10.65.0.1"), configuration)
    assert cluster.intent().settings.follow_established is follows
    cluster.put(illegible(configuration))
    assert cluster.intent().settings.follow_established
    cluster.put(configuration)
    cluster.drop(configuration)
    assert cluster.intent().settings.follow_established

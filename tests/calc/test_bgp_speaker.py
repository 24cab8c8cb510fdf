"""What a host announces, and to whom: the BGP speaker that follows from Nodes, configurations, peers and blocks."""

from __future__ import annotations

from typing import Any

import pytest

from bgpwords import Cluster, bgp_filter, block, configuration, node, peer, pool, secret
from muslin.calc.bgp import Fabric
from muslin.intent import BgpSession
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import ResourceKey
from muslin.model.network import Community, FilterRule, Node, PrefixAdvertisement

TRIO = {"h1": node("10.0.0.1/24"), "h2": node("10.0.0.2/24"), "h3": node("10.0.0.3/24")}
NO_MESH = {"default": configuration(node_to_node_mesh_enabled=False)}


def test_without_any_resource_the_nodes_form_a_full_mesh_in_as_64512() -> None:
    """Calico's default: two Nodes with addresses are a working network."""
    assert Cluster(TRIO).peers_of("h1") == {"10.0.0.2": 64512, "10.0.0.3": 64512}
    assert Cluster(TRIO).of("h1").router_id == "10.0.0.1"


def test_both_ends_of_a_mesh_session_agree_who_calls() -> None:
    """Both calling costs a collision, nobody calling is no session. Calico compares addresses as text."""
    nodes = {"h1": node("10.0.0.9/24"), "h2": node("10.0.0.10/24")}

    calls = {host: not next(iter(Cluster(nodes).of(host).sessions)).passive for host in nodes}

    assert calls == {"h1": True, "h2": False} or calls == {"h1": False, "h2": True}
    assert calls["h1"], "10.0.0.9 is behind 10.0.0.10 as text, so it waits only for what is behind it"


def test_each_family_has_its_own_session_where_both_ends_have_an_address() -> None:
    """A v6 session to a host without IPv6 would be a red line for ever."""
    nodes = {
        "both": node("10.0.0.1/24", "fd00::1/64"), "four": node("10.0.0.2/24"), "six": node(v6="fd00::3/64"),
        "both2": node("10.0.0.4/24", "fd00::4/64"),
    }
    cluster = Cluster(nodes)

    assert set(cluster.peers_of("both")) == {"10.0.0.2", "10.0.0.4", "fd00::3", "fd00::4"}
    assert set(cluster.peers_of("six")) == {"fd00::1", "fd00::4"}


def test_a_host_without_ipv4_gets_a_router_id_of_its_own() -> None:
    """A router id has four bytes also in a world of IPv6, and two equal ones refuse to talk."""
    cluster = Cluster({"a": node(v6="fd00::1/64"), "b": node(v6="fd00::2/64")})

    assert cluster.of("a").router_id != cluster.of("b").router_id
    assert 1 <= int(cluster.of("a").router_id.split(".")[0]) <= 223


def test_a_node_without_bgp_is_neither_spoken_to_nor_speaks() -> None:
    cluster = Cluster({**TRIO, "quiet": Node()})

    assert cluster.asked("quiet") == (None, {})
    assert cluster.asked("nobody") == (None, {})
    assert len(cluster.of("h1").sessions) == 2


def test_as_numbers_come_from_the_node_then_the_default_configuration() -> None:
    """Dotted numbers are RFC 5396's asdot: 1.10 is 65546."""
    nodes = {**TRIO, "h4": node("10.0.0.4/24", as_number="1.10")}
    cluster = Cluster(nodes, configurations={"default": configuration(as_number=65000)})

    assert cluster.of("h1").local_as == 65000
    assert cluster.peers_of("h1") == {"10.0.0.2": 65000, "10.0.0.3": 65000, "10.0.0.4": 65546}


def test_a_node_with_a_garbled_as_is_left_out_and_named() -> None:
    """Guessing an AS for it would connect it to the wrong network."""
    cluster = Cluster({**TRIO, "h4": node("10.0.0.4/24", as_number="70000.1")})

    found, faults = cluster.asked("h1")

    assert found is not None
    assert {s.peer_address for s in found.sessions} == {"10.0.0.2", "10.0.0.3"}
    assert "asNumber" in faults[ResourceKey("Node", "", "h4")]


def test_the_mesh_can_be_switched_off() -> None:
    assert Cluster(TRIO, configurations=NO_MESH).of("h1").sessions == ()


def test_route_reflectors_stand_outside_the_mesh() -> None:
    """The others still mesh among themselves until the mesh is switched off, as in Calico."""
    nodes = {**TRIO, "rr": node("10.0.0.9/24", route_reflector_cluster_id="244.0.0.1")}
    cluster = Cluster(nodes)

    assert cluster.of("rr").sessions == ()
    assert set(cluster.peers_of("h1")) == {"10.0.0.2", "10.0.0.3"}


def test_a_reflector_and_its_clients_find_each_other_from_one_peer_resource() -> None:
    """Nobody writes a BGPPeer twice: the selected peer answers by itself, and knows its clients."""
    nodes = {**TRIO, "rr": node("10.0.0.9/24", labels={"rr": "yes"}, route_reflector_cluster_id="244.0.0.1")}
    cluster = Cluster(
        nodes, configurations=NO_MESH, peers={"to-rr": peer(node_selector="!has(rr)", peer_selector="has(rr)")}
    )

    assert set(cluster.peers_of("h1")) == {"10.0.0.9"}
    assert not any(session.reflector_client for session in cluster.of("h1").sessions)
    assert set(cluster.peers_of("rr")) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert all(session.reflector_client for session in cluster.of("rr").sessions)
    assert cluster.of("rr").cluster_id == "244.0.0.1"


def test_reflectors_of_one_cluster_are_no_clients_of_each_other() -> None:
    """Reflecting between equals of one cluster id would only loop."""
    reflector = {"labels": {"rr": "yes"}, "route_reflector_cluster_id": "244.0.0.1"}
    nodes = {"r1": node("10.0.0.1/24", **reflector), "r2": node("10.0.0.2/24", **reflector)}
    by_selector = Cluster(nodes, peers={"rr-mesh": peer(node_selector="has(rr)", peer_selector="has(rr)")})
    by_address = Cluster(nodes, peers={"rr-mesh": peer(node="r1", peer_ip="10.0.0.2", as_number=64512)})

    for cluster in (by_selector, by_address):
        assert [s.reflector_client for s in cluster.of("r1").sessions] == [False]
        assert [s.reflector_client for s in cluster.of("r2").sessions] == [False]


def test_a_manual_reverse_peering_is_left_to_the_user() -> None:
    wish = peer(node_selector="has(a)", peer_selector="has(b)", reverse_peering="Manual")
    nodes = {"a": node("10.0.0.1/24", labels={"a": ""}), "b": node("10.0.0.2/24", labels={"b": ""})}
    cluster = Cluster(nodes, configurations=NO_MESH, peers={"p": wish})

    assert set(cluster.peers_of("a")) == {"10.0.0.2"}
    assert cluster.peers_of("b") == {}


def test_a_peer_address_that_is_one_of_our_nodes_is_answered_and_reached_at_its_port() -> None:
    """A BGPPeer may name a node by address; the node has its own listening port."""
    configurations = {**NO_MESH, "node.h2": configuration(listen_port=1790)}
    cluster = Cluster(TRIO, configurations=configurations,
                      peers={"p": peer(node="h1", peer_ip="10.0.0.2", as_number=64512)})

    assert cluster.sessions("h1")["Node_10_0_0_2_port_1790"].peer_port == 1790
    assert cluster.of("h2").listen_port == 1790
    assert set(cluster.sessions("h2")) == {"Node_10_0_0_1"}


def test_a_speaker_of_another_as_at_a_nodes_address_is_not_the_node() -> None:
    """A router daemon beside ours, on the same machine, is its own master."""
    cluster = Cluster(TRIO, configurations=NO_MESH,
                      peers={"p": peer(node="h1", peer_ip="10.0.0.2:1790", as_number=65001)})

    assert cluster.sessions("h1")["Node_10_0_0_2_port_1790"].peer_as == 65001
    assert cluster.of("h2").sessions == ()


@pytest.mark.parametrize(
    ("written", "address", "port"),
    [("10.0.0.9", "10.0.0.9", 179), ("10.0.0.9:1790", "10.0.0.9", 1790), ("fd00::9", "fd00::9", 179),
     ("[fd00::9]:1790", "fd00::9", 1790), ("[FD00::0:9]", "fd00::9", 179)],
)
def test_a_peer_address_may_carry_a_port(written: str, address: str, port: int) -> None:
    nodes = {"h1": node("10.0.0.1/24", "fd00::1/64")}
    (session,) = Cluster(nodes, peers={"p": peer(peer_ip=written, as_number=65001)}).of("h1").sessions

    assert (session.peer_address, session.peer_port) == (address, port)


@pytest.mark.parametrize("written", ["10.0.0", "10.0.0.9:", "10.0.0.9:0", "[fd00::9", "[fd00::9]1790", "10.0.0.9:x"])
def test_a_garbled_peer_address_is_a_fault_of_its_resource(written: str) -> None:
    found, faults = Cluster(TRIO, configurations=NO_MESH, peers={"p": peer(peer_ip=written, as_number=1)}).asked("h1")

    assert found is not None
    assert found.sessions == ()
    assert "peerIP" in faults[ResourceKey("BGPPeer", "", "p")]


def test_several_wishes_for_one_session_make_one_session() -> None:
    """Global peers win over those of a node, those over reversed ones, and the mesh comes last; then by name."""
    peers = {
        "a-node": peer(node="h1", peer_ip="10.0.0.2", as_number=64512, keepalive_time="7s"),
        "z-global": peer(peer_ip="10.0.0.2", as_number=64512, keepalive_time="5s"),
        "y-global": peer(peer_ip="10.0.0.2", as_number=64512, keepalive_time="4s"),
    }
    cluster = Cluster(TRIO, peers=peers)

    assert set(cluster.sessions("h1")) == {"Global_10_0_0_2", "Mesh_10_0_0_3"}
    assert cluster.sessions("h1")["Global_10_0_0_2"].keepalive_time == 4


def test_nobody_peers_with_itself() -> None:
    cluster = Cluster(TRIO, peers={
        "everybody": peer(node_selector="all()", peer_selector="all()"),
        "me": peer(peer_ip="10.0.0.1", as_number=64512),
    })

    assert set(cluster.peers_of("h1")) == {"10.0.0.2", "10.0.0.3"}
    assert set(cluster.peers_of("h2")) == {"10.0.0.1", "10.0.0.3"}


def test_options_of_a_peer_reach_its_session() -> None:
    wish = peer(
        node="h1", peer_ip="10.0.0.9", as_number=65001, local_as_number=65009, next_hop_mode="Self",
        max_restart_time="1m30s", keepalive_time="20s", num_allowed_local_as_numbers=2, ttl_security=3,
        source_address="None", reachable_by="10.0.0.254",
    )
    (session,) = Cluster(TRIO, configurations=NO_MESH, peers={"tor": wish}).of("h1").sessions

    assert session == BgpSession(
        name="Node_10_0_0_9", origin="BGPPeer tor", peer_address="10.0.0.9", peer_as=65001, local_as=65009,
        next_hop_mode="Self", max_restart_time=90, keepalive_time=20, allowed_local_as=2, ttl_security=3,
        reachable_by="10.0.0.254",
    )


def test_a_node_that_speaks_as_another_as_is_answered_as_such() -> None:
    """localASNumber is about the near end; the far end must expect it, or the session never comes up."""
    wish = peer(node="h1", peer_selector="has(far)", local_as_number=65009)
    nodes = {"h1": node("10.0.0.1/24"), "h2": node("10.0.0.2/24", labels={"far": ""})}
    cluster = Cluster(nodes, configurations=NO_MESH, peers={"p": wish})

    (near,), (far,) = cluster.of("h1").sessions, cluster.of("h2").sessions

    assert (near.local_as, near.peer_as) == (65009, 64512)
    assert (far.local_as, far.peer_as) == (64512, 65009)


def test_keep_original_next_hop_counts_towards_other_ases_only_and_gives_way() -> None:
    """The old switch never meant iBGP, which keeps next hops anyway, and nextHopMode replaces it."""
    def mode(**spec: Any) -> str:
        (session,) = Cluster({"h1": TRIO["h1"]}, peers={"p": peer(peer_ip="10.0.0.9", **spec)}).of("h1").sessions
        return session.next_hop_mode

    assert mode(as_number=65001, keep_original_next_hop=True) == "Keep"
    assert mode(as_number=64512, keep_original_next_hop=True) == "Auto"
    assert mode(as_number=65001, keep_original_next_hop=True, next_hop_mode="Self") == "Self"


def test_a_missing_password_keeps_the_session_down_and_says_so() -> None:
    """An unprotected session where a protected one was asked for is an open door."""
    peers = {"p": peer(peer_ip="10.0.0.9", as_number=65001, password=secret("bgp", "tor"))}
    cluster = Cluster(TRIO, configurations=NO_MESH, peers=peers)

    found, faults = cluster.asked("h1")

    assert found is not None
    assert found.sessions == ()
    assert "password" in faults[ResourceKey("BGPPeer", "", "p")]


def test_a_password_that_can_be_had_protects_the_session() -> None:
    peers = {"p": peer(peer_ip="10.0.0.9", as_number=65001, password=secret("bgp", "tor"))}
    cluster = Cluster(TRIO, configurations=NO_MESH, peers=peers, secrets={("bgp", "tor"): "hush"})

    assert cluster.of("h1").sessions[0].password == "hush"


def test_a_mesh_without_its_password_does_not_come_up() -> None:
    cluster = Cluster(TRIO, configurations={"default": configuration(node_mesh_password=secret("bgp", "mesh"))})

    found, faults = cluster.asked("h1")

    assert found is not None
    assert found.sessions == ()
    assert "password" in faults[ResourceKey("BGPConfiguration", "", "default")]


def test_an_unknown_filter_keeps_the_session_down_and_says_so() -> None:
    """The filter may be what keeps routes in."""
    cluster = Cluster(TRIO, configurations=NO_MESH, peers={"p": peer(peer_ip="10.0.0.9", as_number=1, filters=("no",))})

    found, faults = cluster.asked("h1")

    assert found is not None
    assert found.sessions == ()
    assert "'no'" in faults[ResourceKey("BGPPeer", "", "p")]


def test_a_faulty_filter_takes_down_only_what_names_it() -> None:
    v6_among_v4 = FilterRule(cidr="fd00::/8", match_operator="In", action="Accept")
    filters = {
        "bad": bgp_filter(export_v4=(v6_among_v4,)),
        "good": bgp_filter(export_v4=(FilterRule(action="Reject"),)),
    }
    peers = {
        "p": peer(peer_ip="10.0.0.8", as_number=1, filters=("good",)),
        "q": peer(peer_ip="10.0.0.9", as_number=1, filters=("good", "bad")),
    }

    found, faults = Cluster(TRIO, configurations=NO_MESH, peers=peers, filters=filters).asked("h1")

    assert found is not None
    assert [session.peer_address for session in found.sessions] == ["10.0.0.8"]
    assert [used.name for used in found.filters] == ["good"]
    assert set(faults) == {ResourceKey("BGPFilter", "", "bad"), ResourceKey("BGPPeer", "", "q")}


@pytest.mark.parametrize(
    "spec",
    [{"peer_ip": "10.0.0.9", "peer_selector": "all()"}, {},
     {"node": "h1", "node_selector": "all()", "peer_ip": "10.0.0.9"},
     {"peer_selector": "a =="}, {"peer_selector": "all()", "as_number": 1},
     {"peer_ip": "10.0.0.9", "as_number": "0.0.1"},
     {"peer_ip": "10.0.0.9", "keepalive_time": "soon"}, {"peer_ip": "10.0.0.9", "max_restart_time": "2h"},
     {"peer_ip": "10.0.0.9", "reachable_by": "fd00::1"}, {"local_workload_selector": "all()", "as_number": 1}],
)
def test_a_peer_that_contradicts_itself_sets_up_nothing(spec: dict[str, Any]) -> None:
    found, faults = Cluster(TRIO, configurations=NO_MESH, peers={"p": peer(**spec)}).asked("h1")

    assert found is not None
    assert found.sessions == ()
    assert list(faults) == [ResourceKey("BGPPeer", "", "p")]


def announced(cluster: Cluster, host: str) -> dict[str, bool]:
    return {origin.prefix: origin.export for origin in cluster.of(host).originate}


def test_a_host_announces_its_blocks_whole_and_borrowed_addresses_singly() -> None:
    """64 workloads are one route; the address in another's block must be more specific than that block."""
    blocks = [
        block("10.65.0.0/26", "h1", {0: "h1", 1: "h1"}), block("fd65::/122", "h1"),
        block("10.65.0.64/26", "h2", {1: "h2", 2: "h1"}), block("10.65.0.128/26", "", {3: "h1"}),
        block("10.65.1.0/26", "h1", deleted=True),
    ]
    cluster = Cluster(TRIO, blocks=blocks, pools=[pool("10.65.0.0/16")])

    assert announced(cluster, "h1") == {
        "10.65.0.0/26": True, "10.65.0.66/32": True, "10.65.0.131/32": True, "fd65::/122": True,
    }
    assert announced(cluster, "h2") == {"10.65.0.64/26": True}


def test_a_block_of_one_address_is_announced_when_somebody_uses_it() -> None:
    """A blackhole for a /32 would swallow the workload's own route."""
    used = Cluster(TRIO, blocks=[block("10.65.0.7/32", "h1", {0: "h1"})])
    free = Cluster(TRIO, blocks=[block("10.65.0.7/32", "h1")])

    assert announced(used, "h1") == {"10.65.0.7/32": True}
    assert announced(free, "h1") == {}


def test_an_address_that_cools_down_is_no_longer_announced() -> None:
    held = Block(cidr="10.65.0.64/26", affinity="host:h2", allocations=(0,),
                 attributes=(BlockAttribute(secondary={"node": "h1"}, released_at="2026-01-01T00:00:00Z"),))

    assert announced(Cluster(TRIO, blocks=[held]), "h1") == {}


def test_a_pool_that_disables_export_is_withheld() -> None:
    blocks = [block("10.65.0.0/26", "h1"), block("10.66.0.0/26", "h1")]
    cluster = Cluster(TRIO, blocks=blocks, pools=[pool("10.65.0.0/16"), pool("10.66.0.0/16", disable_bgp_export=True)])

    assert announced(cluster, "h1") == {"10.65.0.0/26": True, "10.66.0.0/26": False}
    assert cluster.of("h1").accept == ("10.65.0.0/16",)
    assert cluster.of("h1").withhold == ("10.66.0.0/16",)


def test_communities_are_found_by_name_and_a_nodes_own_list_replaces_the_default() -> None:
    default = configuration(
        communities=(Community(name="rack", value="64512:0300"),),
        prefix_advertisements=(PrefixAdvertisement(cidr="10.65.0.0/16", communities=("rack", "65000:1:2")),),
    )
    own = configuration(prefix_advertisements=(PrefixAdvertisement(cidr="10.65.0.0/24", communities=("1:2",)),))
    cluster = Cluster(TRIO, configurations={"default": default, "node.h2": own})

    assert [(t.prefix, t.communities) for t in cluster.of("h1").communities] == [
        ("10.65.0.0/16", ("64512:300", "65000:1:2"))
    ]
    assert [(t.prefix, t.communities) for t in cluster.of("h2").communities] == [("10.65.0.0/24", ("1:2",))]


def test_an_unknown_community_name_is_a_fault_of_the_configuration() -> None:
    bad = configuration(prefix_advertisements=(PrefixAdvertisement(cidr="10.65.0.0/16", communities=("rack",)),))

    found, faults = Cluster(TRIO, configurations={"default": bad}).asked("h1")

    assert found is not None
    assert found.communities == ()
    assert "'rack'" in faults[ResourceKey("BGPConfiguration", "", "default")]


def test_many_hosts_ask_one_fabric() -> None:
    """The cluster's part is read once; the answer is the same as asking alone."""
    fabric = Fabric(TRIO, {}, {}, {}, [])

    assert fabric.speaker("h2", []) == Cluster(TRIO).of("h2")
    assert fabric.faults == {}

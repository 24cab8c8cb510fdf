"""Options of peers and configurations, seen from the other side: a plain router that nobody of ours has configured."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from bgpwords import Cluster, bgp_filter, block, configuration, node, peer, pool
from birdrig import Host, switched, wait_established
from muslin.model.network import (
    Community,
    FilterOperation,
    FilterRule,
    FilterSetPriority,
    PrefixAdvertisement,
)
from muslin.render.bird import conf
from netrig import in_ns, ip_json, run, wait_for

pytestmark = pytest.mark.kernel

POOLS = [pool("10.65.0.0/16"), pool("fd65::/112")]
ROUTER_AS = 65001


def router(number: int, *sessions: str, routes: str = "") -> str:
    """A plain BIRD at 10.0.0.N. `routes` are announced as its own."""
    return "\n".join([
        f"router id 10.0.0.{number};", "protocol device {}", "protocol direct { ipv4; ipv6; }",
        f"protocol static outside {{ ipv4; {routes} }}", *sessions,
    ]) + "\n"


def session(name: str, host: int, *, own_as: int = ROUTER_AS, host_as: int = 64512, more: str = "") -> str:
    return (f"protocol bgp {name} {{ local as {own_as}; neighbor 10.0.0.{host} as {host_as}; multihop; {more}"
            " ipv4 { import all; export where source ~ [RTS_STATIC, RTS_BGP]; }; }")


def said(host: Host, *words: str) -> str:
    """What the host's BIRD answers, be it that there is no such route."""
    control = str(host.bird.directory / "bird.ctl")
    return subprocess.run(["birdc", "-s", control, *words], capture_output=True, text=True, check=False).stdout


def towards(router_number: int, **spec: Any) -> dict[str, Any]:
    """Everybody peers with the router, nobody with each other."""
    return {
        "configurations": {"default": configuration(node_to_node_mesh_enabled=False)},
        "peers": {"router": peer(peer_ip=f"10.0.0.{router_number}", as_number=ROUTER_AS, **spec)},
        "pools": POOLS, "blocks": [block("10.65.0.0/26", "h1"), block("10.65.0.64/26", "h2")],
    }


ONE = {"h1": node("10.0.0.1/24")}


def start(cluster: Cluster, *hosts: Host) -> None:
    for host in hosts:
        host.apply(conf(cluster.of(host.name), log=str(host.bird.log)))


def test_communities_arrive_with_the_prefixes_they_are_for() -> None:
    parts = towards(2)
    parts["configurations"]["default"] = configuration(
        node_to_node_mesh_enabled=False, communities=(Community(name="rack", value="64512:300"),),
        prefix_advertisements=(PrefixAdvertisement(cidr="10.65.0.0/24", communities=("rack", "64512:1:2")),),
    )
    parts["blocks"] = [block("10.65.0.0/26", "h1"), block("10.65.7.0/26", "h1")]
    with switched("h1", "tor") as (host, tor):
        tor.apply(router(2, session("h1", 1)))
        start(Cluster(ONE, **parts), host)
        for net in ("10.65.0.0/26", "10.65.7.0/26"):
            wait_for(net, lambda net=net: net in said(tor, "show", "route"))  # type: ignore[misc]

        tagged, plain = (said(tor, "show", "route", net, "all") for net in ("10.65.0.0/26", "10.65.7.0/26"))
        assert "(64512,300)" in tagged
        assert "(64512, 1, 2)" in tagged
        assert "64512,300" not in plain


def test_routes_of_the_fabric_reach_the_kernel_but_are_told_on_only_inside_pools() -> None:
    """A host is no transit for what it has been told, except for workloads' addresses."""
    routes = "route 10.65.9.0/26 blackhole; route 198.51.100.0/24 blackhole;"
    parts = towards(2)
    parts["peers"]["other"] = peer(peer_ip="10.0.0.3", as_number=65003)
    with switched("h1", "tor", "other") as (host, tor, other):
        tor.apply(router(2, session("h1", 1), routes=routes))
        other.apply(router(3, session("h1", 1, own_as=65003)))
        start(Cluster(ONE, **parts), host)
        wait_for("the pool's route told on", lambda: "10.65.9.0/26" in said(other, "show", "route"))
        wait_for("both in the kernel", lambda: {"10.65.9.0/26", "198.51.100.0/24"} <= set(host.routes()))
        wait_for("the host's own", lambda: "[h1 " in said(other, "show", "route", "10.65.0.0/26"))

        assert "198.51.100.0/24" not in said(other, "show", "route")


@pytest.mark.parametrize(("mode", "expected"), [("Auto", "10.0.0.2"), ("Self", "10.0.0.1"), ("Keep", "10.0.0.2")])
def test_the_next_hop_is_as_the_peer_asks(mode: str, expected: str) -> None:
    """Between hosts of one AS, a route that the fabric brought keeps its next hop unless Self is asked for."""
    nodes = {"h1": node("10.0.0.1/24", labels={"rr": ""}, route_reflector_cluster_id="1.1.1.1"),
             "h3": node("10.0.0.3/24")}
    parts = towards(2)
    parts["peers"] = {
        "tor": peer(node="h1", peer_ip="10.0.0.2", as_number=ROUTER_AS),
        "clients": peer(node="h1", peer_ip="10.0.0.3", as_number=64512, next_hop_mode=mode),
    }
    with switched("h1", "tor", "h3") as (host, tor, client):
        tor.apply(router(2, session("h1", 1), routes="route 10.65.9.0/26 blackhole;"))
        start(Cluster(nodes, **parts), host, client)

        wait_for("the route", lambda: client.routes().get("10.65.9.0/26") == expected)


def test_a_host_may_speak_as_another_as_and_take_back_what_bears_its_own() -> None:
    """localASNumber towards this peer; numAllowedLocalASNumbers lets a route through that has passed our AS."""
    parts = towards(2, local_as_number=65009, num_allowed_local_as_numbers=1)
    with switched("h1", "tor") as (host, tor):
        outside = 'filter back { bgp_path.prepend(65009); accept; }'
        tor.apply(outside + "\n" + router(2, session("h1", 1, host_as=65009).replace(
            "export where source ~ [RTS_STATIC, RTS_BGP]", "export filter back"),
            routes="route 10.65.9.0/26 blackhole;"))
        start(Cluster(ONE, **parts), host)

        wait_for("our own AS come back", lambda: "10.65.9.0/26" in host.routes())
        wait_for("the other AS told", lambda: "65009" in said(tor, "show", "route", "10.65.0.0/26", "all"))


def test_a_route_with_our_own_as_in_its_path_is_refused_otherwise() -> None:
    with switched("h1", "tor") as (host, tor):
        outside = "filter back { if net = 10.65.9.0/26 then bgp_path.prepend(64512); accept; }"
        tor.apply(outside + "\n" + router(2, session("h1", 1).replace(
            "export where source ~ [RTS_STATIC, RTS_BGP]", "export filter back"),
            routes="route 10.65.9.0/26 blackhole; route 10.65.10.0/26 blackhole;"))
        start(Cluster(ONE, **towards(2)), host)
        wait_for("the innocent one", lambda: "10.65.10.0/26" in host.routes())

        assert "10.65.9.0/26" not in host.routes()


def test_with_bind_mode_node_ip_nothing_else_listens() -> None:
    parts = towards(2)
    parts["configurations"]["default"] = configuration(
        node_to_node_mesh_enabled=False, bind_mode="NodeIP", listen_port=1790)
    with switched("h1", "tor") as (host, tor):
        tor.apply(router(2, session("h1", 1).replace("neighbor 10.0.0.1", "neighbor 10.0.0.1 port 1790")))
        start(Cluster(ONE, **parts), host)
        wait_established(host, sessions=1)

        listening = {line.split()[3] for line in in_ns(host.ns, "ss", "-Htln").splitlines()}
        assert listening == {"10.0.0.1:1790"}


def test_a_world_of_ipv6_alone_works_too() -> None:
    nodes = {"h1": node(v6="fd00::1/64"), "h2": node(v6="fd00::2/64")}
    blocks = [block("fd65::/122", "h1"), block("fd65::40/122", "h2")]
    with switched("h1", "h2") as (one, two):
        for host in (one, two):
            run("ip", "-n", host.ns, "addr", "flush", "dev", "eth0", "scope", "global")
            run("ip", "-n", host.ns, "addr", "add", f"fd00::{host.number}/64", "dev", "eth0", "nodad")
        start(Cluster(nodes, blocks=blocks, pools=POOLS), one, two)

        wait_for("the other's block", lambda: one.routes(6).get("fd65::40/122") == "fd00::2")
        wait_for("and the other way round", lambda: two.routes(6).get("fd65::/122") == "fd00::1")


def test_a_peer_behind_a_gateway_is_reached_by_it() -> None:
    """reachableBy: a static route to the peer alone, which is told to nobody."""
    parts = towards(2, reachable_by="10.0.0.3")
    parts["peers"]["router"] = peer(peer_ip="192.0.2.1", as_number=ROUTER_AS, reachable_by="10.0.0.3")
    with switched("h1", "tor", "gw") as (host, tor, gateway):
        run("ip", "-n", tor.ns, "addr", "add", "192.0.2.1/32", "dev", "lo")
        run("ip", "-n", gateway.ns, "route", "add", "192.0.2.1/32", "via", "10.0.0.2")
        tor.apply(router(2, session("h1", 1, more="source address 192.0.2.1;")))
        start(Cluster(ONE, **parts), host)
        wait_established(host, sessions=1)

        assert ip_json(host.ns, "route", "show", "192.0.2.1")[0]["gateway"] == "10.0.0.3"
        wait_for("its block", lambda: "10.65.0.0/26" in said(tor, "show", "route"))
        assert "192.0.2.1/32" not in said(tor, "show", "route", "protocol", "h1")


def test_a_priority_travels_between_hosts_and_the_better_route_wins_while_it_is_there() -> None:
    """A filter at one host sets it on its way out. When that route goes, nothing of it is left in the kernel."""
    better = FilterRule(cidr="10.65.0.0/26", match_operator="Equal", action="Accept",
                        operations=(FilterOperation(set_priority=FilterSetPriority(value=512)),))
    nodes = {f"h{n}": node(f"10.0.0.{n}/24") for n in (1, 2, 3)}
    both = {
        "configurations": {"default": configuration(node_to_node_mesh_enabled=False)}, "pools": POOLS,
        "filters": {"better": bgp_filter(export_v4=(better,))},
        "peers": {"one": peer(node="h1", peer_ip="10.0.0.3", as_number=64512, filters=("better",)),
                  "two": peer(node="h2", peer_ip="10.0.0.3", as_number=64512)},
    }

    def owned_by(*hosts: str) -> Cluster:
        """The same block at several hosts, as while a workload moves."""
        return Cluster(nodes, blocks=[block("10.65.0.0/26", host) for host in hosts], **both)

    with switched("h1", "h2", "h3") as (one, two, three):
        start(owned_by("h2"), one, two, three)
        wait_for("the only one", lambda: kernel_routes(three) == ["10.0.0.2 1024"])
        start(owned_by("h1", "h2"), one)
        wait_for("the better one alone", lambda: kernel_routes(three) == ["10.0.0.1 1024"])
        assert "Kernel.metric: 512" in said(three, "show", "route", "10.65.0.0/26", "all")

        start(owned_by("h2"), one)
        wait_for("the other again, alone", lambda: kernel_routes(three) == ["10.0.0.2 1024"])


def kernel_routes(host: Host) -> list[str]:
    """Every one of them: a dictionary would hide a second route to the same place."""
    return [f"{route['gateway']} {route['metric']}" for route in ip_json(host.ns, "route", "show", "10.65.0.0/26")]


def test_two_equal_ways_are_used_both() -> None:
    """ECMP: the same block by two routers of equal standing."""
    with switched("h1", "tor1", "tor2") as (host, one, two):
        for number, tor in ((2, one), (3, two)):
            tor.apply(router(number, session("h1", 1, own_as=65000 + number), routes="route 10.65.9.0/26 blackhole;"))
        parts = towards(2)
        parts["peers"] = {f"tor{n}": peer(peer_ip=f"10.0.0.{n}", as_number=65000 + n) for n in (2, 3)}
        start(Cluster(ONE, **parts), host)

        wait_for("both gateways", lambda: {
            hop["gateway"] for route in ip_json(host.ns, "route", "show", "10.65.9.0/26")
            for hop in route.get("nexthops", [])
        } == {"10.0.0.2", "10.0.0.3"})

"""The whole course of a packet: both hosts' gates, what translates it on the way, and how each hop knows the next."""

from __future__ import annotations

from typing import Any

import pytest

from calcwords import OPEN, Things, allow, deny, gnp, thing, tier, wl
from muslin.calc.cluster import Graph
from muslin.explain import ends, question
from muslin.explain.ends import Hosts
from muslin.explain.question import Question
from muslin.model.ipam import Block
from muslin.model.meta import ResourceKey

HOSTS = {"h1": ("172.16.0.1",), "h2": ("172.16.0.2",)}


class Town:
    def __init__(self, *more: Things) -> None:
        self.graph = Graph()
        self.hosts: Hosts = HOSTS
        for each in (
            OPEN, tier("default", 100, "Deny"), wl("web", "h1", "10.65.0.1", role="web"),
            wl("job", "h1", "10.65.0.2", role="job"),
            wl("db", "h2", "10.65.1.1", role="db", spec={
                "ipNATs": [{"internalIP": "10.65.1.1", "externalIP": "203.0.113.9"}]}),
            *(thing("Node", name, {"bgp": {"ipv4Address": f"{addresses[0]}/24"}}) for name, addresses in HOSTS.items()),
            thing("IPPool", "pool", {"cidr": "10.65.0.0/16", "natOutgoing": True}),
            {ResourceKey("IPAMBlock", "", "10.65.1.0/26"): Block(cidr="10.65.1.0/26", affinity="host:h2")}, *more,
        ):
            self.graph.update(each)
        self.graph.flush()

    def why(self, source: str, destination: str, port: int = 80) -> dict[str, Any]:
        by, to = (ends.resolve(name, self.graph, self.hosts) for name in (source, destination))
        packet = question.packet_of(Question(port=port), by, to)
        found = question.decided(self, by, to, packet)
        return question.answer(self, by, to, packet, found, where=lambda origin: ("", 0))


def hep(name: str, at: str, interface: str = "", *ips: str) -> Things:
    return thing("HostEndpoint", name, {"node": at, "interfaceName": interface, "expectedIPs": list(ips)},
                 labels={"host": at})


def gates(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["host"], one["gate"], one["outcome"]) for one in found["gates"]]


def test_without_host_endpoints_only_the_workloads_own_policy_is_asked() -> None:
    """On both hosts."""
    assert gates(Town().why("web", "db")) == [("h1", "sender", "Allow"), ("h2", "receiver", "Allow")]


FORWARD = {"applyOnForward": True, "types": ["Ingress", "Egress"], "egress": [allow()]}


@pytest.mark.parametrize("endpoint", [("eth0",), ("", "172.16.0.2"), ("eth7", "172.16.0.2"), ("*",)])
def test_the_receivers_host_has_its_say(endpoint: tuple[str, ...]) -> None:
    """By whichever way the host endpoint names the interface to the fabric."""
    shut = gnp("shut", "host == 'h2'", ingress=[deny(protocol="TCP", to={"ports": [80]}), allow()], **FORWARD)
    town = Town(hep("uplink", "h2", *endpoint), shut)
    found = town.why("web", "db")
    assert found["verdict"] == "Deny"
    assert ("h2", "forward ingress", "Deny") in gates(found)
    assert found["ingress"]["verdict"] == "Allow", "the workload's own policy is told all the same"
    assert town.why("web", "db", 81)["verdict"] == "Allow"
    assert town.why("job", "web")["verdict"] == "Allow", "what stays on another host never comes there"


def test_the_senders_host_has_its_say() -> None:
    """On the way out."""
    shut = gnp("shut", "host == 'h1'", types=["Egress"], egress=[deny()], applyOnForward=True)
    town = Town(hep("uplink", "h1", "eth0"), shut)
    assert ("h1", "forward egress", "Deny") in gates(town.why("web", "db"))
    assert town.why("web", "job")["verdict"] == "Allow"
    assert town.why("web", "8.8.8.8")["verdict"] == "Deny"


def test_what_hosts_send_and_get_meets_their_own_policy() -> None:
    """And their failsafes."""
    town = Town(hep("door", "h2", "eth0"), gnp("ssh", "host == 'h2'", ingress=[
        allow(protocol="TCP", to={"ports": [8080]})]))
    assert town.why("web", "host/h2", 8080)["verdict"] == "Allow"
    assert town.why("web", "host/h2", 8081)["verdict"] == "Deny"
    assert town.why("h1", "h2", 22)["verdict"] == "Allow"
    assert town.why("h1", "h2", 8081)["verdict"] == "Deny"
    assert town.why("8.8.8.8", "h2", 8080)["verdict"] == "Allow"


def test_a_floating_address_leads_to_its_workload() -> None:
    """Only where the host's settings say so."""
    assert Town().why("8.8.8.8", "203.0.113.9")["ingress"] is None
    on = thing("FelixConfiguration", "default", {"floatingIPs": "Enabled"})
    found = Town(on, gnp("db", "role == 'db'", ingress=[deny()])).why("8.8.8.8", "203.0.113.9")
    assert found["verdict"] == "Deny"
    assert found["ingress"]["decided_by"]["name"] == "db"
    assert [(one["what"], one["old"], one["new"]) for one in found["translations"]] == [
        ("floating", "203.0.113.9", "10.65.1.1")]
    assert found["route"][-1]["what"] == "10.65.1.1"


def test_masquerade_is_told_towards_the_world_only() -> None:
    """Within the pools addresses stay as they are."""
    assert [one["what"] for one in Town().why("web", "8.8.8.8")["translations"]] == ["masquerade"]
    assert Town().why("web", "db")["translations"] == []


def hop(found: dict[str, Any]) -> dict[str, Any]:
    return next(hop for hop in found["route"] if "by" in hop)


def test_the_mesh_tells_the_way_directly() -> None:
    """With the prefix that is announced, and the next hop."""
    found = hop(Town().why("web", "db"))
    assert (found["at"], found["prefix"], found["next_hop"]) == ("h1", "10.65.1.0/26", "172.16.0.2")
    assert [one["how"] for one in found["by"]] == ["direct"]
    assert "its block 10.65.1.0/26" in found["what"]


def test_a_route_reflector_is_named() -> None:
    """Where the mesh is off."""
    off = thing("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})
    reflector = thing("Node", "rr", {"bgp": {"ipv4Address": "172.16.0.9/24", "routeReflectorClusterID": "1.0.0.1"}},
                      labels={"rr": "yes"})
    peer = thing("BGPPeer", "rr", {"nodeSelector": "!has(rr)", "peerSelector": "has(rr)"})
    found = hop(Town(off, reflector, peer).why("web", "db"))
    assert [(one["how"], one["peer"]) for one in found["by"]] == [("reflected", "172.16.0.9")]
    assert "route reflector rr" in found["by"][0]["text"]


def test_routers_of_the_fabric_are_named_and_what_leads_nowhere_too() -> None:
    """Nobody told is worth a line."""
    off = thing("BGPConfiguration", "default", {"nodeToNodeMeshEnabled": False})
    tor = thing("BGPPeer", "tor", {"peerIP": "172.16.0.254", "asNumber": 65000})
    assert [one["how"] for one in hop(Town(off, tor).why("web", "db"))["by"]] == ["fabric"]
    nobody = hop(Town(off).why("web", "db"))["by"]
    assert [(one["how"], one["text"]) for one in nobody] == [
        ("nobody", "no session and no reflector leads from h2 to h1")]


def test_a_published_port_of_a_host_leads_to_its_workload() -> None:
    """Other ports of the host are the host's own."""
    published = wl("db", "h2", "10.65.1.1", role="db", spec={
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432, "hostPort": 8080}]})
    town = Town(published, gnp("db", "role == 'db'", ingress=[allow(protocol="TCP", to={"ports": [5432]})]))
    found = town.why("8.8.8.8", "host/h2", 8080)
    assert [(one["what"], one["new"], one["port"]) for one in found["translations"]] == [
        ("published", "10.65.1.1", 5432)]
    assert (found["verdict"], found["ingress"]["decided_by"]["name"]) == ("Allow", "db")
    assert town.why("8.8.8.8", "host/h2", 8081)["ingress"] is None

"""Floating addresses from the outside in and from the inside out, and flows that go through a translation."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from agentrig import Site, site
from flowrig import Conversation, silent_after, talking
from muslin.client.blocking import MERGE_PATCH
from muslin.lab.record import Workload
from netrig import in_ns, ip_json, run, wait_for
from nftrig import own_socket
from outrig import UPLINK, Outside, outside

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

FLOATING = {4: "203.0.113.7", 6: "2001:db8:f::7"}
ENABLED = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
           "spec": {"floatingIPs": "Enabled"}}
V3 = "/apis/projectcalico.org/v3"


@pytest.fixture
def world() -> Iterator[tuple[Site, Outside]]:
    with site() as place, outside(place.make_host("h1")) as there:
        place.api.post(f"{V3}/felixconfigurations", ENABLED)
        there.routes("203.0.113.7/32", "2001:db8:f::7/128")
        place.start_agent("h1")
        yield place, there


def conversation(caller: str, address: str, answerer: str, own: str, kind: int) -> tuple[Conversation, str]:
    """From one namespace to an address that leads to another, and whom the answerer takes for his peer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    two, one = own_socket(answerer, family, kind), own_socket(caller, family, kind)
    for each in (one, two):
        each.settimeout(5)
    two.bind((own, 0))
    to = (address, two.getsockname()[1])
    if kind == socket.SOCK_STREAM:
        two.listen()
        one.connect(to)
        door, (two, peer) = two, two.accept()
        door.close()
    else:
        one.connect(to)
        one.send(b"!")
        peer = two.recvfrom(10)[1]
        two.connect(peer[:2])
    return Conversation(f"kind {kind} to {address}", one, two), peer[0]


KINDS = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])


@KINDS
def test_the_world_reaches_a_workload_by_its_floating_address_and_hears_from_that(
    world: tuple[Site, Outside], kind: int
) -> None:
    """The sockets are connected: an answer from any other address would not be heard."""
    place, there = world
    web = place.guest("h1", "web", floating=list(FLOATING.values()))
    for version, floating in FLOATING.items():
        inwards, seen = conversation(there.network, floating, web.network, web.address(version), kind)
        assert seen == there.address(version), "the workload sees who asks"
        outwards, seen = conversation(web.network, there.address(version), there.network, there.address(version), kind)
        assert seen == floating, "what it begins leaves from there, too"
        with talking(inwards, outwards):
            pass
    routes = {route["dst"]: route["dev"] for route in ip_json(place.space("h1"), "route", "show", "proto", "80")}
    assert routes["203.0.113.7"] == routes[web.address(4)]


CLOSED = {"selector": "all()", "types": ["Ingress", "Egress"]}


@KINDS
def test_flows_through_a_floating_address_end_when_policy_denies_them(world: tuple[Site, Outside], kind: int) -> None:
    """Policy speaks of the workload's own address; both ends go on trying, the outer one to the floating address."""
    place, there = world
    web = place.guest("h1", "web", floating=list(FLOATING.values()))
    both = [
        one for version, floating in FLOATING.items() for one in (
            conversation(there.network, floating, web.network, web.address(version), kind)[0],
            conversation(web.network, there.address(version), there.network, there.address(version), kind)[0],
        )
    ]
    with talking(*both) as conversations:
        place.api.post(f"{V3}/globalnetworkpolicies", policy(CLOSED))
        silent_after(conversations, time.monotonic())


@KINDS
def test_a_masqueraded_flow_ends_when_policy_denies_it(kind: int) -> None:
    with site() as place, outside(place.make_host("h1")) as there:
        for pool in ("four", "six"):
            place.api.patch(f"{V3}/ippools/{pool}", {"spec": {"natOutgoing": True}}, kind=MERGE_PATCH)
        place.start_agent("h1")
        web = place.guest("h1", "web")
        both = []
        for version in (4, 6):
            made, seen = conversation(web.network, there.address(version), there.network, there.address(version), kind)
            assert seen == UPLINK[version]
            both.append(made)
        with talking(*both) as conversations:
            place.api.post(f"{V3}/globalnetworkpolicies", policy(CLOSED))
            silent_after(conversations, time.monotonic())


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "gate"},
            "spec": spec}


@pytest.mark.parametrize("agent_dies", [False, True])
def test_the_next_holder_of_a_floating_address_gets_its_packets_also_in_the_middle_of_a_flow(
    world: tuple[Site, Outside], agent_dies: bool
) -> None:
    """Conntrack would go on translating to the first one for as long as somebody sends."""
    place, there = world
    one = place.guest("h1", "one", floating=[FLOATING[4]])
    two = place.guest("h1", "two")
    with (own_socket(one.network, socket.AF_INET, socket.SOCK_DGRAM) as first,
          own_socket(two.network, socket.AF_INET, socket.SOCK_DGRAM) as second,
          own_socket(there.network, socket.AF_INET, socket.SOCK_DGRAM) as caller):
        for each, workload in ((first, one), (second, two)):
            each.bind((workload.address(4), 4444))
            each.setblocking(False)
        caller.connect((FLOATING[4], 4444))
        wait_for("the first holder to hear", lambda: heard(caller, first))
        if agent_dies:
            place.signal("agent-h1", signal.SIGKILL)
        pairs = [{"externalIP": FLOATING[4], "internalIP": two.address(4)}]
        for name, nats in (("one", []), ("two", pairs)):
            [found] = [item for item in place.api.get(f"{V3}/workloadendpoints")["items"]
                       if item["spec"]["workload"] == name]
            place.api.patch(f"{V3}/namespaces/default/workloadendpoints/{found['metadata']['name']}",
                            {"spec": {"ipNATs": nats}}, kind=MERGE_PATCH)
            heard(caller, first)
        if agent_dies:
            place.start_agent("h1")
        wait_for("the second holder to hear", lambda: heard(caller, second))


def test_a_restarted_agent_leaves_flows_through_a_floating_address_alone(world: tuple[Site, Outside]) -> None:
    place, there = world
    web = place.guest("h1", "web", floating=list(FLOATING.values()))
    both = [conversation(there.network, FLOATING[4], web.network, web.address(4), socket.SOCK_DGRAM)[0],
            conversation(web.network, there.address(6), there.network, there.address(6), socket.SOCK_DGRAM)[0]]
    with talking(*both):
        place.signal("agent-h1", signal.SIGKILL)
        place.start_agent("h1")
        wait_for("its second look", lambda: "applied" in place.words("agent-h1"))
        assert [each.settled_loss() for each in both] == [[0, 0], [0, 0]]


def heard(caller: socket.socket, end: socket.socket) -> bool:
    with suppress(ConnectionRefusedError):
        caller.send(b"?")
    return bool(select.select([end], [], [], 0.05)[0])


def test_another_host_learns_by_bgp_where_a_floating_address_is() -> None:
    with site() as place:
        spaces = [place.make_host(host) for host in ("h1", "h2")]
        run("ip", "link", "add", "up0", "netns", spaces[0], "type", "veth", "peer", "name", "up0", "netns", spaces[1])
        for number, space in enumerate(spaces, 1):
            run("ip", "-n", space, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", space, "addr", "add", f"2001:db8::{number}/64", "dev", "up0", "nodad")
            run("ip", "-n", space, "link", "set", "up0", "up")
        place.api.post(f"{V3}/felixconfigurations", ENABLED)
        for host in ("h1", "h2"):
            place.start_agent(host, "--as-number", "64512")
        one, other = place.guest("h1", "one", floating=list(FLOATING.values())), place.guest("h2", "other")
        for version, floating in FLOATING.items():
            wait_for(f"the way to {floating}", lambda floating=floating: reaches(other, floating), seconds=30)
            made, seen = conversation(other.network, floating, one.network, one.address(version), socket.SOCK_DGRAM)
            assert seen == other.address(version)
            with talking(made):
                pass
        place.remove(one)
        wait_for("the announcement to go", lambda: not ip_json(place.space("h2"), "route", "show", FLOATING[4]))


def reaches(one: Workload, address: str) -> bool:
    return "1 received" in in_ns(one.network, "ping", "-c1", "-W0.5", address, check=False)

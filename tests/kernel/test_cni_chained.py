"""Plugins of the reference project chained after ours, as conflists have them: real portmap, tuning and bandwidth."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agentrig import V3, Site, deny_to, ping, site
from cnichain import Chain
from netrig import ip_json, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
BANDWIDTH = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
TUNING = {"type": "tuning", "capabilities": {"mac": True}, "sysctl": {"net.ipv4.conf.eth0.arp_announce": "2"}}
OUTSIDE, HOST = "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    """The host has a neighbour outside, who is no workload."""
    with site() as made, namespace("outside") as outside:
        made.start_agent("h1")
        host = made.space("h1")
        run("ip", "-n", outside, "link", "add", "up0", "type", "veth", "peer", "name", "uplink", "netns", host)
        run("ip", "-n", outside, "addr", "add", f"{OUTSIDE}/24", "dev", "up0")
        run("ip", "-n", outside, "link", "set", "up0", "up")
        run("ip", "-n", outside, "route", "add", "10.65.0.0/16", "via", HOST)
        run("ip", "-n", host, "addr", "add", f"{HOST}/24", "dev", "uplink")
        run("ip", "-n", host, "link", "set", "uplink", "up")
        made.use_host("outside", outside)
        yield made


def ours(place: Site, **capabilities: bool) -> dict[str, Any]:
    return {"type": "muslin", "agentSocket": str(place.run / "agents" / "h1.sock"), "stateDir": str(place.state),
            "capabilities": capabilities}


@contextmanager
def answering(space: str, port: int) -> Iterator[None]:
    """A server that says hello there, until the end."""
    with in_process(space, SERVER, str(port)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


@contextmanager
def in_process(space: str, script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(["nsenter", f"--net=/run/netns/{space}", sys.executable, "-IS", "-c", script, *words],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


SERVER = """
import socket, sys
door = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print(flush=True)
while True:
    caller, _ = door.accept()
    caller.sendall(b"hello")
    caller.close()
"""
CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as peer:
        print(peer.recv(9).decode())
except OSError as error:
    print(error)
"""


def hears(space: str, address: str, port: int, seconds: float = 5.0) -> bool:
    with in_process(space, CLIENT, address, str(port), str(seconds)) as process:
        return "hello" in process.communicate(timeout=30)[0]


MAPPING = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]


def test_portmap_after_us_leads_packets_to_the_container(place: Site) -> None:
    """Its CHECK (1.1.1) looks for IPv4's rules in IPv6's table, too, and so fails with any dual-stack plugin."""
    chain, outside = Chain(place.space("h1"), [ours(place), PORTMAP]), place.space("outside")
    with namespace("c") as space, answering(space, 80):
        result = chain.add("mapped", f"/run/netns/{space}", portMappings=MAPPING)
        assert hears(outside, HOST, 8080)
        place.declare(deny_to("shut", "all()", protocol="TCP", destination={"ports": [80]}))
        wait_for("policy, which judges what is mapped, too", lambda: not hears(outside, HOST, 8080, 0.5))
        place.api.delete(f"{V3}/globalnetworkpolicies/shut")
        wait_for("the policy's end", lambda: hears(outside, HOST, 8080, 0.5))
        chain.delete("mapped", f"/run/netns/{space}", result, portMappings=MAPPING)
        assert not hears(outside, HOST, 8080, 0.5)


def test_without_portmap_we_map_ports_ourselves(place: Site) -> None:
    chain, outside = Chain(place.space("h1"), [ours(place, portMappings=True)]), place.space("outside")
    with namespace("c") as space, answering(space, 80):
        result = chain.add("mapped", f"/run/netns/{space}", portMappings=MAPPING)
        assert hears(outside, HOST, 8080)
        chain.delete("mapped", f"/run/netns/{space}", result)
        assert not hears(outside, HOST, 8080, 0.5)


def test_tuning_after_us(place: Site) -> None:
    """A MAC must be declared for us as well: the host sends to the one that we know."""
    chain = Chain(place.space("h1"), [ours(place, mac=True), TUNING | {"mtu": 1400}])
    with namespace("c") as space:
        result = chain.add("tuned", f"/run/netns/{space}", mac="02:00:00:00:00:42")
        [link] = ip_json(space, "link", "show", "eth0")
        assert (link["mtu"], link["address"]) == (1400, "02:00:00:00:00:42")
        assert result["interfaces"][1]["mac"] == "02:00:00:00:00:42"
        chain.check("tuned", f"/run/netns/{space}", result, mac="02:00:00:00:00:42")
        wait_for("an answer, where tuning had the neighbours forgotten", lambda: ping(space, OUTSIDE))
        chain.delete("tuned", f"/run/netns/{space}", result)
        assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}


RATE = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 800_000}


def queues(place: Site, interface: str) -> list[dict[str, Any]]:
    return json.loads(run("tc", "-n", place.space("h1"), "-j", "qdisc", "show", "dev", interface))


def test_bandwidth_after_us_limits_our_interface_and_stays(place: Site) -> None:
    chain = Chain(place.space("h1"), [ours(place), BANDWIDTH])
    with namespace("c") as space:
        result = chain.add("slow", f"/run/netns/{space}", bandwidth=RATE)
        interface = result["interfaces"][0]["name"]
        before = queues(place, interface)
        assert {queue["kind"] for queue in before} >= {"tbf", "ingress"}, before
        for _ in range(2):  # each has the whole kernel looked at, and what is not as it should be mended
            chain.check("slow", f"/run/netns/{space}", result, bandwidth=RATE)
        assert queues(place, interface) == before
        chain.delete("slow", f"/run/netns/{space}", result, bandwidth=RATE)
    assert not [link for link in ip_json(place.space("h1"), "link", "show") if link["ifname"].startswith("bwp")]


def test_without_bandwidth_we_limit_ourselves(place: Site) -> None:
    chain = Chain(place.space("h1"), [ours(place, bandwidth=True)])
    with namespace("c") as space:
        result = chain.add("slow", f"/run/netns/{space}", bandwidth=RATE)
        [endpoint] = place.api.get(f"{V3}/workloadendpoints")["items"]
        assert endpoint["spec"]["qosControls"] == {
            "ingressBandwidth": 8_000_000, "ingressBurst": 800_000, "egressBandwidth": 16_000_000,
            "egressBurst": 800_000}
        assert {queue["kind"] for queue in queues(place, result["interfaces"][0]["name"])} - {"noqueue"}
        chain.delete("slow", f"/run/netns/{space}", result)

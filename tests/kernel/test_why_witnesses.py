"""`why --live` and `--trace`: what the kernel says beside what was reckoned. Real server, agents, packets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from agentrig import MUSLIN, Site, deny_to, ping, site
from netrig import in_ns, ip_json, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
Json = dict[str, Any]
HOST = "h1"


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def packet(source: str, destination: str, port: int = 80, protocol: int = 6, **more: Any) -> Json:
    return {"source": source.partition("/")[0], "destination": destination.partition("/")[0], "protocol": protocol,
            "destination_port": port if protocol == 6 else 0, **more}


def kept(space: str) -> tuple[str, str]:
    """What tracing must not leave: tables, filters."""
    names = [link["ifname"] for link in ip_json(space, "link", "show")]
    filters = [in_ns(space, "tc", "filter", "show", "dev", name, "egress", check=False) for name in names]
    return in_ns(space, "nft", "list", "tables"), "".join(filters) + in_ns(space, "tc", "qdisc", "show")


@pytest.mark.parametrize("family", [0, 1])
@pytest.mark.parametrize("backend", ["nftables", "iptables-nft"])
def test_a_traced_packet_dies_where_why_says_or_leaves(place: Site, backend: str, family: int) -> None:
    """In both families; nothing of the tracing is left behind."""
    place.start_agent(HOST, "--no-bgp", "--dataplane", backend)
    web, db = place.guest(HOST, "web", labels={"app": "web"}), place.guest(HOST, "db", labels={"app": "db"})
    place.declare(deny_to("no-ssh", "app == 'db'", protocol="TCP", destination={"ports": [22]}))
    agent, (by, to) = place.agent(HOST), (web.addresses[family], db.addresses[family])
    wait_for("the policy", lambda: agent.post("/v1/why", packet(by, to, 22))["verdict"] == "Deny")
    before = kept(place.space(HOST))

    died = agent.post("/v1/trace", packet(by, to, 22))
    left = agent.post("/v1/trace", packet(by, to, 23))

    assert (died["fate"], died["rule"]) == ("died", "GlobalNetworkPolicy/no-ssh ingress 0"), died["events"]
    assert left["fate"] == "left", left
    assert left["leaves_by"] == ip_json(place.space(HOST), "route", "get", to.partition("/")[0])[0]["dev"]
    assert any("GlobalNetworkPolicy/no-ssh ingress 1" in event.get("comment", "") for event in left["events"])
    assert kept(place.space(HOST)) == before


def test_live_counts_and_sees_what_somebody_changed(place: Site) -> None:
    """The agent mends it as well, but a moment later."""
    place.start_agent(HOST)
    web, db = place.guest(HOST, "web", labels={"app": "web"}), place.guest(HOST, "db", labels={"app": "db"})
    place.declare(deny_to("no-ping", "app == 'db'", protocol="ICMP"))
    agent = place.agent(HOST)
    wait_for("the policy", lambda: not ping(web.network, db.addresses[0]))
    asked = packet(web.addresses[0], db.addresses[0], protocol=1)

    first = agent.post("/v1/why", asked)
    assert not ping(web.network, db.addresses[0])
    second = agent.post("/v1/why", asked)

    counts = [next(gate["packets"] for gate in seen["gates"] if gate["gate"] == "receiver")
              for seen in (first, second)]
    assert counts[1] > counts[0]
    assert (second["verdict"], second["drift"], second["in_sync"]) == ("Deny", [], True)
    assert second["mtu"] == 1500
    in_ns(place.space(HOST), "nft", "add", "rule", "inet", "muslin", "forward", "counter", "accept")
    assert any("forward" in what for what in agent.post("/v1/why", asked)["drift"])
    wait_for("its end", lambda: not agent.post("/v1/why", asked)["drift"], 20)


def test_the_command_shows_both(place: Site) -> None:
    """Asked from the machine, not from the host's namespace: the agent's socket is enough."""
    place.start_agent(HOST)
    place.guest(HOST, "web", labels={"app": "web"})
    place.guest(HOST, "db", labels={"app": "db"})
    place.declare(deny_to("no-ssh", "app == 'db'", protocol="TCP", destination={"ports": [22]}))
    environment = {**os.environ, "MUSLIN_RUN": str(place.run), "MUSLIN_SERVER": f"unix:{place.run / 'server.sock'}"}

    def why(*words: str) -> str:
        return subprocess.run([MUSLIN, "why", "web", "db", "tcp/22", *words], env=environment, capture_output=True,
                              text=True, check=True).stdout

    wait_for("the policy", lambda: "denied" in why())
    text = why("--live", "--trace")
    assert "h1: as reckoned (nftables, mtu 1500)" in text
    assert "it died in inet muslin" in text
    assert "GlobalNetworkPolicy/no-ssh ingress 0" in text
    found = json.loads(why("--live", "-o", "json"))
    assert [one["host"] for one in found["live"]] == ["h1"]


def test_a_backend_that_cannot_trace_says_so(place: Site) -> None:
    """And what can be asked instead."""
    place.start_agent(HOST, "--no-bgp", "--dataplane", "iptables-legacy")
    web, db = place.guest(HOST, "web"), place.guest(HOST, "db")
    with pytest.raises(Exception, match="does not trace; muslin why --live"):
        place.agent(HOST).post("/v1/trace", packet(web.addresses[0], db.addresses[0]))
    assert place.agent(HOST).post("/v1/why", packet(web.addresses[0], db.addresses[0]))["drift"] == []

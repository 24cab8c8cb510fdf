"""What carries the cluster itself, and whether a change would cut it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice

import pytest

from muslin.explain.lockout import Cut, cuts, new_cuts
from muslin.explain.scene import Connection, scene
from muslin.model import documents
from muslin.model.meta import Resource, ResourceKey
from muslin.offline import assemble, is_foreign

BASE = """
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: h1}
spec: {bgp: {ipv4Address: 192.0.2.1/24, asNumber: 64512}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: h2}
spec: {bgp: {ipv4Address: 192.0.2.2/24, asNumber: 64512}}
"""
HEP = """
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: NODE, labels: {sort: host}}
spec: {node: NODE, interfaceName: '*', expectedIPs: [ADDRESS], profiles: [PROFILE]}
"""
POLICY = """
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: hosts}
spec: {selector: sort == 'host', types: [Ingress, Egress]MORE}
"""
NO_FAILSAFES = """
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {failsafeInboundHostPorts: [], failsafeOutboundHostPorts: []}
"""
H1 = HEP.replace("NODE", "h1").replace("ADDRESS", "192.0.2.1").replace("PROFILE", "projectcalico-default-allow")
H2 = HEP.replace("NODE", "h2").replace("ADDRESS", "192.0.2.2").replace("PROFILE", "projectcalico-default-allow")
SERVER = Connection("h2", "192.0.2.2", "192.0.2.1", 7443)
FAR_SERVER = Connection("h1", "192.0.2.1", "198.51.100.9", 7443)


def resources(text: str) -> Mapping[ResourceKey, Resource]:
    reading = documents.read(text, "t.yaml", is_foreign)
    found = assemble(reading.objects, reading.foreign)
    assert not reading.faults + found.faults, reading.faults + found.faults
    return found.world.resources


def cut(text: str, *connections: Connection) -> list[Cut]:
    return list(cuts(scene(resources(text), connections)))


def policy(more: str = "") -> str:
    return POLICY.replace("MORE", more)


def test_without_host_endpoints_nothing_can_be_cut() -> None:
    assert cut(BASE + policy() + NO_FAILSAFES, SERVER, FAR_SERVER) == []


def test_host_endpoints_that_allow_everything_cut_nothing() -> None:
    assert cut(BASE + H1 + H2 + NO_FAILSAFES, SERVER, FAR_SERVER) == []


def test_a_policy_that_closes_hosts_cuts_the_agent_from_its_server() -> None:
    """Port 7443 is no failsafe; BGP's port is one."""
    [found] = cut(BASE + H1 + policy(), FAR_SERVER)
    assert (found.host, found.outwards, found.port) == ("h1", True, 7443)
    assert "the agent of h1 would lose the server at 198.51.100.9 port 7443" in found.text
    assert "failsafeOutboundHostPorts" in found.text


def test_the_servers_own_host_may_be_the_one_that_closes() -> None:
    [found] = cut(BASE + H1 + policy(), SERVER)
    assert (found.host, found.outwards, found.remote) == ("h1", False, "192.0.2.2")
    assert "failsafeInboundHostPorts" in found.text


def test_what_a_policy_allows_or_a_failsafe_names_is_not_cut() -> None:
    allowing = (", egress: [{action: Allow, protocol: TCP, destination: {ports: [7443]}}], "
                "ingress: [{action: Allow, protocol: TCP, destination: {ports: [7443]}}]")
    assert cut(BASE + H1 + H2 + policy(allowing), SERVER, FAR_SERVER) == []
    named = NO_FAILSAFES.replace("InboundHostPorts: []", "InboundHostPorts: [{protocol: tcp, port: 7443}, "
                                 "{protocol: tcp, port: 179}]").replace(
        "OutboundHostPorts: []", "OutboundHostPorts: [{protocol: tcp, port: 7443}, {protocol: tcp, port: 179}]")
    assert cut(BASE + H1 + H2 + policy() + named, SERVER, FAR_SERVER) == []


def test_bgp_is_cut_where_neither_end_can_open_it() -> None:
    """Failsafes keep it up; one direction is enough."""
    assert cut(BASE + H1 + policy()) == []
    [found] = cut(BASE + H1 + policy() + NO_FAILSAFES)
    assert "the BGP session of h1 with h2 (192.0.2.2) would end" in found.text
    one_way = ", ingress: [{action: Allow, protocol: TCP, destination: {ports: [179]}}]"
    assert cut(BASE + H1 + policy(one_way) + NO_FAILSAFES) == []


def test_an_untracked_policy_must_let_the_answers_back() -> None:
    """What is not tracked is no answer to anything, so the answer must be allowed for itself. (Such a policy is not
    for `*`.)"""
    named = H1.replace("'*'", "eth0")
    allowing = ", egress: [{action: Allow, protocol: TCP, destination: {ports: [7443]}}]"
    untracked = policy(", doNotTrack: true, applyOnForward: true" + allowing).replace("name: hosts", "name: fast")
    assert cut(BASE + named + policy(allowing), FAR_SERVER) == []
    [found] = cut(BASE + named + policy(allowing) + untracked, FAR_SERVER)
    assert found.host == "h1"


def test_a_missing_profile_cuts_as_it_denies() -> None:
    assert cut(BASE + H1.replace("projectcalico-default-allow", "nowhere"), FAR_SERVER)


def test_only_what_the_change_cuts_counts() -> None:
    """Who is cut off already may still write."""
    before = cut(BASE + H1 + policy(), FAR_SERVER)
    after = cut(BASE + H1 + policy() + NO_FAILSAFES, FAR_SERVER)
    assert [one.what for one in new_cuts(before, after)] == ["the BGP session of h1 with h2 (192.0.2.2) would end"]


@pytest.mark.slow
def test_a_thousand_hosts_are_looked_at_in_seconds() -> None:
    nodes = "".join(f"---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: n{n}}}\n"
                    f"spec: {{bgp: {{ipv4Address: 10.{n // 250}.{n % 250}.1/16}}}}\n" for n in range(1000))
    heps = "".join(H1.replace("h1", f"n{n}").replace("192.0.2.1", f"10.{n // 250}.{n % 250}.1") for n in range(1000))
    town = resources(nodes + heps + policy())
    connections = [Connection(f"n{n}", f"10.{n // 250}.{n % 250}.1", "10.0.0.1", 7443) for n in range(1, 1000)]
    began = time.process_time()
    found = list(islice(cuts(scene(town, connections)), 100))
    spent = time.process_time() - began
    print(f"{spent:.2f} s")
    assert len(found) == 100
    assert spent < 6

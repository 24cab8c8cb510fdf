"""What people write about their policies, and whether it is so."""

from __future__ import annotations

import random

import pytest
import yaml
from test_offline_world import DB, ONLY_WEB, POD, WEB, world

from muslin.explain import question
from muslin.explain.packet import Packet
from muslin.model import documents
from muslin.offline import World
from muslin.offline.expectations import Expectation, expectations, spelled
from muslin.offline.judge import Outcome, judge

OTHER = POD % ("other", "ops", "other", "10.0.1.1")
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: h1}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}]}"
FROM_OFFICE = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: app == 'web'
  ingress:
  - {action: Allow, protocol: TCP, source: {nets: [198.51.100.0/24]}, destination: {ports: [80]}}
  - {action: Allow, protocol: UDP, source: {ports: [53]}}
"""


def expected(text: str) -> list[Expectation]:
    [document] = documents.read(spelled(text), "t.muslin-test.yaml").foreign
    found, faults = expectations(document)
    assert not faults, faults
    return found


def outcome(town: World, line: str) -> Outcome:
    [found] = judge(town, expected(f"- {line}\n"))
    return found


@pytest.fixture(scope="module")
def town() -> World:
    return world(WEB, DB, OTHER, ONLY_WEB, FROM_OFFICE, NODE)


@pytest.mark.parametrize("line", [
    "allow: web -> db tcp/8080", "deny: other -> db", "deny: web -> db udp", "deny: web -> db icmp",
    "deny: ops/* -> shop/db", "deny: {app == 'other'} -> {app == 'db'}", "allow: web -> 8.8.8.8 udp/53",
    "deny: outside -> db", "allow: 198.51.100.0/24 -> web tcp/80", "deny: 198.51.100.0/24 -> web tcp/81-65535",
    "deny: 203.0.113.0/24 -> web tcp", "allow: db -> outside any", "allow: shop/{app == 'web'} -> db tcp/8080",
    "allow: 10.0.0.1 -> db tcp/8080", "deny: web -> db tcp/1-8079,8081-65535", "allow: web -> other any ipv4",
    "allow: web -> host/h1 tcp/80", "deny: 203.0.113.7 -> db 47"])
def test_what_is_so_is_met(town: World, line: str) -> None:
    found = outcome(town, line)
    assert found.met, found
    assert found.pairs


@pytest.mark.parametrize(("line", "packet"), [
    ("deny: * -> db", "10.0.0.1 -> 10.0.0.2 tcp/8080"),
    ("deny: web -> db", "10.0.0.1 -> 10.0.0.2 tcp/8080"),
    ("deny: web -> db tcp/8000-9000", "10.0.0.1 -> 10.0.0.2 tcp/8080"),
    ("allow: web -> db tcp/8079-8080", "10.0.0.1 -> 10.0.0.2 tcp/8079"),
    ("allow: other -> db tcp/8080", "10.0.1.1 -> 10.0.0.2 tcp/8080"),
    ("allow: outside -> web tcp/80", " -> 10.0.0.1 tcp/80"),
    ("deny: outside -> web tcp", "198.51.100."),
    ("allow: 198.51.0.0/16 -> web tcp/80", "198.51."),
    ("deny: db -> web udp", "10.0.0.2 -> 10.0.0.1 udp/"),
    ("allow: db -> web udp/9", "10.0.0.2 -> 10.0.0.1 udp/9"),
])
def test_what_is_not_so_is_shown_with_a_packet(town: World, line: str, packet: str) -> None:
    found = outcome(town, line)
    assert not found.met
    assert packet in str(found.shown[0].packet), found.shown[0].packet


def test_deny_without_a_port_finds_the_one_hole_that_is_there(town: World) -> None:
    """From source port 53 only: nobody would have thought of that port."""
    found = outcome(town, "deny: db -> web")
    assert found.shown[0].packet.source_port == 53


@pytest.mark.parametrize(("line", "said"), [
    ("allow: wbe -> db tcp/80", "did you mean"), ("allow: web -> web tcp/80", "both sides"),
    ("deny: {app == 'nope'} -> db", "there are app="), ("deny: nowhere/* -> db", "there are ops, shop"),
    ("deny: {app ==} -> db", "app =="), ("deny: web -> db ipv6", "family"), ("deny: 8.8.8.8 -> 9.9.9.9", "ours"),
])
def test_an_expectation_about_nobody_fails(town: World, line: str, said: str) -> None:
    """A green light for a workload that was renamed away is worth less than none."""
    found = outcome(town, line)
    assert not found.met
    assert said in found.fault


@pytest.mark.parametrize(("text", "said"), [
    ("- allow: web -> db", "does not say what is allowed"), ("- allow: web db tcp/80", "from where to where"),
    ("- allow: web -> db tcp/0", "no port"), ("- allow: web -> db tpc/80", "not a protocol"),
    ("- allow: web -> db tcp/90-80", "more than"), ("- allow: web -> db icmp/8", "has no ports"),
    ("expectations: {allow: x}", "where a list belongs"), ("expectations: [{alow: a -> b}]", "where an expectation"),
    ("allow: [5]", "where an expectation"), ("allow: [a -> b any]\nalow: x", "did you mean allow"),
])
def test_what_cannot_be_read_is_a_fault_with_its_line(text: str, said: str) -> None:
    [document] = documents.read(spelled(text), "t.muslin-test.yaml").foreign
    _, faults = expectations(document)
    assert said in str(faults[0])
    assert str(faults[0]).startswith("t.muslin-test.yaml:")


@pytest.mark.parametrize("text", [
    "deny: * -> db", "- deny: * -> db  # nobody", "- {deny: * -> db}", "- allow: {app == 'a'} -> {app == 'b'} tcp/80",
    "- {allow: {app == 'a'} -> b tcp/1, why: because}", "allow:\n- web -> api tcp/80\n- * -> dns udp/53",
    "expectations: [{allow: web -> api tcp/80}, {deny: '* -> db'}]", "deny: '* -> db'", "- deny: \"* -> db\"\n",
    "expectations:\n  - deny: * -> db\n    why: it is ours\n"])
def test_expectations_need_no_quotes(text: str) -> None:
    """Everybody writes `deny: * -> db` first, and to YAML that is an alias."""
    assert documents.expects(yaml.safe_load(spelled(text)))
    assert expected(text)


def test_the_lines_of_a_file_stay_where_they_are() -> None:
    [one, two] = expected("# shop\nexpectations:\n- deny: * -> db\n\n- allow: {a == 'b'} -> db tcp/1,2\n")
    assert (one.line, two.line) == (3, 5)
    assert two.text == "{a == 'b'} -> db tcp/1,2"


@pytest.mark.slow
def test_expectations_agree_with_why(town: World) -> None:
    """Two ways to an answer: by classes of all packets, and by one packet through every rule."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    everybody = town.directory.workloads
    for _ in range(200):
        source, destination = dice.sample(everybody, 2)
        port, protocol = dice.choice((79, 80, 81, 53, 8079, 8080, 8081, 1, 65535)), dice.choice(("tcp", "udp", "sctp"))
        number = {"tcp": 6, "udp": 17, "sctp": 132}[protocol]
        packet = Packet(source.addresses[0], destination.addresses[0], number, port)
        allowed = question.decided(town, source, destination, packet).verdict == "Allow"
        word = f"{source.called} -> {destination.called} {protocol}/{port}"
        assert outcome(town, f"allow: {word}").met is allowed, word


GUARDED = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: admins, labels: {who: admins}}
spec: {nets: [198.51.100.0/24]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h1-eth0, labels: {role: host}}
spec: {node: h1, interfaceName: eth0, expectedIPs: [192.0.2.1]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: hosts}
spec:
  selector: role == 'host'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: who == 'admins'}, destination: {ports: [8443]}}
"""


@pytest.fixture(scope="module")
def guarded() -> World:
    return world(WEB, DB, OTHER, NODE, GUARDED)


@pytest.mark.parametrize("line", [
    "allow: 198.51.100.0/24 -> host/h1 tcp/8443", "deny: 203.0.113.7 -> host/h1 tcp/8443",
    "deny: outside -> host/h1 icmp", "allow: outside -> host/h1 tcp/22",
    "deny: 203.0.113.0/24 -> host/h1 tcp/8443-65535", "deny: 203.0.113.7 -> host/h1 sctp"])
def test_what_hosts_are_asked_themselves_is_met(guarded: World, line: str) -> None:
    found = outcome(guarded, line)
    assert found.met, found


@pytest.mark.parametrize(("line", "packet"), [
    ("deny: 198.51.100.7 -> host/h1", "tcp/22"), ("deny: 198.51.100.7 -> host/h1 tcp/1024-65535", "tcp/"),
    ("deny: outside -> host/h1 tcp/20-30", "tcp/22"), ("allow: outside -> host/h1 tcp/8443", "tcp/8443")])
def test_ports_that_only_the_hosts_own_policy_and_failsafes_speak_of_are_looked_at(
        guarded: World, line: str, packet: str) -> None:
    """No workload's policy names them: they are told apart all the same, and so are the network sets."""
    found = outcome(guarded, line)
    assert not found.met
    assert packet in str(found.shown[0].packet)

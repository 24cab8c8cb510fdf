"""Why a packet passes or not: the verdict, the line that decides, the way it takes, and who was meant."""

from __future__ import annotations

import json

import pytest

from serverrig import CALICO, GNPS, NPS, Answer, Api, gnp, policy, resource, weps, workload

DB_ONLY = gnp("db-only", selector="role == 'db'", ingress=[
    {"action": "Log"}, {"action": "Allow", "protocol": "TCP", "source": {"selector": "role == 'web'"},
                        "destination": {"ports": [5432]}}])


@pytest.fixture
def town(api: Api) -> Api:
    for host, address in (("h1", "192.0.2.1/24"), ("h2", "192.0.2.2/24")):
        api.made(f"{CALICO}/nodes", resource("Node", host, bgp={"ipv4Address": address}))
    api.made(weps(), workload("web", "h1", "10.65.0.1", "fd65::1", role="web"))
    api.made(weps(), workload("db", "h2", "10.65.1.1", "fd65::1:1", role="db"))
    api.made(weps("ops"), workload("monitor", "h1", "10.65.0.9", namespace="ops"))
    api.made(GNPS, DB_ONLY)
    return api


def why(api: Api, source: str, destination: str, protocol: str = "tcp", port: int = 5432, **more: object) -> Answer:
    return api.get("/muslin/v1/why", source=source, destination=destination, protocol=protocol, port=port, **more)


def test_an_allowed_packet_and_who_let_it(town: Api) -> None:
    found = why(town, "web", "db").json
    assert found["verdict"] == "Allow"
    assert found["egress"]["decided_by"]["kind"] == "Profile"
    decided = found["ingress"]["decided_by"]
    assert (decided["kind"], decided["name"], decided["rule"]) == ("GlobalNetworkPolicy", "db-only", 1)
    assert found["source"]["address"] == "10.65.0.1"
    assert found["destination"]["host"] == "h2"


def test_a_denied_packet_and_what_did_not_match(town: Api) -> None:
    found = why(town, "monitor", "db").json
    assert found["verdict"] == "Deny"
    assert found["ingress"]["decided_by"]["kind"] == "Tier"
    assert any("db-only" in line for line in found["ingress"]["text"])


def test_what_was_written_a_moment_ago_counts(town: Api) -> None:
    """Who applies and asks at once must not be told of yesterday."""
    for n in range(5):
        town.patch(f"{GNPS}/db-only", {"spec": {"ingress": [] if n % 2 else DB_ONLY["spec"]["ingress"]}})
        assert why(town, "web", "db").json["verdict"] == ("Deny" if n % 2 else "Allow")


def test_the_line_in_the_file_is_told(town: Api) -> None:
    annotations = {"muslin.dev/source": "policies/db.yaml:3",
                   "muslin.dev/source-lines": json.dumps({"ingress": [9, 14], "egress": []})}
    town.patch(f"{GNPS}/db-only", {"metadata": {"annotations": annotations}})
    decided = why(town, "web", "db").json["ingress"]["decided_by"]
    assert (decided["file"], decided["line"]) == ("policies/db.yaml", 14)


@pytest.mark.parametrize("lines", ["{", "[]", '{"ingress": "x"}', '{"ingress": [1]}', '{"ingress": [1, "x"]}'])
def test_damaged_annotations_leave_the_line_of_the_object(town: Api, lines: str) -> None:
    annotations = {"muslin.dev/source": "db.yaml:3", "muslin.dev/source-lines": lines}
    town.patch(f"{GNPS}/db-only", {"metadata": {"annotations": annotations}})
    decided = why(town, "web", "db").json["ingress"]["decided_by"]
    assert (decided["file"], decided["line"]) == ("db.yaml", 3)


@pytest.mark.parametrize(
    "name", ["web", "shop/web", "h1-muslin-web-eth0", "shop/h1-muslin-web-eth0", "10.65.0.1", " web "])
def test_a_workload_goes_by_many_names(town: Api, name: str) -> None:
    assert why(town, name, "db").json["source"]["key"] == "WorkloadEndpoint/shop/h1-muslin-web-eth0"


def test_the_family_is_the_one_that_both_have(town: Api) -> None:
    assert why(town, "web", "fd65::1:1").json["source"]["address"] == "fd65::1"
    assert why(town, "web", "db", family=6).json["source"]["address"] == "fd65::1"
    assert why(town, "web", "db", "icmpv6", 0).json["packet"].startswith("fd65::1 -> ")
    answer = why(town, "monitor", "fd65::1:1")
    assert (answer.status, "no family in common" in answer.json["message"]) == (400, True)


def test_the_outside_and_the_hosts_are_ends_too(town: Api) -> None:
    inward = why(town, "198.51.100.7", "db").json
    assert (inward["source"]["kind"], inward["egress"], inward["verdict"]) == ("outside", None, "Deny")
    outward = why(town, "web", "198.51.100.7").json
    assert (outward["ingress"], outward["verdict"]) == (None, "Allow")
    own_host = why(town, "web", "h1", port=22).json
    assert (own_host["destination"]["kind"], own_host["verdict"]) == ("host", "Deny")
    other_host = why(town, "web", "host/h2", port=22).json
    assert other_host["verdict"] == "Allow"
    assert why(town, "h2", "db").json["verdict"] == "Allow"
    assert why(town, "192.0.2.1", "db").json["source"]["name"] == "h1"


def test_the_way_is_told_hop_by_hop(town: Api) -> None:
    route = why(town, "web", "db").json["route"]
    assert [hop["at"] for hop in route] == ["web", "h1", "h2", "db"]
    assert "h2" in route[1]["what"]
    assert "musdb" in route[2]["what"]
    assert [hop["at"] for hop in why(town, "monitor", "web").json["route"]] == ["monitor", "h1", "web"]


def test_a_name_that_nobody_has_is_answered_with_those_like_it(town: Api) -> None:
    answer = why(town, "wbe", "db")
    assert (answer.status, answer.json["message"]) == (
        404, "there is no workload, host or address 'wbe': did you mean web?")
    assert why(town, "zzz", "db").status == 404


def test_a_name_that_two_have_must_be_said_in_full(town: Api) -> None:
    town.made(weps("ops"), workload("db", "h1", "10.65.0.8", namespace="ops"))
    answer = why(town, "web", "db")
    assert answer.status == 400
    assert "ops/h1-muslin-db-eth0, shop/h2-muslin-db-eth0" in answer.json["message"]
    assert why(town, "web", "shop/db").status == 200


@pytest.mark.parametrize("query", [
    {"port": ""}, {"port": "0"}, {"port": "65536"}, {"port": "http"}, {"protocol": "tcpp"}, {"protocol": "256"},
    {"source_port": "70000"}, {"family": "5"}, {"source": ""}, {"destination": ""},
])
def test_a_question_that_makes_no_sense_is_refused(town: Api, query: dict[str, str]) -> None:
    asked = {"source": "web", "destination": "db", "protocol": "tcp", "port": "80", **query}
    assert town.get("/muslin/v1/why", **asked).status == 400


def test_protocols_without_ports_need_none(town: Api) -> None:
    assert why(town, "web", "db", "icmp", 0).json["verdict"] == "Deny"
    assert why(town, "web", "db", "47", 0).status == 200


def test_the_matrix_has_a_cell_for_every_pair_family_and_port(town: Api) -> None:
    found = town.get("/muslin/v1/matrix", ports="tcp/5432,icmp").json
    assert [one["name"] for one in found["workloads"]] == ["monitor", "web", "db"]
    cells = {(cell["source"].split("-")[2], cell["destination"].split("-")[2], cell["family"], cell["protocol"]):
             cell["verdict"] for cell in found["cells"]}
    assert cells["web", "db", 4, "tcp"] == "Allow"
    assert cells["web", "db", 6, "tcp"] == "Allow"
    assert cells["monitor", "db", 4, "tcp"] == "Deny"
    assert cells["web", "db", 4, "icmp"] == "Deny"
    assert cells["db", "monitor", 4, "icmp"] == "Allow"
    assert len(cells) == 2 * 6 + 2  # IPv4: six pairs, two ports; IPv6: two pairs, tcp


def test_the_matrix_agrees_with_why(town: Api) -> None:
    town.made(NPS, policy("out", selector="role == 'web'", types=["Egress"], egress=[
        {"action": "Allow", "protocol": "TCP", "destination": {"ports": ["5000:6000"]}}]))
    for cell in town.get("/muslin/v1/matrix", ports="tcp/5432,tcp/80,udp/53").json["cells"]:
        ends = [cell[end].removeprefix("WorkloadEndpoint/") for end in ("source", "destination")]
        found = why(town, *ends, protocol=cell["protocol"], port=cell["port"], family=cell["family"]).json
        assert found["verdict"] == cell["verdict"], cell


def test_the_matrix_of_one_namespace(town: Api) -> None:
    found = town.get("/muslin/v1/matrix", ports="tcp/5432", namespace="ops").json
    assert [one["name"] for one in found["workloads"]] == ["monitor"]
    assert found["cells"] == []


@pytest.mark.parametrize(
    "ports", ["", "tcp", "tcp/", "tcp/x", "tcp/0", "icmp/8", "x/80", "tcp/80,,", "tcp/99999999999"])
def test_ports_that_are_none_are_refused(town: Api, ports: str) -> None:
    assert town.get("/muslin/v1/matrix", ports=ports).status == 400


def test_the_smallest_mtu_on_the_way_is_told_once_hosts_have_said_theirs(town: Api) -> None:
    """Nothing is made up before."""
    assert why(town, "web", "db").json["mtu"] == {"smallest": 0, "hosts": {}}
    for host, mtu in (("h1", 9000), ("h2", 1450)):
        assert town.post(f"/muslin/v1/hosts/{host}/report", {"host": host, "mtu": mtu}).status in (200, 204)
    assert why(town, "web", "db").json["mtu"] == {"smallest": 1450, "hosts": {"h1": 9000, "h2": 1450}}
    assert why(town, "web", "198.51.100.7").json["mtu"] == {"smallest": 9000, "hosts": {"h1": 9000}}


def test_every_gate_of_both_hosts_is_told_with_what_decided(town: Api) -> None:
    """Also those of host endpoints, with file and line like any other."""
    town.made(f"{CALICO}/hostendpoints", resource("HostEndpoint", "up", "", {"host": "h2"}, node="h2",
                                                  interfaceName="eth0", expectedIPs=["192.0.2.2"]))
    town.made(GNPS, gnp("no-sql", selector="host == 'h2'", applyOnForward=True, types=["Ingress"],
                        ingress=[{"action": "Deny", "protocol": "TCP", "destination": {"ports": [5432]}}]))
    found = why(town, "web", "db").json
    assert found["verdict"] == "Deny"
    gate = next(gate for gate in found["gates"] if gate["outcome"] == "Deny")
    assert (gate["host"], gate["gate"], gate["interface"]) == ("h2", "forward ingress", "eth0")
    assert gate["decided_by"]["name"] == "no-sql"
    assert found["ingress"]["verdict"] == "Allow"
    assert found["fields"]["destination_port"] == 5432
    hop = next(hop for hop in found["route"] if hop["at"] == "h1")
    assert [one["how"] for one in hop["by"]] == ["direct"]

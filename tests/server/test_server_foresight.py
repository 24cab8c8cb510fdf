"""What if, who can, who is, over HTTP: what is answered, that nothing is written, and what is said to nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from serverrig import CALICO, GNPS, NAMESPACES, Api, Json, gnp, resource, weps, workload

DB_ONLY = gnp("db-only", selector="role == 'db'", ingress=[
    {"action": "Allow", "protocol": "TCP", "source": {"selector": "role == 'web'"}, "destination": {"ports": [5432]}}])
EVERYTHING = ["everything"]


@pytest.fixture
def town(api: Api) -> Api:
    api.made(f"{CALICO}/nodes", resource("Node", "h1", bgp={"ipv4Address": "192.0.2.1/24"}))
    api.made(f"{CALICO}/ippools", resource("IPPool", "pool", cidr="10.65.0.0/16"))
    api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
    api.made(weps(), workload("job", "h1", "10.65.0.2", role="job"))
    api.made(weps(), workload("db", "h2", "10.65.1.1", role="db"))
    api.made(GNPS, DB_ONLY)
    return api


def changes(found: Json) -> set[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    return {(found["classes"][one["source"]]["title"], found["classes"][one["destination"]]["title"],
             tuple(one["gained"]), tuple(one["lost"])) for one in found["changes"]}


def diff(api: Api, **parts: Any) -> Json:
    answer = api.post("/muslin/v1/diff", parts)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_changed_policy_is_told_by_what_it_changes(town: Api) -> None:
    """And stays as it was."""
    wider = gnp("db-only", selector="role == 'db'", ingress=[
        {"action": "Allow", "protocol": "TCP", "source": {"selector": "role in {'web', 'job'}"},
         "destination": {"ports": [5432]}}])
    assert changes(diff(town, apply=[wider])) == {("shop/job", "shop/db", ("tcp/5432",), ())}
    assert diff(town, apply=[DB_ONLY])["changes"] == []
    assert town.get(f"{GNPS}/db-only").json["spec"]["ingress"] == DB_ONLY["spec"]["ingress"]


def test_a_deletion_and_a_label_are_told_as_well(town: Api) -> None:
    """Of the object to be deleted only its name counts; a patch is merged into what is there."""
    gone = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "db-only"}}
    assert ("shop/job", "shop/db", ("everything",), ()) in changes(diff(town, delete=[gone]))
    label = {"apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint", "metadata": {
        "name": "h1-muslin-job-eth0", "namespace": "shop", "labels": {"role": "web"}}}
    assert changes(diff(town, patch=[label])) == {("shop/job", "shop/db", ("tcp/5432",), ())}


def test_a_policy_and_its_tier_may_come_together(town: Api) -> None:
    """As in one file."""
    tier = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "first"}, "spec": {"order": 1}}
    shut = gnp("first.shut", selector="role == 'job'", tier="first", types=["Egress"])
    found = changes(diff(town, apply=[tier, shut]))
    assert ("shop/job", "shop/web", (), ("everything",)) in found


def test_policies_of_kubernetes_are_foreseen_too(town: Api) -> None:
    """They are what a repository is most likely to hold."""
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
              "metadata": {"name": "shut", "namespace": "shop"},
              "spec": {"podSelector": {"matchLabels": {"role": "web"}}, "policyTypes": ["Ingress"]}}
    town.made(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    found = changes(diff(town, apply=[policy]))
    assert ("shop/job", "shop/web", (), ("everything",)) in found


@pytest.mark.parametrize(("body", "status", "says"), [
    ({}, 400, "say what would change"), ({"applly": []}, 400, "'applly' is none of apply, patch, delete"),
    ({"apply": {}}, 400, "apply must be a list"), ({"apply": [{"kind": "Pod", "apiVersion": "v1"}]}, 400, "no kind"),
    ({"apply": [{**DB_ONLY, "metadata": {}}]}, 400, "metadata.name"),
    ({"delete": [{**DB_ONLY, "metadata": {"name": "gone"}}]}, 404, "not found"),
    ({"apply": [gnp("x", selector="role ==")]}, 422, "selector"),
])
def test_what_cannot_be_foreseen_is_said(town: Api, body: Json, status: int, says: str) -> None:
    """With the place in the body."""
    answer = town.post("/muslin/v1/diff", body)
    told = str(answer.json["message"]) + str(answer.json.get("details"))
    assert (answer.status, says in told) == (status, True), answer.json


def test_who_can_reach_a_workload(town: Api) -> None:
    """By classes, with the names of their members."""
    found = town.get("/muslin/v1/who-can", destination="db", protocol="tcp", port=5432).json
    assert [found["classes"][one["source"]]["members"] for one in found["reaches"]] == [
        ["WorkloadEndpoint/shop/h1-muslin-web-eth0"]]
    assert found["destination"]["name"] == "db"


def test_who_can_reach_an_address_outside(town: Api) -> None:
    """Only workloads are asked: what the outside does there is not ours to know."""
    found = town.get("/muslin/v1/who-can", destination="198.51.100.1", protocol="tcp", port=443).json
    assert [len(found["classes"][one["source"]]["members"]) for one in found["reaches"]] != []
    assert all(found["classes"][one["source"]]["kind"] == "workloads" for one in found["reaches"])
    assert [found["classes"][number]["nets"] for number in found["destinations"]] == [["198.51.100.1/32"]]


@pytest.mark.parametrize(("query", "status", "says"), [
    ({"destination": "dbb", "port": 80}, 404, "did you mean db"),
    ({"destination": "db", "port": 70000}, 400, "1..65535"),
    ({"destination": "db"}, 400, "to which port"), ({"destination": "db", "protocol": "tpc", "port": 1}, 400, "tpc"),
    ({"destination": "h1", "port": 22}, 400, "is a host"), ({"port": 22}, 400, "say from where"),
    ({"destination": "db", "port": 1, "family": 5}, 400, "family is 4 or 6"),
])
def test_nonsense_is_answered_with_what_to_type(town: Api, query: Json, status: int, says: str) -> None:
    """What was understood, what is close, what to write."""
    answer = town.get("/muslin/v1/who-can", **query)
    assert (answer.status, says in answer.json["message"]) == (status, True), answer.json


def test_whois_knows_workloads_hosts_and_strangers(town: Api) -> None:
    """One sentence, and the parts of it."""
    def text(address: str) -> str:
        return str(town.get("/muslin/v1/whois", address=address).json["text"])

    assert text("10.65.0.1") == "10.65.0.1 is workload shop/web on h1 and in pool pool (10.65.0.0/16)"
    assert text("192.0.2.1") == "192.0.2.1 is host h1"
    assert text("8.8.8.8") == "8.8.8.8 is nobody's and outside every pool"
    assert town.get("/muslin/v1/whois", address="web").status == 400


def test_the_matrix_by_classes_says_who_is_alike(town: Api) -> None:
    """With the same verdicts as by workloads."""
    for number in range(3):
        town.made(weps(), workload(f"job{number}", "h1", f"10.65.0.{10 + number}", role="job"))
    found = town.get("/muslin/v1/matrix", ports="tcp/5432", by="class").json
    sizes = {name["title"]: len(name["members"]) for name in found["classes"]}
    assert sizes == {"shop/db": 1, "shop: role=job (4)": 4, "shop/web": 1}
    allowed = {(found["classes"][one["source"]]["title"], found["classes"][to]["title"])
               for one in found["reaches"] for to in one["destinations"]}
    assert ("shop/web", "shop/db") in allowed
    assert ("shop: role=job (4)", "shop/db") not in allowed
    assert ("shop: role=job (4)", "shop: role=job (4)") in allowed
    assert town.get("/muslin/v1/matrix", ports="tcp/1", by="host").status == 400


def test_staged_policies_are_told_by_what_they_would_change(town: Api) -> None:
    """Nothing, while there are none."""
    assert town.get("/muslin/v1/staged").json["changes"] == []
    town.made(f"{CALICO}/stagedglobalnetworkpolicies", {
        **gnp("web-shut", selector="role == 'web'", types=["Ingress"]), "kind": "StagedGlobalNetworkPolicy"})
    found = changes(town.get("/muslin/v1/staged").json)
    assert ("shop/job", "shop/web", (), ("everything",)) in found
    town.made(f"{CALICO}/stagedglobalnetworkpolicies", {
        "apiVersion": "projectcalico.org/v3", "kind": "StagedGlobalNetworkPolicy", "metadata": {"name": "db-only"},
        "spec": {"stagedAction": "Delete"}})
    found = changes(town.get("/muslin/v1/staged").json)
    assert ("shop/job", "shop/db", ("everything",), ()) in found

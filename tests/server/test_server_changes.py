"""POST /muslin/v1/changes: objects of any kind, many in one call, each for itself and in its order."""

from __future__ import annotations

from typing import Any

import pytest

from serverrig import CALICO, Api, resource

PATH = "/muslin/v1/changes"
GNPS = f"{CALICO}/globalnetworkpolicies"


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return resource("GlobalNetworkPolicy", name, **{"selector": "all()", **spec})


def endpoint(name: str, *addresses: str) -> dict[str, Any]:
    found = resource("WorkloadEndpoint", f"h1-k8s-{name}-eth0", node="h1", orchestrator="k8s", pod=name,
                     endpoint="eth0", interfaceName=f"mus{name}", ipNetworks=list(addresses))
    found["metadata"]["namespace"] = "shop"
    return found


def change(api: Api, *items: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = api.post(PATH, {"items": items}, **query)
    assert answer.status == 200, answer.body
    found = answer.json["items"]
    assert isinstance(found, list)
    return found


def verbs(answers: list[dict[str, Any]]) -> list[Any]:
    return [one.get("verb", one.get("status", {}).get("code")) for one in answers]


def names(api: Api, path: str = GNPS) -> set[str]:
    return {one["metadata"]["name"] for one in api.get(path).json["items"]}


def test_objects_are_made_changed_left_and_removed(api: Api) -> None:
    assert verbs(change(api, *({"put": policy(f"p{number}")} for number in range(300)))) == ["created"] * 300
    answers = change(api, {"put": policy("p0")}, {"put": policy("p1", order=5)}, {"delete": policy("p2")},
                     {"delete": policy("never")})
    assert verbs(answers) == ["unchanged", "configured", "deleted", "absent"]
    assert names(api) == {f"p{number}" for number in range(300)} - {"p2"}
    changed = api.get(f"{GNPS}/p1").json
    assert changed["spec"]["order"] == 5
    assert changed["metadata"]["generation"] == 2
    assert int(changed["metadata"]["resourceVersion"]) > 0


def test_the_same_object_may_come_several_times(api: Api) -> None:
    gone = {"delete": policy("a")}
    one, two, three = ({"put": policy("a", **spec)} for spec in ({}, {"order": 1}, {"order": 2}))
    answers = change(api, one, two, gone, gone, three)
    assert verbs(answers) == ["created", "configured", "deleted", "absent", "created"]
    assert api.get(f"{GNPS}/a").json["spec"]["order"] == 2


def test_one_that_is_wrong_fails_alone_and_says_why(api: Api) -> None:
    answers = change(api, {"put": policy("good")}, {"put": policy("bad", selector="app ==")},
                     {"put": policy("lost", tier="nowhere")}, {"put": policy("odd", colour="red")},
                     {"put": policy("late")})
    assert verbs(answers) == ["created", 422, 422, 422, "created"]
    assert "colour" in answers[3]["status"]["message"]
    assert names(api) == {"good", "late"}


def test_each_finds_what_came_before_it(api: Api) -> None:
    """A tier and its policies, a pool and one that overlaps it: also where they may not share a commit."""
    tier = resource("Tier", "late", order=20)
    pool, other = (resource("IPPool", name, cidr=cidr) for name, cidr in (("a", "10.0.0.0/16"), ("b", "10.0.1.0/24")))
    answers = change(api, {"put": tier}, {"put": policy("late.a", tier="late")}, {"delete": tier}, {"put": pool},
                     {"put": other}, {"delete": policy("late.a")}, {"delete": tier})
    assert verbs(answers) == ["created", "created", 409, "created", 422, "deleted", "deleted"]
    assert names(api, f"{CALICO}/ippools") == {"a"}


def test_an_endpoint_takes_its_addresses_along(api: Api) -> None:
    change(api, {"put": resource("IPPool", "p", cidr="10.65.0.0/24")}, {"put": resource("Node", "h1")})
    api.post("/muslin/v1/addresses/assign",
             {"host": "h1", "handle": "muslin.shop.h1-k8s-web-eth0", "addresses": ["10.65.0.7"]})
    assert verbs(change(api, {"put": endpoint("web", "10.65.0.7/32")})) == ["created"]
    assert verbs(change(api, {"delete": endpoint("web")})) == ["deleted"]
    assert api.get("/muslin/v1/addresses").json["addresses"] == {}


def test_what_is_only_tried_is_not_done(api: Api) -> None:
    change(api, {"put": policy("a")})
    answers = change(api, {"put": policy("a", order=1)}, {"put": policy("b")}, {"delete": policy("a")}, dryRun="All")
    assert verbs(answers) == ["configured", "created", "deleted"]
    assert names(api) == {"a"}
    assert "order" not in api.get(f"{GNPS}/a").json["spec"]


def test_a_change_of_another_version_than_the_one_that_was_seen_is_refused(api: Api) -> None:
    change(api, {"put": policy("a")})
    seen = api.get(f"{GNPS}/a").json
    assert verbs(change(api, {"put": policy("a", order=1)}, {"put": seen}, {"put": policy("b")})) == [
        "configured", 409, "created"]
    seen = api.get(f"{GNPS}/a").json
    seen["spec"]["order"] = 7
    assert verbs(change(api, {"put": seen})) == ["configured"]


def test_hosts_that_would_be_locked_out_by_two_changes_together_are_not(api: Api) -> None:
    """Each alone would leave the other: the second is refused, and the first is done."""
    host = resource("HostEndpoint", "h1-eth0", node="h1", interfaceName="eth0", expectedIPs=["192.0.2.1"])
    api.made(f"{CALICO}/nodes", resource("Node", "h1", bgp={"ipv4Address": "192.0.2.1/24"}))
    api.made(f"{CALICO}/nodes", resource("Node", "h2", bgp={"ipv4Address": "192.0.2.2/24"}))
    allow = {"types": ["Ingress", "Egress"], "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}
    assert verbs(change(api, {"put": policy("one", **allow)}, {"put": policy("two", **allow)}, {"put": host})) == [
        "created"] * 3
    felix = resource("FelixConfiguration", "default", failsafeInboundHostPorts=[], failsafeOutboundHostPorts=[])
    assert verbs(change(api, {"put": felix})) == ["created"]
    gone = change(api, {"delete": policy("one")}, {"delete": policy("two")})
    assert verbs(gone) == ["deleted", 403], gone
    assert verbs(change(api, {"delete": policy("two")}, lockout="force")) == ["deleted"]


@pytest.mark.parametrize("item", [
    {}, {"put": policy("a"), "delete": policy("a")}, {"put": {}}, {"put": {"kind": "Tier"}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": 7, "metadata": {"name": "a"}}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": 7}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a", "namespace": "b"}}},
    {"delete": {"apiVersion": "projectcalico.org/v3", "kind": "NetworkSet", "metadata": {"name": "a"}}},
    {"delete": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a/b"}}},
])
def test_what_names_no_object_is_refused_alone(api: Api, item: dict[str, Any]) -> None:
    assert verbs(change(api, item, {"put": policy("good")})) == [400, "created"]


@pytest.mark.parametrize("body", [{}, {"items": 7}, {"items": [{"putt": {}}]}, {"items": [], "more": 1},
                                  {"items": [{"put": {}}] * 1001}])
def test_what_is_no_list_of_changes_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.post(PATH, body).status == 400

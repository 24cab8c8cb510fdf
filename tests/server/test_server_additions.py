"""POST /muslin/v1/workloads: many additions in one call, each for itself."""

from __future__ import annotations

from typing import Any

import pytest

from serverrig import CALICO, Api, resource

PATH = "/muslin/v1/workloads"
WEPS = f"{CALICO}/namespaces/shop/workloadendpoints"


@pytest.fixture
def place(api: Api) -> Api:
    api.made(f"{CALICO}/ippools", resource("IPPool", "p", cidr="10.65.0.0/24"))
    api.made(f"{CALICO}/nodes", resource("Node", "h1"))
    return api


def item(workload: str, *addresses: str, **spec: Any) -> dict[str, Any]:
    name = f"h1-muslin-{workload}-eth0"
    found = resource("WorkloadEndpoint", name, **{"node": "h1", "orchestrator": "muslin", "workload": workload,
                                                  "endpoint": "eth0", "interfaceName": f"mus{workload}", **spec})
    found["metadata"]["namespace"] = "shop"
    wanted = {"host": "h1", "handle": f"muslin.shop.{name}", "addresses": addresses}
    return {"endpoint": found, "addresses": wanted}


def add(api: Api, *items: dict[str, Any]) -> list[dict[str, Any]]:
    answer = api.post(PATH, {"items": items})
    assert answer.status == 200, answer.body
    found = answer.json["items"]
    assert isinstance(found, list)
    return found


def held(api: Api) -> set[str]:
    return {*api.get("/muslin/v1/addresses").json["addresses"]}


def test_many_get_namespace_addresses_and_endpoints(place: Api) -> None:
    answers = add(place, *(item(f"w{number}") for number in range(20)))
    addresses = [one["addresses"][0] for one in answers]
    assert len({*addresses}) == 20
    stored = {one["metadata"]["name"]: one["spec"]["ipNetworks"] for one in place.get(WEPS).json["items"]}
    assert stored == {f"h1-muslin-w{number}-eth0": [address] for number, address in enumerate(addresses)}
    assert place.get("/api/v1/namespaces/shop").status == 200


def test_one_that_fails_keeps_nothing_and_hinders_nobody(place: Api) -> None:
    bad, taken, good = add(place, item("bad", interfaceName="much-too-long-a-name-for-an-interface"),
                           item("taken", "10.66.0.1"), item("good"))
    assert bad["status"]["code"] == 422
    assert taken["status"]["code"] >= 400
    assert held(place) == {good["addresses"][0].partition("/")[0]}
    assert [one["metadata"]["name"] for one in place.get(WEPS).json["items"]] == ["h1-muslin-good-eth0"]


def test_one_that_is_there_is_left_as_it_is(place: Api) -> None:
    [first] = add(place, item("web"))
    [again] = add(place, item("web", "10.65.0.77"))
    status = again["status"]
    assert (status["code"], status["reason"], status["details"]["kind"]) == (409, "AlreadyExists", "workloadendpoints")
    assert held(place) == {first["addresses"][0].partition("/")[0]}


def test_with_addresses_of_its_own_none_are_assigned(place: Api) -> None:
    own = item("own", ipNetworks=["192.0.2.7/32"])
    del own["addresses"]
    assert add(place, own) == [{"addresses": ["192.0.2.7/32"]}]
    assert held(place) == set()


@pytest.mark.parametrize("body", [{}, {"items": 7}, {"items": [{}]}, {"items": [], "more": 1},
                                  {"items": [{"endpoint": {}}] * 257}])
def test_what_is_no_list_of_workloads_is_refused(place: Api, body: dict[str, Any]) -> None:
    assert place.post(PATH, body).status == 400


@pytest.mark.parametrize("endpoint", [{}, {"metadata": {}, "spec": {}}, {"metadata": 1, "spec": {}},
                                      {"metadata": {"name": "x"}, "spec": {}}])
def test_an_endpoint_without_a_name_is_refused_alone(place: Api, endpoint: dict[str, Any]) -> None:
    refused, good = add(place, {"endpoint": endpoint}, item("good"))
    assert refused["status"]["code"] == 400
    assert good["addresses"]

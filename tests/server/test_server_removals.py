"""DELETE /muslin/v1/workloads: many removals in one call, in two steps, each for itself."""

from __future__ import annotations

from typing import Any

import pytest

from serverrig import CALICO, Api, resource

PATH = "/muslin/v1/workloads"
WEPS = f"{CALICO}/namespaces/shop/workloadendpoints"


@pytest.fixture
def place(api: Api) -> Api:
    """Ten workloads, w0 to w9, in one block."""
    api.made(f"{CALICO}/ippools", resource("IPPool", "p", cidr="10.65.0.0/24"))
    api.made(f"{CALICO}/nodes", resource("Node", "h1"))
    answer = api.post(PATH, {"items": [item(f"w{number}") for number in range(10)]})
    assert all("addresses" in one for one in answer.json["items"]), answer.body
    return api


def named(workload: str) -> str:
    return f"h1-muslin-{workload}-eth0"


def handle(workload: str) -> str:
    return f"muslin.shop.{named(workload)}"


def item(workload: str) -> dict[str, Any]:
    found = resource("WorkloadEndpoint", named(workload), node="h1", orchestrator="muslin", workload=workload,
                     endpoint="eth0", interfaceName=f"mus{workload}")
    found["metadata"]["namespace"] = "shop"
    return {"endpoint": found, "addresses": {"host": "h1", "handle": handle(workload)}}


def remove(api: Api, *items: dict[str, str]) -> list[dict[str, Any]]:
    answer = api.delete(PATH, {"items": items})
    assert answer.status == 200, answer.body
    found = answer.json["items"]
    assert isinstance(found, list)
    return found


def endpoint(workload: str) -> dict[str, str]:
    return {"namespace": "shop", "name": named(workload)}


def there(api: Api) -> set[str]:
    return {one["metadata"]["name"] for one in api.get(WEPS).json["items"]}


def holders(api: Api) -> set[str]:
    return {one["handle"] for one in api.get("/muslin/v1/addresses").json["addresses"].values()}


def test_endpoints_go_and_their_addresses_stay_until_their_handles_are_named(place: Api) -> None:
    assert remove(place, *(endpoint(f"w{number}") for number in range(9))) == [{}] * 9
    assert there(place) == {named("w9")}
    assert holders(place) == {handle(f"w{number}") for number in range(10)}
    assert remove(place, *({"handle": handle(f"w{number}")} for number in range(9))) == [{}] * 9
    assert holders(place) == {handle("w9")}
    assert place.get("/muslin/v1/addresses", handlePrefix="muslin.").json["handles"].keys() == {handle("w9")}


def test_steps_of_different_workloads_come_in_one_call(place: Api) -> None:
    remove(place, endpoint("w0"))
    assert remove(place, {"handle": handle("w0")}, endpoint("w1")) == [{}, {}]
    assert handle("w0") not in holders(place)
    assert handle("w1") in holders(place)
    assert named("w1") not in there(place)


def test_what_is_gone_already_is_no_failure(place: Api) -> None:
    gone = (endpoint("w0"), {"handle": handle("w0")})
    assert remove(place, *gone) == [{}, {}]
    assert remove(place, *gone) == [{}, {}]
    assert remove(place, endpoint("never"), {"handle": "muslin.shop.never"}, *gone, *gone) == [{}] * 6


@pytest.mark.parametrize("wrong", [
    {}, {"name": "x"}, {"namespace": "shop"}, {"namespace": "shop", "name": "x", "handle": "h"}, {"handle": "a/b"},
])
def test_one_that_names_nothing_is_refused_alone(place: Api, wrong: dict[str, str]) -> None:
    refused, done = remove(place, wrong, endpoint("w0"))
    assert refused["status"]["code"] == 400
    assert done == {}
    assert named("w0") not in there(place)


@pytest.mark.parametrize("body", [{}, {"items": 7}, {"items": [{"nmae": "x"}]}, {"items": [], "more": 1},
                                  {"items": [{"handle": "h"}] * 257}])
def test_what_is_no_list_of_removals_is_refused(place: Api, body: dict[str, Any]) -> None:
    assert place.delete(PATH, body).status == 400

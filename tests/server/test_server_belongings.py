"""What goes with an object when it is deleted, whoever deletes it."""

from __future__ import annotations

import pytest

from serverrig import CALICO, MERGE, Api, resource

POOLS, NODES, WEPS = f"{CALICO}/ippools", f"{CALICO}/nodes", f"{CALICO}/namespaces/shop/workloadendpoints"
NAME = "h1-muslin-web-eth0"
HANDLE = f"muslin.shop.{NAME}"


@pytest.fixture
def place(api: Api) -> Api:
    api.made(POOLS, resource("IPPool", "p", cidr="10.65.0.0/24"))
    api.made(NODES, resource("Node", "h1"))
    return api


def assign(api: Api, handle: str = HANDLE) -> str:
    answer = api.post("/muslin/v1/addresses/assign", {"host": "h1", "handle": handle})
    assert answer.status == 200, answer.body
    return str(answer.json["addresses"][0])


def endpoint(api: Api, address: str, **metadata: object) -> None:
    found = resource("WorkloadEndpoint", NAME, node="h1", orchestrator="muslin", workload="web", endpoint="eth0",
                     interfaceName="mus1", ipNetworks=[address])
    found["metadata"] |= {"namespace": "shop", **metadata}
    api.made(WEPS, found)


def held(api: Api) -> dict[str, object]:
    found = api.get("/muslin/v1/addresses").json["addresses"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", [f"{WEPS}/{NAME}", WEPS])
def test_the_addresses_of_a_workload_go_with_its_endpoint(place: Api, path: str) -> None:
    endpoint(place, assign(place))
    assert place.delete(path, {"dryRun": ["All"]}).status == 200
    assert len(held(place)) == 1
    assert place.delete(path).status == 200
    assert held(place) == {}


def test_who_orphans_them_keeps_them(place: Api) -> None:
    """An agent does: its kernel still routes them for a moment."""
    endpoint(place, assign(place))
    assert place.delete(f"{WEPS}/{NAME}", {"propagationPolicy": "Orphan"}).status == 200
    assert len(held(place)) == 1


def test_they_go_when_the_last_finalizer_lets_the_endpoint_go(place: Api) -> None:
    endpoint(place, assign(place), finalizers=["example.org/wait"])
    assert place.delete(f"{WEPS}/{NAME}").status == 200
    assert len(held(place)) == 1
    assert place.patch(f"{WEPS}/{NAME}", {"metadata": {"finalizers": None}}, MERGE).status == 200
    assert held(place) == {}


def test_addresses_that_others_hold_stay_theirs(place: Api) -> None:
    """And so do those of an addition of the same name that has begun anew."""
    other, mine, coming = assign(place, "somebody"), assign(place), assign(place)
    endpoint(place, mine)
    place.patch(f"{WEPS}/{NAME}", {"spec": {"ipNetworks": [other, mine, "192.0.2.1/32"]}})
    assert place.delete(f"{WEPS}/{NAME}").status == 200
    assert held(place).keys() == {other.partition("/")[0], coming.partition("/")[0]}


def test_who_deletes_a_node_is_told_of_its_blocks(place: Api) -> None:
    assign(place)
    assert "muslin ipam release --host h1" in place.delete(f"{NODES}/h1").headers["Warning"]


def blocks(api: Api) -> list[str]:
    return [block["name"] for block in api.get("/muslin/v1/addresses").json["blocks"]]


def test_the_empty_blocks_of_a_pool_go_with_it_and_those_in_use_with_their_last_address(place: Api) -> None:
    """Their hosts would own and announce them for ever: nobody asks for addresses where no pool is."""
    api = place
    api.made(POOLS, resource("IPPool", "small", cidr="10.66.0.0/29", blockSize=30))
    for address in ("10.66.0.1", "10.66.0.5", "10.65.0.9"):
        wanted = {"host": "h1", "handle": f"of.{address}", "addresses": [address]}
        assert api.post("/muslin/v1/addresses/assign", wanted).status == 200
    for address in ("10.66.0.1", "10.65.0.9"):
        assert api.post("/muslin/v1/addresses/release", {"handle": f"of.{address}"}).status == 200
    assert sorted(blocks(api)) == ["10.65.0.0/26", "10.66.0.0/30", "10.66.0.4/30"], "the next one is for the same host"
    assert api.delete(f"{POOLS}/small", {"dryRun": ["All"]}).status == 200
    assert len(blocks(api)) == 3
    assert api.delete(f"{POOLS}/small").status == 200
    assert sorted(blocks(api)) == ["10.65.0.0/26", "10.66.0.4/30"]
    assert api.post("/muslin/v1/addresses/release", {"handle": "of.10.66.0.5"}).status == 200
    assert blocks(api) == ["10.65.0.0/26"]

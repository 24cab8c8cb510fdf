"""Services and endpoint slices over the API, and what a policy that names one does with them."""

from __future__ import annotations

from typing import Any

from serverrig import CALICO, NPS, TABLE, Api, policy, resource, weps, workload

SERVICES = "/api/v1/namespaces/shop/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
STRATEGIC = "application/strategic-merge-patch+json"


def piece(*addresses: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "db-x1", "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [{"addresses": [address]} for address in addresses],
            "ports": [{"port": 5432, "protocol": "TCP"}], **more}


def test_they_are_kept_shown_and_patched(api: Api) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
               "spec": {"selector": {"app": "db"}, "ports": [{"port": 5432}]}}
    api.made(SERVICES, service)
    assert api.get(f"{SERVICES}/db").json["spec"] == service["spec"]
    assert api.get(SERVICES, TABLE).json["rows"][0]["cells"][:4] == ["db", "ClusterIP", "<none>", "5432/TCP"]
    made = api.made(SLICES, piece("10.65.0.1"))
    assert "spec" not in made
    patched = api.patch(f"{SLICES}/db-x1", {"endpoints": [{"addresses": ["10.65.0.2"]}]}, STRATEGIC).json
    assert patched["metadata"]["generation"] == 2
    assert api.get(SLICES, TABLE).json["rows"][0]["cells"][:4] == ["db-x1", "IPv4", "5432", "10.65.0.2"]
    assert api.get("/apis/discovery.k8s.io/v1").json["resources"][0]["name"] == "endpointslices"
    assert api.delete(f"{SLICES}/db-x1").status == 200


def test_a_slice_with_faults_is_refused_with_all_of_them(api: Api) -> None:
    answer = api.post(SLICES, piece("fd00::1", "x", unknown=1))
    assert answer.status == 422
    assert set(answer.fields) == {"endpoints[0].addresses[0]", "endpoints[1].addresses[0]", "unknown"}


def test_a_policy_that_names_a_service_follows_its_slices(api: Api) -> None:
    for host, address in (("h1", "192.0.2.1/24"), ("h2", "192.0.2.2/24")):
        api.made(f"{CALICO}/nodes", resource("Node", host, bgp={"ipv4Address": address}))
    api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
    api.made(weps(), workload("db", "h2", "10.65.1.1", role="db"))
    api.made(NPS, policy("to-db", selector="role == 'web'", types=["Egress"], egress=[
        {"action": "Allow", "destination": {"services": {"name": "db"}}}]))

    def verdict() -> str:
        asked = api.get("/muslin/v1/why", source="web", destination="db", protocol="tcp", port=5432).json
        return str(asked["verdict"])

    assert verdict() == "Deny"
    faults = [fault for fault in api.get("/muslin/v1/status").json["faults"] if "to-db" in str(fault)]
    assert "service shop/db is not there: nobody supplies" in str(faults)
    api.made(SLICES, piece("10.65.1.1"))
    assert verdict() == "Allow"
    assert "to-db" not in str(api.get("/muslin/v1/status").json["faults"])
    why = api.get("/muslin/v1/why", source="web", destination="db", protocol="tcp", port=80).json
    assert "service shop/db" in str(why["egress"]["text"])


def test_ports_of_a_service_are_patched_one_by_one(api: Api) -> None:
    """As kubectl does it: entries are told apart by their port."""
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 30002}, {"name": "c", "port": 3}]
    api.made(SERVICES, {"metadata": {"name": "db"}, "spec": {"ports": ports}})
    patch = {"spec": {
        "$setElementOrder/ports": [{"port": 4}, {"port": 2}, {"port": 3}],
        "ports": [{"port": 1, "$patch": "delete"}, {"port": 2, "name": "bb", "nodePort": None},
                  {"name": "d", "port": 4}]}}
    found = api.patch(f"{SERVICES}/db", patch, STRATEGIC).json["spec"]["ports"]
    assert found == [{"name": "d", "port": 4}, {"name": "bb", "port": 2}, {"name": "c", "port": 3}]
    replaced = {"spec": {"ports": [{"$patch": "replace"}, {"port": 9}]}}
    assert api.patch(f"{SERVICES}/db", replaced, STRATEGIC).json["spec"]["ports"] == [{"port": 9}]
    assert api.patch(f"{SERVICES}/db", {"spec": {"ports": [5]}}, STRATEGIC).status == 400

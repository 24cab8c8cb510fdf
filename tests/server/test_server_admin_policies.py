"""Policies of administrators over the API: kept as Calico's, shown as they were written, asked before and after all."""

from __future__ import annotations

from typing import Any

from serverrig import CALICO, GNPS, NPS, TABLE, Api, policy, resource, weps, workload

V1, V2 = "/apis/policy.networking.k8s.io/v1alpha1", "/apis/policy.networking.k8s.io/v1alpha2"
ANPS, BANPS, CNPS = f"{V1}/adminnetworkpolicies", f"{V1}/baselineadminnetworkpolicies", f"{V2}/clusternetworkpolicies"
ALL = {"namespaces": {}}


def body(kind: str, name: str, version: str = "v1alpha1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"policy.networking.k8s.io/{version}", "kind": kind, "metadata": {"name": name},
            "spec": {"subject": ALL, **spec}}


ADMIN = body("AdminNetworkPolicy", "a", priority=5, ingress=[
    {"name": "no", "action": "Deny", "from": [ALL], "ports": [{"portNumber": {"port": 22, "protocol": "TCP"}}]}])


def test_it_is_stored_as_calicos_and_read_back_as_it_was_written(api: Api) -> None:
    made = api.made(ANPS, ADMIN)
    assert made["spec"] == ADMIN["spec"]
    assert api.get(f"{ANPS}/a").json == made
    found = api.get(f"{GNPS}/kanp.adminnetworkpolicy.a").json
    assert (found["spec"]["tier"], found["spec"]["order"]) == ("kube-admin", 5)
    assert api.get(ANPS, TABLE).json["rows"][0]["cells"][:2] == ["a", 5]
    assert api.patch(f"{GNPS}/kanp.adminnetworkpolicy.a", {"spec": {"order": 1}}).status == 403
    assert api.patch(f"{ANPS}/a", {"spec": {"priority": 6}}).json["spec"]["priority"] == 6
    assert api.get(f"{GNPS}/kanp.adminnetworkpolicy.a").json["spec"]["order"] == 6
    assert api.delete(f"{ANPS}/a").status == 200
    assert api.get(f"{GNPS}/kanp.adminnetworkpolicy.a").status == 404


def test_the_three_do_not_show_each_others(api: Api) -> None:
    api.made(ANPS, ADMIN)
    api.made(BANPS, body("BaselineAdminNetworkPolicy", "default"))
    api.made(CNPS, body("ClusterNetworkPolicy", "c", "v1alpha2", tier="Baseline", priority=1))
    for path, name in ((ANPS, "a"), (BANPS, "default"), (CNPS, "c")):
        assert [item["metadata"]["name"] for item in api.get(path).json["items"]] == [name]
    assert len(api.get(GNPS).json["items"]) == 3


def test_its_faults_are_told_in_its_own_words(api: Api) -> None:
    answer = api.post(ANPS, body("AdminNetworkPolicy", "a", priority=2000, egress=[
        {"action": "Deny", "to": [{"domainNames": ["a.example"]}, {"nodes": {}}]}]))
    assert set(answer.fields) == {"spec.priority", "spec.egress[0].to[0].domainNames", "spec.egress[0].to[1].nodes"}
    assert "no kernel can match it" in answer.json["message"]


def test_administrators_speak_first_and_last(api: Api) -> None:
    for host, address in (("h1", "192.0.2.1/24"), ("h2", "192.0.2.2/24")):
        api.made(f"{CALICO}/nodes", resource("Node", host, bgp={"ipv4Address": address}))
    api.made("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    for name, host, address in (("web", "h1", "10.65.0.1"), ("db", "h2", "10.65.1.1")):
        api.made(weps(), workload(name, host, address, role=name))

    def verdict(port: int) -> tuple[str, str]:
        found = api.get("/muslin/v1/why", source="web", destination="db", protocol="tcp", port=port).json
        return found["verdict"], found["ingress"]["decided_by"]["name"]

    api.made(BANPS, body("BaselineAdminNetworkPolicy", "default", ingress=[{"action": "Deny", "from": [ALL]}]))
    assert verdict(80) == ("Deny", "kbanp.baselineadminnetworkpolicy.default")
    api.made(NPS, policy("p", selector="role == 'db'", ingress=[{"action": "Allow"}]))
    assert verdict(80) == ("Allow", "p")
    api.made(ANPS, ADMIN)
    assert verdict(22) == ("Deny", "kanp.adminnetworkpolicy.a")
    assert verdict(80) == ("Allow", "p")

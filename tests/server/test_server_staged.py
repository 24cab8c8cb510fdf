"""Staged policies over the API: resources like all others, in a tier like all others, and never enforced."""

from __future__ import annotations

from serverrig import CALICO, GNPS, TABLE, Api, resource, weps, workload

SNPS = f"{CALICO}/namespaces/shop/stagednetworkpolicies"
SGNPS = f"{CALICO}/stagedglobalnetworkpolicies"
SKNPS = f"{CALICO}/namespaces/shop/stagedkubernetesnetworkpolicies"


def staged(kind: str, name: str, **spec: object) -> dict[str, object]:
    return resource(kind, name, **spec)


def test_all_three_are_kept_and_shown(api: Api) -> None:
    for path, kind in ((SNPS, "StagedNetworkPolicy"), (SGNPS, "StagedGlobalNetworkPolicy"),
                       (SKNPS, "StagedKubernetesNetworkPolicy")):
        made = api.made(path, staged(kind, "it"))
        assert made["spec"]["stagedAction"] == "Set"
        assert api.get(f"{path}/it").json == made
        table = api.get(path, TABLE).json
        assert table["rows"][0]["cells"][:2] == ["it", "Set"]
        assert table["columnDefinitions"][1]["name"] == "Action"
        assert api.delete(f"{path}/it").status == 200
        assert api.get(path).json["items"] == []


def test_a_staged_policy_lies_in_a_tier_that_exists(api: Api) -> None:
    assert api.post(SGNPS, staged("StagedGlobalNetworkPolicy", "it", tier="nowhere")).fields == ["spec.tier"]
    api.made(f"{CALICO}/tiers", resource("Tier", "first", order=1))
    api.made(SGNPS, staged("StagedGlobalNetworkPolicy", "it", tier="first"))
    refused = api.delete(f"{CALICO}/tiers/first")
    assert refused.status == 409
    assert "still holds 1 policies (it)" in refused.json["message"]


def test_a_removal_with_rules_is_refused(api: Api) -> None:
    body = staged("StagedGlobalNetworkPolicy", "it", stagedAction="Delete", ingress=[{"action": "Deny"}])
    assert api.post(SGNPS, body).fields == ["spec.ingress"]


def test_nothing_of_it_is_enforced(api: Api) -> None:
    """A policy of the same words, in force, would deny."""
    for host, address in (("h1", "192.0.2.1/24"), ("h2", "192.0.2.2/24")):
        api.made(f"{CALICO}/nodes", resource("Node", host, bgp={"ipv4Address": address}))
    api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
    api.made(weps(), workload("db", "h2", "10.65.1.1", role="db"))
    words = {"selector": "role == 'db'", "ingress": [{"action": "Deny"}]}
    api.made(SGNPS, staged("StagedGlobalNetworkPolicy", "it", **words))

    def verdict() -> str:
        found = api.get("/muslin/v1/why", source="web", destination="db", protocol="tcp", port=80).json["verdict"]
        return str(found)

    assert verdict() == "Allow"
    api.made(GNPS, resource("GlobalNetworkPolicy", "it", **words))
    assert verdict() == "Deny"


def test_the_clusters_own_configuration(api: Api) -> None:
    """A kind of our own group: one object, and its words."""
    path = "/apis/muslin.dev/v1/clusterconfigurations"
    body = {"apiVersion": "muslin.dev/v1", "kind": "ClusterConfiguration", "metadata": {"name": "default"},
            "spec": {"establishedFlows": "Keep"}}
    assert api.made(path, body)["spec"] == {"establishedFlows": "Keep"}
    assert api.get(path, TABLE).json["rows"][0]["cells"][:3] == ["default", "Keep", "Enabled"]
    assert api.post(path, {**body, "metadata": {"name": "mine"}}).fields == ["metadata.name"]
    assert api.patch(f"{path}/default", {"spec": {"lockoutGuard": "off"}}).fields == ["spec.lockoutGuard"]
    assert api.patch(f"{path}/default", {"spec": {"lockoutGuard": "Disabled"}}).status == 200

"""Rules between objects: tiers and their policies, what is built in, namespaces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serverrig import CALICO, GNPS, NAMESPACES, NPS, Api, gnp, policy, resource, running

TIERS = f"{CALICO}/tiers"
PROFILES = f"{CALICO}/profiles"
ALLOW = "projectcalico-default-allow"


def test_calicos_tiers_are_there_from_the_start(api: Api) -> None:
    found = {item["metadata"]["name"]: item["spec"] for item in api.get(TIERS).json["items"]}
    assert found == {
        "default": {"order": 1_000_000, "defaultAction": "Deny"},
        "kube-admin": {"order": 1_000, "defaultAction": "Pass"},
        "kube-baseline": {"order": 10_000_000, "defaultAction": "Pass"},
    }


def test_cluster_information_is_there_and_ready(api: Api) -> None:
    """Calico's own components wait for datastoreReady."""
    spec = api.get(f"{CALICO}/clusterinformations/default").json["spec"]
    assert spec["datastoreReady"] is True
    assert len(spec["clusterGUID"]) == 32


def test_a_restart_writes_nothing_and_keeps_who_the_cluster_is(tmp_path: Path) -> None:
    def look() -> tuple[str, str]:
        with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
            listing = api.get(f"{CALICO}/clusterinformations").json
            return listing["items"][0]["spec"]["clusterGUID"], listing["metadata"]["resourceVersion"]

    assert look() == look()


def test_a_store_that_was_locked_for_a_migration_stays_locked(tmp_path: Path) -> None:
    """datastoreReady false is somebody's decision; only a missing one is filled in."""
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        api.patch(f"{CALICO}/clusterinformations/default", {"spec": {"datastoreReady": False}})
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        assert api.get(f"{CALICO}/clusterinformations/default").json["spec"]["datastoreReady"] is False


@pytest.mark.parametrize("path", [
    f"{TIERS}/default", f"{TIERS}/kube-admin", f"{TIERS}/kube-baseline", f"{PROFILES}/{ALLOW}",
    f"{CALICO}/clusterinformations/default", f"{NAMESPACES}/default",
])
def test_what_is_built_in_cannot_be_deleted(api: Api, path: str) -> None:
    answer = api.delete(path)
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert api.delete(path, {"dryRun": ["All"]}).status == 403
    assert api.get(path).status == 200


def test_the_profile_that_allows_all_is_shown_and_cannot_be_changed(api: Api) -> None:
    assert api.get(f"{PROFILES}/{ALLOW}").json["spec"]["ingress"] == [{"action": "Allow"}]
    assert api.post(PROFILES, resource("Profile", ALLOW)).status == 409
    assert api.patch(f"{PROFILES}/{ALLOW}", {"spec": {"ingress": []}}).status == 403
    assert api.put(f"{PROFILES}/{ALLOW}", resource("Profile", ALLOW, ingress=[{"action": "Deny"}])).status == 403
    assert api.patch(f"{PROFILES}/{ALLOW}", {}).status == 200
    api.made(PROFILES, resource("Profile", "mine"))
    assert [item["metadata"]["name"] for item in api.get(PROFILES).json["items"]] == ["mine", ALLOW]


def test_a_policy_lies_in_a_tier_that_exists(api: Api) -> None:
    answer = api.post(GNPS, gnp("a", tier="security"))
    assert (answer.status, answer.fields) == (422, ["spec.tier"])
    api.made(TIERS, resource("Tier", "security", order=5))
    api.made(GNPS, gnp("a", tier="security"))


def test_a_tier_goes_when_its_last_policy_has_gone(api: Api) -> None:
    api.made(TIERS, resource("Tier", "security", order=5))
    api.made(GNPS, gnp("a", tier="security"))
    api.made(NPS, policy("b", tier="security"))
    answer = api.delete(f"{TIERS}/security")
    assert answer.status == 409
    assert "shop/b" in answer.json["message"]
    api.delete(f"{GNPS}/a")
    assert api.delete(f"{TIERS}/security").status == 409
    api.delete(f"{NPS}/b")
    assert api.delete(f"{TIERS}/security").status == 200


def test_of_pools_of_one_range_created_at_once_one_wins(tmp_path: Path) -> None:
    """The rule looks at the other pools: two that look at the same time must not both see nothing."""
    pools = f"{CALICO}/ippools"
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api, ThreadPoolExecutor(8) as many:

        def create(n: int) -> int:
            return api.post(pools, resource("IPPool", f"p{n}", cidr="10.0.0.0/8")).status

        assert sorted(many.map(create, range(8))) == [201] + [422] * 7


def test_a_pool_may_be_changed_where_it_lies(api: Api) -> None:
    """It does not overlap itself."""
    pools = f"{CALICO}/ippools"
    api.made(pools, resource("IPPool", "p", cidr="10.65.0.0/16"))
    assert api.patch(f"{pools}/p", {"spec": {"disabled": True}}).status == 200


def test_who_deletes_a_namespace_is_told_what_stays(api: Api) -> None:
    """Policies need no Namespace, so they do not go with it."""
    api.made(NAMESPACES, {"metadata": {"name": "shop"}})
    api.made(NPS, policy("a"))
    answer = api.delete(f"{NAMESPACES}/shop")
    assert answer.status == 200
    assert "namespace shop still holds networkpolicies" in answer.headers["Warning"]
    assert api.get(f"{NPS}/a").status == 200


def test_who_deletes_a_pool_is_told_of_its_addresses(api: Api) -> None:
    pools = f"{CALICO}/ippools"
    api.made(pools, resource("IPPool", "p", cidr="10.65.0.0/16"))
    api.made(f"{CALICO}/nodes", resource("Node", "h1"))
    assert api.post("/muslin/v1/addresses/assign", {"host": "h1", "handle": "x"}).status == 200
    assert "1 addresses of pool p are in use" in api.delete(f"{pools}/p").headers["Warning"]

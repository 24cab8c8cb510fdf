"""Staged policies: what they would do is told, what is enforced does not change."""

from __future__ import annotations

from typing import Any

import pytest

from calcwords import Cluster, Things, allow, deny, gnp, illegible, np, thing, tier, wl
from muslin.intent import PolicyId
from muslin.model.meta import ResourceKey

WEB = wl("web", "h1", "10.65.0.1", app="web")
STRANGER = "192.0.2.7"


def snp(name: str, selector: str = "app == 'web'", **spec: Any) -> Things:
    return thing("StagedNetworkPolicy", name, {"selector": selector, **spec}, ns="shop")


def sgnp(name: str, **spec: Any) -> Things:
    return thing("StagedGlobalNetworkPolicy", name, spec)


def stages(cluster: Cluster) -> list[tuple[str, tuple[str, ...]]]:
    endpoint = next(iter(cluster.intent().endpoints.values()))
    return [(stage.tier, stage.policies) for stage in cluster.intent().groups[endpoint.ingress].stages]


def marks(cluster: Cluster) -> dict[str, str]:
    return {name: found.replaced_by for name, found in cluster.intent().policies.items() if found.replaced_by}


def test_a_staged_policy_denies_nothing() -> None:
    """In force it would isolate; staged it is only looked at."""
    cluster = Cluster(WEB, snp("quiet", ingress=[deny()]))
    assert cluster.lets_in("web", STRANGER)
    assert cluster.intent().policies[PolicyId("StagedNetworkPolicy/shop/quiet")].staged


def test_a_staged_policy_allows_nothing() -> None:
    cluster = Cluster(WEB, np("floor", ingress=[]), snp("door", ingress=[allow()]))
    assert not cluster.lets_in("web", STRANGER)


def test_a_tier_with_staged_policies_only_is_passed() -> None:
    """Otherwise its end would deny, for a policy that nobody enforces."""
    cluster = Cluster(WEB, tier("first", 1, "Deny"), sgnp("first.x", tier="first"))
    assert stages(cluster) == [("first", ("StagedGlobalNetworkPolicy/first.x",))]
    assert cluster.lets_in("web", STRANGER)


def test_it_stands_where_the_policy_would_stand() -> None:
    cluster = Cluster(WEB, np("a", order=1), np("c", order=3), snp("b", order=2), sgnp("d", order=4))
    assert stages(cluster) == [("default", (
        "NetworkPolicy/shop/a", "StagedNetworkPolicy/shop/b", "NetworkPolicy/shop/c", "StagedGlobalNetworkPolicy/d"))]


@pytest.mark.parametrize("action", ["Set", "Delete"])
def test_the_enforced_policy_of_its_name_knows_what_would_replace_it(action: str) -> None:
    """The selectors may differ, so the mark is on the enforced one: its endpoints are those that it would leave."""
    staged = snp("p", "app == 'other'" if action == "Set" else "", stagedAction=action)
    cluster = Cluster(WEB, staged, np("p", "app == 'web'"), gnp("p"))
    assert marks(cluster) == {"NetworkPolicy/shop/p": "StagedNetworkPolicy/shop/p"}
    cluster.drop(staged)
    assert marks(cluster) == {}
    cluster.put(staged)
    assert marks(cluster) == {"NetworkPolicy/shop/p": "StagedNetworkPolicy/shop/p"}


def test_a_policy_that_only_removes_is_in_no_group() -> None:
    cluster = Cluster(WEB, gnp("p"), sgnp("p", stagedAction="Delete"))
    assert stages(cluster) == [("default", ("GlobalNetworkPolicy/p",))]
    assert marks(cluster) == {"GlobalNetworkPolicy/p": "StagedGlobalNetworkPolicy/p"}


@pytest.mark.parametrize("action", ["Learn", "Ignore"])
def test_what_is_learnt_or_ignored_says_nothing(action: str) -> None:
    cluster = Cluster(WEB, np("p"), snp("p", stagedAction=action))
    assert stages(cluster) == [("default", ("NetworkPolicy/shop/p",))]
    assert marks(cluster) == {}


def test_a_staged_policy_of_kubernetes_is_converted_as_the_policy_is() -> None:
    staged = thing("StagedKubernetesNetworkPolicy", "k", {
        "podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": 80}]}]}, ns="shop")
    cluster = Cluster(WEB, staged, np("knp.default.k", "app == 'web'", order=1000))
    assert stages(cluster) == [("default", (
        "StagedKubernetesNetworkPolicy/shop/k", "NetworkPolicy/shop/knp.default.k"))]
    assert marks(cluster) == {"NetworkPolicy/shop/knp.default.k": "StagedKubernetesNetworkPolicy/shop/k"}
    rule = cluster.intent().policies[PolicyId("StagedKubernetesNetworkPolicy/shop/k")].ingress[0]
    assert (rule.protocol, rule.destination.ports) == (6, ((80, 80),))
    assert rule.origin.kind == "StagedKubernetesNetworkPolicy"


def test_a_staged_policy_that_cannot_be_used_is_reported_and_opens_and_shuts_nothing() -> None:
    bad = snp("bad", ingress=[{"action": "?"}])
    cluster = Cluster(WEB)
    faults = cluster.put(bad).faults
    key = ResourceKey("StagedNetworkPolicy", "shop", "bad")
    assert "would deny, if it were enforced" in str(faults[key])
    assert cluster.lets_in("web", STRANGER)
    faults = cluster.put(illegible(bad, obj={"spec": {"selector": "app == 'web'"}})).faults
    assert "cannot be decoded" in str(faults[key])
    assert cluster.intent().policies[PolicyId("StagedNetworkPolicy/shop/bad")].staged
    assert cluster.lets_in("web", STRANGER)


def test_a_staged_policy_that_got_lost_on_the_way_denies_nothing() -> None:
    """The stand-in of what is missing denies; of what is staged it is staged."""
    cluster = Cluster(WEB, snp("p"))
    delta = cluster.graph.subscribe("h1")
    delta.policies.pop(PolicyId("StagedNetworkPolicy/shop/p"))
    cluster.hosts["h1"].update(delta)
    cluster.hosts["h1"].flush()
    assert cluster.intent().policies[PolicyId("StagedNetworkPolicy/shop/p")].staged
    assert cluster.lets_in("web", STRANGER)

"""Whom a policy selects, where it stands, and what happens when nothing of it matches."""

from __future__ import annotations

import pytest

from calcwords import OPEN, Cluster, allow, deny, gnp, namespace, np, passing, profile, thing, tier, wl

WEB = wl("web", "h1", "10.65.0.1", "fd65::1", app="web")
DB = wl("db", "h2", "10.65.0.2", app="db")
STRANGER = "192.0.2.7"


def order_of(cluster: Cluster, direction: str = "ingress") -> list[tuple[str, list[str]]]:
    """(tier, names of its policies) as the workload `web` meets them."""
    endpoint = next(e for e in cluster.intent().endpoints.values() if e.key.endswith("/web"))
    group = cluster.intent().groups[endpoint.ingress if direction == "ingress" else endpoint.egress]
    return [(stage.tier, [policy.partition("/")[2] for policy in stage.policies]) for stage in group.stages]


def test_an_endpoint_without_policy_is_governed_by_its_profiles() -> None:
    """Profiles are the rules of last resort: nothing else speaks here."""
    cluster = Cluster(WEB)
    assert cluster.lets_in("web", STRANGER)
    assert cluster.lets_out("web", STRANGER)


def test_a_policy_with_no_rules_isolates_in_the_direction_it_governs() -> None:
    """Calico: no types means Ingress; being selected is what isolates, not the rules."""
    cluster = Cluster(WEB, np("quiet", "app == 'web'"))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.lets_out("web", STRANGER)


@pytest.mark.parametrize(("spec", "governs"), [
    ({}, {"ingress"}),
    ({"ingress": [deny()]}, {"ingress"}),
    ({"egress": [deny()]}, {"egress"}),
    ({"ingress": [deny()], "egress": [deny()]}, {"ingress", "egress"}),
    ({"types": ["Ingress"]}, {"ingress"}),
    ({"types": ["Egress"]}, {"egress"}),
    ({"types": ["Ingress", "Egress"]}, {"ingress", "egress"}),
    ({"types": ["egress"]}, {"egress"}),
])
def test_a_policy_governs_the_directions_it_names_or_has_rules_for(spec: dict[str, object], governs: set[str]) -> None:
    """Types default by the rules; when they are named, they are read without case, as felix does."""
    cluster = Cluster(WEB, np("p", "", **spec))
    assert {d for d in ("ingress", "egress") if order_of(cluster, d)} == governs


def test_policies_are_asked_by_order_then_name_and_those_without_order_last() -> None:
    """Ties break by name/namespace/kind as one text, which is why "a/" comes after "a-b/"."""
    cluster = Cluster(
        WEB, gnp("late", order=20), np("early", order=10.5), gnp("z-early", order=10.5), gnp("none"), np("a-none"),
        gnp("minus", order=-1), np("same"), gnp("same"), np("a"), np("a-b"),
    )
    assert order_of(cluster) == [("default", [
        "minus", "shop/early", "z-early", "late", "shop/a-b", "shop/a-none", "shop/a", "none", "same", "shop/same"])]


def test_tiers_are_asked_by_order_then_name_those_without_order_last_and_undeclared_ones_after_all() -> None:
    """A tier that nobody declared still enforces its policies."""
    names = ("undeclared", "zulu", "none", "alpha", "first")
    cluster = Cluster(
        WEB, tier("zulu", 5), tier("alpha", 5), tier("first", 1), tier("none"),
        *(gnp(f"{name}.p", tier=name) for name in names), gnp("p"),
    )
    assert [name for name, _ in order_of(cluster)] == ["first", "alpha", "zulu", "none", "default", "undeclared"]


def test_a_tier_without_a_policy_for_the_endpoint_in_that_direction_does_not_count() -> None:
    """Else its default action would deny what nobody wanted denied."""
    cluster = Cluster(WEB, tier("first", 1, "Deny"), gnp("first.other", "app == 'db'", tier="first"),
                      gnp("first.out", tier="first", types=["Egress"], egress=[allow()]))
    assert cluster.lets_in("web", STRANGER)


def test_the_end_of_a_tier_denies_or_passes_as_the_tier_says() -> None:
    cluster = Cluster(WEB, tier("first", 1, "Pass"), gnp("first.p", tier="first", ingress=[allow("app == 'db'")]))
    assert cluster.lets_in("web", STRANGER)

    cluster.put(tier("first", 1, "Deny"))
    assert not cluster.lets_in("web", STRANGER)

    cluster.put(tier("first", 1))
    assert not cluster.lets_in("web", STRANGER)


def test_a_policy_whose_tier_is_gone_still_decides_and_the_tier_denies() -> None:
    """Asymmetric teardown: the tier first, its policies later."""
    first = tier("first", 1, "Pass")
    cluster = Cluster(WEB, first, gnp("first.p", tier="first", ingress=[allow("app == 'db'")]),
                      gnp("p", ingress=[allow()]))
    assert cluster.lets_in("web", STRANGER)

    cluster.drop(first)
    assert cluster.lets_in("web", STRANGER)
    assert [name for name, _ in order_of(cluster)] == ["default", "first"]

    cluster.put(gnp("p", ingress=[passing()]))
    decision = cluster.why("web", "ingress", STRANGER)
    assert (decision.verdict, decision.decided_by.tier) == ("Deny", "first")


def test_pass_skips_the_rest_of_the_tier() -> None:
    cluster = Cluster(WEB, tier("first", 1, "Deny"), gnp("first.a", tier="first", order=1, ingress=[passing()]),
                      gnp("first.b", tier="first", order=2, ingress=[deny()]), gnp("p", ingress=[allow()]))
    assert cluster.lets_in("web", STRANGER)


def test_a_network_policy_selects_only_in_its_own_namespace() -> None:
    cluster = Cluster(WEB, wl("web", "h1", "10.65.1.1", ns="other", app="web", interface="mus2"),
                      np("p", "app == 'web'"))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.lets_in("web", STRANGER, ns="other")


def test_a_global_policy_selects_by_labels_of_the_namespace_and_of_the_service_account() -> None:
    """Namespaces hand their labels down by the profile kns.X, service accounts by ksa.X.Y."""
    given = wl("web", "h1", "10.65.0.1", profiles=("kns.shop", "ksa.shop.till"), app="web")
    cluster = Cluster(
        given, namespace("shop", team="money"), profile("ksa.shop.till", labels={"pcsa.rank": "high"}),
        gnp("p", namespaceSelector="team == 'money'", serviceAccountSelector="rank == 'high'"),
    )
    assert not cluster.lets_in("web", STRANGER)

    cluster.put(namespace("shop", team="fun"))
    assert cluster.lets_in("web", STRANGER)

    cluster.put(namespace("shop", team="money"), profile("ksa.shop.till", labels={"pcsa.rank": "low"}))
    assert cluster.lets_in("web", STRANGER)


def test_all_as_a_service_account_selector_means_any_service_account() -> None:
    """Calico replaces all() by has(projectcalico.org/serviceaccount) in a global policy."""
    policy = gnp("p", serviceAccountSelector="all()")
    assert Cluster(WEB, policy).lets_in("web", STRANGER)
    with_account = wl("web", "h1", "10.65.0.1", spec={"serviceAccountName": "till"})
    assert not Cluster(with_account, policy).lets_in("web", STRANGER)


@pytest.mark.parametrize("field", ["doNotTrack", "preDNAT"])
def test_policies_for_host_interfaces_do_not_apply_to_workloads(field: str) -> None:
    cluster = Cluster(WEB, gnp("p", ingress=[deny()], applyOnForward=True, **{field: True}))
    assert cluster.lets_in("web", STRANGER)
    cluster.put(gnp("p", ingress=[deny()], applyOnForward=True))
    assert not cluster.lets_in("web", STRANGER)


def test_profiles_are_asked_in_the_order_they_are_listed() -> None:
    no, yes = profile("no", ingress=[deny()]), profile("yes", ingress=[allow()])
    assert not Cluster(no, yes, wl("web", "h1", "10.65.0.1", profiles=("no", "yes"))).lets_in("web", STRANGER)
    assert Cluster(no, yes, wl("web", "h1", "10.65.0.1", profiles=("yes", "no"))).lets_in("web", STRANGER)
    assert not Cluster(wl("web", "h1", "10.65.0.1", profiles=())).lets_in("web", STRANGER)


def test_a_missing_profile_denies_and_says_so() -> None:
    """Not even a later profile that allows is asked: the endpoint relied on rules that nobody has."""
    cluster = Cluster(wl("web", "h1", "10.65.0.1", profiles=("lost", "open")))
    decision = cluster.why("web", "ingress", STRANGER)
    assert decision.verdict == "Deny"
    assert decision.decided_by.note == "missing profile lost"

    cluster.put(profile("lost", ingress=[allow()]))
    assert cluster.lets_in("web", STRANGER)
    cluster.drop(profile("lost"))
    assert not cluster.lets_in("web", STRANGER)


def test_the_built_in_profile_allows_all_without_being_stored() -> None:
    cluster = Cluster(wl("web", "h1", "10.65.0.1", profiles=("projectcalico-default-allow",)))
    assert cluster.lets_in("web", STRANGER)
    assert cluster.lets_out("web", STRANGER)


def test_a_namespace_stands_for_its_profile_until_somebody_writes_one() -> None:
    cluster = Cluster(wl("web", "h1", "10.65.0.1", profiles=("kns.shop",)))
    assert not cluster.lets_in("web", STRANGER)
    cluster.put(namespace("shop"))
    assert cluster.lets_in("web", STRANGER)
    cluster.put(profile("kns.shop", ingress=[deny()]))
    assert not cluster.lets_in("web", STRANGER)
    cluster.drop(profile("kns.shop"))
    assert cluster.lets_in("web", STRANGER)


def test_labels_of_a_profile_select_its_endpoints_and_own_labels_win() -> None:
    policy = gnp("p", "zone == 'cold'")
    cluster = Cluster(profile("open", ingress=[allow()], labels={"zone": "cold"}), WEB, policy)
    assert not cluster.lets_in("web", STRANGER)
    cluster.put(wl("web", "h1", "10.65.0.1", zone="warm"))
    assert cluster.lets_in("web", STRANGER)


def test_a_change_of_labels_moves_an_endpoint_between_policies() -> None:
    cluster = Cluster(WEB, np("p", "app == 'web'"))
    assert not cluster.lets_in("web", STRANGER)
    cluster.put(wl("web", "h1", "10.65.0.1", app="api"))
    assert cluster.lets_in("web", STRANGER)


def test_equal_policy_lists_are_one_group_on_every_host() -> None:
    """Groups are named by their content: a new endpoint of a known sort adds no chain."""
    other = wl("web2", "h2", "10.65.0.9", app="web")
    cluster = Cluster(WEB, other, np("p", "app == 'web'"), hosts=("h1", "h2"))
    assert cluster.intent("h1").groups == cluster.intent("h2").groups
    delta = cluster.put(wl("web3", "h1", "10.65.0.4", app="web"))
    assert not delta.hosts["h1"].groups


def test_a_host_hears_only_what_its_endpoints_need() -> None:
    """Its endpoints, the policies active on them, the sets these use: nothing of anybody else's."""
    cluster = Cluster(
        WEB, DB, wl("idle", "h1", "10.65.0.3", app="idle"), np("web", "app == 'web'", ingress=[allow("app == 'idle'")]),
        np("db", "app == 'db'", ingress=[allow("app == 'web'")]), hosts=("h1", "h2"),
    )
    intent = cluster.intent("h2")
    assert set(intent.policies) == {"NetworkPolicy/shop/db", "Profile/open"}
    assert [set(found.members) for found in intent.sets.values()] == [{"10.65.0.1/32", "fd65::1/128"}]
    assert [key.rpartition("/")[2] for key in intent.endpoints] == ["db"]

    delta = cluster.put(np("web", "app == 'web'", ingress=[allow("app == 'db'")]))
    assert set(delta.hosts) == {"h1"}
    delta = cluster.put(wl("elsewhere", "h3", "10.65.0.77", app="nobody"))
    assert not delta.hosts


def test_the_last_user_of_a_policy_and_its_sets_takes_them_along() -> None:
    cluster = Cluster(WEB, DB, np("web", "app == 'web'", ingress=[allow("app == 'db'")]))
    assert cluster.intent().sets
    cluster.drop(WEB)
    intent = cluster.intent()
    assert (intent.sets, intent.policies, intent.groups, intent.endpoints, intent.routes) == ({}, {}, {}, {}, {})


def test_policy_of_an_unknown_tier_word_stays_in_the_default_tier() -> None:
    """No tier means default."""
    cluster = Cluster(WEB, tier("default", 1_000_000, "Pass"), gnp("p"))
    assert cluster.lets_in("web", STRANGER)


def test_a_replayed_object_changes_nothing() -> None:
    policy = np("p", "app == 'web'", ingress=[allow("app == 'db'")])
    cluster = Cluster(WEB, DB, policy)
    delta = cluster.put(WEB, DB, policy, OPEN, thing("Tier", "default", {"order": 1}), thing("Tier", "default"))
    again = cluster.put(WEB, DB, policy, OPEN, thing("Tier", "default"))
    assert not again.hosts
    assert not again.faults
    assert not delta.faults

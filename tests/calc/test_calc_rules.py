"""What the words of a rule mean: every match field, and how its ways to name endpoints fold into one set a side."""

from __future__ import annotations

import pytest

from calcwords import (
    Cluster,
    Object,
    Things,
    allow,
    deny,
    gnp,
    illegible,
    namespace,
    netset,
    np,
    profile,
    thing,
    whole,
    wl,
)
from muslin.intent import Action, Icmp, Match, Policy, PolicyId, Rule

WEB = wl("web", "h1", "10.65.0.1", app="web")
DB = wl("db", "h2", "10.65.0.2", app="db")
OTHER_DB = wl("db", "h2", "10.65.1.2", ns="other", app="db", interface="mus1")
BOX = netset("box", "192.0.2.0/24", app="db")
STRANGER = "198.51.100.1"


def only_rule(cluster: Cluster, policy: str = "GlobalNetworkPolicy/p") -> Rule:
    found = cluster.intent().policies[PolicyId(policy)]
    (rule,) = found.ingress + found.egress
    return rule


def compiled(rule: Object) -> Rule:
    return only_rule(Cluster(WEB, gnp("p", ingress=[rule])))


def noted(cluster: Cluster, policy: str = "GlobalNetworkPolicy/p") -> str:
    rule = only_rule(cluster, policy)
    assert rule.action is Action.DENY
    assert rule.origin.rule is None
    return rule.origin.note


@pytest.mark.parametrize(("given", "number"), [("TCP", 6), ("tcp", 6), (6, 6), ("6", 6), ("ICMPv6", 58), ("97", 97)])
def test_protocols_become_numbers(given: object, number: int) -> None:
    assert compiled(allow(protocol=given)).protocol == number
    assert compiled(allow(notProtocol=given)).not_protocol == number


def test_ports_become_ranges_and_names_become_sets() -> None:
    """Numbers and names beside each other are alternatives."""
    rule = compiled(allow(to={"ports": [80, "443", "8000:8080", "http"], "notPorts": [8001, "dns"]}, protocol="TCP"))
    assert rule.destination.ports == ((80, 80), (443, 443), (8000, 8080))
    assert rule.destination.not_ports == ((8001, 8001),)
    assert len(rule.destination.named_ports) == len(rule.destination.not_named_ports) == 1


def test_nets_are_canonical() -> None:
    rule = compiled(allow(to={"nets": ["10.1.2.3", "10.1.2.3/8"], "notNets": ["FD00:0::1/64"]}))
    assert rule.destination == Match(nets=("10.1.2.3/32", "10.0.0.0/8"), not_nets=("fd00::/64",))


def test_icmp_family_and_action_come_through() -> None:
    rule = compiled(deny(protocol="ICMP", ipVersion=4, icmp={"type": 8}, notICMP={"type": 3, "code": 1}))
    assert (rule.action, rule.ip_version, rule.icmp, rule.not_icmp) == (
        Action.DENY, 4, Icmp(type=8), Icmp(type=3, code=1))


def test_annotations_of_a_rule_change_nothing() -> None:
    assert compiled(allow(metadata={"annotations": {"a": "b"}})) == compiled(allow())


def test_log_rules_carry_a_prefix_that_leads_back_to_the_rule() -> None:
    rule = compiled({"action": "Log"})
    assert rule.log_prefix == "muslin default/p ingress[0]"
    long = gnp("x" * 200, ingress=[{"action": "Log"}])
    assert len(only_rule(Cluster(WEB, long), f"GlobalNetworkPolicy/{'x' * 200}").log_prefix) == 125


def test_a_rule_says_where_it_comes_from() -> None:
    cluster = Cluster(WEB, np("p", tier="default", ingress=[deny("app == 'nobody'"), allow()]))
    origin = cluster.why("web", "ingress", STRANGER).decided_by
    assert (origin.kind, origin.namespace, origin.name, origin.tier, origin.rule) == (
        "NetworkPolicy", "shop", "p", "default", 1)


def test_a_namespaced_rule_selects_in_its_own_namespace() -> None:
    cluster = Cluster(WEB, DB, OTHER_DB, BOX, np("p", ingress=[allow("app == 'db'")]))
    assert cluster.lets_in("web", "10.65.0.2")
    assert not cluster.lets_in("web", "10.65.1.2")
    assert not cluster.lets_in("web", "192.0.2.9")


def test_a_global_rule_selects_everywhere_network_sets_included() -> None:
    cluster = Cluster(WEB, DB, OTHER_DB, BOX, gnp("p", ingress=[allow("app == 'db'")]))
    assert cluster.lets_in("web", "10.65.0.2")
    assert cluster.lets_in("web", "10.65.1.2")
    assert cluster.lets_in("web", "192.0.2.9")
    assert not cluster.lets_in("web", STRANGER)


@pytest.mark.parametrize(("words", "open_to"), [
    ("team == 'blue'", {"other"}),
    ("all()", {"own", "other"}),
    ("global()", {"box"}),
    ("projectcalico.org/name == 'shop'", {"own"}),
    ("!has(team)", {"own", "box"}),
])
def test_a_namespace_selector_replaces_the_own_namespace(words: str, open_to: set[str]) -> None:
    """all() is whatever is in a namespace, global() whatever is in none; labels are those of the namespace."""
    cluster = Cluster(
        WEB, wl("db", "h2", "10.65.0.2", app="db", profiles=("kns.shop",)),
        wl("db", "h2", "10.65.1.2", ns="other", app="db", interface="mus1", profiles=("kns.other",)), BOX,
        namespace("shop"), namespace("other", team="blue"),
        np("p", "app == 'web'", ingress=[allow({"namespaceSelector": words, "selector": "app == 'db'"})]),
    )
    asked = {"own": "10.65.0.2", "other": "10.65.1.2", "box": "192.0.2.9"}
    assert {name for name, address in asked.items() if cluster.lets_in("web", address)} == open_to


def test_service_accounts_are_chosen_by_name_and_by_label() -> None:
    cluster = Cluster(
        WEB, profile("ksa.shop.till", labels={"pcsa.rank": "high"}),
        wl("a", "h2", "10.65.0.2", spec={"serviceAccountName": "till"}, profiles=("ksa.shop.till",)),
        wl("b", "h2", "10.65.0.3", spec={"serviceAccountName": "till"}),
        wl("c", "h2", "10.65.0.4", profiles=("ksa.shop.till",)),
        np("p", "app == 'web'", ingress=[allow({"serviceAccounts": {"names": ["till"]}})]),
    )
    addresses = [f"10.65.0.{n}" for n in (2, 3, 4)]
    assert [cluster.lets_in("web", address) for address in addresses] == [True, True, False]
    cluster.put(np("p", "app == 'web'", ingress=[allow({"serviceAccounts": {"selector": "rank == 'high'"}})]))
    assert [cluster.lets_in("web", address) for address in addresses] == [True, False, True]
    cluster.put(np("p", "app == 'web'", ingress=[allow(
        {"serviceAccounts": {"selector": "rank == 'high'", "names": ["x", "till"]}})]))
    assert [cluster.lets_in("web", address) for address in addresses] == [True, False, False]


def test_not_selector_alone_in_a_global_rule_lets_in_what_nobody_knows() -> None:
    """Anything that is not a known endpoint with the label: the outside too."""
    cluster = Cluster(WEB, DB, gnp("p", ingress=[allow({"notSelector": "app == 'db'"})]))
    assert cluster.lets_in("web", STRANGER)
    assert not cluster.lets_in("web", "10.65.0.2")


def test_not_selector_alone_in_a_namespaced_rule_means_others_of_the_namespace() -> None:
    """As in Calico: any word about endpoints limits a namespaced rule to its namespace, this one too."""
    cluster = Cluster(WEB, DB, wl("api", "h2", "10.65.0.3", app="api"), OTHER_DB,
                      np("p", ingress=[allow({"notSelector": "app == 'db'"})]))
    assert [cluster.lets_in("web", a) for a in ("10.65.0.2", "10.65.0.3", "10.65.1.2", STRANGER)] == [
        False, True, False, False]


def test_not_selector_beside_a_selector_takes_members_out_of_its_one_set() -> None:
    """One set: an address in a prefix that stays in is in, though it is also an endpoint that was taken out."""
    cluster = Cluster(WEB, DB, netset("all", "10.65.0.0/16", app="net"),
                      gnp("p", ingress=[allow({"selector": "has(app)", "notSelector": "app == 'db'"})]))
    assert len(cluster.intent().sets) == 1
    assert cluster.lets_in("web", "10.65.0.2")


def test_the_same_question_is_one_set() -> None:
    """By canonical text, and whichever policy asks."""
    cluster = Cluster(WEB, DB, gnp("p", ingress=[allow("app=='db'"), allow('(app == "db")')]),
                      gnp("q", egress=[allow(to="app == 'db' ")]))
    assert len(cluster.intent().sets) == 1


PORTS = {"ports": [{"name": "sql", "protocol": "TCP", "port": 5432}, {"name": "sql", "protocol": "UDP", "port": 99}]}


def test_a_port_name_means_that_port_of_those_endpoints() -> None:
    cluster = Cluster(
        WEB, wl("db", "h2", "10.65.0.2", app="db", spec=PORTS), wl("api", "h2", "10.65.0.3", app="api", spec=PORTS),
        gnp("p", egress=[allow(to={"selector": "app == 'db'", "ports": ["sql", 80]}, protocol="TCP")]),
    )
    assert cluster.lets_out("web", "10.65.0.2", "tcp/5432")
    assert cluster.lets_out("web", "10.65.0.2", "tcp/80")
    assert not cluster.lets_out("web", "10.65.0.2", "tcp/99")
    assert not cluster.lets_out("web", "10.65.0.2", "udp/99")
    assert not cluster.lets_out("web", "10.65.0.3", "tcp/5432")
    assert not cluster.lets_out("web", "10.65.0.3", "tcp/80")


def test_only_names_stand_for_the_selector_too() -> None:
    """The port set holds nobody else, so that a second set would say nothing."""
    rule = compiled(allow(to={"selector": "app == 'db'", "ports": ["sql"]}, protocol="TCP"))
    assert not rule.destination.sets
    rule = compiled(allow(to={"selector": "app == 'db'", "ports": ["sql", 80]}, protocol="TCP"))
    assert rule.destination.sets
    rule = compiled(allow(to={"selector": "app == 'db'", "notPorts": ["sql"]}, protocol="TCP"))
    assert rule.destination.sets


def test_a_port_name_of_the_selected_endpoint_itself_needs_only_that_endpoint() -> None:
    """The destination of an ingress rule is always somebody whom the policy selects. 100,000 others with a port of that
    name decide nothing, and need not be in the set."""
    cluster = Cluster(
        wl("web", "h1", "10.65.0.1", app="web", spec=PORTS), wl("db", "h2", "10.65.0.2", app="db", spec=PORTS),
        np("p", "app == 'web'", ingress=[allow(to={"ports": ["sql"]}, protocol="TCP")]),
    )
    (set_id,) = cluster.intent().sets
    assert cluster.members(set_id) == {("10.65.0.1/32", 6, 5432)}
    assert cluster.lets_in("web", STRANGER, "tcp/5432")
    assert not cluster.lets_in("web", STRANGER, "tcp/5433")

    cluster.put(np("p", "app == 'web'", ingress=[allow({"ports": ["sql"]}, protocol="TCP")]))
    (set_id,) = cluster.intent().sets
    assert cluster.members(set_id) == {("10.65.0.1/32", 6, 5432), ("10.65.0.2/32", 6, 5432)}


@pytest.mark.parametrize(("rule", "told"), [
    ({"action": "allow"}, "spec.ingress[1].action 'allow'"),
    ({"action": "Allow", "protocol": "TPC"}, "spec.ingress[1].protocol: 'TPC'"),
    ({"action": "Allow", "notProtocol": 256}, "notProtocol"),
    ({"action": "Allow", "ipVersion": 5}, "ipVersion 5"),
    ({"action": "Allow", "http": {"methods": ["GET"]}}, "http"),
    ({"action": "Allow", "source": {"services": {"name": "x"}}}, "source.services"),
    ({"action": "Allow", "source": {"selector": "app = 'x'"}}, "source.selector"),
    ({"action": "Allow", "source": {"notSelector": "app =="}}, "source.notSelector"),
    ({"action": "Allow", "destination": {"namespaceSelector": "has("}}, "destination.namespaceSelector"),
    ({"action": "Allow", "source": {"serviceAccounts": {"selector": "!"}}}, "source.serviceAccounts.selector"),
    ({"action": "Allow", "source": {"serviceAccounts": {"names": ["a'b"]}}}, "source.serviceAccounts.names"),
    ({"action": "Allow", "source": {"nets": ["10.0.0.0/33"]}}, "source.nets"),
    ({"action": "Allow", "source": {"notNets": ["ten"]}}, "source.notNets"),
    ({"action": "Allow", "protocol": "TCP", "source": {"ports": [65536]}}, "source.ports"),
    ({"action": "Allow", "protocol": "TCP", "source": {"ports": ["9:1"]}}, "source.ports"),
    ({"action": "Allow", "protocol": "TCP", "source": {"ports": ["1:x"]}}, "source.ports"),
    ({"action": "Allow", "protocol": "TCP", "source": {"notPorts": [-1]}}, "source.notPorts"),
    ({"action": "Allow", "source": {"ports": [80]}}, "source.ports"),
    ({"action": "Allow", "protocol": "ICMP", "source": {"notPorts": [80]}}, "source.ports"),
    ({"action": "Allow", "icmp": {"code": 1}}, "icmp"),
    ({"action": "Allow", "notICMP": {"type": 256}}, "notICMP"),
])
def test_a_rule_that_cannot_be_used_makes_the_whole_policy_deny(rule: Object, told: str) -> None:
    """Left out, it would open what it closes. The object's fault and the stand-in say which rule."""
    policy = gnp("p", ingress=[allow(), rule], egress=[allow()])
    cluster = Cluster(WEB)
    delta = cluster.put(policy)
    (fault,) = [message for message in delta.faults.values() if message]
    assert told in fault
    decision = cluster.why("web", "ingress", STRANGER)
    assert decision.verdict == "Deny"
    assert told in decision.decided_by.note
    assert not cluster.lets_out("web", STRANGER)

    mended = cluster.put(gnp("p", ingress=[allow()]))
    assert list(mended.faults.values()) == [None]
    assert cluster.lets_in("web", STRANGER)


def test_every_unusable_rule_is_named() -> None:
    bad: Object = {"action": "Alow"}
    (fault,) = Cluster(WEB, gnp("p", ingress=[bad, allow(), bad], egress=[bad])).graph.faults().values()
    assert [f"spec.{where}" in fault for where in ("ingress[0]", "ingress[1]", "ingress[2]", "egress[0]")] == [
        True, False, True, True]


def test_rules_of_a_direction_that_the_policy_does_not_govern_do_not_count() -> None:
    cluster = Cluster(WEB, gnp("p", types=["Ingress"], ingress=[allow()], egress=[{"action": "Alow"}]))
    assert not cluster.graph.faults()
    assert cluster.lets_out("web", STRANGER)


def test_a_selector_that_cannot_be_read_denies_the_whole_scope() -> None:
    """Nobody can say whom it means, so it means everybody whom it may: its namespace, or every workload."""
    elsewhere = wl("web", "h1", "10.65.1.1", ns="other", interface="mus1")
    cluster = Cluster(WEB, elsewhere, np("p", "app = 'db'"))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.lets_in("web", STRANGER, ns="other")
    assert "spec.selector" in noted(cluster, "NetworkPolicy/shop/p")

    cluster.drop(np("p"))
    cluster.put(gnp("p", "app = 'db'"))
    assert not cluster.lets_in("web", STRANGER)
    assert not cluster.lets_in("web", STRANGER, ns="other")


def test_an_unreadable_selector_leaves_the_part_of_the_scope_that_can_be_read() -> None:
    one = wl("web", "h1", "10.65.0.1", profiles=("open", "kns.shop"))
    two = wl("web", "h1", "10.65.1.1", ns="other", interface="mus1", profiles=("open", "kns.other"))
    cluster = Cluster(one, two, namespace("shop", team="money"), namespace("other"),
                      gnp("p", "app = 'db'", namespaceSelector="team == 'money'"))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.lets_in("web", STRANGER, ns="other")
    cluster.put(gnp("p", "app == 'nobody'", namespaceSelector="team ="))
    assert cluster.lets_in("web", STRANGER)
    cluster.put(gnp("p", "app = 'db'", namespaceSelector="team ="))
    assert not cluster.lets_in("web", STRANGER, ns="other")


def test_unknown_types_govern_both_directions_and_deny() -> None:
    cluster = Cluster(WEB, gnp("p", types=["Ingres"], ingress=[allow()]))
    assert not cluster.lets_in("web", STRANGER)
    assert not cluster.lets_out("web", STRANGER)


def test_a_policy_that_does_not_decode_denies_whom_it_still_selects() -> None:
    """Its selector, types, tier and order are read from the JSON as far as they go."""
    obj = {"spec": {"selector": "app == 'web'", "types": ["Ingress"], "ingress": "everybody"}}
    cluster = Cluster(WEB, wl("db", "h1", "10.65.0.2", app="db"), illegible(gnp("p"), "spec.ingress: not a list", obj))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.lets_out("web", STRANGER)
    assert cluster.lets_in("db", STRANGER)
    assert "not a list" in noted(cluster)
    assert "not a list" in next(iter(cluster.graph.faults().values()))


def test_of_a_policy_that_does_not_decode_what_cannot_be_read_is_taken_widely() -> None:
    """An order that is no number stands first, a selector that is no text selects the scope, types govern both ways."""
    obj = {"spec": {"selector": 5, "order": "ten", "types": "Ingress", "tier": ["x"]}}
    cluster = Cluster(WEB, np("open", order=-5, ingress=[allow()], egress=[allow()]), illegible(np("p"), obj=obj))
    assert not cluster.lets_in("web", STRANGER)
    assert not cluster.lets_out("web", STRANGER)
    cluster.put(illegible(np("p"), obj={"spec": {"order": 7}}))
    assert cluster.lets_in("web", STRANGER)
    cluster.put(illegible(np("p"), obj={"spec": "nothing"}))
    assert cluster.lets_in("web", STRANGER)
    cluster.drop(np("open"))
    assert not cluster.lets_in("web", STRANGER)


def test_a_policy_of_which_nothing_can_be_read_is_absent_and_reported() -> None:
    cluster = Cluster(WEB)
    delta = cluster.put(illegible(gnp("p"), "not JSON"))
    assert cluster.lets_in("web", STRANGER)
    assert "not JSON" in str(list(delta.faults.values()))
    assert list(cluster.drop(gnp("p")).faults.values()) == [None]


def test_a_profile_that_cannot_be_used_denies() -> None:
    cluster = Cluster(WEB, profile("open", ingress=[allow(), {"action": "Alow"}], egress=[allow()]))
    assert not cluster.lets_in("web", STRANGER)
    assert not cluster.lets_out("web", STRANGER)
    cluster.put(illegible(profile("open")))
    assert cluster.why("web", "ingress", STRANGER).decided_by.note == "illegible profile open"


def test_policies_that_are_equal_in_words_are_equal_in_rules() -> None:
    """Pure: the same object always compiles to the same value."""
    rules = [allow({"selector": "a in {'x', 'y'}", "ports": ["http", 1]}, protocol="TCP")]
    one, two = (Cluster(WEB, gnp("p", ingress=rules)).intent().policies for _ in range(2))
    assert one == two
    assert isinstance(one[PolicyId("GlobalNetworkPolicy/p")], Policy)


def test_a_tier_that_does_not_decode_comes_last_and_denies() -> None:
    cluster = Cluster(WEB, illegible(thing("Tier", "default"), obj={"spec": {"defaultAction": "Pass"}}), gnp("p"))
    assert not cluster.lets_in("web", STRANGER)
    assert cluster.graph.faults()


def test_a_port_name_without_a_protocol_means_it_in_every_protocol() -> None:
    """The endpoint's port says which it is. (Numbers do need a protocol.)"""
    ports: list[Object] = [{"name": "dns", "protocol": protocol, "port": 53} for protocol in ("TCP", "UDP")]
    ports.append({"name": "x", "protocol": "TCP", "port": 9})
    server = wl("web", "h1", "10.65.0.1", app="web", spec={"ports": ports})
    cluster = Cluster(server, np("p", "app == 'web'", ingress=[allow(to={"ports": ["dns"]})]))
    assert [cluster.lets_in("web", "192.0.2.7", what) for what in ("tcp/53", "udp/53", "tcp/9", "sctp/53")] == [
        True, True, False, False]
    cluster.put(np("p", "app == 'web'", ingress=[allow(to={"notPorts": ["dns"]})]))
    assert [cluster.lets_in("web", "192.0.2.7", what) for what in ("tcp/53", "udp/53", "tcp/9", "sctp/53")] == [
        False, False, True, True]


def test_a_service_account_hands_its_labels_down_without_a_profile_of_its_own() -> None:
    """As a Namespace does: whoever runs as it is selected by its labels, in its namespace and by its name."""
    def robot(**labels: str) -> Things:
        return whole("ServiceAccount", "robot", ns="shop", labels=labels, fields={})

    runs = wl("bot", "h1", "10.65.0.2", profiles=("open", "ksa.shop.robot"), spec={"serviceAccountName": "robot"})
    accounts = {"names": ["robot"], "selector": "trusted == 'y'"}
    policy = np("p", "app == 'web'", ingress=[allow({"serviceAccounts": accounts})])
    cluster = Cluster(wl("web", "h1", "10.65.0.1", app="web"), runs, policy, robot(trusted="y"))
    assert cluster.lets_in("web", "10.65.0.2")
    cluster.put(robot(trusted="n"))
    assert not cluster.lets_in("web", "10.65.0.2")
    cluster.put(profile("ksa.shop.robot", labels={"pcsa.trusted": "y"}))  # a stored profile says more
    assert cluster.lets_in("web", "10.65.0.2")
    cluster.drop(profile("ksa.shop.robot"), robot())
    assert not cluster.lets_in("web", "10.65.0.2")
    assert cluster.lets_in("bot", "192.0.2.7")  # its first profile allows

"""What reaches a host's own interfaces: which policies ask which packets, by class, and what each list ends with.

Mutants of src/muslin/calc that fail here, named `module: what`; each was tried:

    groups         forward takes every policy, or doNotTrack ones, or asks profiles, or ends with Deny; forward stages
                   end with Pass; untracked stages keep their tier's action; untracked, or pre-DNAT, ends with Deny;
                   pre-DNAT takes egress policies; a group without policies is handed out; normal leaves out
                   applyOnForward; a host has no profiles
    policies       a namespaced policy meets host endpoints; what does not decode loses that it is for hosts, its
                   passage, or that it is for forwarding; stands_like ignores the passage, or forward
    rulebook       only workloads' classes are soiled; staged policies count as not enforced on *
    classes        the sort is no part of the key
    cluster        untracked is handed out for *; its fault is noted for every interface; it stays when the host
                   endpoint goes; a host's classes keep their groups
    endpoints      a bad interface is kept; unreadable labels, or profiles, shut nothing
    population     a host endpoint on no host counts; one that is gone stays in its host's list; an empty host is kept
    views          groups of host interfaces are not counted; a changed one keeps its old groups; one that is gone is
                   not withdrawn
"""

from __future__ import annotations

import pytest

from calcwords import Cluster, Object, Things, allow, deny, gnp, hep, illegible, namespace, np, passing, thing, tier, wl
from muslin.intent import Action, Delta, EndpointKey, GroupId, HostInterface
from muslin.model.meta import ResourceKey

OUT, OWN, WORK = "192.0.2.7", "172.16.0.1", "10.65.0.2"
ETH0 = EndpointKey("HostEndpoint/eth0")
UPLINK = hep("eth0", "h1", OWN, interface="eth0", role="edge", profiles=("open",))
SHUT = hep("eth0", "h1", OWN, interface="eth0", role="edge")
FORWARD: Object = {"applyOnForward": True}
UNTRACKED: Object = {"doNotTrack": True, **FORWARD}
PRE_DNAT: Object = {"preDNAT": True, **FORWARD}
NOT_80 = [deny(protocol="TCP", to={"ports": [80]})]


def guard(cluster: Cluster, key: EndpointKey = ETH0, at: str = "h1") -> HostInterface:
    return cluster.intent(at).host_interfaces[key]


def gets_in(cluster: Cluster, what: str = "tcp/80") -> bool:
    return cluster.passes(OUT, OWN, what, arrives_by="eth0")


def gets_out(cluster: Cluster, what: str = "tcp/80") -> bool:
    return cluster.passes(OWN, OUT, what, leaves_by="eth0")


def is_forwarded(cluster: Cluster, what: str = "tcp/80", *, back: bool = False) -> bool:
    """From outside to the workload, or the other way."""
    if back:
        return cluster.passes(WORK, OUT, what, arrives_by="musa", leaves_by="eth0")
    return cluster.passes(OUT, WORK, what, arrives_by="eth0", leaves_by="musa")


def host(*things: Things) -> Cluster:
    return Cluster(wl("a", "h1", WORK, role="edge"), *things)


def test_a_global_policy_meets_host_endpoints_and_workloads_alike() -> None:
    cluster = host(UPLINK, gnp("p", "role == 'edge'", ingress=[*NOT_80, allow()]))
    assert not gets_in(cluster)
    assert gets_in(cluster, "tcp/81")
    assert not cluster.lets_in("a", OUT)
    assert gets_out(cluster), "the policy is for ingress only"


def test_a_namespaced_policy_never_meets_a_host_endpoint() -> None:
    """Not even one that pretends to be in the namespace by its labels."""
    liar = hep("eth0", "h1", OWN, interface="eth0", profiles=("open",),
               spec={}, **{"projectcalico.org/namespace": "shop"})
    cluster = host(liar, np("p", "all()", ingress=[deny()]))
    assert gets_in(cluster)
    assert not cluster.lets_in("a", OUT)


def test_without_policy_a_host_endpoint_is_asked_of_its_profiles_alone() -> None:
    assert gets_in(host(UPLINK))
    shut = host(SHUT)
    assert not gets_in(shut)
    assert not gets_out(shut)
    assert gets_in(shut, "tcp/22"), "failsafe"
    assert is_forwarded(shut), "forwarding is another matter"
    missing = host(hep("eth0", "h1", OWN, interface="eth0", profiles=("lost",)))
    assert not gets_in(missing)


def test_only_apply_on_forward_asks_what_a_host_forwards() -> None:
    cluster = host(UPLINK, gnp("p", "has(role) && role == 'edge' && !has(projectcalico.org/namespace)",
                               types=["Ingress", "Egress"], ingress=NOT_80, egress=NOT_80))
    assert not gets_in(cluster)
    assert is_forwarded(cluster)
    assert is_forwarded(cluster, back=True)
    assert (guard(cluster).forward_ingress, guard(cluster).forward_egress) == ("", "")


def test_apply_on_forward_asks_the_hosts_own_traffic_as_well() -> None:
    cluster = host(UPLINK, gnp("p", "global()", types=["Ingress", "Egress"], **FORWARD,
                               ingress=[*NOT_80, allow()], egress=[*NOT_80, allow()]))
    for asked in (gets_in, gets_out, is_forwarded):
        assert not asked(cluster), asked
        assert asked(cluster, "tcp/81"), asked
    assert not is_forwarded(cluster, back=True)
    assert is_forwarded(cluster, "tcp/81", back=True)


def test_a_tier_that_asks_forwarded_packets_denies_what_it_does_not_know() -> None:
    cluster = host(UPLINK, tier("net", 1, "Deny"), gnp("net.p", "global()", tier="net", **FORWARD, ingress=[
        allow(protocol="TCP", to={"ports": [80]})]))
    assert is_forwarded(cluster)
    assert not is_forwarded(cluster, "tcp/81")
    assert is_forwarded(cluster, "tcp/81", back=True), "egress is not asked"
    cluster.put(tier("net", 1, "Pass"))
    assert is_forwarded(cluster, "tcp/81")


def test_what_is_forwarded_is_not_asked_of_profiles_and_passes_at_the_end() -> None:
    cluster = host(SHUT, gnp("p", "global()", **FORWARD, ingress=[passing()]))
    assert not gets_in(cluster)
    assert is_forwarded(cluster)
    group = cluster.intent().groups[guard(cluster).forward_ingress]
    assert (group.profiles, group.end) == ((), Action.ALLOW)


@pytest.mark.parametrize("sort", [UNTRACKED, PRE_DNAT])
def test_what_untracked_and_pre_dnat_policies_do_not_decide_goes_on(sort: Object) -> None:
    cluster = host(UPLINK, tier("early", 1, "Deny"), gnp("early.p", "role == 'edge'", tier="early", **sort,
                                                         types=["Ingress"], ingress=NOT_80))
    assert not gets_in(cluster)
    assert gets_in(cluster, "tcp/81")
    assert not is_forwarded(cluster)
    assert is_forwarded(cluster, "tcp/81")


@pytest.mark.parametrize(("sort", "fields"), [
    ({}, {"ingress", "egress"}), (FORWARD, {"ingress", "egress", "forward_ingress", "forward_egress"}),
    (UNTRACKED, {"untracked_ingress", "untracked_egress"}), (PRE_DNAT, {"pre_dnat"}),
])
def test_each_sort_of_policy_asks_at_its_own_place_and_nowhere_else(sort: Object, fields: set[str]) -> None:
    cluster = host(UPLINK, gnp("p", "role == 'edge'", types=["Ingress", "Egress"], **sort, ingress=[deny()],
                               egress=[deny()]))
    found, groups = guard(cluster), cluster.intent().groups
    assert {field for field, group in _groups(found).items()
            if any("GlobalNetworkPolicy/p" in stage.policies for stage in groups[group].stages)} == fields
    assert cluster.lets_in("a", OUT) == (sort in (UNTRACKED, PRE_DNAT))


def _groups(found: HostInterface) -> dict[str, GroupId]:
    names = ("ingress", "egress", "forward_ingress", "forward_egress", "untracked_ingress", "untracked_egress",
             "pre_dnat")
    return {name: group for name in names if (group := getattr(found, name))}


def test_a_place_without_a_policy_has_no_group() -> None:
    """But the host's own traffic always has one, or nothing would deny."""
    assert set(_groups(guard(host(UPLINK)))) == {"ingress", "egress"}


def test_pre_dnat_is_for_what_arrives() -> None:
    """An egress rule of such a policy, written past the API, is asked nowhere."""
    cluster = host(UPLINK, gnp("p", "role == 'edge'", types=["Egress"], **PRE_DNAT, egress=[deny()]))
    assert set(_groups(guard(cluster))) == {"ingress", "egress"}
    assert gets_out(cluster)


def test_tiers_and_orders_are_those_of_workloads() -> None:
    cluster = host(UPLINK, tier("a", 2), tier("b", 1), tier("default", 9), gnp("a.p", "all()", tier="a", **FORWARD),
                   gnp("b.p", "all()", tier="b", order=2, **FORWARD), gnp("b.q", "all()", tier="b", order=1, **FORWARD),
                   gnp("z", "all()", **FORWARD))
    stages = cluster.intent().groups[guard(cluster).forward_ingress].stages
    assert [(stage.tier, [name.partition("/")[2] for name in stage.policies]) for stage in stages] == [
        ("b", ["b.q", "b.p"]), ("a", ["a.p"]), ("default", ["z"])]


@pytest.mark.parametrize(("words", "meets"), [
    ("", True), ("global()", True), ("all()", False), ("team == 'red'", False), ("has(team)", False),
    ("!has(team)", True),
])
def test_a_namespace_selector_meets_a_host_endpoint_by_its_labels_alone(words: str, meets: bool) -> None:
    """It is in no namespace, so that it has none of their labels; Calico reads the selector just so."""
    cluster = host(UPLINK, namespace("shop", team="red"), gnp("p", "", namespaceSelector=words, ingress=[deny()]))
    assert gets_in(cluster) != meets


def test_do_not_track_does_not_apply_to_all_interfaces_and_says_so() -> None:
    everything = hep("eth0", "h1", OWN, interface="*", role="edge", profiles=("open",))
    policy = gnp("p", "role == 'edge'", types=["Ingress", "Egress"], **UNTRACKED, ingress=NOT_80, egress=NOT_80)
    cluster = host(everything, policy)
    assert set(_groups(guard(cluster))) == {"ingress", "egress"}
    key = ResourceKey("HostEndpoint", "", "eth0")
    assert "doNotTrack does not apply to interface *, so that p is not enforced" in cluster.graph.faults()[key]

    assert cluster.put(UPLINK).faults == {key: None}
    assert not gets_in(cluster)
    assert key in cluster.put(everything).faults
    assert cluster.put(gnp("p", "role == 'other'", **UNTRACKED)).faults == {key: None}
    assert key in cluster.put(policy).faults
    assert cluster.drop(everything).faults == {key: None}
    assert not cluster.graph.faults()


def test_a_staged_policy_is_not_missed_on_all_interfaces() -> None:
    staged = thing("StagedGlobalNetworkPolicy", "p", {"selector": "all()", "types": ["Ingress"], **UNTRACKED})
    cluster = host(hep("eth0", "h1", OWN, interface="*", profiles=("open",)), staged)
    assert not cluster.graph.faults()
    assert gets_in(cluster)


def test_a_staged_policy_alone_changes_nothing_at_any_place() -> None:
    for sort in ({}, FORWARD, UNTRACKED, PRE_DNAT):
        cluster = host(UPLINK, thing("StagedGlobalNetworkPolicy", "p", {
            "selector": "role == 'edge'", "ingress": [deny()], **sort}))
        assert gets_in(cluster)
        assert is_forwarded(cluster)


def test_a_policy_that_comes_later_is_told() -> None:
    cluster = host(UPLINK)
    assert set(cluster.put(gnp("p", "role == 'edge'", ingress=[deny()])).hosts) == {"h1"}
    assert not gets_in(cluster)
    cluster.put(gnp("p", "role == 'other'", ingress=[deny()]))
    assert gets_in(cluster)
    cluster.put(hep("eth0", "h1", OWN, interface="eth0", role="other", profiles=("open",)))
    assert not gets_in(cluster)


def test_a_policy_that_changes_its_sort_changes_its_place() -> None:
    cluster = host(UPLINK, gnp("p", "role == 'edge'", ingress=[deny()]))
    for sort, fields in ((UNTRACKED, {"untracked_ingress"}), (PRE_DNAT, {"pre_dnat"}), ({}, set()),
                         (FORWARD, {"forward_ingress"}), ({}, set())):
        cluster.put(gnp("p", "role == 'edge'", **sort, ingress=[deny()]))
        assert set(_groups(guard(cluster))) == {"ingress", "egress", *fields}


def test_equal_labels_of_a_workload_a_host_and_a_set_stay_apart() -> None:
    workload = wl("a", "h1", WORK, role="edge")
    cluster = Cluster(workload, hep("eth0", "h1", OWN, interface="eth0", profiles=("open",), spec={}, role="edge", **{
        "projectcalico.org/namespace": "shop", "projectcalico.org/orchestrator": "muslin"}))
    assert cluster.graph.statistics()["classes"] == 2
    assert len(cluster.intent().endpoints) == 1
    assert len(cluster.intent().host_interfaces) == 1


def test_host_endpoints_of_a_class_share_their_groups() -> None:
    """And their policies with the workloads: one object each."""
    policy = gnp("p", "role == 'edge'", **FORWARD, ingress=[allow("role == 'edge'")])
    cluster = host(UPLINK, policy)
    delta = cluster.put(hep("eth1", "h1", "172.16.1.1", interface="eth1", role="edge", profiles=("open",)))
    assert set(delta.hosts) == {"h1"}
    told = delta.hosts["h1"]
    assert (told.groups, told.policies, list(told.host_interfaces)) == ({}, {}, ["HostEndpoint/eth1"])


def test_what_only_a_host_endpoint_uses_comes_and_goes_with_it() -> None:
    policy = gnp("p", "global()", **UNTRACKED, ingress=[allow("role == 'db'")])
    cluster = host(policy)
    before = cluster.graph.snapshot("h1")
    assert "GlobalNetworkPolicy/p" not in before.policies
    come = cluster.put(SHUT).hosts["h1"]
    assert (len(come.groups), len(come.sets), list(come.policies)) == (3, 1, ["GlobalNetworkPolicy/p"])
    cluster.drop(SHUT)
    assert cluster.graph.snapshot("h1") == before


def test_what_guards_nothing_reaches_no_host() -> None:
    cluster = host(hep("eth0", ""), hep("b", "h1"))
    for at in ("h1", ""):
        assert not cluster.graph.snapshot(at).host_interfaces
    faults = cluster.graph.faults()
    assert "on no host" in faults[ResourceKey("HostEndpoint", "", "eth0")]
    assert "which interface" in faults[ResourceKey("HostEndpoint", "", "b")]


@pytest.mark.parametrize("name", ["eth0; drop", "x" * 16, "..", "a/b", "**"])
def test_what_cannot_be_an_interface_is_not_one(name: str) -> None:
    """It ends up in kernel rules. The address still says which interface is meant."""
    cluster = host(hep("eth0", "h1", OWN, interface=name))
    cluster.plug(eth3=(OWN,))
    assert guard(cluster).interface == "eth3"
    assert "spec.interfaceName" in cluster.graph.faults()[ResourceKey("HostEndpoint", "", "eth0")]


@pytest.mark.parametrize("obj", [
    {"metadata": {"labels": {"role": 7}}, "spec": {"node": "h1", "interfaceName": "eth0", "profiles": ["open"]}},
    {"metadata": {"labels": "edge"}, "spec": {"node": "h1", "interfaceName": "eth0", "profiles": ["open"]}},
    {"metadata": {}, "spec": {"node": "h1", "interfaceName": "eth0", "profiles": ["open", {}]}},
    {"metadata": {}, "spec": {"node": "h1", "interfaceName": "eth0", "profiles": "open"}},
    {"spec": {"node": "h1", "interfaceName": "eth0", "ports": 7}},
])
def test_a_host_endpoint_that_half_decodes_is_shut_by_its_profiles(obj: Object) -> None:
    """A policy that denied may be lost with the labels; one that it still meets decides as before."""
    cluster = host(illegible(hep("eth0"), obj=obj))
    assert not gets_in(cluster)
    cluster.put(gnp("p", "global()", ingress=[allow()]))
    assert gets_in(cluster)


def test_a_host_endpoint_whose_ports_do_not_decode_keeps_the_rest() -> None:
    cluster = host(illegible(hep("eth0"), obj={
        "metadata": {"labels": {"role": "edge"}},
        "spec": {"node": "h1", "interfaceName": "eth0", "profiles": ["open"], "ports": 7}}))
    assert gets_in(cluster)
    cluster.put(gnp("p", "role == 'edge'", ingress=[*NOT_80, allow()]))
    assert not gets_in(cluster)


@pytest.mark.parametrize(("sort", "fields"), [
    ({}, set()), (FORWARD, {"forward_ingress", "forward_egress"}), ({"applyOnForward": "?"},
    {"forward_ingress", "forward_egress"}), (UNTRACKED, {"untracked_ingress", "untracked_egress"}),
    (PRE_DNAT, {"pre_dnat"}),
])
def test_a_policy_that_does_not_decode_denies_at_its_own_place(sort: Object, fields: set[str]) -> None:
    cluster = host(UPLINK, illegible(gnp("p"), obj={"spec": {"selector": "role == 'edge'", "types": 1, **sort}}))
    found = guard(cluster)
    assert set(_groups(found)) == {"ingress", "egress", *fields}
    assert not is_forwarded(cluster)
    policy = cluster.intent().policies["GlobalNetworkPolicy/p"]  # type: ignore[index]
    assert {rule.action for rule in policy.ingress + policy.egress} == {Action.DENY}
    assert not gets_in(cluster)


def test_a_snapshot_carries_host_endpoints_and_an_unsubscribed_host_costs_nothing() -> None:
    cluster = host(UPLINK, gnp("p", "role == 'edge'", **FORWARD))
    told = cluster.graph.subscribe("h1")
    assert isinstance(told, Delta)
    assert list(told.host_interfaces) == [ETH0]
    assert set(_groups(told.host_interfaces[ETH0] or HostInterface(key=ETH0, interface=""))) <= set(
        _groups(guard(cluster)))
    assert cluster.graph.snapshot("h2").host_interfaces == {}

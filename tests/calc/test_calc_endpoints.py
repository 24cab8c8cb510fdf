"""Who is there: members of sets, addresses and interfaces that two claim, endpoints that cannot be read."""

from __future__ import annotations

import pytest

from calcwords import (
    Cluster,
    Object,
    Things,
    allow,
    deny,
    gnp,
    gone,
    illegible,
    namespace,
    netset,
    np,
    profile,
    thing,
    wl,
)
from muslin.intent import EndpointKey, MemberChange
from muslin.model.meta import ResourceKey
from muslin.net import Cidr

WEB = wl("web", "h1", "10.65.0.1", app="web")
POLICY = gnp("p", "app == 'web'", ingress=[allow("app == 'db'")])
STRANGER = "198.51.100.1"


def members(cluster: Cluster) -> set[object]:
    """Of the only set."""
    (set_id,) = cluster.intent().sets
    return cluster.members(set_id)


def change(delta: object) -> MemberChange:
    """The only thing that h1 hears, about its only set."""
    (told,) = delta.hosts["h1"].sets.values()  # type: ignore[attr-defined]
    assert isinstance(told, MemberChange)
    return told


def addresses(cluster: Cluster, name: str, ns: str = "shop") -> tuple[Cidr, ...]:
    return cluster.intent().endpoints[EndpointKey(f"WorkloadEndpoint/{ns}/{name}")].addresses


def fault(cluster: Cluster, name: str) -> str:
    return cluster.graph.faults().get(ResourceKey("WorkloadEndpoint", "shop", name), "")


def test_members_come_and_go_one_by_one() -> None:
    cluster = Cluster(WEB, POLICY, wl("a", "h2", "10.65.0.2", app="db"))
    assert change(cluster.put(wl("b", "h2", "10.65.0.3", "fd65::3", app="db"))) == MemberChange(
        added=frozenset({"10.65.0.3/32", "fd65::3/128"}))
    assert change(cluster.put(wl("b", "h2", "10.65.0.4", app="db"))) == MemberChange(
        added=frozenset({"10.65.0.4/32"}), removed=frozenset({"10.65.0.3/32", "fd65::3/128"}))
    assert change(cluster.put(wl("b", "h2", "10.65.0.4", app="web"))) == MemberChange(
        removed=frozenset({"10.65.0.4/32"}))
    assert members(cluster) == {"10.65.0.2/32"}


def test_an_address_stays_a_member_as_long_as_somebody_has_it() -> None:
    """Anycast, or a workload that moves: two endpoints of two hosts, one address."""
    a, b = wl("a", "h2", "10.65.0.9", app="db"), wl("b", "h3", "10.65.0.9", app="db")
    cluster = Cluster(WEB, POLICY, a, b)
    assert not cluster.drop(a).hosts
    assert members(cluster) == {"10.65.0.9/32"}
    assert change(cluster.drop(b)).removed == {"10.65.0.9/32"}


def test_what_leaves_and_comes_back_before_the_flush_was_never_away() -> None:
    a = wl("a", "h2", "10.65.0.2", app="db")
    cluster = Cluster(WEB, POLICY, a)
    assert not cluster.put(gone(a), a).hosts
    assert not cluster.put(wl("a", "h2", "10.65.0.3", app="db"), a).hosts


def test_host_endpoints_are_members_by_their_expected_addresses() -> None:
    hep = thing("HostEndpoint", "h2-eth0", {
        "node": "h2", "interfaceName": "eth0", "expectedIPs": ["172.16.0.2", "bad"],
        "ports": [{"name": "ssh", "protocol": "TCP", "port": 22}]}, labels={"app": "db"})
    cluster = Cluster(WEB, POLICY, hep)
    assert members(cluster) == {"172.16.0.2/32"}
    assert "bad" in next(iter(cluster.graph.faults().values()))
    cluster.put(gnp("p", ingress=[allow({"selector": "app == 'db'", "ports": ["ssh"]}, protocol="TCP")]))
    assert members(cluster) == {("172.16.0.2/32", 6, 22)}


def test_network_sets_are_members_by_their_prefixes_and_see_their_namespace() -> None:
    cluster = Cluster(WEB, gnp("p", ingress=[allow("pcns.team == 'blue'")]), namespace("shop", team="blue"),
                      netset("s", "10.0.0.1/8", "bad", "fd00::/8", ns="shop"), netset("g", "172.16.0.0/12"))
    assert members(cluster) == {"10.0.0.0/8", "fd00::/8"}
    cluster.put(gnp("p", ingress=[allow("!has(projectcalico.org/namespace)")]))
    assert members(cluster) == {"172.16.0.0/12"}


def test_an_endpoint_cannot_speak_for_its_namespace() -> None:
    """Labels with pcns. and pcsa. come only from profiles, and the namespace label only from where it is."""
    cluster = Cluster(
        WEB, gnp("p", ingress=[allow("has(pcns.team) || projectcalico.org/namespace == 'vault'")]),
        wl("liar", "h2", "10.65.0.5", **{"pcns.team": "blue", "projectcalico.org/namespace": "vault"}),
    )
    assert members(cluster) == set()


def test_labels_handed_down_by_a_profile_move_members() -> None:
    a = wl("a", "h2", "10.65.0.2", profiles=("zoned",))
    cluster = Cluster(WEB, gnp("p", ingress=[allow("zone == 'cold'")]), a)
    assert change(cluster.put(profile("zoned", labels={"zone": "cold"}))).added == {"10.65.0.2/32"}
    assert change(cluster.put(profile("zoned", labels={"zone": "warm"}))).removed == {"10.65.0.2/32"}
    cluster.put(profile("zoned", labels={"zone": "cold"}))
    assert change(cluster.drop(profile("zoned"))).removed == {"10.65.0.2/32"}


def test_named_ports_follow_the_endpoints_ports() -> None:
    def with_port(number: int) -> Object:
        return {"ports": [{"name": "sql", "protocol": "TCP", "port": number}, {"protocol": "TCP", "port": 1}]}

    cluster = Cluster(WEB, wl("a", "h2", "10.65.0.2", spec=with_port(1433)), gnp(
        "p", egress=[allow(to={"ports": ["sql"], "selector": "all()"}, protocol="TCP")]))
    assert members(cluster) == {("10.65.0.2/32", 6, 1433)}
    told = change(cluster.put(wl("a", "h2", "10.65.0.2", spec=with_port(5432))))
    assert (told.ports_added, told.ports_removed) == ({("10.65.0.2/32", 6, 5432)}, {("10.65.0.2/32", 6, 1433)})
    told = change(cluster.drop(wl("a")))
    assert told.ports_removed == {("10.65.0.2/32", 6, 5432)}


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_with_one_address_on_a_host_the_smaller_key_has_it(names: tuple[str, str]) -> None:
    """Whoever came first: the result depends on who is there. The other is without it, for its rules and for others'
    sets, and is told."""
    cluster = Cluster(wl("web", "h1", "10.65.0.1", app="web"), POLICY,
                      *(wl(name, "h1", "10.65.0.7", f"10.65.0.{ord(name)}", app={"a": "x", "b": "db"}[name])
                        for name in names))
    assert addresses(cluster, "a") == ("10.65.0.7/32", "10.65.0.97/32")
    assert addresses(cluster, "b") == ("10.65.0.98/32",)
    assert members(cluster) == {"10.65.0.98/32"}
    assert "10.65.0.7/32 on h1 belongs to WorkloadEndpoint shop/a" in fault(cluster, "b")
    assert not fault(cluster, "a")

    cluster.drop(wl("a"))
    assert addresses(cluster, "b") == ("10.65.0.7/32", "10.65.0.98/32")
    assert members(cluster) == {"10.65.0.7/32", "10.65.0.98/32"}
    assert not fault(cluster, "b")


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_at_one_interface_of_a_host_the_smaller_key_has_it(names: tuple[str, str]) -> None:
    """The other is as if it did not exist: two lists of rules cannot stand at one interface."""
    cluster = Cluster(wl("web", "h1", "10.65.0.1", app="web"), POLICY,
                      *(wl(name, "h1", f"10.65.0.{ord(name)}", interface="mus7", app="db") for name in names))
    assert [key for key in cluster.intent().endpoints if not key.endswith("web")] == ["WorkloadEndpoint/shop/a"]
    assert members(cluster) == {"10.65.0.97/32"}
    assert "mus7 on h1 belongs to WorkloadEndpoint shop/a" in fault(cluster, "b")

    cluster.put(wl("a", "h2", "10.65.0.97", interface="mus7", app="db"))
    assert addresses(cluster, "b") == ("10.65.0.98/32",)
    assert members(cluster) == {"10.65.0.97/32", "10.65.0.98/32"}
    assert not fault(cluster, "b")


def test_whoever_has_no_interface_claims_no_address() -> None:
    """The loser of the interface must not keep a third from its address."""
    cluster = Cluster(wl("a", "h1", "10.65.0.2", interface="mus7"), wl("b", "h1", "10.65.0.3", interface="mus7"),
                      wl("c", "h1", "10.65.0.3"))
    assert addresses(cluster, "c") == ("10.65.0.3/32",)
    cluster.drop(wl("a"))
    assert addresses(cluster, "b") == ("10.65.0.3/32",)
    assert addresses(cluster, "c") == ()
    assert fault(cluster, "c")


def test_one_address_on_two_hosts_is_meant() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.9"), wl("b", "h2", "10.65.0.9"), hosts=("h1", "h2"))
    assert not cluster.graph.faults()
    assert len(cluster.intent("h1").routes) == len(cluster.intent("h2").routes) == 1


def test_an_endpoint_that_moves_is_at_one_host() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.9"), hosts=("h1", "h2"))
    delta = cluster.put(wl("a", "h2", "10.65.0.9"))
    assert set(delta.hosts) == {"h1", "h2"}
    assert not cluster.intent("h1").endpoints
    assert set(cluster.intent("h2").endpoints) == {"WorkloadEndpoint/shop/a"}


def test_addresses_that_cannot_be_read_are_left_out_and_reported() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.9/32", "10.65.0.0/24", "10.65.0.300", "10.65.0.9"))
    assert addresses(cluster, "a") == ("10.65.0.9/32",)
    assert "10.65.0.0/24" in fault(cluster, "a")
    assert "10.65.0.300" in fault(cluster, "a")
    cluster.put(wl("a", "h1", "10.65.0.9"))
    assert not fault(cluster, "a")


def test_addresses_are_kept_in_one_spelling() -> None:
    cluster = Cluster(wl("a", "h1", "FD65:0::0001/128", "10.65.0.9/32"))
    assert addresses(cluster, "a") == ("fd65::1/128", "10.65.0.9/32")


@pytest.mark.parametrize("spec", [
    {"interfaceName": ""}, {"interfaceName": "a/b"}, {"interfaceName": "x" * 16}, {"interfaceName": 'a" accept'},
    {"interfaceName": ".."}, {"mac": "02:00:00:00:00"}, {"mac": "02:00:00:00:00:0g"}, {"node": ""},
])
def test_an_endpoint_that_cannot_be_programmed_is_absent_and_reported(spec: Object) -> None:
    """Its interface is then unknown, and whatever comes from an unknown interface is denied."""
    cluster = Cluster(WEB, POLICY, wl("db", "h1", "10.65.0.2", app="db", spec=spec))
    assert members(cluster) == set()
    assert [key.rpartition("/")[2] for key in cluster.intent().endpoints] == ["web"]
    assert "as if it did not exist" in fault(cluster, "db")


def test_the_node_can_be_read_from_the_name() -> None:
    cluster = Cluster(wl("h1-muslin-a-eth0", "", "10.65.0.9", interface="mus1"))
    assert addresses(cluster, "h1-muslin-a-eth0") == ("10.65.0.9/32",)


def test_macs_are_kept_in_one_spelling() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.9", spec={"mac": "02-00-00-00-00-0A"}))
    assert cluster.intent().neighbours["10.65.0.9%musa"].mac == "02:00:00:00:00:0a"


def test_spoofable_prefixes_and_floating_addresses_come_through() -> None:
    cluster = Cluster(wl("a", "h1", "10.65.0.9", spec={
        "allowSpoofedSourcePrefixes": ["10.9.1.1/16", "x"],
        "ipNATs": [{"internalIP": "10.65.0.9", "externalIP": "192.0.2.1"}, {"internalIP": "y", "externalIP": "z"}]}))
    (endpoint,) = cluster.intent().endpoints.values()
    assert endpoint.spoofable == ("10.9.0.0/16",)
    assert endpoint.nat == (("192.0.2.1", "10.65.0.9"),)
    assert "spec.ipNATs" in fault(cluster, "a")


def test_an_endpoint_that_does_not_decode_is_absent() -> None:
    cluster = Cluster(WEB, POLICY, wl("db", "h1", "10.65.0.2", app="db"))
    cluster.put(illegible(wl("db"), obj={"metadata": {"labels": {"app": "db"}}, "spec": {"ipNetworks": ["10.65.0.2"]}}))
    assert members(cluster) == set()
    assert len(cluster.intent().endpoints) == 1
    assert fault(cluster, "db")


def test_of_a_network_set_that_does_not_decode_the_readable_prefixes_count() -> None:
    """A rule that denies it must go on denying what can be read."""
    cluster = Cluster(WEB, POLICY, namespace("shop", team="blue"))
    cluster.put(illegible(netset("s", ns="shop"), obj={
        "metadata": {"labels": {"app": "db", "n": 5}}, "spec": {"nets": ["10.0.0.0/8", 7, "x"]}}))
    assert members(cluster) == {"10.0.0.0/8"}
    cluster.put(gnp("p", ingress=[allow("pcns.team == 'blue'")]))
    assert members(cluster) == {"10.0.0.0/8"}
    cluster.put(illegible(netset("s", ns="shop")))
    assert members(cluster) == set()


def test_of_a_host_endpoint_that_does_not_decode_the_readable_addresses_count() -> None:
    """Nobody shuts a host: a rule that denies it must go on denying it."""
    cluster = Cluster(WEB, POLICY)
    cluster.put(illegible(thing("HostEndpoint", "h2"), obj={
        "metadata": {"labels": {"app": "db"}}, "spec": {"node": 7, "expectedIPs": ["10.0.0.2", 9], "profiles": 3}}))
    assert members(cluster) == {"10.0.0.2/32"}
    cluster.put(gone(thing("HostEndpoint", "h2")))
    assert members(cluster) == set()


@pytest.mark.parametrize("damage", [
    illegible(namespace("shop"), obj={"metadata": {"labels": {"team": "blue", "n": 5}}}),
    illegible(profile("kns.shop"), obj={"spec": {"labelsToApply": {"pcns.team": "blue"}, "ingress": "?"}}),
])
def test_what_cannot_be_read_hands_down_the_labels_that_can(damage: Things) -> None:
    """A policy that shuts a namespace must not lose sight of its workloads."""
    cluster = Cluster(namespace("shop", team="blue"), wl("a", "h1", "10.65.0.3", profiles=("kns.shop",)),
                      gnp("shut", order=1, namespaceSelector="team == 'blue'", ingress=[deny()]),
                      gnp("open", order=2, ingress=[allow()]))
    assert not cluster.lets_in("a", STRANGER)
    cluster.put(damage)
    assert not cluster.lets_in("a", STRANGER)
    assert cluster.why("a", "ingress", STRANGER).decided_by.name == "shut"


def test_faults_are_told_once_and_taken_back_once() -> None:
    cluster = Cluster()
    bad = wl("a", "h1", "10.65.0.300")
    assert list(cluster.put(bad).faults)
    assert not cluster.put(bad).faults
    assert list(cluster.drop(bad).faults.values()) == [None]
    assert not cluster.put(bad, gone(bad)).faults


def test_the_graph_can_be_asked_who_is_where() -> None:
    """For `why`: by key, by address, by host."""
    cluster = Cluster(WEB, wl("db", "h2", "10.65.0.2", app="db"), netset("n", "10.65.0.2"), namespace("shop"))
    known = cluster.graph.endpoint(ResourceKey("WorkloadEndpoint", "shop", "db"))
    assert known is not None
    assert (known.host, known.interface, known.addresses, known.labels["app"]) == (
        "h2", "musdb", ("10.65.0.2/32",), "db")
    assert [found.key.name for found in cluster.graph.at("10.65.0.2")] == ["n", "db"]
    assert [found.key.name for found in cluster.graph.endpoints("h1")] == ["web"]
    assert [found.key.name for found in cluster.graph.endpoints()] == ["db", "web"]
    assert cluster.graph.endpoint(ResourceKey("WorkloadEndpoint", "shop", "nobody")) is None


def test_only_candidates_are_matched() -> None:
    """The index by required label: a new class asks only the selectors that can match it."""
    asked: list[str] = []
    cluster = Cluster(WEB, *(np(f"p{n}", f"app == 'app{n}'", ns=f"ns{n % 3}") for n in range(30)))
    for state in cluster.graph._rulebook._policies.values():
        assert state.entry is not None
        selector, text = state.entry.selector, str(state.entry.selector)
        real = selector.matches
        selector.matches = lambda labels, real=real, text=text: asked.append(text) or real(labels)  # type: ignore
    cluster.put(wl("x", "h1", "10.65.0.50", ns="ns1", app="app4"))
    assert len(asked) == 1
    assert "app4" in asked[0]


def test_a_link_local_gateway_of_its_own_is_on_its_link() -> None:
    """Any other is not the host's to have."""
    for given, found in (("fe80::7", "fe80::7"), ("fe80::0:7", "fe80::7"), ("fd00::1", ""), ("", "")):
        cluster = Cluster(wl("web", "h1", "10.65.0.1", spec={"ipv6Gateway": given}))
        [endpoint] = cluster.intent().endpoints.values()
        assert endpoint.gateway_v6 == found


def test_another_gateway_reaches_the_host_also_while_the_endpoint_stays() -> None:
    cluster = Cluster(WEB)
    cluster.put(wl("web", "h1", "10.65.0.1", app="web", spec={"ipv6Gateway": "fe80::9"}))
    [endpoint] = cluster.intent().endpoints.values()
    assert endpoint.gateway_v6 == "fe80::9"

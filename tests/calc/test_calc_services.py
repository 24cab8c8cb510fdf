"""Services in rules: whoever is behind the name, at its ports, and a word where nobody is."""

from __future__ import annotations

import pytest

from calcwords import Cluster, Things, allow, deny, gnp, illegible, np, profile, thing, whole, wl
from muslin.intent import AddressSet, MemberChange, PortSet
from muslin.model.meta import ResourceKey

WEB = wl("web", "h1", "10.65.0.1", "fd65::1", app="web")
DB, OTHER = "10.65.0.9", "10.65.0.8"
TO_DB = np("p", "app == 'web'", types=["Egress"], egress=[allow(to={"services": {"name": "db"}})])
POLICY = ResourceKey("NetworkPolicy", "shop", "p")


def piece(name: str, service: str, *addresses: str, ports: tuple[str, ...] = ("TCP/5432",), ns: str = "shop",
          **conditions: bool) -> Things:
    """An EndpointSlice."""
    return whole("EndpointSlice", name, ns=ns, labels={"kubernetes.io/service-name": service}, fields={
        "addressType": "IPv6" if ":" in "".join(addresses) else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": conditions} for address in addresses],
        "ports": [{"protocol": port.partition("/")[0], "port": int(port.partition("/")[2])} for port in ports]})


def test_a_destination_is_the_address_and_the_port_behind_the_name() -> None:
    cluster = Cluster(WEB, TO_DB, piece("db-1", "db", DB))
    assert cluster.lets_out("web", DB, "tcp/5432")
    assert not cluster.lets_out("web", DB, "tcp/80")
    assert not cluster.lets_out("web", DB, "udp/5432")
    assert not cluster.lets_out("web", OTHER, "tcp/5432")


def test_each_port_of_a_slice_belongs_to_each_address_of_it_and_of_no_other() -> None:
    cluster = Cluster(WEB, TO_DB, piece("a", "db", DB, ports=("TCP/1", "UDP/2")),
                      piece("b", "db", OTHER, ports=("SCTP/3",)), piece("c", "db", "fd65::9", ports=("TCP/4",)))
    assert cluster.lets_out("web", DB, "udp/2")
    assert cluster.lets_out("web", OTHER, "sctp/3")
    assert cluster.lets_out("web", "fd65::9", "tcp/4")
    assert not cluster.lets_out("web", OTHER, "udp/2")
    assert not cluster.lets_out("web", DB, "tcp/4")


def test_a_source_is_the_address_whatever_its_port() -> None:
    policy = np("p", "app == 'web'", ingress=[allow({"services": {"name": "db"}})])
    cluster = Cluster(WEB, policy, piece("db-1", "db", DB, ports=()))
    assert cluster.lets_in("web", DB, "tcp/80")
    assert cluster.lets_in("web", DB, "udp/9")
    assert not cluster.lets_in("web", OTHER)


def test_a_service_is_of_the_policys_namespace_unless_it_says_another() -> None:
    far = np("p", "app == 'web'", types=["Egress"], egress=[allow(to={"services": {"name": "db", "namespace": "far"}})])
    slices = piece("db-1", "db", DB), piece("db-1", "db", OTHER, ns="far")
    assert [Cluster(WEB, TO_DB, *slices).lets_out("web", to, "tcp/5432") for to in (DB, OTHER)] == [True, False]
    assert [Cluster(WEB, far, *slices).lets_out("web", to, "tcp/5432") for to in (DB, OTHER)] == [False, True]


def test_every_endpoint_counts_whether_it_is_ready_or_not() -> None:
    """As in Calico: one that drains still answers, and its flows must not be cut."""
    cluster = Cluster(WEB, TO_DB, piece("db-1", "db", DB, ready=False, terminating=True))
    assert cluster.lets_out("web", DB, "tcp/5432")


def test_an_address_stays_as_long_as_one_slice_holds_it() -> None:
    """Orchestrators move endpoints between slices by writing the new one first."""
    first, second = piece("a", "db", DB), piece("b", "db", DB)
    cluster = Cluster(WEB, TO_DB, first, second)
    assert not cluster.drop(first).hosts
    assert cluster.lets_out("web", DB, "tcp/5432")
    cluster.drop(second)
    assert not cluster.lets_out("web", DB, "tcp/5432")


def test_a_slice_that_moves_to_another_service_takes_its_addresses_along() -> None:
    cluster = Cluster(WEB, TO_DB, piece("a", "db", DB))
    cluster.put(piece("a", "cache", DB))
    assert not cluster.lets_out("web", DB, "tcp/5432")
    cluster.put(piece("a", "db", DB))
    assert cluster.lets_out("web", DB, "tcp/5432")


def test_a_change_of_a_slice_is_told_member_by_member() -> None:
    cluster = Cluster(WEB, TO_DB, piece("a", "db", DB))
    change = cluster.put(piece("a", "db", DB, OTHER)).hosts["h1"]
    assert list(change.sets.values()) == [MemberChange(ports_added=frozenset({(f"{OTHER}/32", 6, 5432)}))]  # type: ignore[arg-type]
    assert not change.policies
    assert not change.groups


@pytest.mark.parametrize(("things", "words"), [
    ((), "service shop/db is not there: nobody supplies"),
    ((thing("Service", "db", ns="shop"),), "service shop/db has no endpoints: nobody supplies"),
])
def test_a_service_that_nobody_supplies_is_empty_and_reported(things: tuple[Things, ...], words: str) -> None:
    """An Allow of it matches nothing, and nobody would look for the reason."""
    cluster = Cluster(WEB, TO_DB, *things)
    assert not cluster.lets_out("web", DB, "tcp/5432")
    assert words in cluster.graph.faults()[POLICY]
    assert cluster.put(piece("a", "db", DB)).faults == {POLICY: None}
    assert words in str(cluster.drop(piece("a", "db", DB)).faults[POLICY])
    assert cluster.drop(TO_DB).faults == {POLICY: None}


def test_a_slice_without_endpoints_is_no_fault() -> None:
    """The orchestrator is there, and says that nobody serves."""
    cluster = Cluster(WEB, TO_DB, piece("a", "db"))
    assert cluster.graph.faults() == {}
    assert not cluster.lets_out("web", DB, "tcp/5432")


def test_of_a_slice_that_does_not_decode_what_can_be_read_counts() -> None:
    """Else a rule that denies the service would let its traffic through."""
    policy = np("p", "app == 'web'", types=["Egress"], egress=[deny(to={"services": {"name": "db"}}), allow()])
    broken = illegible(piece("a", "db", DB), obj={
        "metadata": {"labels": {"kubernetes.io/service-name": "db"}},
        "endpoints": [{"addresses": [DB, 5]}, 7, {"addresses": "x"}], "ports": [{"port": 5432}, {"port": "x"}, None]})
    cluster = Cluster(WEB, policy, broken)
    assert not cluster.lets_out("web", DB, "tcp/5432")
    assert cluster.lets_out("web", DB, "tcp/80")
    assert "what can be read of it counts" in cluster.graph.faults()[ResourceKey("EndpointSlice", "shop", "a")]


def test_what_is_no_address_is_left_out_and_reported() -> None:
    cluster = Cluster(WEB, TO_DB, piece("a", "db", "db.example.com", DB))
    assert cluster.lets_out("web", DB, "tcp/5432")
    assert "'db.example.com'" in cluster.graph.faults()[ResourceKey("EndpointSlice", "shop", "a")]


@pytest.mark.parametrize(("policy", "words"), [
    (gnp("g", "app == 'web'", egress=[allow(to={"services": {"name": "db"}})]), "no namespace is given"),
    (np("p", "app == 'web'", egress=[allow(to={"services": {"name": ""}})]), "no name is given"),
    (np("p", "app == 'web'", egress=[allow(to={"services": {"name": "db"}, "ports": [80]}, protocol="TCP")]),
     "remove what stands beside it"),
    (np("p", "app == 'web'", egress=[allow(to={"services": {"name": "db"}, "selector": "a == 'b'"})]),
     "remove what stands beside it"),
    (np("p", "app == 'web'", ingress=[allow({"services": {"name": "db"}, "nets": ["10.0.0.0/8"]})]),
     "remove what stands beside it"),
    (np("p", "app == 'web'", egress=[allow({"services": {"name": "db"}})]), "name services opposite"),
])
def test_a_service_that_cannot_be_meant_denies(policy: Things, words: str) -> None:
    """The API refuses these; one that got into the store denies whom it selects."""
    cluster = Cluster(WEB, policy, piece("a", "db", DB))
    assert words in str(cluster.graph.faults())
    directions = {d for d in ("lets_in", "lets_out") if not getattr(cluster, d)("web", DB, "tcp/5432")}
    assert directions


def test_a_source_may_have_ports_beside_its_service() -> None:
    policy = np("p", "app == 'web'", ingress=[allow({"services": {"name": "db"}, "ports": [53]}, protocol="UDP")])
    cluster = Cluster(WEB, policy, piece("a", "db", DB))
    rule = next(iter(cluster.intent().policies[k] for k in cluster.intent().policies if "shop/p" in k)).ingress[0]
    assert rule.source.ports == ((53, 53),)
    assert len(rule.source.sets) == 1


def test_a_profile_may_name_services_with_their_namespace() -> None:
    web = wl("web", "h1", "10.65.0.1", profiles=("only-db",))
    cluster = Cluster(web, profile("only-db", egress=[allow(to={"services": {"name": "db", "namespace": "shop"}})]))
    assert "shop/db is not there" in cluster.graph.faults()[ResourceKey("Profile", "", "only-db")]
    cluster.put(piece("a", "db", DB))
    assert cluster.lets_out("web", DB, "tcp/5432")
    assert cluster.graph.faults() == {}


def test_one_set_serves_all_who_name_the_service() -> None:
    cluster = Cluster(WEB, TO_DB, gnp("g", egress=[allow(to={"services": {"name": "db", "namespace": "shop"}})]),
                      np("q", ingress=[allow({"services": {"name": "db"}})]), piece("a", "db", DB))
    kinds = [type(found) for found in cluster.intent().sets.values()]
    assert sorted(kind.__name__ for kind in kinds) == [AddressSet.__name__, PortSet.__name__]

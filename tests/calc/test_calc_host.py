"""One host's graph in the agent: routes, neighbours, and stand-ins that deny for whatever is missing."""

from __future__ import annotations

import msgspec

from calcwords import Cluster, allow, gnp, np, wl
from muslin.calc.host import Graph
from muslin.explain import Packet, why
from muslin.intent import (
    Action,
    AddressSet,
    BgpSpeaker,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    Match,
    MemberChange,
    Neighbour,
    Origin,
    Policy,
    PolicyId,
    PortSet,
    Route,
    RouteKind,
    Rule,
    SetId,
    Settings,
    StaticOrigin,
    TierStage,
)
from muslin.net import Cidr

KEY = EndpointKey("WorkloadEndpoint/shop/a")
IN, OUT = GroupId("in"), GroupId("out")
P = PolicyId("GlobalNetworkPolicy/p")
S = SetId("s")
PACKET = Packet("192.0.2.1", "10.65.0.2", 6, 80)


def endpoint(key: EndpointKey = KEY, *addresses: str, interface: str = "mus0", mac: str = "") -> dict[
        EndpointKey, Endpoint | None]:
    return {key: Endpoint(key=key, interface=interface, ingress=IN, egress=OUT, mac=mac,
                          addresses=tuple(map(Cidr, addresses or ("10.65.0.2/32",))))}


def groups(*policies: PolicyId) -> dict[GroupId, Group | None]:
    stages = (TierStage(tier="default", policies=policies),) if policies else ()
    return {IN: Group(id=IN, direction=Direction.INGRESS, stages=stages),
            OUT: Group(id=OUT, direction=Direction.EGRESS, stages=stages)}


def policy(action: Action = Action.ALLOW, **match: object) -> dict[PolicyId, Policy | None]:
    rule = Rule(action=action, origin=Origin(kind="GlobalNetworkPolicy", name="p", rule=0),
                source=Match(**match))  # type: ignore[arg-type]
    return {P: Policy(id=P, ingress=(rule,))}


def after(*deltas: Delta) -> Graph:
    graph = Graph()
    for delta in deltas:
        graph.update(delta)
        graph.flush()
    return graph


def lets_in(graph: Graph) -> bool:
    return why(graph.intent, KEY, Direction.INGRESS, PACKET).verdict is Action.ALLOW


def note(graph: Graph) -> str:
    return why(graph.intent, KEY, Direction.INGRESS, PACKET).decided_by.note


def test_each_address_gets_a_route_and_with_a_mac_a_neighbour() -> None:
    graph = after(Delta(endpoints=endpoint(KEY, "10.65.0.2/32", "fd65::2/128", mac="02:00:00:00:00:01")))
    assert graph.intent.routes == {
        address: Route(destination=Cidr(address), kind=RouteKind.DEVICE, interface="mus0")
        for address in ("10.65.0.2/32", "fd65::2/128")}
    assert graph.intent.neighbours == {
        f"{address}%mus0": Neighbour(address=address, interface="mus0", mac="02:00:00:00:00:01")
        for address in ("10.65.0.2", "fd65::2")}


def test_without_a_mac_there_is_a_route_and_no_neighbour() -> None:
    graph = after(Delta(endpoints=endpoint()))
    assert graph.intent.routes
    assert not graph.intent.neighbours


def test_a_moved_interface_takes_route_and_neighbour_along() -> None:
    graph = after(Delta(endpoints=endpoint(mac="02:00:00:00:00:01")))
    graph.update(Delta(endpoints=endpoint(mac="02:00:00:00:00:01", interface="mus1")))
    delta = graph.flush()
    (route,) = delta.routes.values()
    assert route is not None
    assert route.interface == "mus1"
    assert {key: bool(found) for key, found in delta.neighbours.items()} == {
        "10.65.0.2%mus0": False, "10.65.0.2%mus1": True}
    graph.update(Delta(endpoints={KEY: None}))
    assert list(graph.flush().routes.values()) == [None]
    assert not graph.intent.neighbours


def test_of_two_with_one_address_the_smaller_key_has_the_route() -> None:
    other = EndpointKey("WorkloadEndpoint/shop/b")
    for first, second in ((KEY, other), (other, KEY)):
        graph = after(*(Delta(endpoints=endpoint(key, interface=f"mus{key[-1]}")) for key in (first, second)))
        assert graph.intent.routes[Cidr("10.65.0.2/32")].interface == "musa"
        graph.update(Delta(endpoints={KEY: None}))
        graph.flush()
        assert graph.intent.routes[Cidr("10.65.0.2/32")].interface == "musb"


def test_without_ipv6_no_ipv6_route_is_made() -> None:
    graph = after(Delta(endpoints=endpoint(KEY, "10.65.0.2/32", "fd65::2/128")))
    graph.update(Delta(settings=Settings(ipv6=False)))
    assert list(graph.flush().routes) == ["fd65::2/128"]
    assert list(graph.intent.routes) == ["10.65.0.2/32"]


def test_a_missing_group_denies() -> None:
    graph = after(Delta(endpoints=endpoint()))
    assert not lets_in(graph)
    assert {found.direction for found in graph.intent.groups.values()} == set(Direction)


def test_a_missing_policy_denies_and_says_which() -> None:
    graph = after(Delta(endpoints=endpoint(), groups=groups(P)))
    assert not lets_in(graph)
    assert note(graph) == "missing policy p"
    graph.update(Delta(policies=policy()))
    assert set(graph.flush().policies) == {P}
    assert lets_in(graph)
    graph.update(Delta(policies={P: None}))
    graph.flush()
    assert not lets_in(graph)


def test_a_missing_set_that_a_rule_needs_is_empty() -> None:
    graph = after(Delta(endpoints=endpoint(), groups=groups(P), policies=policy(sets=(S,), named_ports=(SetId("n"),))))
    assert graph.intent.sets == {S: AddressSet(id=S), SetId("n"): PortSet(id=SetId("n"))}
    assert not lets_in(graph)


def test_a_missing_set_that_a_rule_forbids_makes_the_policy_deny() -> None:
    """An empty one would let everybody in."""
    graph = after(Delta(endpoints=endpoint(), groups=groups(P), policies=policy(not_sets=(S,))))
    assert not lets_in(graph)
    assert note(graph) == "missing set s"
    graph.update(Delta(sets={S: AddressSet(id=S)}))
    graph.flush()
    assert lets_in(graph)
    graph.update(Delta(sets={S: None}))
    graph.flush()
    assert not lets_in(graph)


def test_members_join_and_leave_and_what_did_both_did_nothing() -> None:
    one, two = Cidr("10.0.0.1/32"), Cidr("10.0.0.2/32")
    graph = after(Delta(sets={S: AddressSet(id=S, members=frozenset({one}))}))
    graph.update(Delta(sets={S: MemberChange(added=frozenset({two}))}))
    graph.update(Delta(sets={S: MemberChange(removed=frozenset({one}))}))
    assert graph.flush().sets == {S: MemberChange(added=frozenset({two}), removed=frozenset({one}))}
    assert graph.intent.sets == {S: AddressSet(id=S, members=frozenset({two}))}
    graph.update(Delta(sets={S: MemberChange(added=frozenset({one}))}))
    graph.update(Delta(sets={S: MemberChange(removed=frozenset({one}))}))
    assert not graph.flush()


def test_a_change_of_a_set_that_is_missing_does_not_make_it_present() -> None:
    """Half a set is worse than none: none denies."""
    graph = after(Delta(endpoints=endpoint(), groups=groups(P), policies=policy(not_sets=(S,))),
                  Delta(sets={S: MemberChange(added=frozenset({Cidr("10.0.0.1/32")}))}))
    assert not lets_in(graph)


def test_a_snapshot_replaces_everything_and_only_the_difference_is_done() -> None:
    """A lost connection to the server must not shake the kernel."""
    members = AddressSet(id=S, members=frozenset({Cidr("10.0.0.1/32")}))
    whole = Delta(snapshot=True, endpoints=endpoint(), groups=groups(P), policies=policy(sets=(S,)), sets={S: members})
    graph = after(whole)
    graph.update(whole)
    assert not graph.flush()

    more = AddressSet(id=S, members=members.members | {Cidr("10.0.0.2/32")})
    graph.update(Delta(snapshot=True, endpoints=endpoint(), groups=groups(P), policies=policy(sets=(S,)),
                       sets={S: more}))
    assert graph.flush().sets == {S: MemberChange(added=frozenset({Cidr("10.0.0.2/32")}))}

    graph.update(Delta(snapshot=True, revision=9))
    delta = graph.flush()
    assert (list(delta.sets.values()), list(delta.policies.values()), list(delta.endpoints.values())) == (
        [None], [None], [None])
    assert (graph.intent.groups, graph.intent.routes) == ({}, {})
    assert graph.intent.revision == 9


def test_what_the_server_sends_needs_no_stand_ins() -> None:
    """The agent's graph adds routes and neighbours, and otherwise changes nothing."""
    cluster = Cluster(wl("a", "h1", "10.65.0.2"), gnp("p", ingress=[allow({"notSelector": "has(x)"}), allow("has(x)")]),
                      np("q", egress=[allow()]))
    snapshot = cluster.graph.snapshot("h1")
    intent = cluster.intent()
    assert (intent.sets, intent.policies, intent.groups, intent.endpoints) == (
        snapshot.sets, snapshot.policies, snapshot.groups, snapshot.endpoints)


def floating(*addresses: str, interface: str = "mus0", key: EndpointKey = KEY) -> dict[EndpointKey, Endpoint | None]:
    made = endpoint(key, "10.65.0.2/32", interface=interface, mac="02:00:00:00:00:01")[key]
    assert made is not None
    return {key: msgspec.structs.replace(made, nat=tuple((address, "10.65.0.2") for address in addresses))}


SPEAKER = BgpSpeaker(router_id="192.0.2.1", local_as=64512, originate=(StaticOrigin(prefix=Cidr("10.65.0.0/26")),))
FLOATING = Settings(floating_addresses=True)


def announced(graph: Graph) -> list[str]:
    assert graph.intent.bgp is not None
    return [origin.prefix for origin in graph.intent.bgp.originate]


def test_a_floating_address_is_routed_to_its_workload_and_announced_from_its_host() -> None:
    graph = after(Delta(endpoints=floating("203.0.113.7", "203.0.113.8"), bgp=SPEAKER, settings=FLOATING))
    assert {address: route.interface for address, route in graph.intent.routes.items()} == dict.fromkeys(
        ("10.65.0.2/32", "203.0.113.7/32", "203.0.113.8/32"), "mus0")
    assert list(graph.intent.neighbours) == ["10.65.0.2%mus0"], "nothing is ever sent to a floating address on the link"
    assert announced(graph) == ["10.65.0.0/26", "203.0.113.7/32", "203.0.113.8/32"]

    graph.update(Delta(endpoints=floating("203.0.113.8")))
    graph.flush()

    assert announced(graph) == ["10.65.0.0/26", "203.0.113.8/32"]
    assert "203.0.113.7/32" not in graph.intent.routes


def test_floating_addresses_come_and_go_with_the_setting() -> None:
    graph = after(Delta(endpoints=floating("203.0.113.7"), bgp=SPEAKER))
    assert list(graph.intent.routes) == ["10.65.0.2/32"]
    assert announced(graph) == ["10.65.0.0/26"]
    for settings, prefixes in ((FLOATING, ["10.65.0.0/26", "203.0.113.7/32"]), (Settings(), ["10.65.0.0/26"])):
        graph.update(Delta(settings=settings))
        graph.flush()
        assert announced(graph) == prefixes
        assert ("203.0.113.7/32" in graph.intent.routes) == (len(prefixes) == 2)


def test_an_address_of_a_workload_goes_before_the_same_floating_one() -> None:
    other = EndpointKey("WorkloadEndpoint/aaa/b")
    graph = after(Delta(endpoints=endpoint() | floating("10.65.0.2", interface="mus1", key=other), settings=FLOATING),
                  Delta(endpoints={other: None}))
    assert graph.intent.routes[Cidr("10.65.0.2/32")].interface == "mus0"

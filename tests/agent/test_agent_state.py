"""What an agent asks of its kernel: a function of the last intent."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from muslin.agent.duties import KINDS, SHAPE, Duties
from muslin.calc.host import Graph
from muslin.drivers.rtnetlink import Address, RouteKey
from muslin.drivers.shaping import shape
from muslin.intent import Delta, Direction, Endpoint, EndpointKey, Group, GroupId, Neighbour, Qos
from muslin.net import Cidr
from muslin.reconcile import Reconciler

GROUPS = {
    GroupId("1" * 16): Group(id=GroupId("1" * 16), direction=Direction.INGRESS),
    GroupId("2" * 16): Group(id=GroupId("2" * 16), direction=Direction.EGRESS),
}


def endpoint(name: str, interface: str, *addresses: str, mac: str = "") -> Endpoint:
    return Endpoint(key=EndpointKey(f"WorkloadEndpoint/default/{name}"), interface=interface, mac=mac,
                    ingress=GroupId("1" * 16), egress=GroupId("2" * 16), addresses=tuple(map(Cidr, addresses)))


def snapshot_of(*endpoints: Endpoint) -> Delta:
    return Delta(snapshot=True, revision=1, groups=dict(GROUPS), endpoints={one.key: one for one in endpoints})


# ---- duties

Host = dict[str, tuple[str, str, str, int, str]]
"""Name -> interface, address, MAC, bandwidth, IPv6 gateway."""

hosts = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(
        st.sampled_from(["mus1", "mus2", "tapvm"]),
        st.sampled_from(["10.65.0.1/32", "10.65.0.2/32", "fd00::1/128"]),
        st.sampled_from(["", "02:00:00:00:00:01", "02-00-00-00-00-AA"]),
        st.sampled_from([0, 1_000_000, 2_000_000]),
        st.sampled_from(["", "fe80::1", "fe80::2", "fe80::3"]),
    ),
)


def wants(reconciler: Reconciler) -> set[tuple[str, object, object]]:
    return {(one.step.kind, one.step.key, one.step.new) for one in reconciler.unsettled()}


def duties_after(*deltas: Delta) -> set[tuple[str, object, object]]:
    graph, reconciler = Graph(), Reconciler(KINDS)
    duties = Duties(reconciler, ipv6=True)
    for number, delta in enumerate(deltas):
        graph.update(delta)
        change = graph.flush()
        change.snapshot = number == 0
        duties.take(change, graph.intent)
    return wants(reconciler)


def as_endpoints(state: Host) -> list[Endpoint]:
    return [
        msgspec.structs.replace(endpoint(name, interface, address, mac=mac),
                                qos=Qos(egress_bandwidth=bandwidth) if bandwidth else None, gateway_v6=gateway)
        for name, (interface, address, mac, bandwidth, gateway) in state.items()
    ]


@given(states=st.lists(hosts, min_size=1, max_size=4))
def test_duties_told_change_by_change_are_those_of_the_last_state(states: list[Host]) -> None:
    deltas = [snapshot_of(*as_endpoints(state)) for state in states]
    assert duties_after(*deltas) == duties_after(deltas[-1])


def test_an_endpoint_asks_for_an_open_link_a_gateway_neighbours_and_routes() -> None:
    wanted = duties_after(snapshot_of(endpoint("a", "mus1", "10.65.0.1/32", "fd00::1/128", mac="02-00-00-00-00-AA")))
    assert {kind for kind, _, _ in wanted} == set(KINDS) - {SHAPE}, "no limit of bandwidth was asked for"
    assert ("neighbour", "10.65.0.1%mus1",
            Neighbour(address="10.65.0.1", interface="mus1", mac="02:00:00:00:00:aa")) in wanted
    assert {key for kind, key, _ in wanted if kind == "route"} == {
        RouteKey(Cidr("169.254.1.0/24"), 0), RouteKey(Cidr("10.65.0.1/32"), 0), RouteKey(Cidr("fd00::1/128"), 0),
    }


def gateways_after(*deltas: Delta) -> set[str]:
    return {new.address for _, _, new in duties_after(*deltas) if isinstance(new, Address)}


def test_who_speaks_only_ipv4_has_no_gateway_for_ipv6() -> None:
    """Of a thousand such the kernel would walk four thousand routes, whenever a link comes or goes."""
    plain = endpoint("a", "mus1", "10.65.0.1/32")
    assert gateways_after(snapshot_of(plain)) == set()
    for speaks in ({"spoofable": (Cidr("fd00:1::/64"),)}, {"gateway_v6": "fe80::1"}):
        assert gateways_after(snapshot_of(msgspec.structs.replace(plain, **speaks))) == {"fe80::1/64"}


def test_a_link_keeps_its_gateway_as_long_as_one_of_those_who_claim_it_speaks_ipv6() -> None:
    four, six, also_six = (endpoint(name, "tapvm", address) for name, address in
                           (("a", "10.65.0.1/32"), ("b", "fd00::1/128"), ("c", "fd00::2/128")))
    gone = Delta(endpoints={six.key: None})
    assert gateways_after(snapshot_of(four, six, also_six), gone) == {"fe80::1/64"}
    assert gateways_after(snapshot_of(four, six), gone) == set()


def test_who_knows_another_gateway_finds_it_on_his_link_beside_the_usual_one() -> None:
    plain = endpoint("a", "mus1", "fd00::1/128")
    gateways = [gateways_after(snapshot_of(msgspec.structs.replace(plain, gateway_v6=gateway)))
                for gateway in ("", "fe80::1", "fe80::7")]
    assert gateways == [{"fe80::1/64"}, {"fe80::1/64"}, {"fe80::1/64", "fe80::7/128"}]


def test_a_limit_of_bandwidth_is_a_duty_of_its_own() -> None:
    limited = msgspec.structs.replace(endpoint("a", "mus1", "10.65.0.1/32"), qos=Qos(ingress_bandwidth=8_000_000))
    [(_, key, made)] = [each for each in duties_after(snapshot_of(limited)) if each[0] == SHAPE]
    assert key == "mus1"
    assert made == shape(Qos(ingress_bandwidth=8_000_000), 0)

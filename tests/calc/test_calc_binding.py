"""Which interface is which host endpoint, and stand-ins for what a host endpoint names and that is not there.

Mutants of src/muslin/calc that fail here, named `module: what`; each was tried:

    binding        the larger key wins; a second for a name takes it, too; a workload's interface can be named, or is
                   found by its address; a taken interface is not passed over; interfaces count in the order they came;
                   the loser is not told; a second interface is not told; a name that is not there is not told
    host           a stand-in of a host's group passes; forward and untracked egress groups are no users; a stand-in's
                   direction looks at ingress only; interfaces that change bind nothing anew; troubles outlive their
                   host endpoints; only declared workloads', or only prefixed, interfaces are theirs
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.calc.binding import bind
from muslin.calc.host import Graph
from muslin.explain import Packet, journey
from muslin.intent import (
    ALL_INTERFACES,
    Action,
    Delta,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostInterface,
    Policy,
    PolicyId,
    TierStage,
)
from muslin.net import Cidr, host_cidr

A, B, C = (EndpointKey(f"HostEndpoint/{name}") for name in "abc")
IN, OUT = GroupId("in"), GroupId("out")


def guard(key: EndpointKey, interface: str = "", *addresses: str, **groups: str) -> HostInterface:
    return HostInterface(key=key, interface=interface, addresses=tuple(map(host_cidr, addresses)),
                         **{"ingress": IN, "egress": OUT, **{name: GroupId(found) for name, found in groups.items()}})


def graph(*given: HostInterface, **there: tuple[str, ...]) -> Graph:
    made = Graph()
    made.update(Delta(snapshot=True, host_interfaces={found.key: found for found in given}))
    plug(made, **there)
    return made


def plug(made: Graph, **there: tuple[str, ...]) -> Delta:
    made.update_interfaces({name: frozenset(addresses) for name, addresses in there.items()})
    return made.flush()


def bound(made: Graph) -> dict[str, str]:
    return {key.partition("/")[2]: found.interface for key, found in made.intent.host_interfaces.items()}


def trouble(made: Graph, key: EndpointKey) -> tuple[str, str]:
    found = made.troubles.get(key)
    return (found.state, found.message) if found else ("", "")


def test_a_name_is_itself_and_star_is_the_rest() -> None:
    made = graph(guard(A, "eth0"), guard(B, ALL_INTERFACES), eth0=(), eth1=())
    assert bound(made) == {"a": "eth0", "b": "*"}
    assert not made.troubles


def test_a_name_that_is_not_there_yet_is_bound_all_the_same() -> None:
    """So that the interface is shut from its first packet on."""
    made = graph(guard(A, "eth0"))
    assert bound(made) == {"a": "eth0"}
    assert trouble(made, A) == ("pending", "interface eth0 is not there yet; its rules wait for it")
    assert not plug(made, eth0=())
    assert not made.troubles


def test_without_a_name_it_is_the_interface_that_has_its_address() -> None:
    made = graph(guard(A, "", "10.0.0.5", "fd65::5"), eth0=("10.0.0.4",))
    assert bound(made) == {}
    assert trouble(made, A) == ("pending", "no interface has 10.0.0.5 or fd65::5")

    assert list(plug(made, eth0=("10.0.0.4",), eth1=("10.0.0.6", "fd65::5")).host_interfaces) == [A]
    assert bound(made) == {"a": "eth1"}
    assert not made.troubles
    assert plug(made, eth0=("10.0.0.5",), eth1=()).host_interfaces[A] == guard(A, "eth0", "10.0.0.5", "fd65::5")
    assert plug(made, eth0=(), eth1=()).host_interfaces == {A: None}


@pytest.mark.parametrize(("first", "second"), [(("",), ("eth0",)), (("eth0",), ("",))])
def test_the_smaller_key_wins_by_name_or_by_address(first: tuple[str], second: tuple[str]) -> None:
    """As in Calico, where a name is no better than an address."""
    made = graph(guard(A, *first, "10.0.0.5"), guard(B, *second, "10.0.0.5"), eth0=("10.0.0.5",))
    assert bound(made) == {"a": "eth0"}
    assert trouble(made, B) == ("error", "eth0 is covered by HostEndpoint/a already; it guards nothing")
    made.update(Delta(host_interfaces={A: None}))
    made.flush()
    assert bound(made) == {"b": "eth0"}
    assert not made.troubles


@pytest.mark.parametrize("interface", ["eth0", "", ALL_INTERFACES])
def test_of_two_with_the_same_right_the_smaller_key_wins(interface: str) -> None:
    first, second = guard(A, interface, "10.0.0.5"), guard(B, interface, "10.0.0.5")
    for order in ((first, second), (second, first)):
        made = graph(*order, eth0=("10.0.0.5",))
        assert bound(made) == {"a": interface or "eth0"}
        assert "covered by HostEndpoint/a already" in trouble(made, B)[1]


def test_who_loses_one_interface_takes_another_that_has_its_address() -> None:
    made = graph(guard(A, "eth0"), guard(B, "", "10.0.0.5", "10.0.1.5"), eth0=("10.0.0.5",), eth1=("10.0.1.5",))
    assert bound(made) == {"a": "eth0", "b": "eth1"}
    assert not made.troubles


def test_one_whose_addresses_are_on_two_interfaces_guards_both() -> None:
    """As with Calico (decision 0086); and what it leaves is nobody's again."""
    made = graph(guard(A, "", "10.0.1.5", "10.0.0.5"), eth0=("10.0.0.5",), eth1=("10.0.1.5",))
    assert bound(made) == {"a": "eth1", "a@eth0": "eth0"}, "the order is that of its addresses"
    assert not made.troubles
    made.update_interfaces({"eth0": frozenset({"10.0.0.5"}), "eth1": frozenset()})
    made.flush()
    assert bound(made) == {"a": "eth0"}


def test_of_two_interfaces_another_has_one() -> None:
    """It guards the other, and nothing is wrong."""
    made = graph(guard(A, "eth0"), guard(B, "", "10.0.0.5", "10.0.1.5", "10.0.2.5"),
                 eth0=("10.0.0.5",), eth1=("10.0.1.5",), eth2=("10.0.2.5",))
    assert bound(made) == {"a": "eth0", "b": "eth1", "b@eth2": "eth2"}


def test_a_workloads_interface_is_no_host_endpoint() -> None:
    """Neither one that an endpoint declares, nor one that only bears the prefix; by name and by address."""
    workload = Endpoint(key=EndpointKey("WorkloadEndpoint/shop/w"), interface="tap0", ingress=IN, egress=OUT)
    for name in ("tap0", "mus7"):
        made = graph(guard(A, name), guard(B, "", "10.0.0.5"))
        made.update(Delta(endpoints={workload.key: workload}))
        plug(made, **{name: ("10.0.0.5",)})
        assert bound(made) == {}
        assert trouble(made, A)[0] == "error"
        assert "workload's interface" in trouble(made, A)[1]
        assert trouble(made, B) == ("pending", "no interface has 10.0.0.5")


def test_troubles_go_with_their_host_endpoint() -> None:
    made = graph(guard(A, "", "10.0.0.5"))
    assert made.troubles
    made.update(Delta(snapshot=True))
    made.flush()
    assert not made.troubles
    assert not made.guards_host


def test_a_restart_gets_host_endpoints_as_they_were_given() -> None:
    made = graph(guard(A, "", "10.0.0.5"), guard(B, "", "10.0.0.9"), eth0=("10.0.0.5",))
    assert made.given.host_interfaces == {A: guard(A, "", "10.0.0.5"), B: guard(B, "", "10.0.0.9")}


# --- what is missing --------------------------------------------------------------------------------------------------

SORTS = ("ingress", "egress", "forward_ingress", "forward_egress", "untracked_ingress", "untracked_egress", "pre_dnat")


@pytest.mark.parametrize("sort", SORTS)
def test_a_missing_group_of_any_sort_denies(sort: str) -> None:
    """Though every other group of the host endpoint lets all pass."""
    inwards = not sort.endswith("egress")
    made = graph(guard(A, "eth0", **{sort: "missing"}), eth0=())
    made.update(Delta(groups={name: Group(id=name, direction="ingress" if name == IN else "egress", end=Action.ALLOW)
                              for name in (IN, OUT)}))  # type: ignore[arg-type]
    made.flush()
    stand_in = made.intent.groups[GroupId("missing")]
    assert (stand_in.direction, stand_in.end) == ("ingress" if inwards else "egress", Action.DENY)
    packet = Packet("192.0.2.1", "192.0.2.2", 6, 80)
    through = sort.startswith("forward")
    by = {"arrives_by": "eth0" if inwards else "eth1" if through else None,
          "leaves_by": "eth0" if not inwards else "eth1" if through else None}
    assert journey(made.intent, packet, **by).verdict is Action.DENY
    made.update(Delta(groups={GroupId("missing"): Group(id=GroupId("missing"), direction=stand_in.direction,
                                                        end=Action.ALLOW)}))
    made.flush()
    assert journey(made.intent, packet, **by).verdict is Action.ALLOW


def test_a_policy_that_a_host_endpoints_group_names_and_that_is_missing_denies() -> None:
    made = graph(guard(A, "eth0", untracked_ingress="u"), eth0=())
    stage = TierStage(tier="default", policies=(PolicyId("GlobalNetworkPolicy/p"),), default_action=Action.PASS)
    made.update(Delta(groups={GroupId("u"): Group(
        id=GroupId("u"), direction="ingress", stages=(stage,), end=Action.PASS)}))  # type: ignore[arg-type]
    made.flush()
    policy: Policy = made.intent.policies[PolicyId("GlobalNetworkPolicy/p")]
    assert [rule.action for rule in policy.ingress] == [Action.DENY]


# --- laws -------------------------------------------------------------------------------------------------------------

ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd65::1"]), max_size=3, unique=True)
NAMES = st.sampled_from(["eth0", "eth1", "mus0"])
GIVEN = st.dictionaries(st.sampled_from("abcd"), st.tuples(
    st.sampled_from(["", "", "eth0", "eth1", "mus0", "*"]), ADDRESSES), max_size=4)
THERE = st.dictionaries(NAMES, ADDRESSES.map(frozenset), max_size=3)


def host_endpoints(chosen: Mapping[str, tuple[str, list[str]]], order: list[str]) -> dict[EndpointKey, HostInterface]:
    return {key: guard(key, *_words(chosen[name])) for name in order
            for key in (EndpointKey(f"HostEndpoint/{name}"),)}


def _words(found: tuple[str, list[str]]) -> list[str]:
    return [found[0], *found[1]]


@given(GIVEN, THERE, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_binding_is_a_function_of_who_is_there(
    chosen: Mapping[str, tuple[str, list[str]]], there: dict[str, frozenset[str]], random: object,
) -> None:
    """Whatever the order: no interface is covered twice, none is a workload's, each is one that was meant, and whoever
    is not bound is told why."""
    order = list(chosen)
    random.shuffle(order)  # type: ignore[attr-defined]
    found = bind(host_endpoints(chosen, sorted(chosen)), there, lambda name: name.startswith("mus"))
    shuffled = bind(host_endpoints(chosen, order), dict(reversed(there.items())), lambda name: name.startswith("mus"))
    assert (found.bound, found.troubles) == (shuffled.bound, shuffled.troubles)

    names = [each.interface for each in found.bound.values()]
    assert len(set(names)) == len(names)
    assert "mus0" not in names
    assert "" not in names
    for key, each in host_endpoints(chosen, sorted(chosen)).items():
        if key not in found.bound:
            assert found.troubles[key].message
        elif not each.interface:
            assert {host_cidr(address) for address in there[found.bound[key].interface]} & set(each.addresses)
        else:
            assert found.bound[key].interface == each.interface


@given(st.lists(st.tuples(GIVEN, THERE), min_size=1, max_size=5))
@settings(max_examples=200)
def test_step_by_step_a_host_binds_as_from_scratch(
    history: list[tuple[Mapping[str, tuple[str, list[str]]], dict[str, frozenset[str]]]]) -> None:
    """And a flush tells only what is different."""
    made = Graph()
    shown: dict[EndpointKey, HostInterface] = {}
    for chosen, there in history:
        wanted = host_endpoints(chosen, sorted(chosen))
        changes: dict[EndpointKey, HostInterface | None] = {
            key: wanted.get(key) for key in made.given.host_interfaces.keys() | wanted.keys()}
        made.update(Delta(host_interfaces=changes))
        made.update_interfaces(there)
        for key, found in made.flush().host_interfaces.items():
            assert shown.get(key) != found
            if found is None:
                del shown[key]
            else:
                shown[key] = found
        scratch = bind(wanted, there, lambda name: name.startswith("mus"))
        assert shown == scratch.bound == made.intent.host_interfaces
        assert made.troubles == scratch.troubles
        assert {found.ingress for found in wanted.values()} <= made.intent.groups.keys()


def test_addresses_are_compared_as_the_kernel_writes_them() -> None:
    given_address = Cidr("fd65::a/128")
    made = Graph()
    made.update(Delta(host_interfaces={A: HostInterface(
        key=A, interface="", addresses=(given_address,), ingress=IN, egress=OUT)}))
    made.update_interfaces({"eth0": frozenset({"fd65::a"})})
    made.flush()
    assert bound(made) == {"a": "eth0"}

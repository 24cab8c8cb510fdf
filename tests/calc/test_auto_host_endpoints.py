"""Which host endpoints are made by themselves.

Mutants of calc.auto_host_endpoints that fail here; each was tried: Disabled makes them; without a word the default one
is left out; the Node's labels win over the template's; a stranger's is written over; a stranger's is removed; one of a
Node that does not decode is removed; a template without addresses makes one; interfaces need not fit; external
addresses count; an address is there twice; one that is so already is written again; what a name cannot be is one; every
Node is selected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calcwords import Object, Things, hep, thing
from muslin.calc.auto_host_endpoints import CREATED_BY, CREATOR, Draft, Plan, plan
from muslin.calc.cluster import Graph, Illegible
from muslin.model.controllers import KubeControllersConfiguration
from muslin.model.endpoint import HostEndpoint
from muslin.model.network import Node

OPEN = ("projectcalico-default-allow",)
EDGE: Object = {"generateName": "edge", "interfaceCIDRs": ["203.0.113.0/24"], "labels": {"zone": "edge", "rack": "z"}}
EACH: Object = {"generateName": "each", "interfacePattern": "^eth[0-9]", "nodeSelector": "rack == 'a'"}


def config(auto: str = "Enabled", default: str = "", *templates: Object) -> KubeControllersConfiguration:
    spec = {"controllers": {"node": {"hostEndpoint": {
        "autoCreate": auto, "createDefaultHostEndpoint": default, "templates": list(templates)}}}}
    return cast("KubeControllersConfiguration", _one(thing("KubeControllersConfiguration", "default", spec)))


def node(name: str = "h1", *, spec: Object | None = None, **labels: str) -> Node:
    return cast("Node", _one(thing("Node", name, spec or {"bgp": {"ipv4Address": "172.16.0.1/24"}}, labels=labels)))


def _one(things: Things) -> object:
    return next(iter(things.values()))


WIDE = node(spec={
    "bgp": {"ipv4Address": "172.16.0.1/24", "ipv6Address": "fd00::1/64", "ipv4IPIPTunnelAddr": "10.65.0.1"},
    "ipv4VXLANTunnelAddr": "10.65.0.2", "addresses": [
        {"address": "172.16.0.1", "type": "InternalIP"}, {"address": "203.0.113.7", "type": "InternalIP"},
        {"address": "198.51.100.9", "type": "ExternalIP"}, {"address": "nonsense", "type": "InternalIP"}],
    "interfaces": [{"name": "eth0", "addresses": ["172.16.0.1"]}, {"name": "eth1", "addresses": ["203.0.113.8/24"]},
                   {"name": "docker0", "addresses": []}, {"name": "eth1.Up", "addresses": []}],
}, rack="a")


def planned(configuration: KubeControllersConfiguration | None, *nodes: Node,
            existing: Mapping[str, HostEndpoint] = {}, unreadable: tuple[str, ...] = ()) -> Plan:
    return plan(configuration, {one.metadata.name: one for one in nodes}, existing, unreadable)


def by_name(found: Plan) -> dict[str, Draft]:
    return {draft.name: draft for draft in found.write}


def stored(draft: Draft) -> HostEndpoint:
    made = _one(hep(draft.name))
    assert isinstance(made, HostEndpoint)
    return HostEndpoint(kind="HostEndpoint", metadata=type(made.metadata)(name=draft.name, labels=dict(draft.labels)),
                        spec=draft.spec)


@pytest.mark.parametrize("configuration", [None, config("Disabled"), config(""), config("?")])
def test_none_are_made_unless_it_is_said(configuration: KubeControllersConfiguration | None) -> None:
    assert planned(configuration, node()) == Plan()


def test_each_host_gets_one_on_all_its_interfaces() -> None:
    (draft,) = planned(config(), WIDE).write
    assert draft.name == "h1-auto-hep"
    assert draft.labels == {"rack": "a", CREATED_BY: CREATOR}
    assert (draft.spec.node, draft.spec.interface_name, draft.spec.profiles) == ("h1", "*", OPEN)
    assert draft.spec.expected_ips == (
        "172.16.0.1", "fd00::1", "10.65.0.1", "10.65.0.2", "203.0.113.7", "203.0.113.8")


def test_a_template_by_addresses_makes_one_for_each_host_that_has_such() -> None:
    found = by_name(planned(config("Enabled", "Disabled", EDGE), WIDE, node("h2")))
    (draft,) = found.values()
    assert draft.name == "h1-edge-auto-hep"
    assert draft.labels == {"rack": "z", "zone": "edge", CREATED_BY: CREATOR}
    assert (draft.spec.interface_name, draft.spec.expected_ips) == ("", ("203.0.113.7", "203.0.113.8"))


def test_a_template_by_interfaces_makes_one_for_each_that_fits_on_hosts_that_it_selects() -> None:
    other = node("h2", spec={"interfaces": [{"name": "eth0", "addresses": []}]}, rack="b")
    found = by_name(planned(config("Enabled", "Disabled", EACH), WIDE, other))
    strange = next(name for name in found if name.endswith("-auto-hep") and "eth" not in name)
    assert set(found) == {"h1-each-eth0-auto-hep", "h1-each-eth1-auto-hep", strange}
    assert found["h1-each-eth0-auto-hep"].spec.interface_name == "eth0"
    assert found["h1-each-eth1-auto-hep"].spec.expected_ips == ("203.0.113.8",)
    assert found[strange].spec.interface_name == "eth1.Up", "no object can be called so"


def test_what_is_so_already_is_left_alone_and_what_is_not_is_written_again() -> None:
    first = planned(config("Enabled", "", EDGE), WIDE)
    existing = {draft.name: stored(draft) for draft in first.write}
    assert planned(config("Enabled", "", EDGE), WIDE, existing=existing) == Plan()
    moved = node(spec={"bgp": {"ipv4Address": "172.16.0.9/24"}}, rack="b")
    again = planned(config("Enabled", "", EDGE), moved, existing=existing)
    assert [(draft.name, draft.spec.expected_ips) for draft in again.write] == [("h1-auto-hep", ("172.16.0.9",))]
    assert again.remove == ("h1-edge-auto-hep",)


def test_they_go_with_their_node_with_the_switch_and_with_the_configuration() -> None:
    existing = {draft.name: stored(draft) for draft in planned(config(), node("h1"), node("h2")).write}
    assert planned(config(), node("h1"), existing=existing).remove == ("h2-auto-hep",)
    for configuration in (config("Disabled"), None):
        assert planned(configuration, node("h1"), node("h2"), existing=existing).remove == (
            "h1-auto-hep", "h2-auto-hep")


def test_what_it_did_not_make_is_never_touched() -> None:
    """Not one that has the name without the label, and not one that has the label without such a name."""
    strangers = hep("h1-auto-hep", "h1", interface="eth0"), hep("mine", "h9", spec={}, **{CREATED_BY: CREATOR})
    existing = {key.name: cast("HostEndpoint", value) for things in strangers for key, value in things.items()}
    assert planned(config(), node("h1"), existing=existing) == Plan(taken=("h1-auto-hep",))
    assert planned(None, node("h1"), existing=existing) == Plan()


def test_a_node_that_does_not_decode_keeps_its_own() -> None:
    existing = {draft.name: stored(draft) for draft in planned(config(), node("h1")).write}
    assert planned(config(), existing=existing, unreadable=("h1",)) == Plan()
    assert planned(config("Disabled"), existing=existing, unreadable=("h1",)).remove == ("h1-auto-hep",)


@pytest.mark.parametrize(("template", "words"), [
    ({"generateName": "t", "interfacePattern": "["}, "interfacePattern"),
    ({"generateName": "t", "interfacePattern": ".", "nodeSelector": "a =="}, "nodeSelector"),
    ({"generateName": "t", "interfaceCIDRs": ["x"]}, "interfaceCIDRs"), ({"interfacePattern": "."}, "generateName"),
])
def test_a_template_that_cannot_be_read_makes_nothing_and_is_told(template: Object, words: str) -> None:
    configuration = config("Enabled", "Disabled", template)
    assert planned(configuration, WIDE) == Plan()
    graph = Graph()
    graph.update({configuration.key: configuration})
    (fault,) = graph.flush().faults.values()
    assert words in (fault or "")
    graph.update({configuration.key: Illegible(configuration.key, "spec: cannot be decoded")})
    assert "stay as they are" in str(graph.flush().faults[configuration.key])
    graph.update({configuration.key: None})
    assert graph.flush().faults == {configuration.key: None}


NODES = st.lists(st.sampled_from([WIDE, node("h1", rack="b"), node("h2"), node("h3", rack="a")]), max_size=3)
CONFIGS = st.sampled_from([None, config(), config("Disabled"), config("Enabled", "Disabled", EDGE, EACH),
                           config("Enabled", "", EACH)])


@given(st.lists(st.tuples(CONFIGS, NODES), min_size=1, max_size=4))
def test_one_plan_is_enough_and_history_leaves_nothing(
    history: list[tuple[KubeControllersConfiguration | None, list[Node]]]) -> None:
    """Done as planned, the next plan is empty; and what is there is what there would be from scratch."""
    existing: dict[str, HostEndpoint] = {}
    for configuration, nodes in history:
        todo = planned(configuration, *nodes, existing=existing)
        existing |= {draft.name: stored(draft) for draft in todo.write}
        for name in todo.remove:
            del existing[name]
        assert planned(configuration, *nodes, existing=existing) == Plan()
        assert existing == {draft.name: stored(draft) for draft in planned(configuration, *nodes).write}

"""Kubernetes' own NetworkPolicy: what Calico policy it means, and what is wrong with one."""

from typing import Any

import pytest

from modelwords import Object, fields
from muslin.errors import Invalid
from muslin.model.kubernetes import rule_sources, simplified, to_calico
from muslin.model.validation import faults, immutable_faults, normal

WORKLOADS = "has(projectcalico.org/orchestrator)"
ALLOW = {"action": "Allow"}


def kubernetes(name: str = "web", **spec: Any) -> Object:
    """A policy as people write it."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"podSelector": {}, **spec}}


def ingress(**rule: Any) -> list[Object]:
    """The Calico rules of one Kubernetes rule."""
    made: list[Object] = to_calico(kubernetes(ingress=[rule]))["spec"]["ingress"]
    return made


def test_a_policy_is_kept_as_calico_keeps_it() -> None:
    """Calico's readers find it by its name, between the policies with orders below and above 1000."""
    made = to_calico(kubernetes())

    assert made == {
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "knp.default.web", "namespace": "shop"},
        "spec": {"order": 1000, "selector": WORKLOADS, "types": ["Ingress"]},
    }
    assert fields(normal(made)) == set()


@pytest.mark.parametrize(("selector", "text"), [
    ({}, ""), (None, ""), ({"matchLabels": None}, ""),
    ({"matchLabels": {"tier": "db", "app": "shop"}}, "app == 'shop' && tier == 'db'"),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, "a in { 'x', 'y' }"),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a not in { 'x' }"),
    ({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]},
     "has(a) && ! has(b)"),
    ({"matchLabels": {"x.io/y": ""}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
     "x.io/y == '' && has(a)"),
])
def test_a_selector_of_pods_selects_workloads(selector: Object, text: str) -> None:
    """Of any orchestrator, and no network set beside them."""
    expected = f"{WORKLOADS} && {text}" if text else WORKLOADS

    assert to_calico(kubernetes(podSelector=selector))["spec"]["selector"] == expected
    assert fields(kubernetes(podSelector=selector)) == set()


@pytest.mark.parametrize(("peer", "source"), [
    ({"podSelector": {"matchLabels": {"a": "b"}}}, {"selector": f"{WORKLOADS} && a == 'b'"}),
    ({"podSelector": {}}, {"selector": WORKLOADS}),
    ({"namespaceSelector": {}}, {"selector": WORKLOADS, "namespaceSelector": "all()"}),
    ({"namespaceSelector": {"matchLabels": {"team": "x"}}, "podSelector": {"matchLabels": {"a": "b"}}},
     {"selector": f"{WORKLOADS} && a == 'b'", "namespaceSelector": "team == 'x'"}),
    ({"ipBlock": {"cidr": "10.0.0.1/8"}}, {"nets": ["10.0.0.0/8"]}),
    ({"ipBlock": {"cidr": "FD00::/8", "except": ["fd00:0::/16", "fd01::/16"]}},
     {"nets": ["fd00::/8"], "notNets": ["fd00::/16", "fd01::/16"]}),
])
def test_a_peer_becomes_one_side_of_a_rule(peer: Object, source: Object) -> None:
    """The source of what comes in, the destination of what goes out."""
    assert ingress(**{"from": [peer]}) == [{**ALLOW, "source": source}]
    assert to_calico(kubernetes(egress=[{"to": [peer]}]))["spec"]["egress"] == [{**ALLOW, "destination": source}]
    assert fields(kubernetes(ingress=[{"from": [peer]}])) == set()


@pytest.mark.parametrize(("ports", "rules"), [
    ([], [{}]), (None, [{}]),
    ([{"port": 80}], [{"protocol": "TCP", "destination": {"ports": [80]}}]),
    ([{"port": 80, "protocol": "UDP"}, {"port": 443}],
     [{"protocol": "TCP", "destination": {"ports": [443]}}, {"protocol": "UDP", "destination": {"ports": [80]}}]),
    ([{"port": 81}, {"port": "http"}, {"port": 80}, {"port": 82}, {"port": 90}],
     [{"protocol": "TCP", "destination": {"ports": ["http", "80:82", 90]}}]),
    ([{"port": 8000, "endPort": 9000}], [{"protocol": "TCP", "destination": {"ports": ["8000:9000"]}}]),
    ([{"port": 80}, {"protocol": "TCP"}, {"port": 81}], [{"protocol": "TCP"}]), ([{}], [{"protocol": "TCP"}]),
])
def test_ports_become_one_rule_for_each_protocol(ports: Any, rules: list[Object]) -> None:
    """A port without a number means all of its protocol; neighbours become ranges."""
    assert ingress(ports=ports) == [{**ALLOW, **rule} for rule in rules]
    assert fields(kubernetes(ingress=[{"ports": ports}])) == set()


def test_every_rule_is_known_by_the_rule_it_comes_from() -> None:
    """Whoever shows a line of the file for a rule needs it."""
    policy = kubernetes(ingress=[{"from": [{"podSelector": {}}, {"namespaceSelector": {}}],
                                  "ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}, {}])

    assert len(to_calico(policy)["spec"]["ingress"]) == 5
    assert rule_sources(policy) == {"ingress": (0, 0, 0, 0, 1), "egress": ()}


@pytest.mark.parametrize(("spec", "types"), [
    ({}, ["Ingress"]), ({"egress": [{}]}, ["Ingress", "Egress"]), ({"policyTypes": ["Egress"]}, ["Egress"]),
    ({"policyTypes": ["Egress", "Ingress"]}, ["Ingress", "Egress"]), ({"policyTypes": []}, ["Ingress"]),
])
def test_types_default_as_kubernetes_fills_them_in(spec: Object, types: list[str]) -> None:
    """A policy always isolates what comes in unless it says otherwise."""
    assert to_calico(kubernetes(**spec))["spec"]["types"] == types


def test_ranges_are_the_fewest() -> None:
    """Overlaps and repetitions vanish; a single number is left as it is."""
    assert simplified([80]) == [80]
    assert simplified([80, "http"]) == [80, "http"]
    assert simplified([80, 80]) == [80]
    assert simplified(["1:5", "3:9", 11, "x"]) == ["x", "1:9", 11]


MISTAKES: list[tuple[Object, str, str]] = [
    ({"selector": "all()"}, "spec.selector", "write podSelector"),
    ({"types": ["Ingress"]}, "spec.types", "write policyTypes"),
    ({"podSelector": {"app": "x"}}, "spec.podSelector.app", "matchLabels"),
    ({"podSelector": {"matchLabels": {"a b": "x"}}}, "spec.podSelector.matchLabels[a b]", "write a-b"),
    ({"podSelector": {"matchLabels": {f"a{i}": "x" * 60 for i in range(20)}}}, "spec.podSelector",
     "label of their own"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]}},
     "spec.podSelector.matchExpressions[0].operator", "write In"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
     "spec.podSelector.matchExpressions[0].values", "write values"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
     "spec.podSelector.matchExpressions[0].values", "take values out"),
    ({"policyTypes": ["ingress"]}, "spec.policyTypes[0]", "write Ingress"),
    ({"ingress": [{"source": {}}]}, "spec.ingress[0].source", "write from"),
    ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]", "podSelector: {}"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}, "spec.ingress[0].from[0].ipBlock.cidr",
     "10.0.0.1/32"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]},
     "spec.ingress[0].from[0].ipBlock.except[0]", "inside it"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
     "spec.ingress[0].from[0].podSelector", "a peer of its own"),
    ({"ingress": [{"ports": [{"port": "80"}]}]}, "spec.ingress[0].ports[0].port", "write 80, without quotes"),
    ({"ingress": [{"ports": [{"port": "80-90"}]}]}, "spec.ingress[0].ports[0].port", "endPort: 90"),
    ({"ingress": [{"ports": [{"port": 0}]}]}, "spec.ingress[0].ports[0].port", "leave the ports out"),
    ({"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]}, "spec.ingress[0].ports[0].endPort", "exchange"),
    ({"ingress": [{"ports": [{"port": "http", "endPort": 80}]}]}, "spec.ingress[0].ports[0].endPort", "take endPort"),
    ({"ingress": [{"ports": [{"endPort": 80}]}]}, "spec.ingress[0].ports[0].port", "write port"),
    ({"ingress": [{"ports": [{"port": 80, "protocol": "tcp"}]}]}, "spec.ingress[0].ports[0].protocol", "write TCP"),
]


@pytest.mark.parametrize(("spec", "field", "mend"), MISTAKES, ids=lambda part: str(part)[:60])
def test_mistakes_are_answered_in_kubernetes_words(spec: Object, field: str, mend: str) -> None:
    """Whoever writes podSelector should not be told about Calico's selector."""
    [fault] = faults(kubernetes(**spec))

    assert (fault.field, mend in fault.mend) == (field, True), str(fault)


def test_names_are_kubernetes_names() -> None:
    """They may have dots, which Calico's may not; but they must fit behind the prefix."""
    assert fields(kubernetes("allow.from.x")) == set()
    assert fields(kubernetes("x" * 241)) == set()
    assert fields(kubernetes("x" * 242)) == {"metadata.name"}
    assert fields(kubernetes("Web")) == {"metadata.name"}


def test_a_kubernetes_policy_has_no_defaults_of_calico() -> None:
    """A tier or an order in it would be unknown fields to kubectl."""
    assert normal(kubernetes(ingress=None)) == kubernetes()
    assert immutable_faults(kubernetes(), kubernetes(egress=[{}])) == ()


def test_what_is_no_policy_is_not_converted() -> None:
    """Conversion comes after validation; who forgets that gets a sentence, not a traceback."""
    with pytest.raises(Invalid, match="cannot be converted"):
        to_calico({"spec": {"ingress": [5]}})
    with pytest.raises(Invalid, match="no prefix"):
        to_calico(kubernetes(ingress=[{"from": [{"ipBlock": {"cidr": "x"}}]}]))

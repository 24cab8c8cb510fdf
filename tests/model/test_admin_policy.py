"""Kubernetes' policies of administrators: which Calico policies they mean, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

from modelwords import Object, fields
from muslin.model.admin_policy import rule_sources, to_calico
from muslin.model.documents import read
from muslin.model.validation import normal

WORKLOADS = "has(projectcalico.org/orchestrator)"
RED: Object = {"matchLabels": {"team": "red"}}
ALL: Object = {"namespaces": {}}


def anp(name: str = "a", **spec: Any) -> Object:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": name},
            "spec": {"priority": 7, "subject": {"namespaces": {}}, **spec}}


def banp(**spec: Any) -> Object:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "BaselineAdminNetworkPolicy",
            "metadata": {"name": "default"}, "spec": {"subject": {"namespaces": {}}, **spec}}


def cnp(**spec: Any) -> Object:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "c"}, "spec": {"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}, **spec}}


def rules(obj: Object, direction: str = "ingress") -> list[Object]:
    assert fields(obj) == set()
    made = to_calico(obj)
    assert fields(normal(made)) == set()
    found: list[Object] = made["spec"].get(direction, [])
    return found


@pytest.mark.parametrize(("obj", "name", "tier", "order"), [
    (anp(), "kanp.adminnetworkpolicy.a", "kube-admin", 7),
    (anp(priority=0), "kanp.adminnetworkpolicy.a", "kube-admin", 0),
    (anp("a.b"), "kanp.adminnetworkpolicy.a.b", "kube-admin", 7),
    (banp(), "kbanp.baselineadminnetworkpolicy.default", "kube-baseline", 1000),
    (cnp(), "kcnp.c", "kube-admin", 7),
    (cnp(tier="Baseline", priority=1000), "kcnp.c", "kube-baseline", 1000),
])
def test_a_policy_lies_in_its_tier_by_its_priority(obj: Object, name: str, tier: str, order: int) -> None:
    made = to_calico(obj)
    assert (made["kind"], made["metadata"]["name"]) == ("GlobalNetworkPolicy", name)
    assert (made["spec"]["tier"], made["spec"]["order"]) == (tier, order)
    assert fields(obj) == fields(normal(made)) == set()


def test_it_governs_the_directions_it_has_rules_for() -> None:
    deny = {"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}
    assert to_calico(anp(egress=[deny]))["spec"]["types"] == ["Egress"]
    assert to_calico(anp(ingress=[{"action": "Pass", "from": [ALL]}], egress=[deny]))["spec"]["types"] == [
        "Ingress", "Egress"]


@pytest.mark.parametrize(("subject", "namespaces", "pods"), [
    ({"namespaces": {}}, "all()", WORKLOADS),
    ({"namespaces": RED}, "team == 'red'", WORKLOADS),
    ({"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}}, "all()",
     f"{WORKLOADS} && app == 'db'"),
    ({"pods": {"namespaceSelector": RED, "podSelector": {}}}, "team == 'red'", WORKLOADS),
])
def test_whom_it_applies_to_and_who_a_peer_is(subject: Object, namespaces: str, pods: str) -> None:
    """Workloads of every orchestrator, and no network sets."""
    words = {"namespaceSelector": namespaces, "selector": pods}
    spec = to_calico(anp(subject=subject))["spec"]
    assert {name: spec[name] for name in words} == words
    assert rules(anp(ingress=[{"action": "Allow", "from": [subject]}])) == [{"action": "Allow", "source": words}]
    assert rules(cnp(egress=[{"action": "Accept", "to": [subject]}]), "egress") == [
        {"action": "Allow", "destination": words}]


def test_prefixes_of_both_families_become_two_rules() -> None:
    made = rules(anp(egress=[{"action": "Deny", "to": [{"networks": ["10.0.0.0/8", "fd00::/8", "192.0.2.0/24"]}]}]),
                 "egress")
    assert [rule["destination"]["nets"] for rule in made] == [["10.0.0.0/8", "192.0.2.0/24"], ["fd00::/8"]]


def test_ports_are_gathered_by_protocol_and_names_have_any() -> None:
    made = rules(anp(ingress=[{"action": "Allow", "from": [ALL], "ports": [
        {"portNumber": {"port": 80, "protocol": "TCP"}}, {"portRange": {"start": 81, "end": 90}},
        {"portNumber": {"port": 53, "protocol": "UDP"}}, {"namedPort": "web"}]}]))
    assert [(rule.get("protocol"), rule["destination"]["ports"]) for rule in made] == [
        (None, ["web"]), ("TCP", ["80:90"]), ("UDP", [53])]


def test_protocols_of_the_second_version_may_have_no_ports() -> None:
    made = rules(cnp(egress=[{"action": "Accept", "to": [ALL], "protocols": [
        {"tcp": {"destinationPort": {"number": 80}}}, {"tcp": {"destinationPort": {"range": {"start": 90, "end": 99}}}},
        {"sctp": {}}, {"destinationNamedPort": "dns"}]}]), "egress")
    assert [(rule.get("protocol"), rule["destination"].get("ports")) for rule in made] == [
        (None, ["dns"]), ("SCTP", None), ("TCP", [80, "90:99"])]


def test_every_rule_leads_back_to_the_one_it_was_made_from() -> None:
    obj = anp(ingress=[{"action": "Deny", "from": [ALL, {"namespaces": RED}]}, {"action": "Pass", "from": [ALL]}])
    assert rule_sources(obj) == {"ingress": (0, 0, 1), "egress": ()}
    text = """\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec:
  priority: 1
  subject: {namespaces: {}}
  ingress:
  - {action: Deny, from: [{namespaces: {}}], ports: [{namedPort: a}, {portNumber: {port: 1}}]}
  - {action: Pass, from: [{namespaces: {}}]}
"""
    located = read(text, "f").objects[0]
    assert [located.position(("spec", "ingress", n))[0] for n in range(3)] == [8, 8, 9]
    assert located.object["kind"] == "GlobalNetworkPolicy"


@pytest.mark.parametrize(("obj", "field"), [
    (anp(priority=1001), "spec.priority"), (anp(priority=-1), "spec.priority"), (anp(priority=None), "spec.priority"),
    (cnp(tier="Middle"), "spec.tier"),
    (anp(subject={}), "spec.subject"), (anp(subject={"namespaces": {}, "pods": {
        "namespaceSelector": {}, "podSelector": {}}}), "spec.subject"),
    (anp(ingress=[{"action": "Accept", "from": [ALL]}]), "spec.ingress[0].action"),
    (cnp(ingress=[{"action": "Allow", "from": [ALL]}]), "spec.ingress[0].action"),
    (banp(ingress=[{"action": "Pass", "from": [ALL]}]), "spec.ingress[0].action"),
    (anp(ingress=[{"action": "Allow"}]), "spec.ingress[0].from"),
    (anp(ingress=[{"action": "Allow", "from": []}]), "spec.ingress[0].from"),
    (anp(ingress=[{"action": "Allow", "from": [{}]}]), "spec.ingress[0].from[0]"),
    (anp(ingress=[{"action": "Allow", "from": [{"networks": ["10.0.0.0/8"]}]}]), "spec.ingress[0].from[0].networks"),
    (anp(egress=[{"action": "Deny", "to": [{"networks": ["10.0.0.0/33"]}]}]), "spec.egress[0].to[0].networks[0]"),
    (anp(egress=[{"action": "Deny", "to": [{"nodes": {}}]}]), "spec.egress[0].to[0].nodes"),
    (cnp(egress=[{"action": "Accept", "to": [{"domainNames": ["a.example"]}]}]), "spec.egress[0].to[0].domainNames"),
    (anp(ingress=[{"action": "Deny", "from": [ALL], "ports": [{}]}]), "spec.ingress[0].ports[0]"),
    (anp(ingress=[{"action": "Deny", "from": [ALL], "ports": [{"portRange": {"start": 9, "end": 8}}]}]),
     "spec.ingress[0].ports[0].portRange.end"),
    (cnp(ingress=[{"action": "Deny", "from": [ALL], "protocols": [{"tcp": {}, "udp": {}}]}]),
     "spec.ingress[0].protocols[0]"),
    (cnp(ingress=[{"action": "Deny", "from": [ALL], "protocols": [{"tcp": {"destinationPort": {}}}]}]),
     "spec.ingress[0].protocols[0].tcp.destinationPort"),
    ({**banp(), "metadata": {"name": "mine"}}, "metadata.name"),
])
def test_what_is_wrong_is_told_at_its_field(obj: Object, field: str) -> None:
    assert field in fields(obj)

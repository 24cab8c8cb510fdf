"""Staged policies: the policy's own laws, or nothing but its tier when it would only be removed."""

from __future__ import annotations

from typing import Any

import pytest

from modelwords import Object, fields
from muslin.model.documents import read
from muslin.model.meta import ResourceKey
from muslin.model.staged import stands_for
from muslin.model.validation import faults, normal

KINDS = ("StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy")


def staged(kind: str, **spec: Any) -> Object:
    metadata = {"name": "it"} if "Global" in kind else {"name": "it", "namespace": "shop"}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_policy_may_not_say_a_staged_one_may_not_either(kind: str) -> None:
    """It is meant to be enforced one day: its faults are told now."""
    assert fields(staged(kind, stagedAction="Set")) == set()
    assert "spec.stagedAction" in fields(staged(kind, stagedAction="Apply"))
    if kind == "StagedKubernetesNetworkPolicy":
        assert fields(staged(kind, podSelector={}, ingress=[{"ports": [{"port": 1, "endPort": 0}]}])) == {
            "spec.ingress[0].ports[0].endPort"}
    else:
        assert fields(staged(kind, ingress=[{"action": "Allow", "destination": {"ports": [80]}}])) == {
            "spec.ingress[0].destination.ports"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_removal_says_nothing_but_its_tier(kind: str) -> None:
    """As in Calico: what would be gone needs no rules, and rules beside it would mislead."""
    assert fields(staged(kind, stagedAction="Delete")) == set()
    assert fields(staged(kind, stagedAction="Delete", ingress=[])) == set()
    if kind != "StagedKubernetesNetworkPolicy":  # the server filled them in while it said Set
        assert "types" not in normal(staged(kind, stagedAction="Delete", types=["Ingress"]))["spec"]
    rules = [{}] if "Kubernetes" in kind else [{"action": "Allow"}]
    assert fields(staged(kind, stagedAction="Delete", ingress=rules)) == {"spec.ingress"}


def test_defaults_are_the_policys_and_set() -> None:
    assert normal(staged("StagedNetworkPolicy"))["spec"] == {
        "tier": "default", "types": ["Ingress"], "stagedAction": "Set"}
    assert normal(staged("StagedGlobalNetworkPolicy", stagedAction="Delete"))["spec"] == {
        "tier": "default", "stagedAction": "Delete"}
    assert normal(staged("StagedKubernetesNetworkPolicy"))["spec"] == {"stagedAction": "Set"}
    again = normal(staged("StagedNetworkPolicy", egress=[{"action": "Allow"}]))
    assert normal(again) == again


def test_a_staged_policy_without_spec_is_a_slip() -> None:
    obj = staged("StagedNetworkPolicy")
    del obj["spec"]
    assert [fault.field for fault in faults(obj)] == ["spec"]


@pytest.mark.parametrize(("key", "other"), [
    (("StagedNetworkPolicy", "shop", "a"), ("NetworkPolicy", "shop", "a")),
    (("StagedGlobalNetworkPolicy", "", "a"), ("GlobalNetworkPolicy", "", "a")),
    (("StagedKubernetesNetworkPolicy", "shop", "a"), ("NetworkPolicy", "shop", "knp.default.a")),
])
def test_which_policy_one_stands_for(key: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert stands_for(ResourceKey(*key)) == ResourceKey(*other)
    assert stands_for(ResourceKey(*other)) is None


def test_a_custom_resource_of_calico_loses_the_tier_in_its_name() -> None:
    text = """\
apiVersion: crd.projectcalico.org/v1
kind: StagedGlobalNetworkPolicy
metadata: {name: default.it}
spec: {tier: default, stagedAction: Set}
"""
    assert read(text, "f").objects[0].object["metadata"]["name"] == "it"


def test_rules_of_a_converted_one_know_their_lines() -> None:
    """One rule of Kubernetes is several of Calico's: each leads back to the line that was written."""
    text = """\
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: it, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - ports: [{port: 1}, {port: 2, protocol: UDP}]
  - ports: [{port: 3}]
"""
    located = read(text, "f").objects[0]
    assert [located.position(("spec", "ingress", n))[0] for n in range(3)] == [7, 7, 8]

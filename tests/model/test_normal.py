"""What the server writes, given what the user wrote; and what an update may not change."""

from typing import Any

import msgspec
import pytest

from modelwords import SPECS, Object, made, rule
from muslin.model.kinds import BY_NAME
from muslin.model.validation import faults, immutable_faults, normal

TIER = "projectcalico.org/tier"


def spec(kind: str, name: str | None = None, **fields: Any) -> Object:
    """The spec after normalisation."""
    found: Object = normal(made(kind, name, **fields))["spec"]
    return found


@pytest.mark.parametrize("kind", SPECS)
def test_normalising_twice_is_normalising_once(kind: str) -> None:
    """The server normalises what it reads back, too; nothing may drift."""
    once = normal(made(kind))

    assert normal(once) == once
    assert faults(once) == ()
    assert msgspec.convert(once, BY_NAME[kind].struct).kind == kind


def test_the_argument_is_left_alone() -> None:
    """Callers show it to the user afterwards."""
    written = made("NetworkPolicy", selector=None)
    normal(written)

    assert written == made("NetworkPolicy", selector=None)


@pytest.mark.parametrize(("fields", "types"), [
    ({}, ["Ingress"]), ({"ingress": [{"action": "Allow"}]}, ["Ingress"]),
    ({"egress": [{"action": "Allow"}]}, ["Egress"]),
    ({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}, ["Ingress", "Egress"]),
    ({"ingress": [], "egress": []}, ["Ingress"]), ({"types": []}, ["Ingress"]),
    ({"types": ["Egress"], "ingress": [{"action": "Allow"}]}, ["Egress"]), ({"types": ["Egress"]}, ["Egress"]),
])
def test_a_policy_has_types(fields: Object, types: list[str]) -> None:
    """Readers of the store need not know Calico's rule for leaving them out."""
    assert spec("NetworkPolicy", **fields)["types"] == types


@pytest.mark.parametrize("kind", ["NetworkPolicy", "GlobalNetworkPolicy"])
def test_a_policy_has_its_tier_also_as_a_label(kind: str) -> None:
    """Lists by tier select on the label; what the user says of it does not count."""
    plain, other = made(kind), made(kind, tier="ops")
    other["metadata"]["labels"] = {"a": "b", TIER: "mine"}

    assert (normal(plain)["spec"]["tier"], normal(plain)["metadata"]["labels"]) == ("default", {TIER: "default"})
    assert (normal(other)["spec"]["tier"], normal(other)["metadata"]["labels"]) == ("ops", {"a": "b", TIER: "ops"})


def test_ports_and_protocols_written_as_text_become_numbers() -> None:
    """As Calico writes them back; names and ranges stay."""
    written = rule(protocol="6", notProtocol="ICMP", source={"ports": ["80", "81:81", "82:83", "http", 84]},
                   destination={"notPorts": ["1"]})

    assert normal(written)["spec"]["ingress"] == [{
        "action": "Allow", "protocol": 6, "notProtocol": "ICMP",
        "source": {"ports": [80, 81, "82:83", "http", 84]}, "destination": {"notPorts": [1]}}]
    assert normal(rule(kind="Profile", protocol="17"))["spec"]["ingress"][0]["protocol"] == 17


@pytest.mark.parametrize(("name", "fields", "order", "action"), [
    ("ops", {"order": ...}, 1_000_000, "Deny"), ("ops", {"order": 0}, 0, "Deny"),
    ("ops", {"order": 5.5, "defaultAction": "Pass"}, 5.5, "Pass"), ("default", {"order": ...}, 1_000_000, "Deny"),
    ("kube-admin", {"order": ...}, 1_000, "Pass"), ("kube-baseline", {"order": ...}, 10_000_000, "Pass"),
])
def test_a_tier_has_an_order_and_a_default_action(name: str, fields: Object, order: float, action: str) -> None:
    """The well-known tiers have theirs."""
    found = spec("Tier", name, **fields)

    assert (found["order"], found["defaultAction"]) == (order, action)


def test_a_pool_has_everything_an_allocator_asks_for() -> None:
    """Block size most of all: it cannot change once addresses are given out."""
    rest = {"allowedUses": ["Workload", "Tunnel"], "nodeSelector": "all()", "ipipMode": "Never", "vxlanMode": "Never",
            "assignmentMode": "Automatic"}

    assert spec("IPPool") == {"cidr": "10.65.0.0/16", "blockSize": 26, **rest}
    assert spec("IPPool", cidr="FD00:0:0::/48") == {"cidr": "fd00::/48", "blockSize": 122, **rest}
    assert spec("IPPool", blockSize=0)["blockSize"] == 26
    kept = {"blockSize": 30, "nodeSelector": "has(a)", "vxlanMode": "Always", "allowedUses": ["Tunnel"],
            "assignmentMode": "Manual"}
    assert spec("IPPool", **kept) == {"cidr": "10.65.0.0/16", "ipipMode": "Never", **kept}


def test_a_workload_endpoint_has_its_name_and_labels() -> None:
    """The name says who it is, and policies of namespaces go by the labels."""
    written = made("WorkloadEndpoint", "", workload="web-1")
    written["metadata"]["labels"] = {"app": "web", "projectcalico.org/namespace": "mine"}
    metadata = normal(written)["metadata"]

    assert metadata["name"] == "h1-muslin-web--1-eth0"
    assert metadata["labels"] == {"app": "web", "projectcalico.org/namespace": "shop",
                                  "projectcalico.org/orchestrator": "muslin"}


def test_a_pod_has_the_label_of_its_service_account() -> None:
    """As Calico's plugin for Kubernetes writes it."""
    pod = made("WorkloadEndpoint", "h1-k8s-web-eth0", orchestrator="k8s", pod="web", workload=...,
               serviceAccountName="a")

    assert normal(pod)["metadata"]["labels"]["projectcalico.org/serviceaccount"] == "a"


def test_the_settings_of_the_cluster_have_calicos_defaults() -> None:
    """Only the object default has them: node.NAME says what differs."""
    assert spec("BGPConfiguration") == {
        "asNumber": 64512, "logSeverityScreen": "Info", "serviceLoadBalancerAggregation": "Enabled"}
    assert spec("BGPConfiguration", "node.h1", asNumber=...) == {}
    assert spec("FelixConfiguration")["nftablesMode"] == "Auto"
    assert "nftablesMode" not in spec("FelixConfiguration", "node.h1")


def test_dotted_as_numbers_become_plain() -> None:
    """BIRD and everybody who compares them wants one form."""
    assert spec("BGPConfiguration", asNumber="1.10")["asNumber"] == 65546
    assert spec("BGPPeer", asNumber="65001", localASNumber="0.5") == {
        "peerIP": "10.0.0.9", "asNumber": 65001, "localASNumber": 5}
    assert spec("Node", bgp={"ipv4Address": "10.0.0.1/24", "asNumber": "64512"})["bgp"]["asNumber"] == 64512


def test_nulls_are_gone_and_metadata_of_servers_stays() -> None:
    """A null is how some tools write nothing."""
    written = {**made("Tier", order=None), "status": None}
    written["metadata"] |= {"creationTimestamp": None, "uid": "1", "resourceVersion": "5", "labels": {"a": None}}

    assert normal(written) == {
        "apiVersion": "projectcalico.org/v3", "kind": "Tier",
        "metadata": {"name": "it", "uid": "1", "resourceVersion": "5", "labels": {}},
        "spec": {"order": 1_000_000, "defaultAction": "Deny"}}


CHANGES: list[tuple[str, Object, Object, set[str]]] = [
    ("IPPool", {}, {"natOutgoing": True, "nodeSelector": "has(a)", "disabled": True}, set()),
    ("IPPool", {}, {"cidr": "10.66.0.0/16"}, {"spec.cidr"}), ("IPPool", {}, {"blockSize": 28}, {"spec.blockSize"}),
    ("IPPool", {"allowedUses": ["LoadBalancer"]}, {"allowedUses": ["Workload"]}, {"spec.allowedUses"}),
    ("NetworkPolicy", {}, {"order": 5, "selector": "has(a)"}, set()),
    ("NetworkPolicy", {"tier": "ops"}, {"tier": "default"}, {"spec.tier"}),
    ("GlobalNetworkPolicy", {}, {"tier": "ops"}, {"spec.tier"}),
    ("Tier", {}, {"order": 99}, set()), ("HostEndpoint", {}, {"node": "h2"}, set()),
]


@pytest.mark.parametrize(("kind", "before", "after", "wrong"), CHANGES, ids=str)
def test_what_cannot_change(kind: str, before: Object, after: Object, wrong: set[str]) -> None:
    """Addresses have been given out, policies stand under keys: a change would tear them apart."""
    found = immutable_faults(normal(made(kind, **before)), normal(made(kind, **after)))

    assert {fault.field for fault in found} == wrong
    assert all(fault.mend.startswith("keep ") for fault in found)


def test_a_prefix_in_another_spelling_is_the_same() -> None:
    """Somebody else may have stored it in capitals."""
    assert immutable_faults(made("IPPool", cidr="FD00::/48"), normal(made("IPPool", cidr="fd00::/48"))) == ()


def test_an_object_stays_itself() -> None:
    """Its name and namespace are its key."""
    old, new = normal(made("NetworkPolicy", "a")), normal(made("NetworkPolicy", "b"))
    new["metadata"]["namespace"] = "other"

    assert [fault.field for fault in immutable_faults(old, new)] == ["metadata.name", "metadata.namespace"]

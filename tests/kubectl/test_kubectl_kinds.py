"""kubectl, unchanged, on the kinds that came after Calico's first: staged policies, services, policies of admins."""

from __future__ import annotations

from typing import Any

import pytest

from kubectlrig import Kubectl
from serverrig import resource

pytestmark = pytest.mark.slow


def settled(k: Kubectl, obj: dict[str, Any], short: str) -> Any:
    """Applied, applied again to no effect, found by its short name, explained; then it is given back."""
    name = obj["metadata"]["name"]
    space = ["-n", obj["metadata"]["namespace"]] if "namespace" in obj["metadata"] else []
    assert "created" in k("apply", "-f", "-", given=obj).out
    assert "unchanged" in k("apply", "-f", "-", given=obj).out
    assert name in k("get", short, *space).out
    assert name in k("get", short, name, *space, "-o", "wide").out
    assert "KIND" in k("explain", short).out.upper()
    return k.json("get", short, name, *space)


def test_staged_policies(k: Kubectl) -> None:
    for kind, short in (("StagedNetworkPolicy", "snp"), ("StagedGlobalNetworkPolicy", "sgnp"),
                        ("StagedKubernetesNetworkPolicy", "sknp")):
        obj = resource(kind, "later", stagedAction="Set")
        if "Global" not in kind:
            obj["metadata"]["namespace"] = "staged"
        assert settled(k, obj, short)["spec"]["stagedAction"] == "Set"
        obj["spec"] = {"stagedAction": "Delete"}
        assert "configured" in k("apply", "-f", "-", given=obj).out
        k("delete", "-f", "-", given=obj)
    refused = k("apply", "-f", "-", code=1, given=resource(
        "StagedGlobalNetworkPolicy", "wrong", stagedAction="Delete", egress=[{"action": "Allow"}]))
    assert "such a policy says only which one would be removed" in refused.err


def test_services_and_endpoint_slices(k: Kubectl) -> None:
    """kubectl has these kinds built in, and patches them strategically."""
    service: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "served"},
        "spec": {"selector": {"app": "db"}, "ports": [{"name": "sql", "port": 5432, "targetPort": "sql"}]}}
    piece: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "db-x1", "namespace": "served", "labels": {"kubernetes.io/service-name": "db"}},
        "endpoints": [{"addresses": ["10.65.0.9"]}], "ports": [{"port": 5432, "protocol": "TCP"}]}
    settled(k, service, "svc")
    service["spec"]["ports"] = [{"name": "sql", "port": 5433}]
    assert "configured" in k("apply", "-f", "-", given=service).out
    assert k.json("get", "services", "db", "-n", "served")["spec"]["ports"] == [{"name": "sql", "port": 5433}]
    settled(k, piece, "endpointslices")
    piece["endpoints"] = [{"addresses": ["10.65.0.10", "10.65.0.11"]}]
    assert "configured" in k("apply", "-f", "-", given=piece).out
    assert k.json("get", "endpointslice", "db-x1", "-n", "served")["endpoints"] == piece["endpoints"]
    assert "10.65.0.10" in k("get", "endpointslices", "-A").out
    k("label", "endpointslice", "db-x1", "a=b", "-n", "served")
    assert "nothing says whose endpoints these are" in k(
        "label", "endpointslice", "db-x1", "kubernetes.io/service-name-", "-n", "served", code=1).err
    k("delete", "-f", "-", given=[service, piece])


def test_service_accounts(k: Kubectl) -> None:
    obj = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "served"}}
    assert "spec" not in settled(k, obj, "sa")
    k("label", "sa", "robot", "team=red", "-n", "served")
    assert k.json("get", "serviceaccount", "robot", "-n", "served")["metadata"]["labels"] == {"team": "red"}
    k("delete", "-f", "-", given=obj)


def test_the_clusters_own_configuration(k: Kubectl) -> None:
    obj = {"apiVersion": "muslin.dev/v1", "kind": "ClusterConfiguration", "metadata": {"name": "default"},
           "spec": {"establishedFlows": "Keep", "lockoutGuard": "Disabled"}}
    assert settled(k, obj, "clusterconfig")["spec"] == obj["spec"]
    assert "establishedFlows" in k("explain", "clusterconfiguration.spec").out
    k("delete", "-f", "-", given=obj)


def test_policies_of_administrators(k: Kubectl) -> None:
    """Kinds that kubectl knows by discovery only."""
    group, everybody = "policy.networking.k8s.io", {"namespaces": {}}
    rule = {"action": "Deny", "from": [everybody], "ports": [{"namedPort": "debug"}]}
    for version, kind, name, short, spec in (
        ("v1alpha1", "AdminNetworkPolicy", "first", "anp", {"priority": 10, "ingress": [rule]}),
        ("v1alpha1", "BaselineAdminNetworkPolicy", "default", "banp", {"ingress": [rule]}),
        ("v1alpha2", "ClusterNetworkPolicy", "both", "clusternetworkpolicies", {
            "tier": "Admin", "priority": 9, "egress": [{"action": "Accept", "to": [everybody], "protocols": [
                {"udp": {"destinationPort": {"number": 53}}}]}]}),
    ):
        obj: dict[str, Any] = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": name},
                               "spec": {"subject": everybody, **spec}}
        assert settled(k, obj, short)["spec"] == obj["spec"]
        obj["spec"]["subject"] = {"namespaces": {"matchLabels": {"team": "red"}}}
        assert "configured" in k("apply", "-f", "-", given=obj).out
        k("delete", "-f", "-", given=obj)
    refused = k("apply", "-f", "-", code=1, given={
        "apiVersion": f"{group}/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": "x"},
        "spec": {"priority": 1, "subject": everybody, "egress": [{"action": "Allow", "to": [{"nodes": {}}]}]}})
    assert "write networks: with the addresses of the nodes" in refused.err

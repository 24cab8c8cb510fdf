"""Services and endpoint slices, as Kubernetes writes them: accepted whole, and what policy could not use is told."""

from __future__ import annotations

from typing import Any

import pytest

from modelwords import Object, fields
from muslin.model.validation import normal


def service(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"}, "spec": spec}


def piece(labels: Object | None = None, **more: Any) -> Object:
    labels = {"kubernetes.io/service-name": "db"} if labels is None else labels
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "db-x1", "namespace": "shop", "labels": labels}, "addressType": "IPv4",
            "endpoints": [], **more}


def test_what_kubernetes_writes_is_accepted_whole() -> None:
    """So that `kubectl get -o yaml` of one cluster can be applied here."""
    assert fields(service(
        selector={"app": "db"}, type="ClusterIP", clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"], ipFamilies=["IPv4"],
        ipFamilyPolicy="SingleStack", internalTrafficPolicy="Cluster", sessionAffinity="None",
        ports=[{"name": "sql", "port": 5432, "targetPort": "sql", "protocol": "TCP", "nodePort": 30001}])) == set()
    assert fields(piece(ports=[{"name": "", "port": 5432, "protocol": "TCP"}, {"name": "any"}], endpoints=[{
        "addresses": ["10.65.0.9"], "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "h1", "zone": "a", "hints": {"forZones": [{"name": "a"}]},
        "targetRef": {"kind": "Pod", "name": "db-0", "namespace": "shop"}}])) == set()


@pytest.mark.parametrize(("obj", "field"), [
    (piece(labels={}), "metadata.labels[kubernetes.io/service-name]"),
    (piece(addressType="IPv6", endpoints=[{"addresses": ["10.0.0.1"]}]), "endpoints[0].addresses[0]"),
    (piece(endpoints=[{"addresses": ["10.0.0.1", "db.example.com"]}]), "endpoints[0].addresses[1]"),
    (piece(endpoints=[{}]), "endpoints[0].addresses"),
    (piece(ports=[{"port": 70000}]), "ports[0].port"),
    (piece(ports=[{"port": 7, "protocol": "ICMP"}]), "ports[0].protocol"),
    (piece(addressType="IPv5"), "addressType"),
    (piece(spec={}), "spec"),
    (service(ports=[{"port": 1}, {"port": 2, "name": "b"}]), "spec.ports[0].name"),
    (service(ports=[{}]), "spec.ports[0].port"),
    (service(selectr={}), "spec.selectr"),
])
def test_what_is_wrong_is_told_at_its_field(obj: Object, field: str) -> None:
    assert fields(obj) == {field}


def test_names_of_hosts_are_accepted_in_a_slice_of_names() -> None:
    """They count for nothing in policy, and `status` says so."""
    assert fields(piece(addressType="FQDN", endpoints=[{"addresses": ["db.example.com"]}])) == set()


def test_a_slice_is_stored_as_it_is_written() -> None:
    assert "spec" not in normal(piece())

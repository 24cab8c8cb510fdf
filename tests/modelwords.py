"""Tiny words for objects as users write them, shared by the tests of `model`."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Fault
from muslin.model.validation import faults

Object = dict[str, Any]

SPECS: dict[str, Object] = {
    "NetworkPolicy": {"selector": "all()"},
    "GlobalNetworkPolicy": {"selector": "all()"},
    "Profile": {},
    "Tier": {"order": 10},
    "NetworkSet": {"nets": ["10.0.0.0/8"]},
    "GlobalNetworkSet": {"nets": ["10.0.0.0/8"]},
    "WorkloadEndpoint": {"node": "h1", "orchestrator": "muslin", "workload": "web", "endpoint": "eth0",
                         "interfaceName": "mus0", "ipNetworks": ["10.65.0.1/32"]},
    "HostEndpoint": {"node": "h1", "interfaceName": "eth0"},
    "Node": {"bgp": {"ipv4Address": "10.0.0.1/24"}},
    "IPPool": {"cidr": "10.65.0.0/16"},
    "IPReservation": {"reservedCIDRs": ["10.65.0.0/30"]},
    "BGPConfiguration": {"asNumber": 64512},
    "BGPPeer": {"peerIP": "10.0.0.9", "asNumber": 65001},
    "BGPFilter": {"importV4": [{"action": "Accept"}]},
    "FelixConfiguration": {"logSeverityScreen": "Info"},
    "ClusterInformation": {"datastoreReady": True},
    "KubeControllersConfiguration": {"controllers": {"node": {"hostEndpoint": {"autoCreate": "Enabled"}}}},
}
_NAMES = {"WorkloadEndpoint": "h1-muslin-web-eth0", "BGPConfiguration": "default", "FelixConfiguration": "default",
          "ClusterInformation": "default", "KubeControllersConfiguration": "default"}


def made(kind: str, name: str | None = None, **spec: Any) -> Object:
    """A good object of the kind, with these fields of its spec put in; a field given as `...` is taken out."""
    metadata: Object = {"name": _NAMES.get(kind, "it") if name is None else name}
    if kind in ("NetworkPolicy", "NetworkSet", "WorkloadEndpoint"):
        metadata["namespace"] = "shop"
    fields = {key: value for key, value in {**SPECS[kind], **spec}.items() if value is not ...}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": fields}


def rule(direction: str = "ingress", kind: str = "NetworkPolicy", **fields: Any) -> Object:
    """A policy with one rule."""
    return made(kind, **{direction: [{"action": "Allow", **fields}]})


def at(obj: Object, field: str) -> list[Fault]:
    """The faults of one field."""
    return [fault for fault in faults(obj) if fault.field == field]


def fields(obj: object) -> set[str]:
    """Which fields have faults."""
    return {fault.field for fault in faults(obj)}

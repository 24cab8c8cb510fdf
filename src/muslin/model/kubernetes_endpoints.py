"""What Calico makes of Kubernetes' pods, service accounts and nodes, so that policy can speak of them.

    Pod                WorkloadEndpoint <node>-k8s-<pod>-eth0, profiles kns.NAMESPACE and ksa.NAMESPACE.ACCOUNT
    ServiceAccount     Profile ksa.NAMESPACE.ACCOUNT: allows nothing and denies nothing, hands down the account's labels
    Node               Node, with its addresses

A pod whose node nobody knows yet stands on the host `unscheduled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from muslin.model.endpoint import WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec
from muslin.model.kubernetes_pods import Pod
from muslin.model.labels import account_profile_name, namespace_profile_name
from muslin.model.meta import Meta
from muslin.model.names import interface_name, workload_endpoint_name
from muslin.model.network import Node, NodeAddress, NodeSpec
from muslin.net import host_cidr

ORCHESTRATOR, INTERFACE = "k8s", "eth0"
UNSCHEDULED = "unscheduled"
_HOST_ADDRESSES = ("InternalIP", "ExternalIP")


def endpoint_of(pod: Pod) -> WorkloadEndpoint:
    node = pod.node or UNSCHEDULED
    name = workload_endpoint_name(node, ORCHESTRATOR, pod.name, INTERFACE)
    return WorkloadEndpoint(
        kind="WorkloadEndpoint",
        metadata=Meta(name=name, namespace=pod.namespace, labels=pod.labels),
        spec=WorkloadEndpointSpec(
            orchestrator=ORCHESTRATOR, node=node, pod=pod.name, endpoint=INTERFACE,
            service_account_name=pod.account, interface_name=interface_name(pod.namespace, pod.name),
            ip_networks=tuple(map(host_cidr, pod.addresses)),
            profiles=(namespace_profile_name(pod.namespace), account_profile_name(pod.namespace, pod.account)),
            ports=tuple(WorkloadEndpointPort(name=port, protocol=protocol, port=number)
                        for port, protocol, number in pod.ports),
        ),
    )


class KubernetesAddress(msgspec.Struct, frozen=True):
    type: str = ""
    address: str = ""


def node_of(name: str, labels: Mapping[str, str], addresses: Sequence[KubernetesAddress]) -> Node:
    """Hostnames among the addresses are left out."""
    found = tuple(NodeAddress(address=one.address, type=one.type) for one in addresses if one.type in _HOST_ADDRESSES)
    return Node(kind="Node", metadata=Meta(name=name, labels=dict(labels)), spec=NodeSpec(addresses=found))

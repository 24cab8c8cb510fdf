"""Everything that is wrong with one object, in one pass.

First what it claims to be, then its fields one by one (`walk`), then its name, then the laws of its kind. A person who
mends a file wants the whole list; a server wants the same list as causes of a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muslin.model.fault import Fault, Reason
from muslin.model.kinds import BY_NAME, Kind, find
from muslin.model.translated import NETWORK_POLICY, of_kind, translation
from muslin.model.validation import bgp, controllers, docker, endpoint, felix, policy, pool, service, staged
from muslin.model.validation.admin_policy import check_admin_policy
from muslin.model.validation.findings import Findings, listed, near, shown
from muslin.model.validation.kubernetes import check_kubernetes_policy
from muslin.model.validation.metadata import check_metadata
from muslin.model.validation.walk import walk

_RULES: dict[str, Callable[[dict[str, Any], Findings], None]] = {
    "Tier": policy.check_tier,
    "NetworkPolicy": policy.check_network_policy,
    "GlobalNetworkPolicy": policy.check_global_network_policy,
    "StagedNetworkPolicy": staged.check_staged_policy,
    "StagedGlobalNetworkPolicy": staged.check_staged_policy,
    "StagedKubernetesNetworkPolicy": staged.check_staged_policy,
    "NetworkSet": policy.check_network_set,
    "GlobalNetworkSet": policy.check_network_set,
    "Profile": policy.check_profile,
    "WorkloadEndpoint": endpoint.check_workload_endpoint,
    "HostEndpoint": endpoint.check_host_endpoint,
    "Node": endpoint.check_node,
    "IPPool": pool.check_ip_pool,
    "BGPConfiguration": bgp.check_bgp_configuration,
    "BGPPeer": bgp.check_bgp_peer,
    "BGPFilter": bgp.check_bgp_filter,
    "FelixConfiguration": felix.check_felix_configuration,
    "KubeControllersConfiguration": controllers.check_kube_controllers_configuration,
    "DockerNetwork": docker.check_docker_network,
    "Service": service.check_service,
    "EndpointSlice": service.check_endpoint_slice,
}
_TRANSLATED: dict[str, Callable[[dict[str, Any], Findings], None]] = {
    NETWORK_POLICY.kind.plural: check_kubernetes_policy,
    "adminnetworkpolicies": check_admin_policy,
    "baselineadminnetworkpolicies": check_admin_policy,
    "clusternetworkpolicies": check_admin_policy,
}
_SPEC_NEEDED = frozenset({
    "NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy", "IPPool", "WorkloadEndpoint", "HostEndpoint",
})
"""A policy without a spec would cut off everything, by a slip; the others would be nothing at all."""
_NOT_SERVED = frozenset({
    "IPAMConfiguration", "IPAMConfig", "IPAMBlock", "IPAMHandle", "BlockAffinity", "CalicoNodeStatus", "LiveMigration",
    "DatastoreMigration",
})
_KUBERNETES_GROUPS = ("extensions", "networking.k8s.io")
_VERSION_1 = {
    "bgpPeer": "BGPPeer", "hostEndpoint": "HostEndpoint", "ipPool": "IPPool", "node": "Node",
    "policy": "GlobalNetworkPolicy", "profile": "Profile", "workloadEndpoint": "WorkloadEndpoint",
}
"""What became of the kinds of Calico 1 and 2."""
_PAID = frozenset({
    "AlertException", "BFDConfiguration", "DeepPacketInspection", "EgressGatewayPolicy", "ExternalNetwork",
    "GlobalAlert", "GlobalAlertTemplate", "GlobalReport", "GlobalReportType", "GlobalThreatFeed", "LicenseKey",
    "ManagedCluster", "PacketCapture", "PolicyRecommendationScope", "RemoteClusterConfiguration",
    "SecurityEventWebhook", "UISettings", "UISettingsGroup",
})


def faults(obj: object) -> tuple[Fault, ...]:
    """Everything wrong with one object. Never raises, whatever the object is."""
    findings = Findings()
    kind = kind_of(obj, findings)
    if kind is not None and isinstance(obj, dict):
        found = walk(kind.struct, obj, findings)
        check_metadata(kind, found, findings)
        if "spec" not in found and kind.name in _SPEC_NEEDED and obj.get("spec") is None:
            findings.add(("spec",), "spec is missing", "it says everything that the object does", "write spec:",
                         Reason.REQUIRED)
        elif kept := of_kind(kind):
            _TRANSLATED[kept.kind.plural](found, findings)
        elif kind.name in _RULES:
            _RULES[kind.name](found, findings)
    return tuple(findings.faults)


def kind_of(obj: object, findings: Findings) -> Kind | None:
    """What the object claims to be; None, and a fault, when that is nothing we know."""
    if not isinstance(obj, dict):
        findings.add((), f"{shown(obj)} where an object belongs", "",
                     "write a mapping with apiVersion, kind, metadata and spec")
        return None
    if kept := translation(obj):
        return kept.kind
    version, name = obj.get("apiVersion"), obj.get("kind")
    kind = BY_NAME.get(name) if isinstance(name, str) else None
    if kind is None and version == "v1" and name in _VERSION_1:
        findings.add(("kind",), f"{name} is a kind of version 1 of Calico's API", "its fields had other names",
                     f"write kind: {_VERSION_1[name]} and apiVersion: projectcalico.org/v3", Reason.NOT_SUPPORTED)
    elif kind is None:
        _unknown_kind(name, findings)
    if version in (None, ""):
        wanted = kind.group_version if kind else "projectcalico.org/v3"
        findings.add(("apiVersion",), "apiVersion is missing", "kinds of one name exist in several groups",
                     f"write apiVersion: {wanted}", Reason.REQUIRED)
    elif name == NETWORK_POLICY.kind.name and str(version).partition("/")[0] in _KUBERNETES_GROUPS:
        findings.add(("apiVersion",), f"{shown(version)} is no version of Kubernetes' NetworkPolicy",
                     "Kubernetes has v1 since 1.7", f"write apiVersion: {NETWORK_POLICY.kind.group_version}",
                     Reason.NOT_SUPPORTED)
        return NETWORK_POLICY.kind
    elif kind is not None and version != kind.group_version:
        findings.add(("apiVersion",), f"{shown(version)} has no kind {kind.name} here", "",
                     f"write apiVersion: {kind.group_version}", Reason.NOT_SUPPORTED)
    return kind


def _unknown_kind(name: object, findings: Findings) -> None:
    path = ("kind",)
    if name in (None, ""):
        findings.add(path, "kind is missing", "it says what the object is", "write kind: NetworkPolicy, or another",
                     Reason.REQUIRED)
        return
    what = f"there is no kind {shown(name)}"
    if not isinstance(name, str):
        findings.add(path, f"{shown(name)} where a kind belongs", "", "write kind: NetworkPolicy, or another")
    elif name in _PAID:
        findings.add(path, what, "it is part of Calico Enterprise", "take the document out", Reason.NOT_SUPPORTED)
    elif name in _NOT_SERVED:
        findings.add(path, what, "muslin does not serve it", "take the document out", Reason.NOT_SUPPORTED)
    else:
        meant = find(name) or BY_NAME.get(near(name, BY_NAME) or "")
        mend = f"write kind: {meant.name}" if meant else "take the document out, or write one of them"
        why = "" if meant else f"the kinds are {listed(BY_NAME, 'and')}"
        findings.add(path, what, why, mend, Reason.NOT_SUPPORTED)

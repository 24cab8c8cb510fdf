"""Names: which a kind may have, and where an object may live.

A name becomes part of keys in the store, of paths in the API, of label values and of interface names, and each of
these has its own limits. Policies have the narrowest: Calico once put the tier before the name, with a dot.
"""

from __future__ import annotations

import re
from typing import Any

from muslin.errors import Invalid
from muslin.model.fault import Reason
from muslin.model.kinds import Kind
from muslin.model.kubernetes import NAME_PREFIX
from muslin.model.names import workload_endpoint_name
from muslin.model.translated import of_kind
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.forms import LONGEST_LABEL, LONGEST_NAME, NAME, NAME_LABEL, renamed

DEFAULT_ALLOW = "projectcalico-default-allow"
SINGLETON = "default"
_SINGLETONS = ("ClusterInformation", "ClusterConfiguration", "KubeControllersConfiguration")

_LABEL, _SUBDOMAIN = NAME_LABEL.pattern, NAME.pattern
_POLICY_NAMES = {
    # A label, or tier and label; converted policies carry their whole name behind a prefix.
    "NetworkPolicy": re.compile(rf"{_LABEL}(?:\.{_LABEL})?|(?:knp|ossg)\.default\.{_SUBDOMAIN}"),
    "GlobalNetworkPolicy": re.compile(
        rf"{_LABEL}(?:\.{_LABEL})?|(?:kcnp|kanp\.adminnetworkpolicy|kbanp\.baselineadminnetworkpolicy)\.{_SUBDOMAIN}"),
}
_NAME = ("metadata", "name")


def check_metadata(kind: Kind, found: dict[str, Any], findings: Findings) -> None:
    """`found` is what the walk left of the object."""
    metadata = found.get("metadata", {})
    name = metadata.get("name", "")
    if name:
        _check_name(kind, name, findings)
    elif not metadata.get("generateName") and kind.name != "WorkloadEndpoint":
        findings.add(_NAME, "metadata.name is missing", "objects are known by their names",
                     "write name: under metadata, such as name: web-1", Reason.REQUIRED)
    namespace = metadata.get("namespace", "")
    if namespace and kind.namespaced and not _is_label(namespace):
        findings.add(("metadata", "namespace"), f"{shown(namespace)} is no namespace",
                     "it has a-z, 0-9 and '-', 63 at most", renamed(namespace, ""))


def _check_name(kind: Kind, name: str, findings: Findings) -> None:
    kept = of_kind(kind)
    prefix = kept.prefix if kept else NAME_PREFIX if kind.name == "StagedKubernetesNetworkPolicy" else ""
    most = LONGEST_NAME - len(prefix)
    if len(name) > most:
        findings.add(_NAME, f"a name of {len(name)} characters", f"{most} is the most", "write a shorter one")
    elif kept is None and (pattern := _POLICY_NAMES.get(kind.name.removeprefix("Staged"))):
        if not pattern.fullmatch(name):
            why = "policy names have a-z, 0-9 and '-', letters or digits at their ends, and one dot at most"
            findings.add(_NAME, f"{shown(name)} is no name for a policy", why, renamed(name, ""))
    elif kind.name in ("Tier", "Namespace"):
        if not _is_label(name):
            why = f"it has a-z, 0-9 and '-', letters or digits at its ends, {LONGEST_LABEL} at most"
            findings.add(_NAME, f"{shown(name)} is no name for a {kind.name.lower()}", why, renamed(name, ""))
    elif not NAME.fullmatch(name):
        why = "names have a-z, 0-9, '-' and '.', and letters or digits at their ends"
        findings.add(_NAME, f"{shown(name)} is no name", why, renamed(name))
    _check_reserved(kind, name, findings)


def _check_reserved(kind: Kind, name: str, findings: Findings) -> None:
    if kind.name in _SINGLETONS and name != SINGLETON:
        findings.add(_NAME, f"a {kind.name} named {shown(name)}", "there is only one", f"write {SINGLETON}")
    if kind.name == "Profile" and name == DEFAULT_ALLOW:
        findings.add(_NAME, f"{name} is built in", "it cannot be written", "choose another name", Reason.FORBIDDEN)


def _is_label(name: str) -> bool:
    return len(name) <= LONGEST_LABEL and NAME_LABEL.fullmatch(name) is not None


_WORKLOAD_FIELDS = {"k8s": "pod", "cni": "containerID"}
"""Where orchestrators keep the workload's name; all others: `workload`."""


def endpoint_identity(spec: dict[str, Any]) -> dict[str, str]:
    """Field -> value of the four that make a WorkloadEndpoint's name, in order."""
    orchestrator = str(spec.get("orchestrator", ""))
    field = _WORKLOAD_FIELDS.get(orchestrator, "workload")
    workload = "libnetwork" if orchestrator == "libnetwork" else spec.get(field, "")
    return {"node": spec.get("node", ""), "orchestrator": orchestrator, field: workload,
            "endpoint": spec.get("endpoint", "")}


def endpoint_name(spec: dict[str, Any]) -> str | None:
    """The name that a WorkloadEndpoint must have; None when its identity is not complete."""
    try:
        return workload_endpoint_name(*endpoint_identity(spec).values())
    except Invalid:
        return None

"""Documents that are no resources of ours: which of them matter to the network, and which are passed over.

A repository holds more than policies. Pods and what makes them, service accounts and nodes are translated. A ConfigMap
cannot change where a packet goes, and is counted. A `Deploymnet` would be passed over too, and its pods with it, and
every answer would be about a cluster without them: what looks like a slip of the pen is a fault.
"""

from __future__ import annotations

import difflib
from typing import Any

from muslin.model import documents
from muslin.model.fault import Fault, Reason
from muslin.model.kinds import BY_NAME
from muslin.model.kubernetes_pods import makes_pods

OURS = ("projectcalico.org", "crd.projectcalico.org", "policy.networking.k8s.io", "muslin.dev")
"""Groups of which every kind is judged: what we do not know of them, nobody may pass over."""
POLICY = "NetworkPolicy"
_BUILT_IN = ("", "apps", "batch", "extensions", "networking.k8s.io")
_CORE_KINDS = ("Namespace", "Pod", "ServiceAccount", "Node", "ReplicationController")
_MATTER = {
    "": _CORE_KINDS, "apps": ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), "batch": ("Job", "CronJob"),
    "networking.k8s.io": (POLICY,),
    "extensions": (),
}
_HOMES = {kind: group for group, kinds in _MATTER.items() for kind in kinds}
_NO_SLIPS = frozenset({"PodTemplate", "Service", "Secret", "Endpoints", "Event", "Lease", "Ingress"})
"""Kinds of Kubernetes that look like others."""
_ALIKE = 0.8


def is_foreign(value: Any) -> bool:
    """Is this document not to be judged as a resource of ours?"""
    if documents.expects(value):
        return True
    if not isinstance(value, dict):
        return False
    version, kind = value.get("apiVersion"), value.get("kind")
    if version is None and kind is None:
        return not {"metadata", "spec"} & value.keys()
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        return False
    group = version.rpartition("/")[0]
    known = BY_NAME.get(kind)
    return not (group in OURS or (kind == POLICY and group in _BUILT_IN)
                or (known is not None and known.group_version == version))


def matters(version: str, kind: str) -> bool:
    """Does it become a resource of ours?"""
    return makes_pods(version, kind) or (version == "v1" and kind in ("ServiceAccount", "Node"))


def slip(version: str, kind: str) -> Fault | None:
    """What is most likely meant by a kind that would be passed over, and matters."""
    group = version.rpartition("/")[0]
    if group not in _BUILT_IN or matters(version, kind) or kind in _NO_SLIPS:
        return None
    home = _HOMES.get(kind)
    if home is not None and home != group:
        wanted = f"{home}/v1" if home else "v1"
        return Fault(path=("apiVersion",), what=f"{version!r} has no kind {kind}", why="its pods would be overlooked",
                     mend=f"write apiVersion: {wanted}", reason=Reason.NOT_SUPPORTED)
    near = difflib.get_close_matches(kind, _MATTER[group], n=1, cutoff=_ALIKE)
    if not near or near[0] == kind:
        return None
    return Fault(path=("kind",), what=f"there is no kind {kind!r} in {version}", why="it would be overlooked",
                 mend=f"write kind: {near[0]}", reason=Reason.NOT_SUPPORTED)

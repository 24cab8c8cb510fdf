"""What Calico's client and validators write, given what the user wrote; and what an update may not change.

Readers of the store (ours, and Calico's) rely on these: a policy has its types, a pool its block size, an endpoint the
label of its namespace. So the server passes every object through here before it stores it. `normal` is idempotent,
takes objects that `faults` accepts, and leaves alone what is already there.
"""

from __future__ import annotations

from typing import Any

from muslin.model import labels, staged
from muslin.model.fault import Fault, Path, Reason
from muslin.model.nulls import without_nulls
from muslin.model.translated import translation
from muslin.model.validation.addresses import family_of, whole_net
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.metadata import endpoint_name
from muslin.model.validation.numbers import as_number_of
from muslin.model.validation.policy import WELL_KNOWN_TIERS
from muslin.model.validation.pool import DEFAULT_BLOCK_SIZES
from muslin.net import parse_cidr

Object = dict[str, Any]
DEFAULT_TIER = "default"
_DEFAULT_TIER_ORDER = 1_000_000
_POLICIES = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")
_AS_NUMBERS = {
    "Node": (("spec", "bgp", "asNumber"),),
    "BGPConfiguration": (("spec", "asNumber"),),
    "BGPPeer": (("spec", "asNumber"), ("spec", "localASNumber")),
}


def normal(obj: Object) -> Object:
    """A new object: defaults written, forced labels set, numbers that were written as text made numbers, nulls gone."""
    made: Object = without_nulls(obj)
    if translation(made):
        return made
    metadata: Object = made.setdefault("metadata", {})
    kind = made.get("kind")
    if kind in ("EndpointSlice", "ServiceAccount"):  # they have no spec
        return made
    spec: Object = made.setdefault("spec", {})
    match kind:
        case "NetworkPolicy" | "GlobalNetworkPolicy":
            _policy(metadata, spec)
        case "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy":
            _default(spec, "stagedAction", staged.SET)
            _policy(metadata, spec)
        case "StagedKubernetesNetworkPolicy":
            _default(spec, "stagedAction", staged.SET)
        case "Profile":
            _rules(spec)
        case "Tier":
            order, action = WELL_KNOWN_TIERS.get(metadata.get("name", ""), (_DEFAULT_TIER_ORDER, "Deny"))
            spec.setdefault("order", order)
            _default(spec, "defaultAction", action)
        case "IPPool":
            _pool(spec)
        case "WorkloadEndpoint":
            _workload_endpoint(metadata, spec)
        case "BGPConfiguration" if metadata.get("name") == "default":
            _default(spec, "logSeverityScreen", "Info")
            _default(spec, "serviceLoadBalancerAggregation", "Enabled")
        case "FelixConfiguration" if metadata.get("name") == "default":
            _default(spec, "nftablesMode", "Auto")
    for path in _AS_NUMBERS.get(str(kind), ()):
        _plain_as_number(made, path)
    return made


def _default(spec: Object, field: str, value: Any) -> None:
    if spec.get(field) in (None, "", []):
        spec[field] = value


def _policy(metadata: Object, spec: Object) -> None:
    _default(spec, "tier", DEFAULT_TIER)
    if spec.get("stagedAction") == staged.DELETE:  # that has nothing but its tier
        spec.pop("types", None)
    else:
        directions = ["Ingress"] if spec.get("ingress") or not spec.get("egress") else []
        _default(spec, "types", [*directions, *(["Egress"] if spec.get("egress") else [])])
    metadata["labels"] = {**metadata.get("labels", {}), labels.TIER: spec["tier"]}
    _rules(spec)


def _rules(spec: Object) -> None:
    """Ports and protocols that were written as text become numbers, as Calico writes them back."""
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction, ()):
            for field in ("protocol", "notProtocol"):
                if field in rule:
                    rule[field] = _plain_number(rule[field])
            for side in ("source", "destination"):
                for field in ("ports", "notPorts"):
                    entity = rule.get(side, {})
                    if field in entity:
                        entity[field] = [_plain_port(port) for port in entity[field]]


def _plain_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _plain_port(value: Any) -> Any:
    """`"80"` and `"80:80"` are 80."""
    if isinstance(value, str):
        first, colon, last = value.partition(":")
        if colon and first == last:
            return _plain_number(first)
    return _plain_number(value)


def _plain_as_number(obj: Object, path: tuple[str, ...]) -> None:
    for step in path[:-1]:
        obj = obj.get(step, {})
    written = obj.get(path[-1])
    if isinstance(written, str) and as_number_of(written) is not None:
        obj[path[-1]] = as_number_of(written)


def _pool(spec: Object) -> None:
    cidr = spec.get("cidr", "")
    if whole_net(cidr) is None:
        spec["cidr"] = parse_cidr(cidr)
        if not spec.get("blockSize"):
            spec["blockSize"] = DEFAULT_BLOCK_SIZES[family_of(cidr) or 4]
    _default(spec, "allowedUses", ["Workload", "Tunnel"])
    _default(spec, "nodeSelector", "all()")
    _default(spec, "ipipMode", "Never")
    _default(spec, "vxlanMode", "Never")
    _default(spec, "assignmentMode", "Automatic")


def _workload_endpoint(metadata: Object, spec: Object) -> None:
    name = endpoint_name(spec)
    if name is not None:
        _default(metadata, "name", name)
    forced = {labels.NAMESPACE: metadata.get("namespace", ""), labels.ORCHESTRATOR: spec.get("orchestrator", "")}
    if spec.get("orchestrator") == "k8s" and spec.get("serviceAccountName"):
        forced[labels.SERVICE_ACCOUNT] = spec["serviceAccountName"]
    metadata["labels"] = {**metadata.get("labels", {}), **forced}


def immutable_faults(old: Object, new: Object) -> tuple[Fault, ...]:
    """What an update changes that cannot change. Both in `normal` form, and free of faults."""
    findings = Findings()
    for path, why in (
        (("kind",), "that would be another object"),
        (("metadata", "name"), "that would be another object"),
        (("metadata", "namespace"), "that would be another object"),
    ):
        _unchanged(old, new, path, why, findings)
    kind, spec = new.get("kind"), new.get("spec") or {}
    if kind == "IPPool":
        _unchanged(old, new, ("spec", "cidr"), "addresses have been given out from it", findings)
        _unchanged(old, new, ("spec", "blockSize"), "hosts hold blocks of that size", findings)
        before = _at(old, ("spec", "allowedUses")) or []
        if "LoadBalancer" in before and {"Workload", "Tunnel"} & {*(spec.get("allowedUses") or [])}:
            findings.add(("spec", "allowedUses"), "allowedUses changes away from LoadBalancer",
                         "load balancers hold its addresses", "keep [LoadBalancer], and make another pool",
                         Reason.FORBIDDEN)
    if kind == "DockerNetwork" and (old.get("spec") or {}) != spec:
        findings.add(("spec",), "the spec of a Docker network changes", "hosts have made their networks of it",
                     "delete it and make it anew; who reaches whom is the Profile docker.NAME, which may change",
                     Reason.FORBIDDEN)
    if kind in _POLICIES:
        _unchanged(old, new, ("spec", "tier"), "policies do not move between tiers", findings)
    return tuple(findings.faults)


def _unchanged(old: Object, new: Object, path: Path, why: str, findings: Findings) -> None:
    before, after = _at(old, path), _at(new, path)
    if before == after:
        return
    before, after = _spelled(before), _spelled(after)
    if before not in (None, "") and after != before:
        mend = f"keep {path[-1]}: {before}, or delete the object and make it anew"
        findings.add(path, f"{path[-1]} changes from {shown(before)} to {shown(after)}", why, mend, Reason.FORBIDDEN)


def _spelled(value: Any) -> Any:
    """A prefix in its canonical form: others may have stored it in another."""
    return parse_cidr(value) if isinstance(value, str) and whole_net(value) is None else value


def _at(obj: Any, path: Path) -> Any:
    for step in path:
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj

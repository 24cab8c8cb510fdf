"""Kinds of Kubernetes that are written and read as they are, and kept as the Calico policy that they mean.

    what a user writes   --to_calico-->   what is stored, calculated and enforced, named prefix + NAME

The stored policy carries what the user wrote in the annotation `original`, so that it can be shown, compared and
patched as it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from muslin.model import admin_policy, kubernetes
from muslin.model.kinds import Kind
from muslin.model.meta import Resource

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """`stored`: the Calico kind. `rule_sources`: direction -> for each rule that is made, the index of the rule that it
    comes from. Both functions raise Invalid when the object is not legible."""

    kind: Kind
    stored: str
    prefix: str
    original: str
    to_calico: Callable[[Object], Object]
    rule_sources: Callable[[Object], dict[str, tuple[int, ...]]]


NETWORK_POLICY = Translation(
    kind=Kind(name="NetworkPolicy", plural="networkpolicies", struct=kubernetes.KubernetesPolicy, namespaced=True,
              group_version=kubernetes.GROUP_VERSION),
    stored="NetworkPolicy", prefix=kubernetes.NAME_PREFIX, original="muslin.dev/kubernetes-network-policy",
    to_calico=kubernetes.to_calico, rule_sources=kubernetes.rule_sources,
)



def _of_admins(struct: type[Resource], plural: str, short: tuple[str, ...], version: str, prefix: str) -> Translation:
    return Translation(
        kind=Kind(name=struct.__name__, plural=plural, struct=struct, short=short, group_version=version),
        stored="GlobalNetworkPolicy", prefix=prefix, original=f"muslin.dev/{plural}",
        to_calico=admin_policy.to_calico, rule_sources=admin_policy.rule_sources,
    )


TRANSLATIONS: tuple[Translation, ...] = (
    NETWORK_POLICY,
    _of_admins(admin_policy.AdminNetworkPolicy, "adminnetworkpolicies", ("anp",), admin_policy.V1ALPHA1,
               admin_policy.ADMIN_PREFIX),
    _of_admins(admin_policy.BaselineAdminNetworkPolicy, "baselineadminnetworkpolicies", ("banp",),
               admin_policy.V1ALPHA1, admin_policy.BASELINE_PREFIX),
    # Its short name of Kubernetes, cnp, means Calico's NetworkPolicy here.
    _of_admins(admin_policy.ClusterNetworkPolicy, "clusternetworkpolicies", (), admin_policy.V1ALPHA2,
               admin_policy.CLUSTER_PREFIX),
)

_BY_KIND = {(one.kind.group_version, one.kind.name): one for one in TRANSLATIONS}


def translation(obj: Any) -> Translation | None:
    """How an object, as its user wrote it, is kept; None when it is kept as it is."""
    if not isinstance(obj, dict):
        return None
    version, name = obj.get("apiVersion"), obj.get("kind")
    return _BY_KIND.get((version, name)) if isinstance(version, str) and isinstance(name, str) else None


def find(word: str) -> Kind | None:
    """The kind that a user means by its name in any case, plural, or short name; Calico's own come first elsewhere."""
    for one in TRANSLATIONS:
        if word.lower() in (one.kind.name.lower(), one.kind.plural, *one.kind.short):
            return one.kind
    return None


def of_kind(kind: Kind) -> Translation | None:
    return _BY_KIND.get((kind.group_version, kind.name))

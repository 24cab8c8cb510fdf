"""What must hold between the fields of staged policies: the laws of the policy; to remove one, nothing but its tier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from muslin.model.fault import Reason
from muslin.model.staged import DELETE
from muslin.model.validation import policy
from muslin.model.validation.findings import Findings
from muslin.model.validation.kubernetes import check_kubernetes_policy

Object = dict[str, Any]

_LAWS: dict[str, Callable[[Object, Findings], None]] = {
    "StagedNetworkPolicy": policy.check_network_policy,
    "StagedGlobalNetworkPolicy": policy.check_global_network_policy,
    "StagedKubernetesNetworkPolicy": check_kubernetes_policy,
}
_MAY_STAND = ("stagedAction", "tier", "types")
"""Types: the server filled them in while it said Set, and takes them out again."""


def check_staged_policy(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    if spec.get("stagedAction") != DELETE:
        _LAWS[str(found.get("kind"))](found, findings)
        return
    for field in sorted(spec):
        if field not in _MAY_STAND and spec[field]:
            findings.add(("spec", field), f"{field} beside stagedAction: {DELETE}",
                         "such a policy says only which one would be removed",
                         f"take {field} out, or write stagedAction: Set", Reason.FORBIDDEN)

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

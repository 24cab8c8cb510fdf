"""What must hold between the fields of KubeControllersConfiguration."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.validation.findings import Findings, shown

Object = dict[str, Any]
_WHERE: Path = ("spec", "controllers", "node", "hostEndpoint", "templates")


def check_kube_controllers_configuration(found: Object, findings: Findings) -> None:
    node = found.get("spec", {}).get("controllers", {}).get("node", {})
    seen: set[str] = set()
    for index, template in enumerate(node.get("hostEndpoint", {}).get("templates", ())):
        if not template.get("interfaceCIDRs") and not template.get("interfacePattern"):
            findings.add((*_WHERE, index), "neither interfaceCIDRs nor interfacePattern",
                         "one of them must say which interface is meant", "write interfacePattern: ^eth",
                         Reason.REQUIRED)
        name = template.get("generateName", "")
        if name in seen:
            findings.add((*_WHERE, index, "generateName"), f"a second template {shown(name)}",
                         "the names of its host endpoints are made from it", "choose another", Reason.FORBIDDEN)
        if name:
            seen.add(name)

"""What must hold of Docker networks."""

from __future__ import annotations

from typing import Any

from muslin.model.validation.addresses import family_of
from muslin.model.validation.findings import Findings

Object = dict[str, Any]


def check_docker_network(found: Object, findings: Findings) -> None:
    families = [family_of(subnet) for subnet in found.get("spec", {}).get("subnets", ())]
    for family in (4, 6):
        if families.count(family) > 1:
            findings.add(("spec", "subnets"), f"{families.count(family)} subnets of IPv{family}",
                         "a network has one of each family", "keep one, and make another network of the other")
    if families and 4 not in families:
        findings.add(("spec", "subnets"), "no subnet of IPv4", "dockerd gives every network IPv4",
                     "write one beside it, such as 10.65.8.0/24")

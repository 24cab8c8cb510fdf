"""What must hold of Docker networks."""

from __future__ import annotations

from typing import Any

from muslin.model.docker import LEAST_MTU
from muslin.model.validation.addresses import family_of
from muslin.model.validation.findings import Findings

Object = dict[str, Any]


_LONGEST_NAME = 63
"""It is the value of a label, docker.network."""


def check_docker_network(found: Object, findings: Findings) -> None:
    name, mtu = str(found.get("metadata", {}).get("name", "")), found.get("spec", {}).get("mtu") or 0
    if len(name) > _LONGEST_NAME:
        findings.add(("metadata", "name"), f"{len(name)} characters", f"a Docker network's name has {_LONGEST_NAME} at"
                     " most, since it is a label of its containers", f"write {name[:_LONGEST_NAME].rstrip('-.')}")
    if 0 < mtu < LEAST_MTU:
        findings.add(("spec", "mtu"), f"{mtu} is too little", f"IPv6 takes {LEAST_MTU} at least, and every link speaks"
                     " it", f"write {LEAST_MTU}, or leave it out")
    families = [family_of(subnet) for subnet in found.get("spec", {}).get("subnets", ())]
    for family in (4, 6):
        if families.count(family) > 1:
            findings.add(("spec", "subnets"), f"{families.count(family)} subnets of IPv{family}",
                         "a network has one of each family", "keep one, and make another network of the other")
    if families and 4 not in families:
        findings.add(("spec", "subnets"), "no subnet of IPv4", "dockerd gives every network IPv4",
                     "write one beside it, such as 10.65.8.0/24")

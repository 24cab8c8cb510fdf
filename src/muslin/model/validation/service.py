"""What must hold between the fields of services and their endpoint slices."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.service import SERVICE_NAME
from muslin.model.validation.findings import Findings, shown
from muslin.net import parse_address, version_of

Object = dict[str, Any]


def check_service(found: Object, findings: Findings) -> None:
    ports = found.get("spec", {}).get("ports", ())
    for index, port in enumerate(ports):
        if len(ports) > 1 and not port.get("name"):
            findings.add(("spec", "ports", index, "name"), "a port without a name beside others",
                         "they are told apart by their names", "write name:", Reason.REQUIRED)


def check_endpoint_slice(found: Object, findings: Findings) -> None:
    labels = found.get("metadata", {}).get("labels", {})
    if not labels.get(SERVICE_NAME):
        findings.add(("metadata", "labels", SERVICE_NAME), f"the label {SERVICE_NAME} is missing",
                     "nothing says whose endpoints these are", f"write {SERVICE_NAME}: and the service's name",
                     Reason.REQUIRED)
    family = {"IPv4": 4, "IPv6": 6}.get(found.get("addressType", ""))
    if family is None:
        return
    for index, endpoint in enumerate(found.get("endpoints", ())):
        for place, address in enumerate(endpoint.get("addresses", ())):
            _check_address(address, family, ("endpoints", index, "addresses", place), findings)


def _check_address(address: str, family: int, path: Path, findings: Findings) -> None:
    try:
        parse_address(address)
    except ValueError:
        findings.add(path, f"{shown(address)} is no address", "", f"write an IPv{family} address")
        return
    if version_of(address) != family:
        findings.add(path, f"{address} in a slice of addressType IPv{family}", "a slice has one family",
                     "put it into a slice of its own")

"""What must hold between the fields of Kubernetes' policies of administrators."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.validation.findings import Findings, listed, shown
from muslin.model.validation.kubernetes import check_selector, is_whole_prefix

Object = dict[str, Any]
_SUBJECTS = ("namespaces", "pods")
_PEERS = ("namespaces", "pods", "networks")
_PORTS = ("portNumber", "namedPort", "portRange")
_PROTOCOLS = ("tcp", "udp", "sctp", "destinationNamedPort")


def check_admin_policy(found: Object, findings: Findings) -> None:
    name = found.get("metadata", {}).get("name", "")
    if found.get("kind") == "BaselineAdminNetworkPolicy" and name not in ("", "default"):
        findings.add(("metadata", "name"), f"a BaselineAdminNetworkPolicy named {shown(name)}", "there is only one",
                     "write default")
    spec = found.get("spec", {})
    _check_whom(spec.get("subject", {}), ("spec", "subject"), _SUBJECTS, findings)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            path: Path = ("spec", direction, index)
            if peers in rule and not rule[peers]:
                findings.add((*path, peers), f"{peers} is empty", "a rule without peers would match nothing",
                             "write a peer, such as - namespaces: {}", Reason.REQUIRED)
            for place, peer in enumerate(rule.get(peers, ())):
                _check_peer(peer, (*path, peers, place), direction, findings)
            _check_ports(rule, path, findings)


def _check_peer(peer: Object, path: Path, direction: str, findings: Findings) -> None:
    for field, mend in (("nodes", "write networks: with the addresses of the nodes"),
                        ("domainNames", "write networks: with the addresses behind the names")):
        if field in peer:
            findings.add((*path, field), f"{field} as a peer",
                         "no kernel can match it, and a rule without it would say something else", mend,
                         Reason.NOT_SUPPORTED)
            return
    _check_whom(peer, path, _PEERS if direction == "egress" else _SUBJECTS, findings)
    for index, text in enumerate(peer.get("networks", ())):
        if text:
            is_whole_prefix(text, (*path, "networks", index), findings)


def _check_whom(whom: Object, path: Path, fields: tuple[str, ...], findings: Findings) -> None:
    _exactly_one(whom, path, fields, findings)
    check_selector(whom.get("namespaces", {}), (*path, "namespaces"), findings)
    for field in ("namespaceSelector", "podSelector"):
        check_selector(whom.get("pods", {}).get(field, {}), (*path, "pods", field), findings)


def _check_ports(rule: Object, path: Path, findings: Findings) -> None:
    for index, port in enumerate(rule.get("ports", ())):
        here: Path = (*path, "ports", index)
        _exactly_one(port, here, _PORTS, findings)
        _check_range(port.get("portRange", {}), (*here, "portRange"), findings)
    for index, protocol in enumerate(rule.get("protocols", ())):
        here = (*path, "protocols", index)
        _exactly_one(protocol, here, _PROTOCOLS, findings)
        for name in ("tcp", "udp", "sctp"):
            if (port := protocol.get(name, {}).get("destinationPort")) is not None:
                there: Path = (*here, name, "destinationPort")
                _exactly_one(port, there, ("number", "range"), findings)
                _check_range(port.get("range", {}), (*there, "range"), findings)


def _check_range(given: Object, path: Path, findings: Findings) -> None:
    first, last = given.get("start"), given.get("end")
    if first and last and last < first:
        findings.add((*path, "end"), f"end {last} is less than start {first}", "no port could match", "exchange them")


def _exactly_one(given: Object, path: Path, fields: tuple[str, ...], findings: Findings) -> None:
    there = [field for field in fields if field in given]
    if len(there) != 1:
        what = f"{listed(there, 'and')} together" if there else f"none of {listed(fields, 'and')}"
        findings.add(path, what, "exactly one is meant", f"write one of {listed(fields, 'and')}",
                     Reason.FORBIDDEN if there else Reason.REQUIRED)

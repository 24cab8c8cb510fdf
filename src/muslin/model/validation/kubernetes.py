"""What must hold between the fields of Kubernetes' own NetworkPolicy."""

from __future__ import annotations

from typing import Any

import msgspec

from muslin.model.fault import Path, Reason
from muslin.model.kubernetes import LabelSelector, namespace_selector, pod_selector
from muslin.model.selector import LONGEST_TEXT
from muslin.model.validation.addresses import cidr, family_of
from muslin.model.validation.findings import Findings, shown
from muslin.net import contains, parse_cidr

_WITH_VALUES = ("In", "NotIn")

Object = dict[str, Any]


def check_kubernetes_policy(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    check_selector(spec.get("podSelector", {}), ("spec", "podSelector"), findings)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            path: Path = ("spec", direction, index)
            for position, peer in enumerate(rule.get(peers, ())):
                _check_peer(peer, (*path, peers, position), findings)
            for position, port in enumerate(rule.get("ports", ())):
                _check_port(port, (*path, "ports", position), findings)


def _check_peer(peer: Object, path: Path, findings: Findings) -> None:
    if not peer:
        findings.add(path, "a peer that says nothing", "",
                     "write podSelector: {} for every workload of the namespace, or take the peer out", Reason.REQUIRED)
    for field in ("podSelector", "namespaceSelector"):
        check_selector(peer.get(field, {}), (*path, field), findings)
        if field in peer and "ipBlock" in peer:
            findings.add((*path, field), f"{field} beside ipBlock", "a peer is workloads or addresses",
                         "write a peer of its own, with a dash", Reason.FORBIDDEN)
    block = peer.get("ipBlock", {})
    prefix = block.get("cidr", "")
    if not prefix or not is_whole_prefix(prefix, (*path, "ipBlock", "cidr"), findings):
        return
    for index, exception in enumerate(block.get("except", ())):
        here: Path = (*path, "ipBlock", "except", index)
        if not exception or not is_whole_prefix(exception, here, findings):
            continue
        inner, outer = parse_cidr(exception), parse_cidr(prefix)
        if family_of(inner) != family_of(outer) or inner == outer or not contains(outer, inner):
            findings.add(here, f"{shown(exception)} is not inside {prefix}",
                         "an exception takes part of the prefix out", "write a longer prefix inside it, or take it out")


def is_whole_prefix(text: str, path: Path, findings: Findings) -> bool:
    if cidr(text) is not None:
        return False
    if "/" not in text:
        findings.add(path, f"{shown(text)} has no prefix length", "a prefix goes here", f"write {parse_cidr(text)}")
        return False
    return True


def _check_port(port: Object, path: Path, findings: Findings) -> None:
    if "endPort" not in port:
        return
    first, last = port.get("port"), port["endPort"]
    if first is None:
        findings.add((*path, "port"), "endPort without port", "a range begins at port", "write port", Reason.REQUIRED)
    elif isinstance(first, str):
        findings.add((*path, "endPort"), f"endPort beside the name {shown(first)}", "a range begins at a number",
                     "take endPort out, or write port as a number", Reason.FORBIDDEN)
    elif last < first:
        findings.add((*path, "endPort"), f"endPort {last} is less than port {first}", "no port could match",
                     "exchange them")


def check_selector(selector: Object, path: Path, findings: Findings) -> None:
    before = len(findings.faults)
    for index, one in enumerate(selector.get("matchExpressions", ())):
        operator, values = one.get("operator", ""), one.get("values", [])
        here: Path = (*path, "matchExpressions", index, "values")
        if operator in _WITH_VALUES and not values:
            findings.add(here, f"{operator} without values", "there is nothing to compare with",
                         "write values: [...]", Reason.REQUIRED)
        elif operator in ("Exists", "DoesNotExist") and values:
            findings.add(here, f"values beside {operator}", "it asks for the label only",
                         "take values out, or write operator: In", Reason.FORBIDDEN)
    if len(findings.faults) == before:
        _check_length(selector, path, findings)


def _check_length(selector: Object, path: Path, findings: Findings) -> None:
    try:
        legible = msgspec.convert(selector, LabelSelector)
    except msgspec.ValidationError:
        return
    convert = namespace_selector if path[-1] in ("namespaceSelector", "namespaces") else pod_selector
    if all(one.operator in (*_WITH_VALUES, "Exists", "DoesNotExist") for one in legible.match_expressions):
        length = len(convert(legible))
        if length > LONGEST_TEXT:
            findings.add(path, f"a selector of {length} characters, written out", f"{LONGEST_TEXT} is the most",
                         "give the workloads a label of their own, and select that")

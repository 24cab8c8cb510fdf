"""What must hold between the fields of policies, profiles, tiers and sets.

Each check is one law of Calico's validator. Rules are read from what the walk found well-typed, so a value may still
have a fault of its own (a port that is none); such values are passed over here, one slip is reported once.
"""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.selector import SelectorError
from muslin.model.selector import parse as parse_selector
from muslin.model.validation.addresses import family_of
from muslin.model.validation.findings import Findings, listed, shown
from muslin.model.validation.numbers import protocol, protocol_of
from muslin.net import protocol_name

_WITH_PORTS = (6, 17, 132)
_ICMP, _ICMPV6 = 1, 58
_SIDES = ("source", "destination")
_GLOBAL = "global("
WELL_KNOWN_TIERS = {
    "default": (1_000_000, "Deny"), "kube-admin": (1_000, "Pass"), "kube-baseline": (10_000_000, "Pass"),
}
"""Name -> order and default action."""

Object = dict[str, Any]


def check_network_policy(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    _check_rules(spec, findings)
    _check_directions(spec, findings)
    for field in ("selector", "serviceAccountSelector"):
        _no_global(spec, field, ("spec", field), findings)


def check_global_network_policy(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    _check_rules(spec, findings)
    _check_directions(spec, findings)
    for field in ("selector", "serviceAccountSelector", "namespaceSelector"):
        _no_global(spec, field, ("spec", field), findings)
    for direction, side in (("ingress", "source"), ("egress", "destination")):
        for index, rule in enumerate(spec.get(direction, ())):
            services = rule.get(side, {}).get("services")
            if services is not None and not services.get("namespace"):
                findings.add(("spec", direction, index, side, "services", "namespace"),
                             "the service has no namespace", "a GlobalNetworkPolicy is in none itself",
                             "write namespace: beside its name", Reason.REQUIRED)
    _check_host_policy(spec, findings)


def check_profile(found: Object, findings: Findings) -> None:
    _check_rules(found.get("spec", {}), findings)


def check_network_set(found: Object, findings: Findings) -> None:
    label = "projectcalico.org/namespace"
    if label in found.get("metadata", {}).get("labels", {}):
        findings.add(("metadata", "labels", label), f"the label {label} is set by the system",
                     "selectors would believe the set to be elsewhere", "take it out", Reason.FORBIDDEN)


def check_tier(found: Object, findings: Findings) -> None:
    """The three tiers that always exist have fixed places and actions."""
    name, spec = found.get("metadata", {}).get("name", ""), found.get("spec", {})
    if name not in WELL_KNOWN_TIERS:
        return
    order, action = WELL_KNOWN_TIERS[name]
    if spec.get("order", order) != order:
        findings.add(("spec", "order"), f"order {shown(spec['order'])} for the tier {name}",
                     "its place is fixed, other tiers go by it", f"write {order}")
    if spec.get("defaultAction", action) != action:
        findings.add(("spec", "defaultAction"), f"{shown(spec['defaultAction'])} for the tier {name}",
                     "its action is fixed, policies rely on it", f"write {action}")


def _check_host_policy(spec: Object, findings: Findings) -> None:
    untracked, early = spec.get("doNotTrack", False), spec.get("preDNAT", False)
    if untracked and early:
        findings.add(("spec", "preDNAT"), "preDNAT and doNotTrack are both true",
                     "untracked traffic is never translated", "keep one of them", Reason.FORBIDDEN)
    if (untracked or early) and not spec.get("applyOnForward", False):
        cause = "doNotTrack" if untracked else "preDNAT"
        findings.add(("spec", "applyOnForward"), f"applyOnForward is not true but {cause} is",
                     "such policy meets packets before it is known whether they are forwarded",
                     "write applyOnForward: true")
    if early and spec.get("egress"):
        findings.add(("spec", "egress"), "egress rules in a preDNAT policy", "it meets packets only on their way in",
                     "move them to a policy without preDNAT", Reason.FORBIDDEN)
    if early and "Egress" in spec.get("types", ()):
        findings.add(("spec", "types", spec["types"].index("Egress")), "type Egress in a preDNAT policy",
                     "it meets packets only on their way in", "write types: [Ingress]", Reason.FORBIDDEN)


def _no_global(spec: Object, field: str, path: Path, findings: Findings) -> None:
    if _GLOBAL in spec.get(field, ""):
        findings.add(path, f"global() in {field}", "it only means something in a rule's namespaceSelector",
                     "write all(), or a selector of labels")


def _check_directions(spec: Object, findings: Findings) -> None:
    """Services are looked up on the far side only."""
    for direction, near_side in (("ingress", "destination"), ("egress", "source")):
        far_side = "source" if near_side == "destination" else "destination"
        for index, rule in enumerate(spec.get(direction, ())):
            path: Path = ("spec", direction, index)
            if "services" in rule.get(near_side, {}):
                findings.add((*path, near_side, "services"), f"services as the {near_side} of an {direction} rule",
                             f"the {near_side} is the endpoint that the policy selects",
                             f"move it to {far_side}", Reason.FORBIDDEN)


def _check_rules(spec: Object, findings: Findings) -> None:
    for direction in ("ingress", "egress"):
        for index, rule in enumerate(spec.get(direction, ())):
            path: Path = ("spec", direction, index)
            _check_ports(rule, path, findings)
            _check_icmp(rule, path, findings)
            _check_families(rule, path, findings)
            for side in _SIDES:
                _check_entity(rule.get(side, {}), (*path, side), findings)
            if "http" in rule:
                _check_http(path, findings)


def _check_ports(rule: Object, path: Path, findings: Findings) -> None:
    """Numbers mean nothing without a protocol; names carry their own, from the endpoint that has the port."""
    given = rule.get("protocol")
    if given not in (None, "") and protocol(given) is not None:
        return
    number = protocol_of(given)
    for side in _SIDES:
        for field in ("ports", "notPorts"):
            ports = rule.get(side, {}).get(field)
            if not ports or number in _WITH_PORTS:
                continue
            where = (*path, side, field)
            if number is not None:
                findings.add(where, f"{field} with protocol {protocol_name(number)}",
                             "it has no ports that rules can match",
                             f"take {field} out, or write protocol: TCP, UDP or SCTP")
            elif not all(isinstance(port, str) and any(letter.isalpha() for letter in port) for port in ports):
                findings.add(where, f"{field} without a protocol", "port numbers belong to TCP, UDP or SCTP",
                             "write protocol: TCP (or UDP, or SCTP) in the rule")


def _check_icmp(rule: Object, path: Path, findings: Findings) -> None:
    for field in ("icmp", "notICMP"):
        icmp = rule.get(field, {})
        if "code" in icmp and "type" not in icmp:
            findings.add((*path, field, "code"), "an ICMP code without a type", "codes are counted within a type",
                         "write type: beside it")
    given = rule.get("protocol")
    known = given in (None, "") or protocol(given) is None
    if "icmp" in rule and known and protocol_of(given) not in (_ICMP, _ICMPV6):
        findings.add((*path, "icmp"), "icmp without protocol ICMP or ICMPv6", "only these have types and codes",
                     "write protocol: ICMP, or ICMPv6")
    version = rule.get("ipVersion")
    for field in ("protocol", "notProtocol"):
        family = {_ICMP: 4, _ICMPV6: 6}.get(protocol_of(rule.get(field)) or 0)
        if family and version in (4, 6) and version != family:
            findings.add((*path, "ipVersion"), f"ipVersion {version} with {field} {shown(rule[field])}",
                         f"that is a protocol of IPv{family}", f"write ipVersion: {family}, or leave it out")


def _check_families(rule: Object, path: Path, findings: Findings) -> None:
    """A packet has one family, so a rule that names prefixes of both never matches."""
    version, seen = rule.get("ipVersion"), None
    for side in _SIDES:
        for field in ("nets", "notNets"):
            for index, text in enumerate(rule.get(side, {}).get(field, ())):
                family = family_of(text) if text else None
                if family is None:
                    continue
                where = (*path, side, field, index)
                if field == "notNets" and text in ("0.0.0.0/0", "::/0"):
                    findings.add(where, f"{text} in notNets", "then the rule can match nothing", "take it out")
                if version in (4, 6) and family != version:
                    findings.add(where, f"{shown(text)} in a rule with ipVersion {version}", "it can match nothing",
                                 f"write an IPv{version} prefix, or ipVersion: {family}")
                elif version is None and seen not in (None, family):
                    findings.add(where, f"{shown(text)} beside IPv{seen} prefixes", "no packet has both families",
                                 "write a rule for IPv4 and one for IPv6")
                seen = seen or family


def _check_entity(entity: Object, path: Path, findings: Findings) -> None:
    _no_global(entity, "selector", (*path, "selector"), findings)
    _check_namespace_selector(entity.get("namespaceSelector", ""), (*path, "namespaceSelector"), findings)
    services = entity.get("services")
    if services is None:
        return
    if not services.get("name"):
        findings.add((*path, "services", "name"), "services without a name", "", "write name: of the service",
                     Reason.REQUIRED)
    excluded = ["nets", "notNets", "selector", "notSelector", "namespaceSelector"]
    excluded += ["ports", "notPorts"] if path[-1] == "destination" else []
    others = [field for field in excluded if entity.get(field)]
    others += ["serviceAccounts"] if "serviceAccounts" in entity else []
    if others:
        findings.add((*path, "services"), f"services beside {listed(others, 'and')}",
                     "a service says by itself which addresses and ports are meant",
                     f"take {listed(others, 'and')} out, or write two rules", Reason.FORBIDDEN)


def _check_namespace_selector(text: str, path: Path, findings: Findings) -> None:
    if _GLOBAL not in text:
        return
    try:
        canonical = str(parse_selector(text))
    except SelectorError:
        return
    if canonical != "global()":
        findings.add(path, "global() together with other conditions",
                     "what is outside every namespace has no labels of a namespace",
                     "write global() alone, and a rule of its own for the rest")


def _check_http(path: Path, findings: Findings) -> None:
    findings.add((*path, "http"), "http in a rule", "kernels decide about packets, and do not read requests; without "
                 "http the rule would allow more than it says", "take http out, and match protocol and ports; leave "
                 "methods and paths to the server", Reason.NOT_SUPPORTED)

"""What must hold between the fields of BGP configurations, peers and filters."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.validation.addresses import address, family_of, net, peer_parts
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.numbers import community

_ONLY_IN_DEFAULT = ("nodeToNodeMeshEnabled", "asNumber", "serviceLoadBalancerIPs", "serviceExternalIPs",
                    "serviceClusterIPs")

Object = dict[str, Any]


def check_bgp_configuration(found: Object, findings: Findings) -> None:
    spec, name = found.get("spec", {}), found.get("metadata", {}).get("name", "default")
    if name != "default":
        for field in _ONLY_IN_DEFAULT:
            if spec.get(field) not in (None, []):
                findings.add(("spec", field), f"{field} in the BGPConfiguration {shown(name)}",
                             "it holds for the whole cluster", "move it to the BGPConfiguration default",
                             Reason.FORBIDDEN)
    if spec.get("nodeToNodeMeshEnabled") is False:
        for field in ("nodeMeshPassword", "nodeMeshMaxRestartTime"):
            if field in spec:
                findings.add(("spec", field), f"{field} without a mesh", "nodeToNodeMeshEnabled is false",
                             f"take {field} out, or switch the mesh on", Reason.FORBIDDEN)
    _check_communities(spec, findings)


def _check_communities(spec: Object, findings: Findings) -> None:
    defined = {one.get("name") for one in spec.get("communities", ())}
    advertisements = spec.get("prefixAdvertisements", [])
    if defined and not advertisements:
        findings.add(("spec", "communities"), "communities that no prefixAdvertisements use", "they would do nothing",
                     "write prefixAdvertisements, or take communities out")
    for index, one in enumerate(advertisements):
        path: Path = ("spec", "prefixAdvertisements", index, "communities")
        if one.get("communities") == []:
            findings.add(path, "no communities for the prefix", "the entry would do nothing",
                         "write one such as 65000:100", Reason.REQUIRED)
        for position, value in enumerate(one.get("communities", ())):
            if value is None or value in defined:
                continue
            wrong = community(value)
            if wrong and not any(letter.isalpha() for letter in value):
                findings.add((*path, position), *wrong)
            elif wrong:
                findings.add((*path, position), f"there is no community {shown(value)}",
                             "names are defined in spec.communities", "define it there, or write one such as 65000:100")


def check_bgp_peer(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    for one, other, why in (
        ("nodeSelector", "node", "both say which hosts peer"),
        ("peerSelector", "peerIP", "both say with whom"),
        ("peerSelector", "asNumber", "the AS numbers are those of the hosts it selects"),
        ("localWorkloadSelector", "peerIP", "both say with whom"),
        ("localWorkloadSelector", "peerSelector", "both say with whom"),
    ):
        if spec.get(one) and spec.get(other):
            findings.add(("spec", other), f"{other} beside {one}", why, f"keep one of {other} and {one}",
                         Reason.FORBIDDEN)
    if spec.get("localWorkloadSelector") and not spec.get("asNumber"):
        findings.add(("spec", "asNumber"), "asNumber is missing", "workloads do not tell theirs",
                     "write asNumber: 65001", Reason.REQUIRED)
    if spec.get("keepOriginalNextHop") and "nextHopMode" in spec:
        findings.add(("spec", "keepOriginalNextHop"), "keepOriginalNextHop beside nextHopMode",
                     "the first is the old word for nextHopMode: Keep", "take it out", Reason.FORBIDDEN)
    _check_gateway(spec, findings)


def _check_gateway(spec: Object, findings: Findings) -> None:
    gateway, peer = spec.get("reachableBy", ""), peer_parts(spec.get("peerIP", ""))[0]
    if not gateway:
        return
    if not peer:
        findings.add(("spec", "reachableBy"), "reachableBy without peerIP", "it is the way to that address",
                     "write peerIP, or take it out", Reason.FORBIDDEN)
    elif address(gateway) is None and address(peer) is None and family_of(gateway) != family_of(peer):
        findings.add(("spec", "reachableBy"), f"{gateway} and {peer} are of different families",
                     "a gateway has the family of what is behind it", f"write an IPv{family_of(peer)} address")


def check_bgp_filter(found: Object, findings: Findings) -> None:
    for direction in ("export", "import"):
        for family in (4, 6):
            field = f"{direction}V{family}"
            for index, rule in enumerate(found.get("spec", {}).get(field, ())):
                _check_filter_rule(rule, family, ("spec", field, index), findings)


def _check_filter_rule(rule: Object, family: int, path: Path, findings: Findings) -> None:
    cidr, operator = rule.get("cidr", ""), rule.get("matchOperator", "")
    if cidr and not operator:
        findings.add((*path, "matchOperator"), "cidr without matchOperator", "it says how routes compare with cidr",
                     "write matchOperator: In (or Equal, NotEqual, NotIn)", Reason.REQUIRED)
    if operator and not cidr:
        findings.add((*path, "cidr"), "matchOperator without cidr", "there is nothing to compare with",
                     "write cidr, or take matchOperator out", Reason.REQUIRED)
    if "prefixLength" in rule and not cidr:
        findings.add((*path, "cidr"), "prefixLength without cidr", "it narrows down a cidr",
                     f"write cidr: {'0.0.0.0/0' if family == 4 else '::/0'} and matchOperator: In", Reason.REQUIRED)
    if cidr and net(cidr) is None and family_of(cidr) != family:
        findings.add((*path, "cidr"), f"{shown(cidr)} is IPv{family_of(cidr)}", f"these rules are for IPv{family}",
                     f"move the rule to {str(path[1])[:-1]}{family_of(cidr)}")
    _check_lengths(rule.get("prefixLength", {}), family, (*path, "prefixLength"), findings)
    if rule.get("operations") and rule.get("action") == "Reject":
        findings.add((*path, "operations"), "operations in a rule that rejects", "the route is gone",
                     "write action: Accept, or take operations out", Reason.FORBIDDEN)
    for index, operation in enumerate(rule.get("operations", ())):
        here, mend = (*path, "operations", index), "write addCommunity, prependASPath or setPriority"
        if not operation:
            findings.add(here, "an entry without an operation", "each entry has one", mend, Reason.REQUIRED)
        elif len(operation) > 1:
            findings.add(here, "several operations in one entry", "each entry has one",
                         f"{mend}, each with a dash of its own")


def _check_lengths(lengths: Object, family: int, path: Path, findings: Findings) -> None:
    most = 32 if family == 4 else 128
    for field in ("min", "max"):
        if most < lengths.get(field, 0) <= 128:
            findings.add((*path, field), f"a prefix length of {lengths[field]}", f"IPv{family} has {most} bits",
                         f"write {most}")
    if lengths.get("min", 0) > lengths.get("max", 128):
        findings.add(path, f"min {lengths['min']} is more than max {lengths['max']}", "no route could match",
                     "exchange them")

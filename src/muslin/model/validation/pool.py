"""What must hold between the fields of pools."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Reason
from muslin.model.validation.addresses import whole_net
from muslin.model.validation.findings import Findings, shown
from muslin.net import bounds, parse_cidr, version_of

BLOCK_SIZES = {4: (20, 32), 6: (116, 128)}
DEFAULT_BLOCK_SIZES = {4: 26, 6: 122}
_LINK_LOCAL = {4: "169.254.0.0/16", 6: "fe80::/10"}
_CIDR = ("spec", "cidr")

Object = dict[str, Any]


def check_ip_pool(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    tunnels = {mode: spec[mode] for mode in ("ipipMode", "vxlanMode") if spec.get(mode, "Never") not in ("", "Never")}
    if len(tunnels) == 2:
        findings.add(("spec", "vxlanMode"), "ipipMode and vxlanMode are both on", "a packet takes one tunnel",
                     "write Never for one of them", Reason.FORBIDDEN)
    if "LoadBalancer" in spec.get("allowedUses", ()):
        _check_load_balancer(spec, tunnels, findings)
    for field in ("nodeSelector", "namespaceSelector"):
        if "global(" in spec.get(field, ""):
            findings.add(("spec", field), f"global() in {field}", "it only means something in a rule",
                         "write all(), or a selector of labels")
    cidr = spec.get("cidr", "")
    if cidr and whole_net(cidr) is None:
        _check_size(spec, cidr, findings)
        if version_of(cidr) == 6 and "ipipMode" in tunnels:
            findings.add(("spec", "ipipMode"), "ipipMode for an IPv6 pool", "IPIP carries IPv4 only",
                         "write ipipMode: Never, or vxlanMode: Always")


def _check_size(spec: Object, cidr: str, findings: Findings) -> None:
    family, first, last = bounds(cidr)
    _, low, high = bounds(_LINK_LOCAL[family])
    if first <= high and low <= last:
        findings.add(_CIDR, f"{cidr} overlaps {_LINK_LOCAL[family]}", "link-local addresses are not routed",
                     "write another prefix, such as " + ("10.65.0.0/16" if family == 4 else "fd00:65::/48"))
    size, (least, most) = spec.get("blockSize") or DEFAULT_BLOCK_SIZES[family], BLOCK_SIZES[family]
    if not least <= size <= most:
        findings.add(("spec", "blockSize"), f"blocks of /{size} for IPv{family}", f"they go from /{least} to /{most}",
                     f"write {min(max(size, least), most)}, or leave it out for {DEFAULT_BLOCK_SIZES[family]}")
    length = int(parse_cidr(cidr).partition("/")[2])
    if least <= size < length and not spec.get("disabled", False):
        findings.add(_CIDR, f"{cidr} is smaller than one block of /{size}", "hosts take whole blocks",
                     f"write a prefix of /{size} or shorter, or blockSize: {min(length, most)}")


def _check_load_balancer(spec: Object, tunnels: Object, findings: Findings) -> None:
    uses = spec["allowedUses"]
    for index, use in enumerate(uses):
        if use in ("Workload", "Tunnel"):
            findings.add(("spec", "allowedUses", index), f"{use} beside LoadBalancer",
                         "load balancer addresses belong to no host", "write a pool of its own", Reason.FORBIDDEN)
    for mode in tunnels:
        findings.add(("spec", mode), f"{mode} for load balancer addresses", "they belong to no host",
                     f"write {mode}: Never", Reason.FORBIDDEN)
    if spec.get("disableBGPExport", False):
        findings.add(("spec", "disableBGPExport"), "disableBGPExport for load balancer addresses",
                     "nobody could reach them", "take it out", Reason.FORBIDDEN)
    if spec.get("nodeSelector", "") not in ("", "all()"):
        findings.add(("spec", "nodeSelector"), f"{shown(spec['nodeSelector'])} for load balancer addresses",
                     "they belong to no host", "write all(), or leave it out")

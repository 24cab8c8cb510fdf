"""What must hold between the fields of workload endpoints, host endpoints and nodes."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path, Reason
from muslin.model.validation.addresses import address, family_of, net
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.metadata import endpoint_identity, endpoint_name
from muslin.model.validation.numbers import protocol, protocol_of
from muslin.net import contains, host_cidr, is_host, parse_cidr

_WITH_PORTS = (6, 17, 132)

Object = dict[str, Any]

# Calico's bounds, in the units of each field; zero always means no limit.
_BANDWIDTH = (1_000, 10**15)
_BURST = (1_000, 34_359_738_360)
_PEAKRATE = (1_010, 1_010_000_000_000_000)
_MINBURST = (1_000, 10**8)
_PACKETS = (1, 10_000)
_CONNECTIONS = (1, 4_294_967_295)
QOS_BOUNDS = {
    "Bandwidth": _BANDWIDTH, "Burst": _BURST, "Peakrate": _PEAKRATE, "Minburst": _MINBURST, "PacketRate": _PACKETS,
    "PacketBurst": _PACKETS, "MaxConnections": _CONNECTIONS,
}


def check_workload_endpoint(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    _check_identity(found.get("metadata", {}).get("name", ""), spec, findings)
    for index, text in enumerate(spec.get("ipNetworks", ())):
        if text and net(text) is None and not is_host(parse_cidr(text)):
            findings.add(("spec", "ipNetworks", index), f"{shown(text)} holds more than one address",
                         "an endpoint has single addresses", f"write {host_cidr(text)}")
    _check_nats(spec, findings)
    for index, port in enumerate(spec.get("ports", ())):
        path: Path = ("spec", "ports", index)
        _check_port_protocol(port, path, findings)
        if not port.get("name") and not port.get("hostPort"):
            findings.add((*path, "name"), "a port without name and hostPort", "nothing could speak of it",
                         "write name: http, or a hostPort", Reason.REQUIRED)
    _check_qos(spec.get("qosControls", {}), findings)


def _check_identity(name: str, spec: Object, findings: Findings) -> None:
    identity = endpoint_identity(spec)
    for field, value in identity.items():
        if not value:
            findings.add(("spec", field), f"{field} is missing", "the endpoint's name is made from it",
                         f"write {field}: under spec", Reason.REQUIRED)
        elif value.startswith("-") or value.endswith("-"):
            findings.add(("spec", field), f"{shown(value)} begins or ends with a dash",
                         "a dash separates the parts of the endpoint's name", f"write {value.strip('-')}")
    expected = endpoint_name(spec)
    if name and expected and name != expected:
        findings.add(("metadata", "name"), f"{shown(name)} is not the name of this endpoint",
                     "it is made of node, orchestrator, workload and endpoint", f"write {expected}, or leave it out")


def _check_nats(spec: Object, findings: Findings) -> None:
    networks = [parse_cidr(text) for text in spec.get("ipNetworks", ()) if text and net(text) is None]
    for index, nat in enumerate(spec.get("ipNATs", ())):
        inside, outside = nat.get("internalIP", ""), nat.get("externalIP", "")
        if not inside or address(inside) is not None:
            continue
        path: Path = ("spec", "ipNATs", index)
        if not any(contains(network, host_cidr(inside)) for network in networks):
            findings.add((*path, "internalIP"), f"{shown(inside)} is none of the endpoint's addresses",
                         "a floating address leads to one of them",
                         f"write one of {', '.join(networks)}" if networks else "write it under ipNetworks too")
        if outside and address(outside) is None and family_of(inside) != family_of(outside):
            findings.add((*path, "externalIP"), f"{shown(outside)} and {shown(inside)} are of different families",
                         "", f"write an IPv{family_of(inside)} address")


def _check_port_protocol(port: Object, path: Path, findings: Findings) -> None:
    given = port.get("protocol")
    if given not in (None, "") and protocol(given) is None and protocol_of(given) not in _WITH_PORTS:
        findings.add((*path, "protocol"), f"a port of protocol {shown(given)}", "only TCP, UDP and SCTP have ports",
                     "write TCP, UDP or SCTP")


def _check_qos(controls: Object, findings: Findings) -> None:
    for direction in ("ingress", "egress"):
        for suffix, (least, most) in QOS_BOUNDS.items():
            field = direction + suffix
            value = controls.get(field, 0)
            if value != 0 and not least <= value <= most:
                bound = least if value < least else most
                findings.add(("spec", "qosControls", field), f"{shown(value)} is out of bounds",
                             f"it goes from {least} to {most}; 0 means no limit", f"write {bound}")


def check_host_endpoint(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    if not spec.get("interfaceName") and not spec.get("expectedIPs"):
        findings.add(("spec", "interfaceName"), "neither interfaceName nor expectedIPs",
                     "one of them must say which interface is meant", "write interfaceName: eth0, or '*' for all",
                     Reason.REQUIRED)
    for index, port in enumerate(spec.get("ports", ())):
        path: Path = ("spec", "ports", index)
        _check_port_protocol(port, path, findings)
        if not port.get("name"):
            findings.add((*path, "name"), "a port without a name", "rules speak of it by name", "write name: http",
                         Reason.REQUIRED)


def check_node(found: Object, findings: Findings) -> None:
    spec = found.get("spec", {})
    if spec.get("bgp") == {}:
        findings.add(("spec", "bgp"), "an empty bgp", "a host that speaks BGP needs an address",
                     "write ipv4Address: 10.0.0.1/24 in it, or take bgp out", Reason.REQUIRED)

"""What the graph keeps of an endpoint or a network set: a small part, checked.

Everything here ends up in kernel rules, so it is parsed, never trusted: an address that cannot be read is dropped, an
interface or MAC that cannot be one makes the endpoint absent (its interface is then unknown, and what comes from an
unknown interface is denied). Each is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from sys import intern

from muslin.calc.illegible import Illegible, labels, texts, word
from muslin.calc.members import NamedPort, Sort
from muslin.calc.qos import limits
from muslin.errors import Invalid
from muslin.intent import ALL_INTERFACES, Published, Qos
from muslin.model.endpoint import EndpointPort, HostEndpoint, WorkloadEndpoint, WorkloadEndpointPort
from muslin.model.labels import NAMESPACE, namespace_profile_name, own_labels, profiles_of
from muslin.model.names import parse_workload_endpoint_name
from muslin.model.policy import GlobalNetworkSet, NetworkSet
from muslin.net import Cidr, contains, host_cidr, is_host, parse_address, parse_cidr, protocol_number

Selectable = WorkloadEndpoint | HostEndpoint | NetworkSet | GlobalNetworkSet

_INTERFACE = re.compile(r"[A-Za-z0-9_.:@+-]{1,15}")
_OCTET = "(?:[1-9]?[0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"
_CANONICAL = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}/32")
"""Most addresses are written so, and need no parsing (7 us each in a cold start, measured)."""
_NO_PROFILE = "(illegible)"
"""No profile can have this name, so that it denies."""
_LINK_LOCAL = Cidr("fe80::/10")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(slots=True)
class Description:
    """What a member will be. `present` False: it is as if it did not exist."""

    own: dict[str, str]
    profiles: tuple[str, ...]
    sort: Sort = Sort.NETWORK_SET
    claims: tuple[Cidr, ...] = ()
    host: str = ""
    interface: str = ""
    mac: str = ""
    ports: tuple[NamedPort, ...] = ()
    spoofable: tuple[Cidr, ...] = ()
    nat: tuple[tuple[str, str], ...] = ()
    qos: Qos | None = None
    published: tuple[Published, ...] = ()
    gateway_v6: str = ""
    present: bool = True
    faults: list[str] = field(default_factory=list)

    @property
    def fault(self) -> str | None:
        if not self.faults:
            return None
        return "; ".join(self.faults) + ("" if self.present else ". Until this is mended it is as if it did not exist")


def describe(resource: Selectable) -> Description:
    found = Description(own=own_labels(resource), profiles=profiles_of(resource))
    match resource:
        case WorkloadEndpoint():
            _describe_workload(found, resource)
        case HostEndpoint(spec=spec):
            _describe_host(found, spec.node, spec.interface_name, spec.expected_ips)
            _describe_ports(found, spec.ports)
        case _:
            found.claims = _prefixes(found, "spec.nets", resource.spec.nets)
    return found


def salvaged(illegible: Illegible) -> Description | None:
    """What can still be read of a network set or a host: a rule that denies it must go on denying it. Of a workload
    nothing: its own host shuts it."""
    if illegible.key.kind == "WorkloadEndpoint" or illegible.obj is None:
        return None
    if illegible.key.kind == "HostEndpoint":
        return _salvaged_host(illegible)
    own, profiles = labels(illegible.part("metadata").get("labels")), tuple[str, ...]()
    if illegible.key.namespace:
        own[NAMESPACE] = illegible.key.namespace
        profiles = (namespace_profile_name(illegible.key.namespace),)
    found = Description(own=own, profiles=profiles, faults=[illegible.reason])
    found.claims = _prefixes(found, "spec.nets", texts(illegible.part("spec").get("nets")))
    return found


def _salvaged_host(illegible: Illegible) -> Description:
    """Where its labels or profiles cannot be read, policies that shut it may be lost: then its profiles deny."""
    spec, metadata = illegible.part("spec"), illegible.part("metadata")
    own, profiles = labels(metadata.get("labels")), texts(spec.get("profiles"))
    if own != (metadata.get("labels") or {}) or [*profiles] != (spec.get("profiles") or []):
        profiles = (_NO_PROFILE, *profiles)
    found = Description(own=own, profiles=profiles, faults=[illegible.reason])
    _describe_host(found, word(spec.get("node")), word(spec.get("interfaceName")), texts(spec.get("expectedIPs")))
    return found


def _describe_host(found: Description, node: str, interface: str, addresses: Iterable[str]) -> None:
    """A host endpoint that says nothing usable of its interface still lends its labels to its addresses."""
    found.sort = Sort.HOST
    found.host = intern(node)
    found.claims = _addresses(found, "spec.expectedIPs", addresses)
    found.interface = interface
    if interface not in ("", ALL_INTERFACES) and not _is_interface(interface):
        found.faults.append(f"spec.interfaceName: {interface!r} cannot be an interface; write 1 to 15 letters, digits "
                            "and _ . - characters, or *. Until then its addresses tell which it is")
        found.interface = ""
    if not node:
        found.faults.append("spec.node: it is on no host; name the node. Until then it guards nothing")
    elif not found.interface and not found.claims:
        found.faults.append("neither spec.interfaceName nor spec.expectedIPs says which interface it is; "
                            "write one of them. Until then it guards nothing")


def _describe_workload(found: Description, resource: WorkloadEndpoint) -> None:
    spec = resource.spec
    found.sort = Sort.WORKLOAD
    found.host = intern(spec.node or _node_of(resource.metadata.name))
    found.interface = spec.interface_name
    found.claims = _addresses(found, "spec.ipNetworks", spec.ip_networks)
    if spec.ports:
        _describe_ports(found, spec.ports)
        _describe_published(found, spec.ports)
    if spec.ipv6_gateway:
        _describe_gateway(found, spec.ipv6_gateway)
    if spec.allow_spoofed_source_prefixes:
        found.spoofable = _prefixes(found, "spec.allowSpoofedSourcePrefixes", spec.allow_spoofed_source_prefixes)
    for nat in spec.ip_nats:
        try:
            found.nat += ((parse_address(nat.external_ip), parse_address(nat.internal_ip)),)
        except ValueError as error:
            found.faults.append(f"spec.ipNATs: {error}; left out")
    if spec.qos_controls is not None:
        found.qos, faults = limits(spec.qos_controls)
        found.faults += faults
    if spec.mac:
        found.mac = spec.mac.lower().replace("-", ":")
        if not _MAC.fullmatch(found.mac):
            found.faults.append(f"spec.mac: {spec.mac!r} is no MAC address; write it as 02:00:5e:10:00:01")
            found.present = False
    if not found.host:
        found.faults.append("spec.node: it is on no host; name the node")
        found.present = False
    if not _is_interface(found.interface):
        found.faults.append(f"spec.interfaceName: {found.interface!r} cannot be an interface; write 1 to 15 "
                            "letters, digits and _ . - characters")
        found.present = False


def _is_interface(name: str) -> bool:
    return bool(_INTERFACE.fullmatch(name)) and name not in (".", "..")


def _node_of(name: str) -> str:
    try:
        return parse_workload_endpoint_name(name)[0]
    except Invalid:
        return ""


def _addresses(found: Description, where: str, given: Iterable[str]) -> tuple[Cidr, ...]:
    """Single addresses, each once."""
    good: dict[Cidr, None] = {}
    for text in given:
        if _CANONICAL.fullmatch(text):
            good[Cidr(text)] = None
            continue
        try:
            address = parse_cidr(text)
        except ValueError as error:
            found.faults.append(f"{where}: {error}; left out")
            continue
        if is_host(address):
            good[address] = None
        else:
            found.faults.append(f"{where}: {text!r} is more than one address; left out, write {host_cidr(text)}")
    return tuple(good)


def _prefixes(found: Description, where: str, given: Iterable[str]) -> tuple[Cidr, ...]:
    good: dict[Cidr, None] = {}
    for text in given:
        try:
            good[parse_cidr(text)] = None
        except ValueError as error:
            found.faults.append(f"{where}: {error}; left out")
    return tuple(good)


def _describe_ports(found: Description, given: tuple[EndpointPort, ...]) -> None:
    found.ports, faults = _ports(given)
    found.faults += faults


def _describe_published(found: Description, given: tuple[WorkloadEndpointPort, ...]) -> None:
    """Ports of the host that lead to it."""
    for port in given:
        if not port.host_port:
            continue
        try:
            address = parse_cidr(port.host_ip).partition("/")[0] if port.host_ip else ""
            found.published += (Published(protocol=protocol_number(port.protocol), host_port=port.host_port,
                                          port=port.port, host_address=address),)
        except ValueError as error:
            found.faults.append(f"spec.ports: {error}; port {port.host_port} of the host leads nowhere")


def _describe_gateway(found: Description, text: str) -> None:
    """Of the link. An address beyond it is somebody's who answers there, and says nothing here."""
    try:
        address = parse_cidr(text)
    except ValueError as error:
        found.faults.append(f"spec.ipv6Gateway: {error}; left out")
        return
    if contains(_LINK_LOCAL, address):
        found.gateway_v6 = address.partition("/")[0]


@lru_cache(maxsize=4096)
def _ports(given: tuple[EndpointPort, ...]) -> tuple[tuple[NamedPort, ...], tuple[str, ...]]:
    """(named ports, what is wrong). Remembered, so that endpoints with the same ports share them. Ports without a
    name say nothing here."""
    good: dict[NamedPort, None] = {}
    faults = []
    for port in given:
        if not port.name:
            continue
        try:
            protocol = protocol_number(port.protocol)
        except ValueError as error:
            faults.append(f"spec.ports: {error}; left out")
            continue
        if not 0 < port.port <= 65535:
            faults.append(f"spec.ports: {port.name} is {port.port}, not within 1..65535; left out")
            continue
        good[(port.name, protocol, port.port)] = None
    return tuple(good), tuple(faults)

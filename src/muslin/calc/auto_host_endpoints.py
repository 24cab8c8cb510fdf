"""Host endpoints that nobody writes: which ones there should be for the hosts that there are, and what to do about it.

A host that joins should be under policy from its first moment, and nobody wants to write an object for each. So, where
KubeControllersConfiguration says `autoCreate: Enabled`,

    each Node            one on all its interfaces, NODE-auto-hep, unless createDefaultHostEndpoint is Disabled
    each template        for the Nodes that it selects: one that has the addresses within interfaceCIDRs,
                         NODE-TEMPLATE-auto-hep; or with interfacePattern one for each interface of the Node that fits,
                         NODE-TEMPLATE-INTERFACE-auto-hep

with the Node's labels, the template's over them, and the profile that allows all: it is policy that closes a host, not
the mere existence of its endpoint. What was made so bears a label and a name of that form; nothing else is ever
touched, and what of it is not wanted any more goes. Names, labels and addresses are those that Calico's controllers
choose, so that either can take over from the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from muslin.calc.identity import short_hash
from muslin.calc.rules import read
from muslin.errors import Invalid
from muslin.intent import ALL_INTERFACES
from muslin.model.controllers import ENABLED, AutoHostEndpointConfig, HostEndpointTemplate, KubeControllersConfiguration
from muslin.model.endpoint import HostEndpoint, HostEndpointSpec
from muslin.model.labels import DEFAULT_ALLOW
from muslin.model.network import Node
from muslin.net import contains, host_cidr, parse_address, parse_cidr

CREATED_BY = "projectcalico.org/created-by"
CREATOR = "calico-kube-controllers"
_SUFFIX = "auto-hep"
_LONGEST_NAME = 253
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_INTERNAL = "InternalIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a host endpoint should be."""

    name: str
    labels: Mapping[str, str]
    spec: HostEndpointSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """`write`: to be made, or made so again. `remove`: names. `taken`: names that somebody else's object has."""

    write: tuple[Draft, ...] = ()
    remove: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def plan(
    configuration: KubeControllersConfiguration | None, nodes: Mapping[str, Node],
    existing: Mapping[str, HostEndpoint], unreadable: Iterable[str] = (),
) -> Plan:
    """`unreadable`: names of Nodes that do not decode: their host endpoints stay as they are."""
    wanted = {draft.name: draft for node in nodes.values() for draft in drafts(configuration, node)}
    taken = tuple(sorted(name for name in wanted if name in existing and not is_ours(existing[name])))
    write = tuple(
        wanted[name] for name in sorted(wanted)
        if name not in taken and not (name in existing and _is_so(existing[name], wanted[name])))
    spared = set(unreadable) if _enabled(configuration) is not None else set()
    remove = tuple(sorted(name for name, found in existing.items()
                          if is_ours(found) and name not in wanted and found.spec.node not in spared))
    return Plan(write, remove, taken)


def is_ours(found: HostEndpoint) -> bool:
    return found.metadata.labels.get(CREATED_BY) == CREATOR and found.metadata.name.endswith(_SUFFIX)


def drafts(configuration: KubeControllersConfiguration | None, node: Node) -> Iterator[Draft]:
    """All that one host should have."""
    config = _enabled(configuration)
    if config is None:
        return
    addresses = tuple(_addresses(node))
    if config.create_default_host_endpoint in ("", ENABLED):
        yield _draft(node, (), {}, ALL_INTERFACES, addresses)
    for template in config.templates:
        if template.generate_name and _selects(template, node):
            yield from _from_template(template, node, addresses)


def faults(configuration: KubeControllersConfiguration) -> str | None:
    """What of it cannot be used: templates that are as if they were not there."""
    config = _enabled(configuration)
    found = []
    for index, template in enumerate(config.templates if config is not None else ()):
        where = f"spec.controllers.node.hostEndpoint.templates[{index}]"
        found += [f"{where}.{what}; left out" for what in _wrong(template)]
    return "; ".join(found) or None


def _wrong(template: HostEndpointTemplate) -> Iterator[str]:
    if not template.generate_name:
        yield "generateName is missing"
    try:
        read(template.node_selector)
    except ValueError as error:
        yield f"nodeSelector: {error}"
    try:
        _pattern(template.interface_pattern)
    except ValueError as error:
        yield f"interfacePattern: {error}"
    for cidr in template.interface_cidrs:
        try:
            parse_cidr(cidr)
        except ValueError as error:
            yield f"interfaceCIDRs: {error}"


def _enabled(configuration: KubeControllersConfiguration | None) -> AutoHostEndpointConfig | None:
    if configuration is None or configuration.spec.controllers.node is None:
        return None
    config = configuration.spec.controllers.node.host_endpoint
    return config if config is not None and config.auto_create == ENABLED else None


def _selects(template: HostEndpointTemplate, node: Node) -> bool:
    try:
        return read(template.node_selector).matches(node.metadata.labels)
    except Invalid:
        return False


def _from_template(template: HostEndpointTemplate, node: Node, addresses: tuple[str, ...]) -> Iterator[Draft]:
    chosen = tuple(_within(addresses, template.interface_cidrs))
    if not template.interface_pattern:
        if chosen:
            yield _draft(node, (template.generate_name,), template.labels, "", chosen)
        return
    try:
        pattern = _pattern(template.interface_pattern)
    except ValueError:
        return
    for interface in node.spec.interfaces:
        if interface.name and pattern.search(interface.name):
            own = dict.fromkeys((*chosen, *_readable(interface.addresses)))
            yield _draft(node, (template.generate_name, interface.name), template.labels, interface.name, tuple(own))


def _draft(
    node: Node, middle: tuple[str, ...], labels: Mapping[str, str], interface: str, addresses: tuple[str, ...]
) -> Draft:
    return Draft(
        name=_name("-".join((node.metadata.name, *middle, _SUFFIX))),
        labels={**node.metadata.labels, **labels, CREATED_BY: CREATOR},
        spec=HostEndpointSpec(node=node.metadata.name, interface_name=interface, expected_ips=addresses,
                              profiles=(DEFAULT_ALLOW.metadata.name,)),
    )


def _name(wanted: str) -> str:
    """An interface may be called what no object can be."""
    if len(wanted) <= _LONGEST_NAME and _NAME.fullmatch(wanted):
        return wanted
    return f"{short_hash(wanted)}-{_SUFFIX}"


def _is_so(found: HostEndpoint, draft: Draft) -> bool:
    return dict(found.metadata.labels) == dict(draft.labels) and found.spec == draft.spec


def _addresses(node: Node) -> Iterator[str]:
    """Each once: those by which it speaks BGP, of its tunnels, its internal ones, and those of its interfaces."""
    spec = node.spec
    given: list[str] = []
    if spec.bgp is not None:
        given += [spec.bgp.ipv4_address, spec.bgp.ipv6_address, spec.bgp.ipv4_ipip_tunnel_addr]
    given += [spec.ipv4_vxlan_tunnel_addr, spec.ipv6_vxlan_tunnel_addr]
    if spec.wireguard is not None:
        given += [spec.wireguard.interface_ipv4_address, spec.wireguard.interface_ipv6_address]
    given += [each.address for each in spec.addresses if each.type == _INTERNAL]
    given += [address for interface in spec.interfaces for address in interface.addresses]
    yield from dict.fromkeys(_readable(given))


def _readable(given: Iterable[str]) -> Iterator[str]:
    for text in given:
        try:
            yield parse_address(text.partition("/")[0])
        except ValueError:
            continue  # nobody's address: whoever reads the Node for BGP tells of it


def _within(addresses: Iterable[str], cidrs: Iterable[str]) -> Iterator[str]:
    prefixes = []
    for cidr in cidrs:
        try:
            prefixes.append(parse_cidr(cidr))
        except ValueError:
            continue  # told by `faults`
    for address in addresses:
        if any(contains(prefix, host_cidr(address)) for prefix in prefixes):
            yield address


def _pattern(text: str) -> re.Pattern[str]:
    """Raises ValueError."""
    try:
        return re.compile(text)
    except re.error as error:
        raise Invalid(f"{text!r} is no regular expression: {error}") from None

"""Who speaks BGP at all, where, and as which AS.

A Node says where its speaker lives (`spec.bgp`), but seldom the whole: the AS number usually comes from the default
BGPConfiguration, the listening port from `default` or from `node.NAME`, and both may be written in several spellings
(`65000`, `"65000"`, `1.10`). Every other node needs the same answers to talk to it. So they are worked out once for
the cluster, and everything behind this module sees plain numbers and canonical addresses.

Rule: a Node whose BGP section cannot be read does not speak and is not spoken to; the fault names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from muslin.errors import Invalid
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPConfiguration, BGPConfigurationSpec, Node
from muslin.net import parse_address

DEFAULT_AS = 64512
DEFAULT_PORT = 179
HIGHEST_AS = 4294967295

Faults = dict[ResourceKey, str]
"""What is wrong with an object, in one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpNode:
    """One node that speaks BGP. `v4`, `v6` are bare addresses, "" where it has none."""

    name: str
    local_as: int
    v4: str = ""
    v6: str = ""
    port: int = DEFAULT_PORT
    cluster_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def address(self, version: int) -> str:
        return self.v6 if version == 6 else self.v4


def note(faults: Faults, key: ResourceKey, what: str) -> None:
    """Add a fault; an object with several says them all."""
    known = faults.get(key)
    if known is None:
        faults[key] = what
    elif what not in known.split("; "):
        faults[key] = f"{known}; {what}"


def parse_as(value: int | str) -> int:
    """65000 for 65000, "65000" or "0.65000" (RFC 5396 asdot+). Raises Invalid."""
    text = str(value)
    high, dot, low = text.partition(".")
    if not all(part.isascii() and part.isdigit() for part in ((high, low) if dot else (high,))):
        raise Invalid(f"AS number {text!r} is no number: write 64512 or, in dotted form, 1.10")
    if dot and (int(high) > 65535 or int(low) > 65535):
        raise Invalid(f"AS number {text!r}: each half is at most 65535")
    number = int(high) * 65536 + int(low) if dot else int(high)
    if not 1 <= number <= HIGHEST_AS:
        raise Invalid(f"AS number {text!r} is outside 1..{HIGHEST_AS}")
    return number


_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|us|µs|ns|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(text: str) -> int:
    """Whole seconds, rounded, of a Go duration: `90s`, `1m30s`, `500ms`. Raises Invalid."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Invalid(f"{text!r} is not a duration: write for example 90s or 1m30s")
    return int(sum(float(number) * _SECONDS[unit] for number, unit in parts) + 0.5)


def global_as(configurations: Mapping[str, BGPConfiguration], faults: Faults) -> int:
    """The AS of every node that does not say its own. An unreadable one counts as absent."""
    default = configurations.get("default")
    if default is None or default.spec.as_number is None:
        return DEFAULT_AS
    try:
        return parse_as(default.spec.as_number)
    except Invalid as fault:
        note(faults, ResourceKey("BGPConfiguration", "", "default"), f"spec.asNumber: {fault}")
        return DEFAULT_AS


def of_node(configurations: Mapping[str, BGPConfiguration], name: str) -> tuple[BGPConfigurationSpec, ...]:
    """The configurations that speak for a node, the nearest first."""
    found = (configurations.get(f"node.{name}"), configurations.get("default"))
    return tuple(configuration.spec for configuration in found if configuration is not None)


def bgp_nodes(
    nodes: Mapping[str, Node], configurations: Mapping[str, BGPConfiguration], faults: Faults
) -> dict[str, BgpNode]:
    """Every node that speaks BGP, in the order of names."""
    default_as = global_as(configurations, faults)
    speaking: dict[str, BgpNode] = {}
    for name in sorted(nodes):
        try:
            node = _bgp_node(name, nodes[name], configurations, default_as)
        except Invalid as fault:
            note(faults, ResourceKey("Node", "", name), str(fault))
        else:
            if node is not None:
                speaking[name] = node
    return speaking


def _bgp_node(
    name: str, node: Node, configurations: Mapping[str, BGPConfiguration], default_as: int
) -> BgpNode | None:
    bgp = node.spec.bgp
    if bgp is None or not (bgp.ipv4_address or bgp.ipv6_address):
        return None
    return BgpNode(
        name=name,
        local_as=default_as if bgp.as_number is None else _own_as(bgp.as_number),
        v4=_address(bgp.ipv4_address, 4, "spec.bgp.ipv4Address"),
        v6=_address(bgp.ipv6_address, 6, "spec.bgp.ipv6Address"),
        port=next((spec.listen_port for spec in of_node(configurations, name) if spec.listen_port), DEFAULT_PORT),
        cluster_id=_cluster_id(bgp.route_reflector_cluster_id),
        labels=node.metadata.labels,
    )


def _own_as(value: int | str) -> int:
    try:
        return parse_as(value)
    except Invalid as fault:
        raise Invalid(f"spec.bgp.asNumber: {fault}; the node speaks no BGP until then") from None


def _address(text: str, version: int, where: str) -> str:
    if not text:
        return ""
    try:
        address = parse_address(text.partition("/")[0])
    except ValueError as error:
        raise Invalid(f"{where}: {error}; the node speaks no BGP until then") from None
    if (6 if ":" in address else 4) != version:
        raise Invalid(f"{where}: {text!r} is not an IPv{version} address; the node speaks no BGP until then")
    return address


def _cluster_id(text: str) -> str:
    if not text:
        return ""
    try:
        address = parse_address(text)
    except ValueError:
        address = ":"
    if ":" in address:
        raise Invalid(f"spec.bgp.routeReflectorClusterID: {text!r} is not written as 244.0.0.1 is")
    return address

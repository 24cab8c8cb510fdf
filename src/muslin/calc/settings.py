"""Host-wide settings: the FelixConfigurations that speak for a host, field by field, and what all hosts share.

The strongest word wins: `node.NAME`, then configurations of any other name whose nodeSelector matches the labels of the
host's Node, by their names, then `default`. One with such a name and no nodeSelector is for nobody, and is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar, cast

from muslin.calc import felix
from muslin.calc.illegible import Illegible, word
from muslin.calc.rules import selector
from muslin.errors import Invalid
from muslin.intent import Backend, Settings
from muslin.model.cluster_configuration import KEEP, ClusterConfigurationSpec
from muslin.model.felix import FelixConfiguration, FelixConfigurationSpec, ProtoPort
from muslin.model.names import INTERFACE_PREFIX
from muslin.model.network import Node
from muslin.model.selector import Selector
from muslin.net import Cidr, bounds, host_cidr

T = TypeVar("T")

_DEFAULT, _OF_A_NODE = "default", "node."
_TCP, _UDP = 6, 17
_CLUSTER_PORTS = (179, 2379, 2380, 5473, 6443, 6666, 6667)
_INBOUND = ((_TCP, 22, ""), *((_TCP, port, "") for port in _CLUSTER_PORTS), (_UDP, 68, ""))
_OUTBOUND = ((_UDP, 53, ""), (_UDP, 67, ""), *((_TCP, port, "") for port in _CLUSTER_PORTS))
_UNREADABLE = "?"

PortList = tuple[tuple[int, int, str], ...]


class Surroundings(NamedTuple):
    """What all hosts share: pools, those of them that masquerade, the addresses of all hosts, and the cluster's own
    configuration."""

    pools: tuple[Cidr, ...] = ()
    masquerade: tuple[Cidr, ...] = ()
    hosts: tuple[Cidr, ...] = ()
    cluster: ClusterConfigurationSpec = ClusterConfigurationSpec()


def merged(
    configurations: Mapping[str, FelixConfiguration], host: str, labels: Mapping[str, str]
) -> list[FelixConfigurationSpec]:
    """The configurations that speak for a host with these labels, the strongest first."""
    scoped = sorted(name for name, found in configurations.items() if _is_scoped(name) and _selects(found, labels))
    names = (f"{_OF_A_NODE}{host}", *scoped, _DEFAULT)
    return [configurations[name].spec for name in names if name in configurations]


def settings(specs: list[FelixConfigurationSpec], around: Surroundings) -> Settings:
    """A value that cannot be read counts as not given, but an action as Drop, whatever a weaker configuration says;
    `faults` reports it."""
    backend = _backend(specs)
    kernel = "nftables" if backend is Backend.NFTABLES else "iptables"
    excluded = felix.read(specs, "nat_outgoing_exclusions") == "IPPoolsAndHostIPs"
    return Settings(
        interface_prefix=_prefixes(_first(spec.interface_prefix or None for spec in specs) or ""),
        endpoint_to_host_action=_endpoint_to_host(specs),
        drop_invalid=not _first(spec.disable_conntrack_invalid_check for spec in specs),
        failsafe_inbound=_ports(_first(spec.failsafe_inbound_host_ports for spec in specs), _INBOUND),
        failsafe_outbound=_ports(_first(spec.failsafe_outbound_host_ports for spec in specs), _OUTBOUND),
        masquerade=around.masquerade,
        pools=around.pools,
        ipv6=_first(spec.ipv6_support for spec in specs) is not False,
        mtu_interfaces=_read(specs, "mtu_iface_pattern", ""),
        backend=backend,
        mark_mask=_read(specs, f"{kernel}_mark_mask", _BLANK.mark_mask),
        follow_established=around.cluster.established_flows != KEEP,
        log_prefix=_first(spec.log_prefix or None for spec in specs) or "",
        log_rate=_read(specs, "log_action_rate_limit", _BLANK.log_rate),
        log_burst=_read(specs, "log_action_rate_limit_burst", _BLANK.log_burst),
        floating_addresses=felix.read(specs, "floating_ips") == "Enabled",
        masquerade_exclude=around.hosts if excluded else (),
        masquerade_address=_read(specs, "nat_outgoing_address", ""),
        masquerade_ports=_read(specs, "nat_port_range", _BLANK.masquerade_ports),
        masquerade_interfaces=_read(specs, "iptables_nat_outgoing_interface_filter", ""),
        filter_allow=_read(specs, f"{kernel}_filter_allow_action", _BLANK.filter_allow),
        filter_deny=_read(specs, f"{kernel}_filter_deny_action", _BLANK.filter_deny),
        chain_insert=_read(specs, "chain_insert_mode", _BLANK.chain_insert),
    )


def faults(name: str, configuration: FelixConfiguration) -> str | None:
    """What of a configuration cannot be used."""
    found = felix.faults(configuration.spec)
    if _is_scoped(name):
        try:
            if _scope(configuration) is None:
                found.append("it is for no host: it is neither default nor node.NAME; write spec.nodeSelector")
        except Invalid as error:
            found.append(f"{error}. Until this is mended it is as if it did not exist")
    return "; ".join(found) or None


def salvaged(illegible: Illegible) -> FelixConfiguration:
    """What keeps shut of a configuration that does not decode: the rest counts as not given."""
    spec = illegible.part("spec")
    action = spec.get("defaultEndpointToHostAction") if illegible.obj is not None else _UNREADABLE
    return FelixConfiguration(kind="FelixConfiguration", spec=FelixConfigurationSpec(
        default_endpoint_to_host_action=action if isinstance(action, str | None) else _UNREADABLE,
        interface_prefix=word(spec.get("interfacePrefix")),
        node_selector=word(spec.get("nodeSelector")),
    ))


def sorted_pools(cidrs: Iterable[Cidr]) -> tuple[Cidr, ...]:
    return tuple(sorted(set(cidrs), key=bounds))


def addresses_of(node: Node) -> Iterator[Cidr]:
    """Where a host can be reached. What cannot be read is left out: `calc.bgp_nodes` tells of it."""
    bgp = (node.spec.bgp.ipv4_address, node.spec.bgp.ipv6_address) if node.spec.bgp else ()
    for text in (*bgp, *(each.address for each in node.spec.addresses)):
        try:
            yield host_cidr(text.partition("/")[0])
        except ValueError:
            continue


_BLANK = Settings()


def _is_scoped(name: str) -> bool:
    return name != _DEFAULT and not name.startswith(_OF_A_NODE)


def _scope(configuration: FelixConfiguration) -> Selector | None:
    """Raises Invalid."""
    text = configuration.spec.node_selector
    return selector("spec.nodeSelector", text) if text.strip() else None


def _selects(configuration: FelixConfiguration, labels: Mapping[str, str]) -> bool:
    try:
        scope = _scope(configuration)
    except Invalid:
        return False
    return scope is not None and scope.matches(labels)


def _backend(specs: list[FelixConfigurationSpec]) -> Backend:
    if felix.read(specs, "nftables_mode") != "Disabled":
        return Backend.NFTABLES
    return Backend.IPTABLES_LEGACY if felix.read(specs, "iptables_backend") == "Legacy" else Backend.IPTABLES_NFT


def _endpoint_to_host(specs: list[FelixConfigurationSpec]) -> str:
    strongest = [spec for spec in specs if spec.default_endpoint_to_host_action][:1]
    return _read(strongest, "default_endpoint_to_host_action", "Drop")


def _read(specs: Iterable[FelixConfigurationSpec], field: str, default: T) -> T:
    found = felix.read(specs, field)
    return default if found is None else cast("T", found)


def _prefixes(given: str) -> str:
    """All of them, and always our own: agents name links by it, and shut what no endpoint declares by it."""
    words = [word.strip() for word in given.split(",")]
    return ",".join(dict.fromkeys([*filter(None, words), INTERFACE_PREFIX]))


def _ports(given: tuple[ProtoPort, ...] | None, default: PortList) -> PortList:
    """An empty list means none at all."""
    if given is None:
        return default
    found = []
    for port in given:
        try:
            found.append(felix.port(port))
        except ValueError:
            continue  # reported by `faults`, once for all hosts
    return tuple(found)


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)

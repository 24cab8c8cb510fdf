"""Host-wide settings: FelixConfiguration `default`, then `node.NAME` over it field by field, and the address pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from muslin.calc.illegible import Illegible
from muslin.errors import Invalid
from muslin.intent import Settings
from muslin.model.felix import FelixConfiguration, FelixConfigurationSpec, ProtoPort
from muslin.model.names import INTERFACE_PREFIX
from muslin.net import Cidr, bounds, parse_cidr, protocol_number

T = TypeVar("T")

_TCP, _UDP = 6, 17
_CLUSTER_PORTS = (179, 2379, 2380, 5473, 6443, 6666, 6667)
_INBOUND = ((_TCP, 22, ""), *((_TCP, port, "") for port in _CLUSTER_PORTS), (_UDP, 68, ""))
_OUTBOUND = ((_UDP, 53, ""), (_UDP, 67, ""), *((_TCP, port, "") for port in _CLUSTER_PORTS))
_ACTIONS = {"drop": "Drop", "accept": "Accept", "return": "Return"}
_UNREADABLE = "?"

PortList = tuple[tuple[int, int, str], ...]


def merged(configurations: Mapping[str, FelixConfiguration], host: str) -> list[FelixConfigurationSpec]:
    """The configurations that speak for a host, the strongest first."""
    names = (f"node.{host}", "default")
    return [configurations[name].spec for name in names if name in configurations]


def settings(
    configurations: Mapping[str, FelixConfiguration], host: str, pools: tuple[Cidr, ...], masquerade: tuple[Cidr, ...]
) -> Settings:
    """A value that cannot be read counts as not given, but an action as Drop, whatever a weaker configuration says;
    `faults` reports it."""
    specs = merged(configurations, host)
    action = _first(spec.default_endpoint_to_host_action or None for spec in specs) or "Drop"
    return Settings(
        interface_prefix=_prefixes(_first(spec.interface_prefix or None for spec in specs) or ""),
        endpoint_to_host_action=_ACTIONS.get(action.lower(), "Drop"),
        drop_invalid=not _first(spec.disable_conntrack_invalid_check for spec in specs),
        failsafe_inbound=_ports(_first(spec.failsafe_inbound_host_ports for spec in specs), _INBOUND),
        failsafe_outbound=_ports(_first(spec.failsafe_outbound_host_ports for spec in specs), _OUTBOUND),
        masquerade=masquerade,
        pools=pools,
        ipv6=_first(spec.ipv6_support for spec in specs) is not False,
    )


def faults(configuration: FelixConfiguration) -> str | None:
    """What of a configuration cannot be used."""
    spec = configuration.spec
    found = []
    if spec.default_endpoint_to_host_action and not _is_action(spec):
        found.append(f"spec.defaultEndpointToHostAction: {spec.default_endpoint_to_host_action!r} is none of Drop, "
                     "Accept, Return; taken as Drop")
    for name, ports in (("failsafeInboundHostPorts", spec.failsafe_inbound_host_ports),
                        ("failsafeOutboundHostPorts", spec.failsafe_outbound_host_ports)):
        for port in ports or ():
            try:
                _port(port)
            except ValueError as error:
                found.append(f"spec.{name}: {error}; left out")
    return "; ".join(found) or None


def salvaged(illegible: Illegible) -> FelixConfiguration:
    """What keeps shut of a configuration that does not decode: the rest counts as not given."""
    spec = illegible.part("spec")
    action = spec.get("defaultEndpointToHostAction") if illegible.obj is not None else _UNREADABLE
    prefix = spec.get("interfacePrefix")
    return FelixConfiguration(kind="FelixConfiguration", spec=FelixConfigurationSpec(
        default_endpoint_to_host_action=action if isinstance(action, str | None) else _UNREADABLE,
        interface_prefix=prefix if isinstance(prefix, str) else "",
    ))


def sorted_pools(cidrs: Iterable[Cidr]) -> tuple[Cidr, ...]:
    return tuple(sorted(set(cidrs), key=bounds))


def _prefixes(given: str) -> str:
    """All of them, and always our own: agents name links by it, and shut what no endpoint declares by it."""
    words = [word.strip() for word in given.split(",")]
    return ",".join(dict.fromkeys([*filter(None, words), INTERFACE_PREFIX]))


def _is_action(spec: FelixConfigurationSpec) -> bool:
    return (spec.default_endpoint_to_host_action or "").lower() in _ACTIONS


def _ports(given: tuple[ProtoPort, ...] | None, default: PortList) -> PortList:
    """An empty list means none at all."""
    if given is None:
        return default
    found = []
    for port in given:
        try:
            found.append(_port(port))
        except ValueError:
            continue  # reported by `faults`, once for all hosts
    return tuple(found)


def _port(port: ProtoPort) -> tuple[int, int, str]:
    if not 0 < port.port <= 65535:
        raise Invalid(f"port {port.port} is not within 1..65535")
    return protocol_number(port.protocol or "TCP"), port.port, parse_cidr(port.net) if port.net else ""


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)

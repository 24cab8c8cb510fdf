"""Services: which addresses and ports are behind a name that rules speak of, and what joined or left.

    EndpointSlice --label kubernetes.io/service-name--> service --> sets in use: its (address, protocol, port), or its
                                                                    addresses alone where the service is a source

An item is behind a service as long as one of its slices holds it: slices overlap while an orchestrator moves endpoints
between them. As in Calico, every endpoint of a slice counts, ready or not: one that starts up or drains is one still.

A service that has no slice, because nobody supplies them, is empty: a rule that allows it matches nothing. That is
reported at every policy that names it, for nobody would look for it. Of a slice that does not decode, what can be read
counts: a rule that denies its service must go on denying.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from muslin.calc.definitions import AnySet, SetDefinition
from muslin.calc.faults import Faults
from muslin.calc.illegible import Illegible, labels, texts
from muslin.calc.references import References
from muslin.intent import AddressSet, MemberChange, PortMember, PortSet
from muslin.model.meta import Meta, ResourceKey
from muslin.model.service import SERVICE_NAME, EndpointSlice, SliceEndpoint, SlicePort
from muslin.net import Cidr, host_cidr, protocol_number

if TYPE_CHECKING:
    from muslin.calc.views import View

Item = Cidr | PortMember


class Supply(msgspec.Struct, frozen=True):
    """What one slice brings to its service. `fault`: what of it cannot be used."""

    service: str
    items: frozenset[Item]
    fault: str | None = None


class ServiceSet:
    """The endpoints of one service, for the hosts that use them."""

    __slots__ = ("_before", "_held", "_value", "definition", "users")

    def __init__(self, definition: SetDefinition, held: Counter[Item]) -> None:
        self.definition = definition
        self.users: set[View] = set()
        self._held = held
        self._before: dict[Item, bool] = {}
        self._value: AnySet | None = None

    @property
    def touched(self) -> bool:
        return bool(self._before)

    def touch(self, items: Iterable[Item]) -> None:
        """These may be about to join or leave. Call it while the old state is still true."""
        self._value = None
        for item in items:
            if isinstance(item, str) is not self.definition.with_ports and item not in self._before:
                self._before[item] = item in self._held

    def settle(self) -> MemberChange | None:
        """What changed since the last call."""
        joined = frozenset(item for item, was in self._before.items() if not was and item in self._held)
        left = frozenset(item for item, was in self._before.items() if was and item not in self._held)
        self._before = {}
        if not joined and not left:
            return None
        return MemberChange(added=_addresses(joined), removed=_addresses(left),
                            ports_added=_ports(joined), ports_removed=_ports(left))

    def value(self) -> AnySet:
        if self._value is None:
            name = self.definition.id
            self._value = (PortSet(id=name, members=_ports(self._held)) if self.definition.with_ports
                           else AddressSet(id=name, members=_addresses(self._held)))
        return self._value


    def among(self, addresses: Collection[Cidr]) -> AnySet:
        """What of its value has one of these addresses."""
        found = frozenset(item for item in self._held if (item if isinstance(item, str) else item[0]) in addresses)
        return (PortSet(id=self.definition.id, members=_ports(found)) if self.definition.with_ports
                else AddressSet(id=self.definition.id, members=_addresses(found)))


class Services:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._declared: set[str] = set()
        self._supplies: dict[ResourceKey, Supply] = {}
        self._slices: Counter[str] = Counter()
        self._held: dict[str, Counter[Item]] = {}
        """Item -> how many slices of the service hold it. Kept while a slice or an open set speaks of the service."""
        self._open: dict[str, set[ServiceSet]] = {}
        self._named: References[str, ResourceKey] = References()
        self._names: dict[ResourceKey, frozenset[str]] = {}
        self.touched: set[ServiceSet] = set()
        """Sets whose members may differ from those of the last flush."""

    def update_service(self, key: ResourceKey, *, there: bool) -> None:
        """Only whether it is there is of interest, for whoever looks for its endpoints."""
        name = f"{key.namespace}/{key.name}"
        if there is not (name in self._declared):
            self._declared ^= {name}
            self._report(name)

    def update_slice(self, key: ResourceKey, value: EndpointSlice | Illegible | None) -> None:
        new = _supply(key, value)
        self._faults.note(key, "object", new.fault if new else None)
        old = self._supplies.pop(key, None)
        if new is not None:
            self._supplies[key] = new
        if old == new:
            return
        if old is not None and new is not None and old.service == new.service:
            self._touch(new.service, old.items ^ new.items)
        else:
            for supply in filter(None, (old, new)):
                self._touch(supply.service, supply.items)
        supplied = {supply.service: bool(self._slices[supply.service]) for supply in (old, new) if supply is not None}
        if new is not None:
            self._slices[new.service] += 1
            self._held.setdefault(new.service, Counter()).update(new.items)
        if old is not None:
            self._slices[old.service] -= 1
            self._give_back(old)
        for name, was in supplied.items():
            if was is not bool(self._slices[name]):
                self._report(name)
            self._forget(name)

    def name(self, policy: ResourceKey, definitions: Iterable[SetDefinition]) -> None:
        """From now on the policy (or profile) uses these sets, and speaks of their services."""
        names = frozenset(definition.service for definition in definitions if definition.service)
        before = self._names.pop(policy, frozenset())
        if names:
            self._names[policy] = names
        if names != before:
            self._named.replace(policy, before, names)
            self._report_to(policy)

    def behind(self, service: str) -> Iterable[Item]:
        return tuple(self._held.get(service, ()))

    def open(self, definition: SetDefinition) -> ServiceSet:
        held = self._held.setdefault(definition.service, Counter())
        opened = ServiceSet(definition, held)
        self._open.setdefault(definition.service, set()).add(opened)
        return opened

    def close(self, closed: ServiceSet) -> None:
        name = closed.definition.service
        self._open[name].discard(closed)
        self.touched.discard(closed)
        if not self._open[name]:
            del self._open[name]
        self._forget(name)

    def statistics(self) -> dict[str, int]:
        return {"services": len(self._held), "slices": len(self._supplies), "named services": len(self._names)}

    def _touch(self, name: str, items: Iterable[Item]) -> None:
        for opened in self._open.get(name, ()):
            opened.touch(items)
            self.touched.add(opened)

    def _give_back(self, supply: Supply) -> None:
        held = self._held[supply.service]
        for item in supply.items:
            held[item] -= 1
            if not held[item]:
                del held[item]

    def _forget(self, name: str) -> None:
        if not self._slices[name]:
            del self._slices[name]
            if name not in self._open:
                self._held.pop(name, None)

    def _report(self, name: str) -> None:
        for policy in self._named.users(name):
            self._report_to(policy)

    def _report_to(self, policy: ResourceKey) -> None:
        missing = [self._missing(name) for name in sorted(self._names.get(policy, ())) if not self._slices[name]]
        self._faults.note(policy, "services", "; ".join(missing) or None)

    def _missing(self, name: str) -> str:
        namespace, _, service = name.partition("/")
        what = "has no endpoints" if name in self._declared else "is not there"
        return (f"service {name} {what}: nobody supplies EndpointSlices with the label {SERVICE_NAME}: {service} in "
                f"the namespace {namespace}. Until somebody does, rules that name it match nothing; where no "
                "orchestrator has services, write a selector or nets")


def _supply(key: ResourceKey, value: EndpointSlice | Illegible | None) -> Supply | None:
    if value is None:
        return None
    faults = []
    if isinstance(value, Illegible):
        faults.append(f"{value.reason}. Until this is mended, what can be read of it counts")
        value = _salvaged(value)
    service = value.metadata.labels.get(SERVICE_NAME, "")
    if not service:
        faults.append(f"metadata.labels: without {SERVICE_NAME} it belongs to no service, and counts for nothing")
    addresses, wrong = _read(value.endpoints)
    if wrong:
        faults.append(f"endpoints: {', '.join(wrong)}: no addresses, so that policy cannot match them; left out")
    items: set[Item] = {*addresses}
    items.update((address, protocol, port) for address in addresses for protocol, port in _numbers(value.ports))
    return Supply(f"{key.namespace}/{service}", frozenset(items), "; ".join(faults) or None)


def _read(endpoints: Iterable[SliceEndpoint]) -> tuple[list[Cidr], list[str]]:
    """(addresses, words that are none)"""
    found, wrong = [], []
    for text in (address for endpoint in endpoints for address in endpoint.addresses):
        try:
            found.append(host_cidr(text))
        except ValueError:
            wrong.append(repr(text))
    return found, wrong


def _numbers(ports: Iterable[SlicePort]) -> Iterator[tuple[int, int]]:
    for port in ports:
        if port.port is not None and port.protocol in ("", "TCP", "UDP", "SCTP") and 0 < port.port <= 65535:
            yield protocol_number(port.protocol or "TCP"), port.port


def _salvaged(illegible: Illegible) -> EndpointSlice:
    obj = illegible.obj or {}
    endpoints, ports = obj.get("endpoints"), obj.get("ports")
    return EndpointSlice(
        metadata=Meta(labels=labels(illegible.part("metadata").get("labels"))),
        endpoints=tuple(SliceEndpoint(addresses=texts(one.get("addresses")))
                        for one in (endpoints if isinstance(endpoints, list) else ()) if isinstance(one, dict)),
        ports=tuple(filter(None, map(_salvaged_port, ports if isinstance(ports, list) else ()))),
    )


def _salvaged_port(port: object) -> SlicePort | None:
    try:
        return msgspec.convert(port, SlicePort)
    except msgspec.ValidationError:
        return None


def _addresses(items: Iterable[Item]) -> frozenset[Cidr]:
    return frozenset(item for item in items if isinstance(item, str))


def _ports(items: Iterable[Item]) -> frozenset[PortMember]:
    return frozenset(item for item in items if not isinstance(item, str))

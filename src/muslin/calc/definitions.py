"""Which sets rules can speak of, and what each is called.

A set is named by a hash of what it asks for, so that two policies that ask the same share one set, on every host.

    selector                        addresses of who it matches
    selector, port, protocol        (address, protocol, port) of who it matches and has a port of this name
    service                         (address, protocol, port) behind the service
    service, as a source            addresses behind the service
"""

from __future__ import annotations

import msgspec

from muslin.calc.identity import short_hash
from muslin.intent import AddressSet, PortSet, SetId
from muslin.model.selector import ALL, Selector

AnySet = AddressSet | PortSet


class SetDefinition(msgspec.Struct, frozen=True):
    """`port` "" for a set of addresses. With `service` (`shop/db`) the selector says nothing."""

    id: SetId
    selector: Selector = ALL
    port: str = ""
    protocol: int = 0
    service: str = ""
    with_ports: bool = False

    @property
    def words(self) -> str:
        """What a person would call it."""
        if self.service:
            return f"service {self.service}"
        return f"{self.port} of {self.selector}" if self.port else str(self.selector)


def address_set(selector: Selector) -> SetDefinition:
    return SetDefinition(SetId(short_hash(f"address\n{selector}")), selector)


def port_set(selector: Selector, port: str, protocol: int) -> SetDefinition:
    return SetDefinition(SetId(short_hash(f"port\n{protocol}\n{port}\n{selector}")), selector, port, protocol)


def service_set(service: str, *, with_ports: bool) -> SetDefinition:
    """`service`: namespace/name."""
    name = short_hash(f"service {'ports' if with_ports else 'addresses'}\n{service}")
    return SetDefinition(SetId(name), service=service, with_ports=with_ports)

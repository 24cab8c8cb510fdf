"""Addresses that change on the way: floating addresses, and sources that are hidden behind their host's.

    arrives    destination is a floating address of a workload here  ->  the workload's own, before policy sees it
    leaves     source is a workload's own and it has a floating one  ->  the floating one, towards the world outside
               source is in a masqueraded pool                       ->  the host's, towards the world outside

Policy sees the workload's own address in both directions, but for pre-DNAT policy, which is asked before. The kernel
translates flows, so a packet that is not tracked is not translated. The world outside: no pool holds the destination,
and nothing that the settings exclude from masquerade does.
"""

from __future__ import annotations

import msgspec

from muslin.explain.packet import Packet, covering
from muslin.intent import EndpointKey, HostIntent
from muslin.net import version_of


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """`what`: floating or masquerade. `new` "": the address of the interface by which it leaves."""

    what: str
    field: str
    old: str
    new: str
    endpoint: EndpointKey = EndpointKey("")

    def __str__(self) -> str:
        new = self.new or "the address of the interface by which it leaves"
        return f"{self.what}: {self.field} {self.old} becomes {new}"


def of_destination(intent: HostIntent, packet: Packet) -> Translation | None:
    """What happens to the destination before any policy but pre-DNAT is asked."""
    if not intent.settings.floating_addresses:
        return None
    for key in sorted(intent.endpoints):
        for external, internal in intent.endpoints[key].nat:
            if external == packet.destination:
                return Translation(what="floating", field="destination", old=external, new=internal, endpoint=key)
    return None


def of_source(intent: HostIntent, packet: Packet, leaves_by: str = "") -> Translation | None:
    """What happens to the source of an allowed packet when it leaves; "": by an interface that nobody named."""
    settings = intent.settings
    beyond = covering(packet.destination)
    if not beyond.isdisjoint((*settings.pools, *settings.masquerade_exclude)):
        return None
    if settings.floating_addresses:
        for key in sorted(intent.endpoints):
            for external, internal in intent.endpoints[key].nat:
                if internal == packet.source:
                    return Translation(what="floating", field="source", old=internal, new=external, endpoint=key)
    if covering(packet.source).isdisjoint(settings.masquerade):
        return None
    if leaves_by and not _named(leaves_by, settings.masquerade_interfaces):
        return None
    new = settings.masquerade_address if version_of(packet.source) == 4 else ""
    return Translation(what="masquerade", field="source", old=packet.source, new=new)


def applied(packet: Packet, translation: Translation | None) -> Packet:
    """The packet as it goes on. An address that only the host knows stays as it was."""
    if translation is None or not translation.new:
        return packet
    if translation.field == "destination":
        return msgspec.structs.replace(packet, destination=translation.new)
    return msgspec.structs.replace(packet, source=translation.new)


def _named(interface: str, pattern: str) -> bool:
    """`eth+` means those that begin with eth, as iptables has it; "" means any."""
    if pattern.endswith("+"):
        return interface.startswith(pattern[:-1])
    return pattern in ("", interface)

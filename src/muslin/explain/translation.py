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
    """`what`: floating, published or masquerade. `new` "": the address of the interface by which it leaves. `port`: the
    new one, 0 where that stays."""

    what: str
    field: str
    old: str
    new: str
    endpoint: EndpointKey = EndpointKey("")
    port: int = 0

    def __str__(self) -> str:
        new = self.new or "the address of the interface by which it leaves"
        new += f" port {self.port}" if self.port else ""
        return f"{self.what}: {self.field} {self.old} becomes {new}"


def of_destination(intent: HostIntent, packet: Packet, leaves_by: str = "") -> Translation | None:
    """What happens to the destination before any policy but pre-DNAT is asked.

    Which addresses are the host's, it alone knows. So a packet is to a published port of it if it leaves by the
    interface of the workload whose port that is.
    """
    if intent.settings.floating_addresses:
        for key in sorted(intent.endpoints):
            for external, internal in intent.endpoints[key].nat:
                if external == packet.destination:
                    return Translation(what="floating", field="destination", old=external, new=internal, endpoint=key)
    return _published(intent, packet, leaves_by) if leaves_by else None


def _published(intent: HostIntent, packet: Packet, leaves_by: str) -> Translation | None:
    for key in sorted(intent.endpoints):
        endpoint = intent.endpoints[key]
        own = [address.partition("/")[0] for address in endpoint.addresses if version_of(address) == packet.version]
        if endpoint.interface != leaves_by or not own or packet.destination in own:
            continue
        for port in endpoint.published:
            at = port.host_address in ("", packet.destination)
            if at and (port.protocol, port.host_port) == (packet.protocol, packet.destination_port):
                return Translation(what="published", field="destination", old=packet.destination, new=own[0],
                                   endpoint=key, port=port.port)
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
        port = translation.port or packet.destination_port
        return msgspec.structs.replace(packet, destination=translation.new, destination_port=port)
    return msgspec.structs.replace(packet, source=translation.new)


def _named(interface: str, pattern: str) -> bool:
    """`eth+` means those that begin with eth, as iptables has it; "" means any."""
    if pattern.endswith("+"):
        return interface.startswith(pattern[:-1])
    return pattern in ("", interface)

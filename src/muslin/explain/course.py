"""The whole course of a packet: through the sender's host, and then through the receiver's.

    workload --> its host --> uplink ~~ fabric ~~ uplink --> the other's host --> workload
                 journey                                     journey

Each host is asked by `journey`, so that its host endpoints have their say, and addresses are translated where they are:
what the first host makes of the packet is what the second one sees. Only the host knows by which interface its routes
lead to the fabric; here it is taken to be the one that has its Node's address, else the only one that a host endpoint
names. `*` covers it in any case, unless another does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from muslin.calc import host as one_host
from muslin.calc.cluster import Graph
from muslin.calc.identity import resource_key
from muslin.explain import ends
from muslin.explain.decision import Decision, Gate, Journey, Passage, Path
from muslin.explain.ends import End, Hosts
from muslin.explain.journey import LOOPBACK, journey
from muslin.explain.packet import Packet, all_covering
from muslin.intent import ALL_INTERFACES, Action, Direction, Endpoint, EndpointKey, HostIntent, HostInterface
from muslin.net import Cidr, version_of

UPLINK = "uplink"
"""What the way to the fabric is called where nobody has named it."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """One host, as far as some workloads and its own interfaces are concerned."""

    intent: HostIntent
    uplink: str


def standpoint(
    graph: Graph, host: str, addresses: Collection[str], only: Collection[EndpointKey],
    *, about: AbstractSet[Cidr] | None = None,
) -> Standpoint:
    """`addresses`: the host's own. `only`: the workloads that are asked about. `about`: what the sets are asked about,
    where that is known."""
    delta = graph.snapshot(host, only, about=about)
    uplink = _uplink(delta.host_interfaces.values(), addresses)
    view = one_host.Graph()
    view.update_interfaces({uplink: frozenset(addresses)})
    view.update(delta)
    view.flush()
    return Standpoint(view.intent, uplink)


def course(graph: Graph, hosts: Hosts, source: End, destination: End, packet: Packet) -> Path:
    """`destination` is the workload that a floating address leads to, where there is one."""
    first = _first(graph, hosts, source, destination, packet)
    journeys = [(source.host, first)] if first is not None else []
    sent = packet if first is None else _as_sent(hosts.get(source.host, ()), first)
    if destination.host and destination.host != source.host:
        there = _there(graph, hosts, destination, sent)
        journeys.append((destination.host, there))
    denied = any(found.verdict is Action.DENY for _, found in journeys)
    return Path(
        verdict=Action.DENY if denied else Action.ALLOW,
        egress=_decision(source, journeys[:1], Gate.SENDER, Direction.EGRESS),
        ingress=_decision(destination, journeys[-1:], Gate.RECEIVER, Direction.INGRESS),
        journeys=tuple(journeys),
    )


def behind(graph: Graph, end: End, packet: Packet) -> End:
    """The workload that a floating address, or a published port of a host, leads to; else the end as it is."""
    if end.sort == ends.HOST:
        return _publisher(graph, end, packet) or end
    if end.sort != ends.OUTSIDE:
        return end
    known = graph.floating(packet.destination)
    if known is None or not graph.settings(known.host).floating_addresses:
        return end
    return ends.workload(known)


def _publisher(graph: Graph, host: End, packet: Packet) -> End | None:
    for key in sorted(graph.local_keys(host.host)):
        found = graph.local_endpoint(host.host, key)
        endpoint = found[0] if found is not None else None
        if isinstance(endpoint, Endpoint) and any(
                port.host_address in ("", packet.destination)
                and (port.protocol, port.host_port) == (packet.protocol, packet.destination_port)
                for port in endpoint.published):
            known = graph.endpoint(resource_key(key))
            return ends.workload(known) if known is not None else None
    return None


def _first(graph: Graph, hosts: Hosts, source: End, destination: End, packet: Packet) -> Journey | None:
    """Through the sender's host, if we know it."""
    if not source.host:
        return None
    keys = [end.key for end in (source, destination) if end.key is not None and end.host == source.host]
    here = standpoint(graph, source.host, hosts.get(source.host, ()), keys,
                      about=_about(graph, hosts, (source, destination), packet))
    local = destination.host == source.host
    if source.sort == ends.HOST:
        out = (destination.interface or LOOPBACK) if local else here.uplink
        return journey(here.intent, packet, leaves_by=out)
    if local and destination.sort == ends.HOST:
        return journey(here.intent, packet, arrives_by=source.interface)
    return journey(here.intent, packet, arrives_by=source.interface,
                   leaves_by=destination.interface if local else here.uplink)


def _about(graph: Graph, hosts: Hosts, on_the_way: Iterable[End], packet: Packet) -> frozenset[Cidr]:
    """Every address that the packet has or could be given on its way, and the prefixes that hold it."""
    found = {packet.source, packet.destination}
    for end in on_the_way:
        found.update(end.addresses, hosts.get(end.host, ()))
        known = graph.local_endpoint(end.host, end.key) if end.key is not None else None
        if known is not None and isinstance(known[0], Endpoint):
            found.update(address for pair in known[0].nat for address in pair)
    return frozenset(net for one in found if version_of(one) == packet.version for net in all_covering(one))


def _there(graph: Graph, hosts: Hosts, destination: End, packet: Packet) -> Journey:
    keys = [destination.key] if destination.key is not None else []
    there = standpoint(graph, destination.host, hosts.get(destination.host, ()), keys,
                       about=_about(graph, hosts, (destination,), packet))
    return journey(there.intent, packet, arrives_by=there.uplink, leaves_by=destination.interface or None)


def _as_sent(addresses: Collection[str], first: Journey) -> Packet:
    """What masquerade hides behind the host's address has that of its Node, as far as anybody here knows."""
    packet = first.packet
    if any(one.field == "source" and not one.new for one in first.translations):
        own = next((one for one in addresses if version_of(one) == packet.version), packet.source)
        return msgspec.structs.replace(packet, source=own)
    return packet


def _decision(
    end: End, journeys: list[tuple[str, Journey]], gate: Gate, direction: Direction
) -> Decision | None:
    """What the workload's own policy said, where it was asked."""
    if end.key is None:
        return None
    found: Passage | None = next(
        (one for host, way in journeys if host == end.host for one in way.passages
         if one.gate is gate and one.endpoint == end.key), None)
    if found is None:
        return None
    return Decision(
        endpoint=end.key, direction=direction, steps=found.steps, decided_by=found.decided_by,
        verdict=Action.ALLOW if found.outcome.value == Action.ALLOW else Action.DENY,
    )


def _uplink(interfaces: Iterable[HostInterface | None], addresses: Collection[str]) -> str:
    named = [one for one in interfaces if one is not None and one.interface not in ("", ALL_INTERFACES)]
    own = set(addresses)
    for one in named:
        if own & {address.partition("/")[0] for address in one.addresses}:
            return one.interface
    return named[0].interface if len(named) == 1 else UPLINK

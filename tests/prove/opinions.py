"""Every opinion about every packet of a world, side by side.

    resources --calc--> intent --> kernels       the packet came out there, or nowhere
                               --> explain       its verdict, and why
    resources ------------------> oracle         where it comes out

An opinion is the place where the packet comes out: an interface, `host`, or "" when it is denied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from muslin.calc.cluster import Graph as Cluster
from muslin.calc.host import Graph as HostGraph
from muslin.explain import Packet as ExplainedPacket
from muslin.explain import journey
from muslin.explain.census import enacted
from muslin.explain.text import origin_text
from muslin.intent import HostIntent
from muslin.model.kinds import BY_NAME
from muslin.model.meta import Resource, ResourceKey
from muslin.model.translated import translation
from prove import administrators as _  # noqa: F401  the oracle reads these policies too
from prove import law, site
from prove.aim import Tally
from prove.flight import Flight, Packet
from prove.kernels import Kernel
from prove.oracle import World

Object = dict[str, Any]


STAGED = "staged: "
"""Before the names of those who say what would become of the packet, were the staged policies in force."""


def part(said: Mapping[str, str]) -> bool:
    """Do the opinions part, of what is or of what would be?"""
    return any(len({place for name, place in said.items() if name.startswith(STAGED) is supposed}) > 1
               for supposed in (False, True))


class Site:
    """The host h1 in one world after another: as its agent would see the changes, on every backend."""

    def __init__(self, kernels: Mapping[str, Kernel]) -> None:
        self.kernels = kernels
        self._cluster = Cluster()
        self._graph = HostGraph()
        self._objects: dict[ResourceKey, Object] = {}
        self.tally = Tally()
        self._graph.update_interfaces(
            {name: frozenset(addresses) for name, addresses in site.INTERFACES.items()})
        self._graph.update(self._cluster.subscribe(site.NODE))

    @property
    def intent(self) -> HostIntent:
        return self._graph.intent

    def becomes(self, objects: list[Object]) -> None:
        """This world, by what is different from the last one."""
        wanted = {_key(each): each for each in map(kept_as, objects)}
        gone: dict[ResourceKey, Resource | None] = dict.fromkeys(self._objects.keys() - wanted.keys())
        came = {key: _struct(each) for key, each in wanted.items() if self._objects.get(key) != each}
        self._objects = wanted
        self._cluster.update(gone | came)
        for delta in self._cluster.flush().hosts.values():
            self._graph.update(delta)
        delta = self._graph.flush()
        for kernel in self.kernels.values():
            kernel.becomes(self.intent, delta)
            kernel.rig.forget_flows()

    def opinions(self, objects: list[Object], flights: Sequence[Flight]) -> list[dict[str, str]]:
        """Of each flight, by name of whose opinion it is. The world must be this one."""
        world = World(objects)
        goals = [{flight.packet.destination, law.translated(world, flight.packet).destination} for flight in flights]
        found = [{"oracle": self._read(world, flight), "explain": explained(self.intent, flight)} for flight in flights]
        if any(each["kind"].startswith("Staged") for each in objects):
            supposed, intent = World(objects, staged=True), enacted(self.intent)
            for flight, opinions in zip(flights, found, strict=True):
                opinions[f"{STAGED}oracle"] = law.comes_out(supposed, flight.arrives, flight.packet)
                opinions[f"{STAGED}explain"] = explained(intent, flight)
        for name, kernel in self.kernels.items():
            arrived = kernel.rig.arrivals(flights, goals)
            for number, opinions in enumerate(found):
                opinions[name] = arrived.get(number, law.NOWHERE)
        return found

    def _read(self, world: World, flight: Flight) -> str:
        seen: list[str] = []
        world.trail.clear()
        comes_out = law.comes_out(world, flight.arrives, flight.packet, seen=seen)
        self.tally.count(flight, seen, world.trail, comes_out)
        return comes_out

    def why(self, flight: Flight) -> list[str]:
        return why(self.intent, flight)

    def drift(self) -> dict[str, tuple[str, ...]]:
        """Backend -> what its kernel holds that is not what a table written from scratch would, or lacks."""
        return {name: found for name, kernel in self.kernels.items() if (found := kernel.drift(self.intent))}


def explained(intent: HostIntent, flight: Flight) -> str:
    """Where `explain` says that it comes out."""
    way = _way(intent, flight)
    leaves = site.exit_to(way.packet.destination)
    return leaves if str(way.verdict) == "Allow" else law.NOWHERE


def why(intent: HostIntent, flight: Flight) -> list[str]:
    """Gate by gate, for people."""
    way = _way(intent, flight)
    return [f"{one.gate} {one.interface} {one.endpoint}: {one.outcome} by {origin_text(one.decided_by)}"
            for one in way.passages]


def _way(intent: HostIntent, flight: Flight) -> Any:
    """The exit depends on the translation, and `explain` wants to know it beforehand."""
    way = _journey(intent, flight, flight.packet.destination)
    if way.packet.destination != flight.packet.destination:
        return _journey(intent, flight, way.packet.destination)
    return way


def _journey(intent: HostIntent, flight: Flight, destination: str) -> Any:
    arrives = None if flight.arrives == site.HOST else flight.arrives
    leaves = site.exit_to(destination)
    leaves_by = None if leaves == site.HOST else leaves
    return journey(intent, _packet(flight.packet), arrives_by=arrives, leaves_by=leaves_by)


def _packet(packet: Packet) -> ExplainedPacket:
    return ExplainedPacket(packet.source, packet.destination, packet.protocol, packet.destination_port,
                           packet.source_port, packet.icmp_type, packet.icmp_code)


def floating(objects: list[Object], flight: Flight) -> list[Packet]:
    """The packet with its floating addresses translated, each way, whether or not it will be."""
    pairs = {nat["externalIP"]: nat["internalIP"] for each in objects for nat in each.get("spec", {}).get("ipNATs", ())}
    outer = {inside: outside for outside, inside in pairs.items()}
    packet = flight.packet
    inside = packet._replace(destination=pairs.get(packet.destination, packet.destination))
    return [*_masqueraded(objects, inside), inside, inside._replace(source=outer.get(packet.source, packet.source)),
            packet._replace(source=outer.get(packet.source, packet.source))]


def _masqueraded(objects: list[Object], packet: Packet) -> list[Packet]:
    leaves = site.INTERFACES.get(site.exit_to(packet.destination))
    if leaves is None or not any(each["kind"] == "IPPool" for each in objects):
        return []
    return [packet._replace(source=leaves[packet.version == 6])]


def resources(objects: list[Object]) -> dict[ResourceKey, Resource]:
    """As the store would hold them."""
    return {_key(each): _struct(each) for each in map(kept_as, objects)}


def kept_as(each: Object) -> Object:
    """As the server keeps it: what is Kubernetes' own becomes Calico's."""
    found = translation(each)
    return each if found is None else found.to_calico(each)


def _key(each: Object) -> ResourceKey:
    return ResourceKey(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])


def _struct(each: Object) -> Resource:
    found: Resource = msgspec.convert(each, BY_NAME[each["kind"]].struct)
    return found

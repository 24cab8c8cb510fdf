"""Three opinions, one network: the kernel, `explain`, and a plain reading of the resources, packet by packet.

A host with four workloads and the world outside gets one generated policy after another, as a running host would: by
the changes that `calc.cluster`, `calc.host` and `render.nft` make of the difference, in one transaction each. Under
each, real packets of every protocol are aimed at the edges of its rules. What arrives must be what the other two say.
To see one run again, or to try others: `MUSLIN_SEED=<number> pytest tests/kernel/test_proof_packets.py`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

import msgspec
import pytest

import netrig
import nftrig
import proof_oracle
import proof_world
from muslin.calc.cluster import Graph as Cluster
from muslin.calc.host import Graph as HostGraph
from muslin.explain import path, text
from muslin.intent import EndpointKey, HostIntent
from muslin.model.kinds import BY_NAME
from muslin.model.meta import Resource, ResourceKey
from nftrig import Station
from proof_world import Flight

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SEED = int(os.environ.get("MUSLIN_SEED", "20"))
WORLDS, FLIGHTS = 60, 150

SO_RCVBUFFORCE = 33
OUTSIDE = "outside"
OUTSIDE_NUMBER = 99

Object = dict[str, Any]


class Network:
    """The host, its workloads by name, and the world outside at the host's default route."""

    def __init__(self, host: nftrig.Host, stations: dict[str, Station]) -> None:
        self._host = host
        self._stations = stations
        self._cluster = Cluster()
        self._graph = HostGraph()
        self._objects: dict[ResourceKey, Object] = {}
        workloads = [(name, station) for name, station in stations.items() if name != OUTSIDE]
        self._at = {address: name for name, station in workloads for address in (station.v4, station.v6)}
        self._graph.update(self._cluster.subscribe("h1"))

    @property
    def intent(self) -> HostIntent:
        return self._graph.intent

    def becomes(self, objects: list[Object]) -> None:
        """This world, in the kernel, by what is different from the last one."""
        wanted = {_key(each): each for each in objects}
        gone: dict[ResourceKey, Resource | None] = dict.fromkeys(self._objects.keys() - wanted.keys())
        came = {key: _struct(each) for key, each in wanted.items() if self._objects.get(key) != each}
        self._objects = wanted
        self._cluster.update(gone | came)
        for delta in self._cluster.flush().hosts.values():
            self._graph.update(delta)
        delta = self._graph.flush()
        self._host.apply(self.intent, delta)
        netrig.in_ns(self._host.space, "conntrack", "-F")

    def arrivals(self, flights: list[Flight]) -> dict[int, str]:
        """Number of flight -> name of the station where it came out. All are sent, then the wires are read.

        One processor does it all, so that packets keep their order through every queue: when the last one, which
        no policy can stop, has arrived outside, all others have arrived or never will.
        """
        tokens = {}
        for number, flight in enumerate(flights):
            tokens[self._stations[flight.sender or OUTSIDE].send(_on_wire(flight))] = number
        outside = self._stations[OUTSIDE]
        last = outside.send(nftrig.Packet("203.0.113.1", "203.0.113.2", 17, 9))
        heard = {name: [*_frames(station.wire)] for name, station in self._stations.items() if name != OUTSIDE}
        heard[OUTSIDE] = _frames_until(outside.wire, last)
        for name, station in self._stations.items():
            if name != OUTSIDE:
                heard[name] += _frames(station.wire)
        return {
            tokens[token]: name
            for name, frames in heard.items() for frame in frames for token in tokens
            if token in frame and _goes_to(frame, flights[tokens[token]].packet.destination)
        }

    def destination(self, flight: Flight) -> str:
        """Where a packet comes out that nobody stops."""
        return self._at.get(flight.packet.destination, OUTSIDE)


def _key(each: Object) -> ResourceKey:
    return ResourceKey(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])


def _struct(each: Object) -> Resource:
    found: Resource = msgspec.convert(each, BY_NAME[each["kind"]].struct)
    return found


def _on_wire(flight: Flight) -> nftrig.Packet:
    packet = flight.packet
    if packet.icmp_type is not None:
        return nftrig.Packet(packet.source, packet.destination, packet.protocol, packet.icmp_type, packet.icmp_code)
    ports = (packet.destination_port, packet.source_port)
    return nftrig.Packet(packet.source, packet.destination, packet.protocol, *ports)


def _goes_to(frame: bytes, destination: str) -> bool:
    """Its own header says so; an ICMP error carries the packet that it is about, and goes elsewhere."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in destination else socket.AF_INET, destination)
    return packed == (frame[38:54] if len(packed) == 16 else frame[30:34])


def _frames(wire: socket.socket) -> Iterator[bytes]:
    """What has come in, and nothing of what went out."""
    while select.select([wire], [], [], 0)[0]:
        frame, address = wire.recvfrom(2048)
        if address[2] != socket.PACKET_OUTGOING:
            yield frame


def _frames_until(wire: socket.socket, token: bytes) -> list[bytes]:
    frames: list[bytes] = []
    deadline = time.monotonic() + 5
    while not any(token in frame for frame in frames):
        assert time.monotonic() < deadline, "a packet that concerns no workload was not forwarded"
        select.select([wire], [], [], 0.5)
        frames += _frames(wire)
    return frames


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        stack.enter_context(_one_processor())
        host = stack.enter_context(nftrig.host())
        numbers = {name: int(name[1:]) for name in proof_world.LOCAL}
        stations = {
            name: stack.enter_context(nftrig.station(host, number, f"mus{name}")) for name, number in numbers.items()
        }
        outside = stations[OUTSIDE] = stack.enter_context(nftrig.station(host, OUTSIDE_NUMBER, "up0"))
        netrig.run("ip", "-n", host.space, "route", "add", "default", "via", outside.v4, "dev", "up0", "onlink")
        netrig.run("ip", "-n", host.space, "route", "add", "default", "via", outside.v6, "dev", "up0", "onlink")
        netrig.in_ns(host.space, "sysctl", "-qw", "net.ipv4.conf.all.send_redirects=0",
                     "net.ipv4.conf.up0.send_redirects=0")
        for station in stations.values():
            station.wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        yield Network(host, stations)


@contextmanager
def _one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def by_explain(intent: HostIntent, network: Network, flight: Flight, objects: list[Object]) -> tuple[str, list[str]]:
    """(verdict, why)"""
    sender = _workload(objects, flight.sender)
    found = path(
        intent if sender else None,
        intent if network.destination(flight) != OUTSIDE else None,
        flight.packet,
        source=_endpoint_key(sender) if sender else None,
        destination=_endpoint_key(_workload(objects, network.destination(flight))),
    )
    lines = [line for decision in (found.egress, found.ingress) if decision for line in text(decision)]
    return found.verdict, lines


def by_reading(world: proof_oracle.World, network: Network, flight: Flight) -> str:
    sender, receiver = (_workload(world.objects, name) for name in (flight.sender, network.destination(flight)))
    if sender and proof_oracle.verdict(world, sender, "egress", flight.packet) == "Deny":
        return "Deny"
    return proof_oracle.verdict(world, receiver, "ingress", flight.packet) if receiver else "Allow"


def _workload(objects: list[Object], name: str) -> Object | None:
    return next((each for each in objects if each["spec"].get("workload") == name), None) if name else None


def _endpoint_key(each: Object | None) -> EndpointKey | None:
    if each is None:
        return None
    return EndpointKey(f"WorkloadEndpoint/{each['metadata']['namespace']}/{each['metadata']['name']}")


def apart(flights: Iterator[Flight]) -> list[Flight]:
    """Those that conntrack cannot take for another one's flow, or for the answer to it."""
    found: dict[object, Flight] = {}
    for flight in flights:
        packet = flight.packet
        ends = frozenset({(packet.source, packet.source_port), (packet.destination, packet.destination_port)})
        if packet.icmp_type is not None:
            found[packet, len(found)] = flight  # each has an id of its own
        elif packet.destination_port:
            found.setdefault((packet.protocol, ends), flight)
        else:
            found.setdefault((packet.protocol, frozenset({packet.source, packet.destination})), flight)
    return list(found.values())


def test_the_kernel_explain_and_a_plain_reading_agree_on_every_packet(network: Network) -> None:
    """The heart of the product: what was written is what happens, and what we say happens."""
    random = Random(SEED)
    seen = {"Allow": 0, "Deny": 0}

    for number in range(WORLDS):
        objects = proof_world.world(random)
        flights = apart(proof_world.flights(random, objects, FLIGHTS))
        network.becomes(objects)
        world = proof_oracle.World(objects)
        arrived = network.arrivals(flights)

        for place, flight in enumerate(flights):
            kernel = "Allow" if arrived.get(place) == network.destination(flight) else "Deny"
            explained, lines = by_explain(network.intent, network, flight, objects)
            read = by_reading(world, network, flight)
            seen[kernel] += 1
            if not kernel == explained == read:
                things = "\n".join(json.dumps(each) for each in objects)
                opinions = f"kernel {kernel}, explain {explained}, plain reading {read}"
                why = "\n".join(lines)
                pytest.fail(f"MUSLIN_SEED={SEED}, world {number}\n{flight}\n{opinions}\n{why}\n{things}", pytrace=False)

    assert min(seen.values()) > 0.15 * sum(seen.values()), f"the generator is blind on one eye: {seen}"

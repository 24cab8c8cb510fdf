"""The part of the cluster that can cut the cluster off from itself, as `lockout` asks it: kept, and changed in place.

Everything but workloads: host endpoints and their policies, and the fabric that BGP comes from. To put it together anew
for each write would take half a second where there are 5000 policies; to change one object of it takes as long as that
object is large. Hosts that have host endpoints are subscribed in a graph that is nobody else's, so that the graph
itself says whether a change means anything to them: most policies are workloads' alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.members import Sort
from muslin.calc.population import Value
from muslin.explain.ends import Hosts
from muslin.explain.whois import node_addresses
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPConfiguration, BGPPeer, Node
from muslin.net import parse_address

BGP = 179
_FABRIC = ("Node", "BGPConfiguration", "BGPPeer", "BGPFilter", "IPPool")
_SPEAKING = ("Node", "BGPConfiguration", "BGPPeer")


class Connection(NamedTuple):
    """An agent's connection to a server, as it stands: the address that the agent has for the server, and the server's
    own address and port."""

    host: str
    agent: str
    server: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The cluster that is asked. `policy`: everything but BGP, which it need not work out for a thousand hosts.
    `fabric`: nodes and BGP alone. `hosts`: their addresses, `owners`: the same the other way round. `guarded`: hosts
    that have host endpoints. `peers`: (address, port) of all that BGP may speak to."""

    policy: Graph
    fabric: Graph
    hosts: Hosts
    owners: Mapping[str, str]
    guarded: AbstractSet[str]
    connections: tuple[Connection, ...] = ()
    peers: tuple[tuple[str, int], ...] = ()


class Scenery:
    def __init__(self) -> None:
        self._policy, self._fabric = Graph(), Graph()
        self._speaking: dict[ResourceKey, Value] = {}
        """What names addresses."""
        self._guarded: frozenset[str] = frozenset()
        self._last: Scene | None = None

    def update(self, batch: Mapping[ResourceKey, Value]) -> AbstractSet[str]:
        """Take in what changed; None: it is gone. Those hosts with host endpoints, then or now, that do otherwise."""
        self._policy.update({
            key: _without_bgp(value) for key, value in batch.items() if not key.kind.startswith("BGP")})
        self._fabric.update({key: value for key, value in batch.items() if key.kind in _FABRIC})
        self._fabric.flush()
        speaking = {key: value for key, value in batch.items() if key.kind in _SPEAKING}
        if speaking:
            self._speaking = {key: one for key, one in {**self._speaking, **speaking}.items() if one is not None}
            self._last = None
        changed: AbstractSet[str] = self._policy.flush().hosts.keys()
        if any(key.kind == "HostEndpoint" for key in batch):
            changed |= self._subscribe()
        return changed

    def scene(self, connections: Iterable[Connection] = ()) -> Scene:
        """Holds until the next update."""
        if self._last is None:
            hosts = {key.name: node_addresses(one) for key, one in self._speaking.items() if isinstance(one, Node)}
            self._last = Scene(
                policy=self._policy, fabric=self._fabric, hosts=hosts, guarded=self._guarded,
                owners={address: host for host, addresses in hosts.items() for address in addresses},
                peers=tuple(_peers(self._speaking.values())))
        return replace(self._last, guarded=self._guarded, connections=tuple(connections))

    def _subscribe(self) -> AbstractSet[str]:
        before, self._guarded = self._guarded, frozenset(_guarded_hosts(self._policy))
        for host in before - self._guarded:
            self._policy.unsubscribe(host)
        for host in self._guarded - before:
            self._policy.subscribe(host)
        return before ^ self._guarded


def scene(resources: Mapping[ResourceKey, Value], connections: Iterable[Connection] = ()) -> Scene:
    """Of everything that host endpoints, their policies and BGP depend on."""
    scenery = Scenery()
    scenery.update(resources)
    return scenery.scene(connections)


def _guarded_hosts(graph: Graph) -> Iterator[str]:
    for found in graph.label_classes():
        if found.sort is Sort.HOST:
            yield from (member.host for member in found.members.values() if member.host)


def _without_bgp(value: Value) -> Value:
    return msgspec.structs.replace(value, spec=msgspec.structs.replace(value.spec, bgp=None)) \
        if isinstance(value, Node) else value


def _peers(resources: Iterable[Value]) -> Iterator[tuple[str, int]]:
    """Of BGPPeers that name an address; and the port at which our own hosts listen."""
    known = list(resources)
    ports = [one.spec.listen_port for one in known if isinstance(one, BGPConfiguration) and one.spec.listen_port]
    own = ports[0] if ports else BGP
    for one in known:
        if isinstance(one, Node):
            yield from ((address, own) for address in node_addresses(one))
        elif isinstance(one, BGPPeer) and one.spec.peer_ip:
            address, port = _with_port(one.spec.peer_ip)
            with suppress(ValueError):  # its own fault names it
                yield parse_address(address), port


def _with_port(text: str) -> tuple[str, int]:
    """`10.0.0.1`, `10.0.0.1:1790`, `[fd00::1]:1790`."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    return address, int(port) if port.isdigit() else BGP

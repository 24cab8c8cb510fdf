"""Would a change cut off the server, an agent from its server, or a BGP session?

A policy that selects all hosts, or a host endpoint that nothing allows yet, is obeyed within a second by every host at
once. Then nobody can tell them that it was a mistake. So the connections that carry the cluster itself are tried, as
`why` would, on the cluster as it would be: what passed before and would not any more is a cut.

    agent -> server     out of the agent's host, and into the server's where that is a host of ours
    BGP                 from either end to port 179 of the other: a session stands while one of the two can be opened

Only a host that has host endpoints can cut anything, so only those are looked at; and of all addresses only one of each
sort that the hosts' rules tell apart. Answers count too: an untracked policy must let them back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.members import Sort
from muslin.calc.population import Value
from muslin.explain.course import Standpoint, standpoint
from muslin.explain.ends import Hosts
from muslin.explain.journey import Flow, cover, journey
from muslin.explain.packet import EPHEMERAL, Packet, covering
from muslin.explain.text import origin_text
from muslin.explain.whois import node_addresses
from muslin.intent import Action, AddressSet, BgpSession, HostIntent, Origin
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPConfiguration, BGPPeer, Node
from muslin.net import PROTOCOL_NUMBERS, Cidr, parse_address, version_of

_TCP = PROTOCOL_NUMBERS["TCP"]
BGP = 179
_FABRIC = ("Node", "BGPConfiguration", "BGPPeer", "BGPFilter", "IPPool")
MOST = 100
"""Cuts that are worth telling."""


class Connection(NamedTuple):
    """An agent's connection to a server, as it stands: the address that the agent has for the server, and the server's
    own address and port."""

    host: str
    agent: str
    server: str
    port: int


class Cut(NamedTuple):
    """`what` could no longer be done, because `host` would not let it pass, by `origin`."""

    what: str
    host: str
    origin: Origin
    outwards: bool
    remote: str
    port: int

    @property
    def text(self) -> str:
        way = f"to {self.remote} port {self.port}" if self.outwards else f"from {self.remote} to port {self.port}"
        failsafe = f"failsafe{'Outbound' if self.outwards else 'Inbound'}HostPorts"
        return (f"{self.what}: {self.host} would drop TCP {way}, by {origin_text(self.origin)}; allow that in a policy "
                f"that comes before it, or name the port in {failsafe}")


def guarded_hosts(graph: Graph) -> set[str]:
    """Hosts that have host endpoints."""
    return {member.host for found in graph.label_classes() if found.sort is Sort.HOST
            for member in found.members.values() if member.host}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The cluster that is asked. `policy`: everything but BGP, which it need not work out for a thousand hosts.
    `fabric`: nodes and BGP alone. `hosts`: their addresses. `peers`: (address, port) of all that BGP may speak to."""

    policy: Graph
    fabric: Graph
    hosts: Hosts
    connections: tuple[Connection, ...] = ()
    peers: tuple[tuple[str, int], ...] = ()


def scene(resources: Mapping[ResourceKey, Value], connections: Iterable[Connection] = ()) -> Scene:
    """Of everything that host endpoints, their policies and BGP depend on."""
    policy, fabric = Graph(), Graph()
    policy.update({key: _without_bgp(value) for key, value in resources.items() if not key.kind.startswith("BGP")})
    fabric.update({key: value for key, value in resources.items() if key.kind in _FABRIC})
    for graph in (policy, fabric):
        graph.flush()
    hosts = {key.name: node_addresses(value) for key, value in resources.items() if isinstance(value, Node)}
    return Scene(policy=policy, fabric=fabric, hosts=hosts, connections=tuple(connections),
                 peers=tuple(_peers(resources.values())))


def _without_bgp(value: Value) -> Value:
    return msgspec.structs.replace(value, spec=msgspec.structs.replace(value.spec, bgp=None)) \
        if isinstance(value, Node) else value


def _peers(resources: Iterable[Value]) -> Iterator[tuple[str, int]]:
    """Of BGPPeers that name an address; and the port at which our own hosts listen."""
    ports = [one.spec.listen_port for one in resources if isinstance(one, BGPConfiguration) and one.spec.listen_port]
    own = ports[0] if ports else BGP
    for one in resources:
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


def cuts(scene: Scene) -> list[Cut]:
    """What does not pass now; of very many, some."""
    concerned = guarded_hosts(scene.policy)
    if not concerned:
        return []
    lines = _Lines(scene.policy, scene.hosts, concerned)
    found = chain(_of_agents(lines, scene.hosts, scene.connections), _of_bgp(lines, scene, concerned))
    return list(islice(found, MOST))


def new_cuts(before: Iterable[Cut], after: Iterable[Cut]) -> list[Cut]:
    """Those that a change makes."""
    old = {(cut.what, cut.host) for cut in before}
    return [cut for cut in after if (cut.what, cut.host) not in old]


def _of_agents(lines: _Lines, hosts: Hosts, connections: Iterable[Connection]) -> Iterator[Cut]:
    owners = _owners(hosts)
    for one in connections:
        if one.agent == one.server or owners.get(one.server) == one.host:
            continue  # on one machine: no interface is between them
        at = f"{one.server} port {one.port}"
        origin = lines.stop(one.host, one.agent, one.server, one.port, outwards=True)
        if origin is not None:
            yield Cut(f"the agent of {one.host} would lose the server at {at}", one.host, origin, True, one.server,
                      one.port)
        keeper = owners.get(one.server, "")
        origin = lines.stop(keeper, one.server, one.agent, one.port, outwards=False)
        if origin is not None:
            yield Cut(f"the agent of {one.host} would lose the server at {at}", keeper, origin, False, one.agent,
                      one.port)


def _of_bgp(lines: _Lines, scene: Scene, concerned: set[str]) -> Iterator[Cut]:
    owners = _owners(scene.hosts)
    others = {*scene.peers, *((address, BGP) for address in owners)}
    for host in sorted(concerned):
        if not any(lines.stops(host, own, others) for own in scene.hosts.get(host, ())):
            continue
        speaker = scene.fabric.speaker(host)
        if speaker is None:
            continue
        for session in speaker.sessions:
            own = session.source_address or next(
                (one for one in speaker.addresses if version_of(one) == version_of(session.peer_address)), "")
            if own and (cut := _session(lines, host, own, session, speaker.listen_port, owners)) is not None:
                yield cut


def _session(
    lines: _Lines, host: str, own: str, session: BgpSession, listens: int, owners: Mapping[str, str]
) -> Cut | None:
    """A session is cut here when neither end can open it, and this host is the one that stops it."""
    peer, other = session.peer_address, owners.get(session.peer_address, "")
    outwards = lines.stop(host, own, peer, session.peer_port, outwards=True)
    inwards = lines.stop(host, own, peer, listens, outwards=False)
    if outwards is None and lines.stop(other, peer, own, session.peer_port, outwards=False) is None \
            and not session.passive:
        return None
    if inwards is None and lines.stop(other, peer, own, listens, outwards=True) is None:
        return None
    origin = inwards or outwards
    if origin is None:
        return None  # the other end stops it, and is asked itself
    called = f"{other} ({peer})" if other else peer
    return Cut(f"the BGP session of {host} with {called} would end", host, origin, inwards is None, peer,
               session.peer_port if inwards is None else listens)


def _owners(hosts: Hosts) -> dict[str, str]:
    return {address: host for host, addresses in hosts.items() for address in addresses}


class _Lines:
    """What the hosts concerned let pass."""

    def __init__(self, graph: Graph, hosts: Hosts, concerned: Iterable[str]) -> None:
        self._stands = {host: standpoint(graph, host, hosts.get(host, ()), ()) for host in concerned}
        self._lists = {host: self._list(stand) for host, stand in self._stands.items()}
        self._members: dict[Cidr, set[Hashable]] = {}
        self._gather(stand.intent for stand in self._stands.values())
        self._lengths = {version: sorted({32 if version == 4 else 128} | {
            int(net.partition("/")[2]) for net in self._members if version_of(net) == version}) for version in (4, 6)}
        self._sorts: dict[str, Hashable] = {}
        self._known: dict[Hashable, Origin | None] = {}

    def stop(self, host: str, own: str, remote: str, port: int, *, outwards: bool) -> Origin | None:
        """The rule by which the host would not let a connection pass; None: it passes, or is no business of ours."""
        stand = self._stands.get(host)
        if stand is None or version_of(own) != version_of(remote):
            return None
        key = (self._lists[host], self._sort(own), self._sort(remote), port, outwards)
        if key not in self._known:
            self._known[key] = _stop(stand, own, remote, port, outwards)
        return self._known[key]

    def stops(self, host: str, own: str, others: Iterable[tuple[str, int]]) -> bool:
        """Would it not let something of these pass, either way?"""
        sorts = {(self._sort(remote), port): remote for remote, port in others if version_of(remote) == version_of(own)}
        return any(self.stop(host, own, remote, port, outwards=outwards) is not None
                   for (_, port), remote in sorts.items() for outwards in (True, False))

    def _list(self, stand: Standpoint) -> Hashable:
        """Hosts with the same lists of policies at their uplink, and the same failsafes, say the same."""
        found, settings = cover(stand.intent, stand.uplink), stand.intent.settings
        lists = None if found is None else (
            found.ingress, found.egress, found.untracked_ingress, found.untracked_egress, found.pre_dnat)
        return lists, settings.failsafe_inbound, settings.failsafe_outbound, settings.drop_invalid

    def _gather(self, intents: Iterable[HostIntent]) -> None:
        seen: set[Hashable] = set()
        for intent in intents:
            for name, policy in intent.policies.items():
                if name in seen:
                    continue
                seen.add(name)
                for rule in (*policy.ingress, *policy.egress):
                    for match in (rule.source, rule.destination):
                        for net in (*match.nets, *match.not_nets):
                            self._members.setdefault(net, set()).add(net)
            for set_id, members in intent.sets.items():
                if set_id in seen:
                    continue
                seen.add(set_id)
                if isinstance(members, AddressSet):
                    for member in members.members:
                        self._members.setdefault(member, set()).add(set_id)
                else:
                    for address, protocol, port in members.members:
                        self._members.setdefault(address, set()).add((set_id, protocol, port))

    def _sort(self, address: str) -> Hashable:
        """All that rules can learn of the address."""
        found = self._sorts.get(address)
        if found is None:
            within = covering(address, self._lengths[version_of(address)])
            found = frozenset[Hashable]().union(*(self._members.get(net, ()) for net in within))
            self._sorts[address] = found
        return found


def _stop(stand: Standpoint, own: str, remote: str, port: int, outwards: bool) -> Origin | None:
    """There, and back."""
    intent, uplink = stand.intent, stand.uplink
    there = Packet(own if outwards else remote, remote if outwards else own, _TCP, port, EPHEMERAL)
    back = Packet(there.destination, there.source, _TCP, EPHEMERAL, port)
    if outwards:
        first = journey(intent, there, leaves_by=uplink)
        flow = Flow.ESTABLISHED if first.tracked else Flow.NEW
        second = journey(intent, back, arrives_by=uplink, flow=flow)
    else:
        first = journey(intent, there, arrives_by=uplink)
        flow = Flow.ESTABLISHED if first.tracked else Flow.NEW
        second = journey(intent, back, leaves_by=uplink, flow=flow)
    denying = next((one for one in (first, second) if one.verdict is Action.DENY), None)
    return denying.decided_by if denying is not None else None

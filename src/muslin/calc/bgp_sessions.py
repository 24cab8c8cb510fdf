"""Which sessions does one host have?

Four voices may ask for a session between the same two addresses: a BGPPeer for every node, a BGPPeer for this node,
a BGPPeer of the other end that wants to be answered, and the node-to-node mesh. One TCP connection cannot serve
four masters, so the first of them, in that order and by name, decides how the session is; the others have their
wish already. That is Calico's order, with the mesh, which Calico would run beside the others, put last.

    Global_*   BGPPeer without node and nodeSelector       Node_*   BGPPeer for this node, or its reverse
    Mesh_*     node-to-node mesh

Each address family has its own session, carrying only that family, and only when both ends have an address in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from muslin.calc.bgp_nodes import DEFAULT_PORT, BgpNode
from muslin.calc.bgp_peerings import Options, Peering
from muslin.intent import BgpSession
from muslin.net import version_of

VERSIONS = (4, 6)


class Mesh(NamedTuple):
    """How the nodes of the mesh meet. There is no Mesh when it is switched off."""

    password: str = ""
    max_restart_time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What sessions follow from. `far[peering]` are the nodes that its peerSelector selects."""

    nodes: Mapping[str, BgpNode]
    default_as: int
    peerings: tuple[Peering, ...]
    far: Mapping[str, tuple[BgpNode, ...]]
    by_address: Mapping[str, BgpNode]
    mesh: Mesh | None
    node_address_only: bool = False
    """bindMode NodeIP: nothing listens, nothing connects but from the node's own address."""


class _Peer(NamedTuple):
    """The far end of one session."""

    address: str
    port: int
    local_as: int
    cluster_id: str = ""


def sessions(cluster: Cluster, me: BgpNode) -> tuple[BgpSession, ...]:
    """All sessions of one node, in the order of names."""
    chosen: dict[tuple[str, int], BgpSession] = {}
    for session in _wishes(cluster, me):
        chosen.setdefault((session.peer_address, session.peer_port), session)
    return tuple(sorted(chosen.values(), key=lambda session: session.name))


def _wishes(cluster: Cluster, me: BgpNode) -> Iterator[BgpSession]:
    for prefix, everywhere in (("Global", True), ("Node", False)):
        for peering in cluster.peerings:
            if peering.everywhere == everywhere and peering.is_near(me):
                for peer in _far_ends(cluster, peering, me):
                    yield _session(cluster, me, prefix, peering, peer, forward=True)
    for peering in cluster.peerings:
        if peering.reversed and _is_far(cluster, peering, me):
            for peer in _near_ends(cluster, peering, me):
                yield _session(cluster, me, "Node", peering, peer, forward=False)
    if cluster.mesh is not None:
        yield from _mesh(cluster, cluster.mesh, me)


def _far_ends(cluster: Cluster, peering: Peering, me: BgpNode) -> Iterator[_Peer]:
    """Whom `me` talks to, being at the near end."""
    if peering.far is not None:
        for node in cluster.far[peering.name]:
            yield from _meetings(me, node, VERSIONS)
    elif me.address(version_of(peering.address)) not in ("", peering.address):
        node_there = _node_at(cluster, peering)
        yield _Peer(
            address=peering.address,
            port=peering.port or (node_there.port if node_there else DEFAULT_PORT),
            local_as=peering.peer_as or (node_there.local_as if node_there else cluster.default_as),
            cluster_id=node_there.cluster_id if node_there else "",
        )


def _near_ends(cluster: Cluster, peering: Peering, me: BgpNode) -> Iterator[_Peer]:
    """Whom `me` answers, being at the far end. A near end that speaks as another AS is addressed as such."""
    versions = VERSIONS if peering.far is not None else (version_of(peering.address),)
    for node in cluster.nodes.values():
        if peering.is_near(node):
            for peer in _meetings(me, node, versions):
                yield peer._replace(local_as=peering.options.local_as or node.local_as)


def _meetings(me: BgpNode, node: BgpNode, versions: tuple[int, ...]) -> Iterator[_Peer]:
    if node.name != me.name:
        for version in versions:
            if me.address(version) and node.address(version):
                yield _Peer(node.address(version), node.port, node.local_as, node.cluster_id)


def _node_at(cluster: Cluster, peering: Peering) -> BgpNode | None:
    """The node of ours that a peerIP means. Another AS or port at its address is somebody else's speaker."""
    node = cluster.by_address.get(peering.address)
    if node is None or (peering.peer_as or node.local_as) != node.local_as or peering.port not in (0, node.port):
        return None
    return node


def _is_far(cluster: Cluster, peering: Peering, me: BgpNode) -> bool:
    if peering.far is not None:
        return peering.far.matches(me.labels)
    node = _node_at(cluster, peering)
    return node is not None and node.name == me.name


def _session(
    cluster: Cluster, me: BgpNode, prefix: str, peering: Peering, peer: _Peer, *, forward: bool
) -> BgpSession:
    """`forward`: `me` is the near end. localASNumber and reachableBy are about the near end only."""
    options = peering.options
    local_as = (options.local_as if forward else None) or me.local_as
    return BgpSession(
        name=_name(prefix, peer),
        origin=f"BGPPeer {peering.name}",
        peer_address=peer.address,
        peer_port=peer.port,
        peer_as=peer.local_as,
        local_as=local_as,
        source_address=_source(cluster, me, peer, wanted=options.from_node_address),
        reflector_client=_is_client(me, peer, local_as),
        next_hop_mode=_next_hop_mode(options, internal=peer.local_as == local_as),
        password=options.password,
        max_restart_time=options.max_restart_time,
        keepalive_time=options.keepalive_time,
        allowed_local_as=options.allowed_local_as,
        ttl_security=options.ttl_security,
        reachable_by=peering.reachable_by if forward else "",
        filters=options.filters,
    )


def _mesh(cluster: Cluster, mesh: Mesh, me: BgpNode) -> Iterator[BgpSession]:
    """A route reflector is not part of the mesh, on either side."""
    if me.cluster_id:
        return
    for node in cluster.nodes.values():
        if node.cluster_id:
            continue
        for peer in _meetings(me, node, VERSIONS):
            yield BgpSession(
                name=_name("Mesh", peer),
                origin=f"node-to-node mesh, {node.name}",
                peer_address=peer.address,
                peer_port=peer.port,
                peer_as=peer.local_as,
                local_as=me.local_as,
                source_address=me.address(version_of(peer.address)),
                password=mesh.password,
                max_restart_time=mesh.max_restart_time,
                # Both ends know the text of both addresses, so they agree who calls. As text: so does Calico.
                passive=peer.address > me.address(version_of(peer.address)),
            )


def _name(prefix: str, peer: _Peer) -> str:
    address = peer.address.replace(".", "_").replace(":", "_")
    return f"{prefix}_{address}" + (f"_port_{peer.port}" if peer.port != DEFAULT_PORT else "")


def _source(cluster: Cluster, me: BgpNode, peer: _Peer, *, wanted: bool) -> str:
    return me.address(version_of(peer.address)) if wanted or cluster.node_address_only else ""


def _is_client(me: BgpNode, peer: _Peer, local_as: int) -> bool:
    """A reflector's internal peers are its clients, but for reflectors of its own cluster."""
    return bool(me.cluster_id) and peer.local_as == local_as and peer.cluster_id != me.cluster_id


def _next_hop_mode(options: Options, *, internal: bool) -> str:
    return "Keep" if options.keep_original_next_hop and not internal else options.next_hop_mode

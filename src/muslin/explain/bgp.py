"""How does one host know the way to an address on another? By who tells it, session by session.

    direct      a session between the two: the node-to-node mesh, or a peering of theirs
    reflected   both speak to a route reflector of ours
    fabric      both speak to routers that are no hosts of ours: what those tell each other is not ours to know

This is what the configuration says, from both hosts' speakers. Whether the sessions are up, `muslin status` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from muslin.calc.cluster import Graph
from muslin.explain.whois import node_addresses
from muslin.intent import BgpSession, BgpSpeaker
from muslin.net import Cidr, contains, host_cidr, version_of

_MANY = 3
Json = dict[str, Any]


def learnt(graph: Graph, here: str, there: str, address: str) -> Json:
    """{"prefix", "next_hop", "by": [...]}; nothing where one of the two speaks no BGP."""
    mine, other = graph.speaker(here), graph.speaker(there)
    if mine is None or other is None:
        return {"by": [_no_speaker(here if mine is None else there)]}
    prefix = _announced(other, host_cidr(address))
    told = list(_by(graph, *(_of_family(speaker, version_of(address)) for speaker in (mine, other))))
    next_hop = next((one for one in other.addresses if version_of(one) == version_of(address)), "")
    return {"prefix": prefix, "next_hop": next_hop, "by": told or [{
        "how": "nobody", "text": f"no session and no reflector leads from {there} to {here}"}]}


def _by(graph: Graph, mine: BgpSpeaker, other: BgpSpeaker) -> Iterator[Json]:
    direct = [session for session in mine.sessions if session.peer_address in other.addresses]
    for session in direct[:_MANY]:
        yield _told("direct", session, f"session {session.name} ({session.origin})")
    if direct:
        return
    hosts = {address: name for name, node in graph.nodes.items() for address in node_addresses(node)}
    for session in mine.sessions:
        name = hosts.get(session.peer_address)
        speaker = graph.speaker(name) if name is not None else None
        if speaker is not None and speaker.cluster_id and _speaks_to(speaker, other):
            yield _told("reflected", session, f"route reflector {name}, session {session.name} ({session.origin})")
    outside = {session.peer_address for session in other.sessions} - hosts.keys()
    strangers = [session for session in mine.sessions if session.peer_address not in hosts]
    if strangers and outside:
        for session in strangers[:_MANY]:
            yield _told("fabric", session, f"router {session.peer_address} of AS {session.peer_as}, session "
                                           f"{session.name} ({session.origin})")


def _of_family(speaker: BgpSpeaker, version: int) -> BgpSpeaker:
    """With those sessions that carry routes of the family: the ones to peers of that family."""
    return msgspec.structs.replace(speaker, sessions=tuple(
        session for session in speaker.sessions if version_of(session.peer_address) == version))


def _told(how: str, session: BgpSession, text: str) -> Json:
    return {"how": how, "session": session.name, "peer": session.peer_address, "text": text}


def _no_speaker(host: str) -> Json:
    return {"how": "nobody", "text": f"{host} speaks no BGP: its Node has no spec.bgp"}


def _announced(speaker: BgpSpeaker, address: Cidr) -> str:
    """The longest prefix that holds the address and that the host announces."""
    found = [one.prefix for one in speaker.originate if one.export and contains(one.prefix, address)]
    return max(found, key=lambda prefix: int(prefix.partition("/")[2]), default="")


def _speaks_to(speaker: BgpSpeaker, other: BgpSpeaker) -> bool:
    return any(session.peer_address in other.addresses for session in speaker.sessions)


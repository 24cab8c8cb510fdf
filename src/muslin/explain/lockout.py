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

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from muslin.explain.lines import Lines
from muslin.explain.scene import Scene
from muslin.explain.text import origin_text
from muslin.intent import BgpSession, Origin
from muslin.net import version_of


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


def cuts(scene: Scene, about: Collection[str] | None = None) -> Iterator[Cut]:
    """What does not pass now; of connections of these hosts only, where some are named."""
    lines = Lines(scene)
    return chain(_of_agents(lines, scene, about), _of_bgp(lines, scene, about))


def stopping(scene: Scene, about: Collection[str]) -> bool:
    """Does one of these hosts stop anything that carries the cluster? If none does, a change of them alone cuts
    nothing. Much cheaper to ask than `cuts`."""
    lines = Lines(scene)
    return any(True for _ in _of_agents(lines, scene, about)) or any(
        lines.stops(host, own) for host in about for own in scene.hosts.get(host, ()))


def new_cuts(before: Iterable[Cut], after: Iterable[Cut]) -> list[Cut]:
    """Those that a change makes."""
    old = {(cut.what, cut.host) for cut in before}
    return [cut for cut in after if (cut.what, cut.host) not in old]


def _of_agents(lines: Lines, scene: Scene, about: Collection[str] | None) -> Iterator[Cut]:
    for one in scene.connections:
        keeper = scene.owners.get(one.server, "")
        if one.agent == one.server or keeper == one.host:
            continue  # on one machine: no interface is between them
        if about is not None and one.host not in about and keeper not in about:
            continue
        what = f"the agent of {one.host} would lose the server at {one.server} port {one.port}"
        origin = lines.stop(one.host, one.agent, one.server, one.port, outwards=True)
        if origin is not None:
            yield Cut(what, one.host, origin, True, one.server, one.port)
        origin = lines.stop(keeper, one.server, one.agent, one.port, outwards=False)
        if origin is not None:
            yield Cut(what, keeper, origin, False, one.agent, one.port)


def _of_bgp(lines: Lines, scene: Scene, about: Collection[str] | None) -> Iterator[Cut]:
    for host in sorted(scene.guarded):
        if not any(lines.stops(host, own) for own in scene.hosts.get(host, ())):
            continue
        speaker = scene.fabric.speaker(host)
        if speaker is None:
            continue
        for session in speaker.sessions:
            if about is not None and host not in about and scene.owners.get(session.peer_address) not in about:
                continue
            own = session.source_address or next(
                (one for one in speaker.addresses if version_of(one) == version_of(session.peer_address)), "")
            if own and (cut := _session(lines, host, own, session, speaker.listen_port, scene.owners)) is not None:
                yield cut


def _session(
    lines: Lines, host: str, own: str, session: BgpSession, listens: int, owners: Mapping[str, str]
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

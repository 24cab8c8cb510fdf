"""What a host says it has done: from agent to server, every few seconds and on every change."""

from __future__ import annotations

import msgspec

from muslin.intent.keys import EndpointKey


class EndpointState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`state`: up (policy and routes are in the kernel), pending, or error. `message` says why not up."""

    state: str
    message: str = ""


class SessionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One BGP session as BIRD tells it. `state`: Established, Active, Idle, ... `since` is BIRD's own text."""

    name: str
    peer: str
    peer_as: int = 0
    state: str = ""
    since: str = ""
    info: str = ""
    imported: int = 0
    exported: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A red line of `muslin status`: what is wrong, and the mend."""

    what: str
    mend: str = ""
    key: str = ""


class Repair(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Drift that was found and mended: somebody else changed what is ours. `at` is RFC 3339 UTC."""

    what: str
    at: str


class HostReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`applied`: the feed revision that is in the kernel. `started` is RFC 3339 UTC; `rss` in bytes."""

    host: str
    applied: int = 0
    in_sync: bool = False
    started: str = ""
    version: str = ""
    rss: int = 0
    mtu: int = 0
    """Of workloads' links."""
    endpoints: dict[EndpointKey, EndpointState] = {}
    sessions: tuple[SessionState, ...] = ()
    bgp: str = ""
    """`running`, `down`, or "" when the host speaks no BGP."""
    problems: tuple[Problem, ...] = ()
    repairs: tuple[Repair, ...] = ()
    followed: dict[str, str] = {}
    """How far a service of this host is with objects that it follows. `DockerNetwork/shop`: what is wrong, "" when it
    is done; `DockerNetwork/`: the service itself."""

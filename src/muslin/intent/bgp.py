"""What the host's BGP speaker must do."""

from __future__ import annotations

import msgspec

from muslin.net import Cidr


class BgpFilterRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule of a BGPFilter, resolved. Same meaning as model FilterRule; `version` is 4 or 6."""

    version: int
    action: str
    cidr: Cidr | None = None
    match_operator: str = ""
    prefix_length: tuple[int, int] | None = None
    source: str = ""
    interface: str = ""
    peer_type: str = ""
    communities: tuple[str, ...] = ()
    as_path_prefix: tuple[int, ...] = ()
    priority: int | None = None
    add_communities: tuple[str, ...] = ()
    prepend_as_path: tuple[int, ...] = ()
    set_priority: int | None = None


class BgpFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    imports: tuple[BgpFilterRule, ...] = ()
    exports: tuple[BgpFilterRule, ...] = ()


class BgpSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One session. `name` is unique on the host and made of [A-Za-z0-9_]; `origin` says which resource asked for it.

    Times in seconds. `next_hop_mode`: Auto, Self, Keep. `ttl_security`: hops allowed, None = off.
    `filters`: names of BgpFilter, in order. `passive`: wait for the peer.
    """

    name: str
    origin: str
    peer_address: str
    peer_as: int
    local_as: int
    peer_port: int = 179
    source_address: str = ""
    reflector_client: bool = False
    next_hop_mode: str = "Auto"
    password: str = ""
    max_restart_time: int | None = None
    keepalive_time: int | None = None
    allowed_local_as: int = 0
    ttl_security: int | None = None
    reachable_by: str = ""
    filters: tuple[str, ...] = ()
    passive: bool = False


class StaticOrigin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prefix that this host announces: its own address block, or a /32 that lies in another host's block."""

    prefix: Cidr
    export: bool = True
    """False: pool says disableBGPExport. The blackhole route stays, the announcement does not."""


class PrefixCommunities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Communities that every announced route inside `prefix` carries: `aa:nn` or `aa:nn:mm`."""

    prefix: Cidr
    communities: tuple[str, ...]


class BgpSpeaker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole of one host's BGP. `cluster_id` non-empty makes it a route reflector.

    `addresses`: the host's own, at most one a family, without a length: BGP's kernel routes prefer them as source.
    `priority_v4`, `priority_v6`: metric of routes that say nothing else.
    """

    router_id: str
    local_as: int
    addresses: tuple[str, ...] = ()
    listen_port: int = 179
    cluster_id: str = ""
    sessions: tuple[BgpSession, ...] = ()
    originate: tuple[StaticOrigin, ...] = ()
    filters: tuple[BgpFilter, ...] = ()
    accept: tuple[Cidr, ...] = ()
    """Pools whose routes, learnt from one peer, may be told to another. The kernel gets every learnt route that no
    filter rejects, in a pool or not: the fabric above the host is trusted, as Calico trusts it."""
    withhold: tuple[Cidr, ...] = ()
    """Pools with disableBGPExport: nothing inside them is told to any peer unless a filter accepts it."""
    communities: tuple[PrefixCommunities, ...] = ()
    priority_v4: int = 1024
    priority_v6: int = 1024
    ignored_interfaces: tuple[str, ...] = ()
    bind_mode: str = ""
    log_severity: str = ""

"""What must the BGP speaker of one host say, and to whom?

Nine kinds of wishes come together here: Nodes, two levels of BGPConfiguration, BGPPeers, BGPFilters, pools and the
blocks of addresses that hosts have claimed. Nearly all of it is the same for every host, so it is read once for the
cluster (`Fabric`), and each host then asks only for its own part (`Fabric.speaker`).

    Node, BGPConfiguration -> bgp_nodes      who speaks, where, as which AS        }
    BGPFilter              -> bgp_filters    rules in numbers                      } once for all hosts
    BGPPeer                -> bgp_peerings   who wants to talk to whom, and how    }
                              bgp_sessions   the sessions of one host
    blocks, pools          -> origins        what the host announces (here)

A host announces each block it owns as one route, and by itself only an address that it holds in another's block.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from muslin.calc.bgp_filters import bgp_filters, is_community, parse_community
from muslin.calc.bgp_nodes import Faults, bgp_nodes, global_as, note, of_node, parse_duration
from muslin.calc.bgp_peerings import Secrets, bgp_peerings, password
from muslin.calc.bgp_sessions import Cluster, Mesh, sessions
from muslin.errors import Invalid
from muslin.intent import BgpFilter, BgpSession, BgpSpeaker, PrefixCommunities, StaticOrigin
from muslin.model.ipam import Block
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPConfiguration, BGPConfigurationSpec, BGPFilter, BGPPeer, IPPool, Node
from muslin.net import Cidr, bounds, contains, host_cidr, is_host, parse_cidr

_NONE: Mapping[tuple[str, str], str] = {}


def speaker(
    host: str,
    nodes: Mapping[str, Node],
    configurations: Mapping[str, BGPConfiguration],
    peers: Mapping[str, BGPPeer],
    filters: Mapping[str, BGPFilter],
    blocks: Iterable[Block],
    pools: Iterable[IPPool],
    *,
    secrets: Secrets = _NONE,
) -> tuple[BgpSpeaker | None, Faults]:
    """One host's speaker, None when it speaks no BGP, and everything that is wrong with the objects it follows from.

    Mappings are by resource name. `blocks` may be all blocks, or those that the host owns or borrows from.
    Who asks for many hosts makes one `Fabric` and asks that.
    """
    fabric = Fabric(nodes, configurations, peers, filters, pools, secrets=secrets)
    return fabric.speaker(host, blocks), fabric.faults


class Fabric:
    """The cluster's BGP as far as it is the same for all hosts. Made anew when a resource changes."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        configurations: Mapping[str, BGPConfiguration],
        peers: Mapping[str, BGPPeer],
        filters: Mapping[str, BGPFilter],
        pools: Iterable[IPPool],
        *,
        secrets: Secrets = _NONE,
    ) -> None:
        self.faults: Faults = {}
        """By resource; objects without fault are not in it."""
        self._configurations = configurations
        self._default = configurations["default"].spec if "default" in configurations else BGPConfigurationSpec()
        self._pools, self._withheld = _pools(pools)
        self._filters = bgp_filters(filters, self.faults)
        speaking = bgp_nodes(nodes, configurations, self.faults)
        peerings = bgp_peerings(peers, self._filters, secrets, self.faults)
        self._cluster = Cluster(
            nodes=speaking,
            default_as=global_as(configurations, self.faults),
            peerings=peerings,
            far={
                peering.name: tuple(node for node in speaking.values() if peering.far.matches(node.labels))
                for peering in peerings if peering.far is not None
            },
            by_address={address: node for node in speaking.values() for address in (node.v4, node.v6) if address},
            mesh=self._mesh(secrets),
            node_address_only=self._default.bind_mode == "NodeIP",
        )
        self._tags = {name: self._communities(name) for name in configurations}

    def speaker(self, host: str, blocks: Iterable[Block]) -> BgpSpeaker | None:
        """None: the host speaks no BGP."""
        me = self._cluster.nodes.get(host)
        if me is None:
            return None
        own = sessions(self._cluster, me)
        return BgpSpeaker(
            router_id=me.v4 or _router_id(host),
            local_as=me.local_as,
            addresses=tuple(address for address in (me.v4, me.v6) if address),
            listen_port=me.port,
            cluster_id=me.cluster_id,
            sessions=own,
            originate=_origins(host, blocks, self._withheld),
            filters=self._used(own),
            accept=self._pools,
            withhold=self._withheld,
            communities=self._tags_of(host),
            priority_v4=self._default.ipv4_normal_route_priority or 1024,
            priority_v6=self._default.ipv6_normal_route_priority or 1024,
            ignored_interfaces=self._default.ignored_interfaces,
            bind_mode=self._default.bind_mode or "",
            log_severity=next(
                (s.log_severity_screen for s in of_node(self._configurations, host) if s.log_severity_screen), ""
            ),
        )

    def _used(self, own: tuple[BgpSession, ...]) -> tuple[BgpFilter, ...]:
        names = {name for session in own for name in session.filters}
        return tuple(self._filters[name] for name in sorted(names))

    def _mesh(self, secrets: Secrets) -> Mesh | None:
        """On unless switched off. A password that cannot be had switches it off too: fail closed."""
        if self._default.node_to_node_mesh_enabled is False:
            return None
        try:
            restart = self._default.node_mesh_max_restart_time
            return Mesh(
                password=password(self._default.node_mesh_password, secrets),
                max_restart_time=parse_duration(restart) if restart else None,
            )
        except Invalid as fault:
            note(self.faults, _configuration("default"), f"node-to-node mesh: {fault}; no mesh until then")
            return None

    def _tags_of(self, host: str) -> tuple[PrefixCommunities, ...]:
        """What `node.NAME` advertises replaces what `default` does, as a whole."""
        for name in (f"node.{host}", "default"):
            if name in self._configurations and self._configurations[name].spec.prefix_advertisements:
                return self._tags[name]
        return ()

    def _communities(self, name: str) -> tuple[PrefixCommunities, ...]:
        spec = self._configurations[name].spec
        named = {community.name: community.value for community in spec.communities}
        tags = []
        for index, advertisement in enumerate(spec.prefix_advertisements):
            try:
                tags.append(PrefixCommunities(
                    prefix=parse_cidr(advertisement.cidr),
                    communities=tuple(_community(word, named) for word in advertisement.communities),
                ))
            except ValueError as error:
                note(self.faults, _configuration(name), f"spec.prefixAdvertisements[{index}]: {error}")
        return tuple(tags)


def _community(word: str, named: Mapping[str, str]) -> str:
    if is_community(word):
        return parse_community(word)
    if word not in named:
        raise Invalid(f"{word!r} is neither a community nor the name of one in spec.communities")
    return parse_community(named[word])


def _configuration(name: str) -> ResourceKey:
    return ResourceKey("BGPConfiguration", "", name)


def _pools(pools: Iterable[IPPool]) -> tuple[tuple[Cidr, ...], tuple[Cidr, ...]]:
    """Prefixes that may be told to peers, and those that may not. A pool with an unreadable prefix is not there."""
    told: list[Cidr] = []
    withheld: list[Cidr] = []
    for pool in pools:
        try:
            cidr = parse_cidr(pool.spec.cidr)
        except ValueError:
            continue  # calc.cluster reports it: it reads the same field for its own sake
        (withheld if pool.spec.disable_bgp_export else told).append(cidr)
    return tuple(sorted(told, key=bounds)), tuple(sorted(withheld, key=bounds))


def _origins(host: str, blocks: Iterable[Block], withheld: tuple[Cidr, ...]) -> tuple[StaticOrigin, ...]:
    prefixes: set[Cidr] = set()
    for block in blocks:
        if not block.deleted:
            cidr = parse_cidr(block.cidr)
            if block.host == host and not is_host(cidr):
                prefixes.add(cidr)
            else:
                prefixes.update(_held(block, cidr, host))
    return tuple(
        StaticOrigin(prefix=prefix, export=not any(contains(pool, prefix) for pool in withheld))
        for prefix in sorted(prefixes, key=bounds)
    )


def _held(block: Block, cidr: Cidr, host: str) -> Iterable[Cidr]:
    """Addresses that `host` has in use in a block that is not its own, or that is a single address."""
    mine = {
        index for index, attribute in enumerate(block.attributes)
        if attribute.released_at is None and (attribute.secondary or {}).get("node") == host
    }
    version, first, _ = bounds(cidr)
    for ordinal, index in enumerate(block.allocations):
        if index in mine:
            yield host_cidr(_text(version, first + ordinal))


def _text(version: int, number: int) -> str:
    return str(ipaddress.IPv6Address(number) if version == 6 else ipaddress.IPv4Address(number))


def _router_id(host: str) -> str:
    """Four bytes that look like an address, for a host that has no IPv4: unique as far as a hash is."""
    digest = hashlib.sha256(host.encode()).digest()
    return ".".join(str(byte) for byte in (1 + digest[0] % 223, *digest[1:4]))

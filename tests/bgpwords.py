"""Small words to write down a cluster's BGP with: `Cluster({"h1": node("10.0.0.1/24")}, peers={...}).of("h1")`."""

from __future__ import annotations

from typing import Any

from muslin.calc.bgp import speaker
from muslin.intent import BgpSession, BgpSpeaker
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import Meta, ResourceKey
from muslin.model.network import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPFilter,
    BGPFilterSpec,
    BGPPassword,
    BGPPeer,
    BGPPeerSpec,
    FilterRule,
    IPPool,
    IPPoolSpec,
    Node,
    NodeBGPSpec,
    NodeSpec,
    SecretKeyRef,
)


def node(v4: str = "", v6: str = "", labels: dict[str, str] | None = None, **bgp: Any) -> Node:
    return Node(
        metadata=Meta(labels=labels or {}),
        spec=NodeSpec(bgp=NodeBGPSpec(ipv4_address=v4, ipv6_address=v6, **bgp)),
    )


def configuration(**spec: Any) -> BGPConfiguration:
    return BGPConfiguration(spec=BGPConfigurationSpec(**spec))


def peer(**spec: Any) -> BGPPeer:
    return BGPPeer(spec=BGPPeerSpec(**spec))


def pool(cidr: str, **spec: Any) -> IPPool:
    return IPPool(spec=IPPoolSpec(cidr=cidr, **spec))


def secret(name: str, key: str) -> BGPPassword:
    return BGPPassword(secret_key_ref=SecretKeyRef(name=name, key=key))


def bgp_filter(**rules: tuple[FilterRule, ...]) -> BGPFilter:
    return BGPFilter(spec=BGPFilterSpec(**rules))


def block(cidr: str, host: str = "", held: dict[int, str] | None = None, **more: Any) -> Block:
    """`held`: ordinal -> the node that uses the address."""
    users = sorted(set((held or {}).values()))
    return Block(
        cidr=cidr, affinity=f"host:{host}" if host else None,
        allocations=tuple(users.index(held[i]) if held and i in held else None for i in range(4)),
        attributes=tuple(BlockAttribute(secondary={"node": user}) for user in users), **more,
    )


class Cluster:
    """The nine inputs with their defaults, so that a test names only what it is about."""

    def __init__(self, nodes: dict[str, Node], **parts: Any) -> None:
        self.nodes = nodes
        self.parts = parts

    def asked(self, host: str) -> tuple[BgpSpeaker | None, dict[ResourceKey, str]]:
        return speaker(
            host, self.nodes, self.parts.get("configurations", {}), self.parts.get("peers", {}),
            self.parts.get("filters", {}), self.parts.get("blocks", ()), self.parts.get("pools", ()),
            secrets=self.parts.get("secrets", {}),
        )

    def of(self, host: str) -> BgpSpeaker:
        found, _ = self.asked(host)
        assert found is not None
        return found

    def sessions(self, host: str) -> dict[str, BgpSession]:
        return {session.name: session for session in self.of(host).sessions}

    def peers_of(self, host: str) -> dict[str, int]:
        return {session.peer_address: session.peer_as for session in self.of(host).sessions}

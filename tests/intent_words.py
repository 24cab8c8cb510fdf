"""Small words for intents and packets, so that a test reads as the sentence it checks."""

from __future__ import annotations

from typing import Any

import msgspec

from muslin.explain import Packet
from muslin.intent import (
    Action,
    AddressSet,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Match,
    Origin,
    Policy,
    PolicyId,
    PortMember,
    PortSet,
    Rule,
    SetId,
    TierStage,
)
from muslin.net import Cidr, host_cidr

W1, W2 = EndpointKey("WorkloadEndpoint/shop/w1"), EndpointKey("WorkloadEndpoint/shop/w2")
ADDRESSES = {W1: ("10.0.0.1", "fd00::1"), W2: ("10.0.0.2", "fd00::2")}
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132


def tcp(source: str, destination: str, port: int, source_port: int = 40000) -> Packet:
    return Packet(source, destination, TCP, port, source_port)


def udp(source: str, destination: str, port: int, source_port: int = 40000) -> Packet:
    return Packet(source, destination, UDP, port, source_port)


def ping(source: str, destination: str, type: int | None = None, code: int = 0) -> Packet:
    return Packet(source, destination, ICMP6 if ":" in source else ICMP, icmp_type=type, icmp_code=code)


def nets(*texts: str) -> tuple[Cidr, ...]:
    return tuple(Cidr(text) for text in texts)


def match(**fields: Any) -> Match:
    return msgspec.convert(fields, Match)


def rule(action: str = "Allow", **fields: Any) -> Rule:
    return Rule(action=Action(action), origin=Origin(kind="", name=""), **fields)


def policy(id: str, *rules: Rule, egress: bool = False, staged: bool = False) -> Policy:
    """The rules get the origins that calc would give them."""
    kind, _, rest = id.partition("/")
    namespace, _, name = rest.rpartition("/")
    direction = Direction.EGRESS if egress else Direction.INGRESS
    numbered = tuple(
        msgspec.structs.replace(
            each, origin=Origin(kind=kind, namespace=namespace, name=name, direction=direction, rule=number)
        )
        for number, each in enumerate(rules)
    )
    if egress:
        return Policy(id=PolicyId(id), egress=numbered, staged=staged)
    return Policy(id=PolicyId(id), ingress=numbered, staged=staged)


def tier(name: str, *policies: str, default: str = "Deny") -> TierStage:
    return TierStage(tier=name, policies=tuple(map(PolicyId, policies)), default_action=Action(default))


def addresses(id: str, *members: str) -> AddressSet:
    return AddressSet(id=SetId(id), members=frozenset(map(Cidr, members)))


def ports(id: str, *members: tuple[str, int, int]) -> PortSet:
    found: frozenset[PortMember] = frozenset((host_cidr(host), protocol, port) for host, protocol, port in members)
    return PortSet(id=SetId(id), members=found)


def endpoint(key: EndpointKey, **fields: Any) -> Endpoint:
    own = tuple(host_cidr(address) for address in ADDRESSES[key])
    found = {"interface": f"mus{key[-2:]}", "ingress": GroupId("in"), "egress": GroupId("out"), "addresses": own}
    return Endpoint(key=key, **(found | fields))


def host(
    *policies: Policy,
    ingress: tuple[TierStage, ...] = (),
    egress: tuple[TierStage, ...] = (),
    profiles: tuple[str, ...] = (),
    sets: tuple[AddressSet | PortSet, ...] = (),
    endpoints: tuple[Endpoint, ...] = (endpoint(W1), endpoint(W2)),
    **fields: Any,
) -> HostIntent:
    """Two workloads that share one policy list in each direction."""
    listed = tuple(map(PolicyId, profiles))
    groups = (
        Group(id=GroupId("in"), direction=Direction.INGRESS, stages=ingress, profiles=listed),
        Group(id=GroupId("out"), direction=Direction.EGRESS, stages=egress, profiles=listed),
    )
    return HostIntent(
        policies={each.id: each for each in policies},
        groups={each.id: each for each in groups},
        sets={each.id: each for each in sets},
        endpoints={each.key: each for each in endpoints},
        **fields,
    )


ALLOW_ALL = Policy(
    id=PolicyId("Profile/open"),
    ingress=(Rule(action=Action.ALLOW, origin=Origin(kind="Profile", name="open", rule=0)),),
    egress=(Rule(action=Action.ALLOW, origin=Origin(kind="Profile", name="open", rule=0, direction=Direction.EGRESS)),),
)

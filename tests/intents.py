"""Words for building a host's intent in a line or two."""

from __future__ import annotations

import hashlib

from muslin.intent import (
    Action,
    AddressSet,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    Icmp,
    Match,
    Origin,
    Policy,
    PolicyId,
    PortSet,
    Rule,
    SetId,
    Settings,
    TierStage,
)
from muslin.net import Cidr, parse_cidr

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
ALLOW, DENY, PASS, LOG = Action.ALLOW, Action.DENY, Action.PASS, Action.LOG


def side(
    nets: str = "", not_nets: str = "", sets: str = "", not_sets: str = "", ports: str = "", not_ports: str = "",
    named: str = "", not_named: str = "",
) -> Match:
    """Lists are words with spaces between; port ranges are `80-90`."""
    return Match(
        nets=_cidrs(nets), not_nets=_cidrs(not_nets), sets=_ids(sets), not_sets=_ids(not_sets),
        ports=_ranges(ports), not_ports=_ranges(not_ports), named_ports=_ids(named), not_named_ports=_ids(not_named),
    )


def rule(action: Action = ALLOW, protocol: int | None = None, to: Match | None = None, by: Match | None = None,
         icmp: tuple[int, int | None] | None = None, not_icmp: tuple[int, int | None] | None = None,
         not_protocol: int | None = None, version: int | None = None, log: str = "", index: int = 0) -> Rule:
    """`by` is the source, `to` the destination."""
    return Rule(
        action=action, origin=Origin(kind="GlobalNetworkPolicy", name="p", rule=index), ip_version=version,
        protocol=protocol, not_protocol=not_protocol, source=by or Match(), destination=to or Match(), log_prefix=log,
        icmp=Icmp(type=icmp[0], code=icmp[1]) if icmp else None,
        not_icmp=Icmp(type=not_icmp[0], code=not_icmp[1]) if not_icmp else None,
    )


def policy(name: str, *ingress: Rule, egress: tuple[Rule, ...] = ()) -> Policy:
    kind = "" if "/" in name else "GlobalNetworkPolicy/"
    return Policy(id=PolicyId(kind + name), ingress=ingress, egress=egress)


def tier(*policies: Policy | str, default: Action = DENY, name: str = "default") -> TierStage:
    ids = tuple(p.id if isinstance(p, Policy) else PolicyId(p) for p in policies)
    return TierStage(tier=name, policies=ids, default_action=default)


def group(
    direction: Direction, *stages: TierStage, profiles: tuple[Policy | str, ...] = (), end: Action = DENY
) -> Group:
    ids = tuple(p.id if isinstance(p, Policy) else PolicyId(p) for p in profiles)
    digest = hashlib.sha256(repr((direction, stages, ids, end)).encode()).hexdigest()[:16]
    return Group(id=GroupId(digest), direction=direction, stages=stages, profiles=ids, end=end)


def endpoint(number: int, ingress: Group, egress: Group, interface: str = "", spoofable: str = "") -> Endpoint:
    """The workload that `nftrig.station` makes of the same number."""
    return Endpoint(
        key=EndpointKey(f"WorkloadEndpoint/default/w{number}"), interface=interface or f"mus{number:011x}",
        ingress=ingress.id, egress=egress.id, spoofable=_cidrs(spoofable),
        addresses=_cidrs(f"10.65.0.{number} fd65::{number:x}"),
    )


def host_interface(interface: str, ingress: Group | None = None, egress: Group | None = None,
                   **others: Group) -> HostInterface:
    """Without groups it lets only failsafes through. `others`: forward_ingress, untracked_egress, pre_dnat, ..."""
    return HostInterface(
        key=EndpointKey(f"HostEndpoint/of-{interface}"), interface=interface, ingress=(ingress or SHUT_IN).id,
        egress=(egress or SHUT_OUT).id, **{name: each.id for name, each in others.items()},
    )


def addresses(name: str, members: str = "") -> AddressSet:
    return AddressSet(id=SetId(name), members=frozenset(_cidrs(members)))


def ports(name: str, *members: tuple[str, int, int]) -> PortSet:
    return PortSet(id=SetId(name), members=frozenset((parse_cidr(a), protocol, port) for a, protocol, port in members))


def intent(
    *items: AddressSet | PortSet | Policy | Group | Endpoint | HostInterface, settings: Settings | None = None
) -> HostIntent:
    whole = HostIntent(settings=settings or Settings())
    for item in items:
        match item:
            case AddressSet() | PortSet():
                whole.sets[item.id] = item
            case Policy():
                whole.policies[item.id] = item
            case Group():
                whole.groups[item.id] = item
            case Endpoint():
                whole.endpoints[item.key] = item
            case HostInterface():
                whole.host_interfaces[item.key] = item
    return whole


ALLOW_ALL = policy("Profile/allow", rule(), egress=(rule(),))
OPEN_IN, OPEN_OUT = group(INGRESS, profiles=(ALLOW_ALL,)), group(EGRESS, profiles=(ALLOW_ALL,))
SHUT_IN, SHUT_OUT = group(INGRESS), group(EGRESS)
OPEN = (ALLOW_ALL, OPEN_IN, OPEN_OUT)


def _cidrs(words: str) -> tuple[Cidr, ...]:
    return tuple(parse_cidr(word) for word in words.split())


def _ids(words: str) -> tuple[SetId, ...]:
    return tuple(SetId(word) for word in words.split())


def _ranges(words: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(w.partition("-")[0]), int(w.partition("-")[2] or w)) for w in words.split())

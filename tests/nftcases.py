"""Intents at random, small enough to collide: few names, so that references dangle, sets overlap and groups share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from muslin.intent import (
    Action,
    AddressSet,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    Icmp,
    Match,
    MemberChange,
    Origin,
    Policy,
    PolicyId,
    PortSet,
    Published,
    Qos,
    Rule,
    SetId,
    Settings,
    TierStage,
)
from muslin.net import Cidr, is_host

SETS = tuple(SetId(name) for name in ("0a", "b1", "p0", "p1"))
POLICIES = (*(PolicyId(f"NetworkPolicy/ns/{name}") for name in "abc"), PolicyId("Profile/x"))
GROUPS = tuple(GroupId(name) for name in ("00", "1f", "e0", "e1"))
INTERFACES = ("mus1", "mus2", "tap0")
HOST_INTERFACES = ("eth0", "eth1", "*", "lo", "tap0")
CIDRS = tuple(Cidr(text) for text in (
    "10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/31", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32",
    "128.0.0.0/1", "fd00::1/128", "fd00::/64", "fd00::/127", "::/0", "8000::/1",
))
HOSTS = tuple(cidr for cidr in CIDRS if is_host(cidr))
PROTOCOLS = (1, 6, 17, 58, 132, 99)


HOST_ENDPOINTS = tuple(EndpointKey(f"HostEndpoint/{number}") for number in range(3))
FAILSAFES = ((6, 22, ""), (6, 22, "10.0.0.0/8"), (17, 53, "10.0.0.0/8"), (17, 53, "10.0.0.0/24"), (6, 22, "fd00::/64"))
NAT = (("192.0.2.1", "10.0.0.1"), ("192.0.2.2", "10.0.0.1"), ("192.0.2.1", "10.0.0.2"), ("2001:db8::1", "fd00::1"),
       ("192.0.2.3", "fd00::1"))
PUBLISHED = (
    Published(protocol=6, host_port=8080, port=80), Published(protocol=6, host_port=8080, port=81),
    Published(protocol=17, host_port=53, port=53, host_address="192.0.2.9"),
    Published(protocol=6, host_port=8080, port=80, host_address="2001:db8::9"),
)
QOS = (Qos(egress_packet_rate=100), Qos(egress_packet_rate=100, dscp=46), Qos(ingress_connections=3, dscp=0),
       Qos(ingress_packet_rate=100, ingress_packet_burst=9, egress_connections=1), Qos(ingress_bandwidth=10**6))
RANGES = ((80, 80), (80, 90), (85, 100), (0, 65535), (91, 91))


def _few(dice: Random, values: Sequence[object], chance: float, most: int = 2) -> tuple[object, ...]:
    return tuple(dice.sample(values, dice.randint(1, most))) if dice.random() < chance else ()


def _match(dice: Random) -> Match:
    return Match(
        nets=_few(dice, CIDRS, 0.3), not_nets=_few(dice, CIDRS, 0.2, 1), sets=_few(dice, SETS[:2], 0.3),
        not_sets=_few(dice, SETS[:2], 0.2), ports=_few(dice, RANGES, 0.2), named_ports=_few(dice, SETS[2:], 0.2),
        not_ports=_few(dice, RANGES, 0.1), not_named_ports=_few(dice, SETS[2:], 0.1),
    )


def _icmp(dice: Random, chance: float) -> Icmp | None:
    return Icmp(type=dice.choice((0, 8, 128)), code=dice.choice((None, 0))) if dice.random() < chance else None


def _rule(dice: Random) -> Rule:
    return Rule(
        action=dice.choice(list(Action)), origin=Origin(kind="NetworkPolicy", name="a", rule=0),
        ip_version=dice.choice((None, None, 4, 6)), protocol=dice.choice((None, None, *PROTOCOLS)),
        not_protocol=dice.choice((None, None, None, *PROTOCOLS)), icmp=_icmp(dice, 0.1), not_icmp=_icmp(dice, 0.2),
        source=_match(dice), destination=_match(dice), log_prefix=dice.choice(("", 'a "b" $c\\')),
    )


def _rules(dice: Random) -> tuple[Rule, ...]:
    if dice.random() < 0.3:
        return (*_alike(dice), *(_of_ports(dice) for _ in range(dice.randint(0, 3))))
    if dice.random() < 0.4:
        return tuple(_of_ports(dice) for _ in range(dice.randint(2, 6)))
    if dice.random() < 0.4:
        return tuple(_of_peers(dice) for _ in range(dice.randint(4, 8)))
    return tuple(_rule(dice) for _ in range(dice.randint(0, 3)))


def _of_peers(dice: Random) -> Rule:
    """One that says little but who the other end is; as many of them are looked up by that."""
    return Rule(
        action=_decides(dice), origin=Origin(kind="NetworkPolicy", name="a", rule=0),
        source=Match(sets=(dice.choice(SETS[:2]),), nets=_few(dice, CIDRS, 0.2)),
        destination=Match(sets=_few(dice, SETS[:2], 0.4, 1)),
    ) if dice.random() < 0.7 else Rule(
        action=_decides(dice), origin=Origin(kind="NetworkPolicy", name="a", rule=1),
        source=_prefixes(dice), destination=_prefixes(dice),
    )


def _decides(dice: Random) -> Action:
    """Mostly; now and then it logs."""
    return dice.choices((Action.ALLOW, Action.DENY, Action.LOG), (4, 4, 1))[0]


def _prefixes(dice: Random) -> Match:
    """What `nets` name, or `notNets` leave, or both."""
    if dice.random() < 0.6:
        return Match(nets=_few(dice, CIDRS, 1.0))
    return Match(nets=_few(dice, CIDRS, 0.3, 1), not_nets=_few(dice, CIDRS, 1.0))


def _alike(dice: Random) -> Iterator[Rule]:
    """They differ in protocol and port, and in nothing else."""
    action, sets = dice.choice((Action.ALLOW, Action.DENY)), _few(dice, SETS[:2], 0.4, 1)
    for number in range(dice.randint(2, 5)):
        yield Rule(
            action=action, origin=Origin(kind="NetworkPolicy", name="a", rule=number), protocol=dice.choice((6, 17)),
            source=Match(sets=sets), destination=Match(ports=_few(dice, ((80, 80), (81, 81), (90, 92)), 1.0)))


def _of_ports(dice: Random) -> Rule:
    """One that says little but its ports, so that it is looked up by them."""
    return Rule(
        action=_decides(dice), origin=Origin(kind="NetworkPolicy", name="a", rule=0),
        protocol=dice.choice((6, 6, 17)), source=Match(sets=_few(dice, SETS[:2], 0.4)),
        destination=Match(ports=_few(dice, RANGES, 1.0)),
    )


def _policy(dice: Random, identity: PolicyId) -> Policy:
    return Policy(id=identity, ingress=_rules(dice), egress=_rules(dice), staged=dice.random() < 0.3)


def _stage(dice: Random) -> TierStage:
    return TierStage(
        tier=dice.choice(("default", "t")), policies=_few(dice, POLICIES[:3], 0.9, 3),
        default_action=dice.choice((Action.DENY, Action.PASS)),
    )


def _group(dice: Random, identity: GroupId) -> Group:
    return Group(
        id=identity, direction=Direction.EGRESS if identity.startswith("e") else Direction.INGRESS,
        stages=tuple(_stage(dice) for _ in range(dice.randint(0, 2))), profiles=_few(dice, POLICIES[3:], 0.5, 1),
        end=dice.choice((Action.DENY, Action.ALLOW, Action.PASS)),
    )


def _endpoint(dice: Random, key: EndpointKey) -> Endpoint:
    return Endpoint(
        key=key, interface=dice.choice(INTERFACES), ingress=dice.choice(GROUPS), egress=dice.choice(GROUPS),
        addresses=_few(dice, HOSTS, 0.9, 3), spoofable=_few(dice, CIDRS, 0.5), nat=_few(dice, NAT, 0.4),
        qos=dice.choice((None, None, *QOS)), published=_few(dice, PUBLISHED, 0.4),
    )


def _host_interface(dice: Random, key: EndpointKey) -> HostInterface:
    def maybe(chance: float) -> GroupId:
        return dice.choice(GROUPS) if dice.random() < chance else GroupId("")

    return HostInterface(
        key=key, interface=dice.choice(HOST_INTERFACES), ingress=dice.choice(GROUPS), egress=dice.choice(GROUPS),
        forward_ingress=maybe(0.4), forward_egress=maybe(0.4), untracked_ingress=maybe(0.3),
        untracked_egress=maybe(0.3), pre_dnat=maybe(0.3),
    )


def _set(dice: Random, identity: SetId) -> AddressSet | PortSet:
    if identity.startswith("p"):
        members = ((dice.choice(HOSTS), dice.choice((6, 17)), dice.choice((80, 81))) for _ in range(dice.randint(0, 3)))
        return PortSet(id=identity, members=frozenset(members))
    return AddressSet(id=identity, members=frozenset(_few(dice, dice.choice((CIDRS, HOSTS)), 0.9, 4)))


def _settings(dice: Random) -> Settings:
    return Settings(
        interface_prefix=dice.choice(("mus", "mus", "tap", "mus,tap")), drop_invalid=dice.random() < 0.5,
        endpoint_to_host_action=dice.choice(("Drop", "Accept")), masquerade=_few(dice, CIDRS, 0.4),
        pools=_few(dice, CIDRS, 0.4), floating_addresses=dice.random() < 0.7, masquerade_exclude=_few(dice, CIDRS, 0.2),
        masquerade_address=dice.choice(("", "", "192.0.2.9")), masquerade_ports=dice.choice((None, (1024, 2000))),
        masquerade_interfaces=dice.choice(("", "eth0", "eth+", "a*")), mark_mask=dice.choice((0xFFFF0000, 0xF0, 0)),
        failsafe_inbound=_few(dice, FAILSAFES, 0.7, 4), failsafe_outbound=_few(dice, FAILSAFES, 0.7, 4),
        filter_deny=dice.choice(("Drop", "Drop", "Reject")), log_rate=dice.choice((None, None, (10, "minute"))),
    )


Key = TypeVar("Key")
Item = TypeVar("Item")


def _pools(
    make: Callable[[Random, Key], Item], keys: Iterable[Key], size: int = 60
) -> st.SearchStrategy[dict[Key, Item]]:
    """Some of the keys, each with one of many values. The values are made once: drawing every field of every rule takes
    Hypothesis a hundred times as long as the test, and what shrinking must find is which keys matter."""
    pools = {key: tuple(make(Random(f"{key} {number}"), key) for number in range(size)) for key in keys}
    return st.fixed_dictionaries({}, optional={key: st.sampled_from(pool) for key, pool in pools.items()})


def intents() -> st.SearchStrategy[HostIntent]:
    """A whole intent, with references that may lead nowhere."""
    return st.builds(
        HostIntent, sets=_pools(_set, SETS), policies=_pools(_policy, POLICIES, 200), groups=_pools(_group, GROUPS),
        endpoints=_pools(_endpoint, [EndpointKey(f"WorkloadEndpoint/ns/w{n}") for n in range(3)]),
        host_interfaces=st.one_of(st.just({}), _pools(_host_interface, HOST_ENDPOINTS)),
        settings=st.sampled_from([_settings(Random(number)) for number in range(40)]),
    )


KINDS = ("sets", "policies", "groups", "endpoints", "host_interfaces", "settings")


def mixed(old: HostIntent, new: HostIntent, choices: list[bool]) -> HostIntent:
    """Part of the one and part of the other, so that a step changes one thing and not another."""
    picked = {}
    for place, name in enumerate(KINDS):
        picked[name] = getattr(new if choices[place] else old, name)
    return HostIntent(**picked)


def step(old: HostIntent, new: HostIntent, *, members: bool) -> Delta:
    """The delta between two; `members`: sets that stay change member by member, as the server sends them."""
    delta = Delta()
    for name in KINDS[:-1]:
        before, after, found = getattr(old, name), getattr(new, name), getattr(delta, name)
        found.update(dict.fromkeys(before.keys() - after.keys()))
        found.update({key: value for key, value in after.items() if before.get(key) != value})
    if members:
        for key in delta.sets.keys() & old.sets.keys() & new.sets.keys():
            delta.sets[key] = _member_change(old.sets[key], new.sets[key])
    if old.settings != new.settings:
        delta.settings = new.settings
    return delta


def _member_change(old: AddressSet | PortSet, new: AddressSet | PortSet) -> MemberChange:
    added, removed = new.members - old.members, old.members - new.members
    if isinstance(new, PortSet):
        return MemberChange(ports_added=added, ports_removed=removed)
    return MemberChange(added=added, removed=removed)

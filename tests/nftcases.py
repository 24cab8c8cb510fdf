"""Intents at random, small enough to collide: few names, so that references dangle, sets overlap and groups share."""

from __future__ import annotations

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
    Icmp,
    Match,
    MemberChange,
    Origin,
    Policy,
    PolicyId,
    PortSet,
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
CIDRS = tuple(Cidr(text) for text in (
    "10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/31", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32",
    "128.0.0.0/1", "fd00::1/128", "fd00::/64", "fd00::/127", "::/0", "8000::/1",
))  # fmt: skip
HOSTS = tuple(cidr for cidr in CIDRS if is_host(cidr))
PROTOCOLS = (1, 6, 17, 58, 132, 99)


def some(values: tuple[object, ...], most: int = 2) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


_ranges = st.lists(st.sampled_from(((80, 80), (80, 90), (85, 100), (0, 65535), (91, 91))), max_size=2).map(tuple)
_set_names = some(SETS[:2])
_port_names = some(SETS[2:])
_matches = st.builds(
    Match, nets=some(CIDRS), not_nets=some(CIDRS, 1), sets=_set_names, not_sets=_set_names, ports=_ranges,
    named_ports=_port_names, not_ports=_ranges, not_named_ports=_port_names,
) | st.just(Match())
_icmp = st.none() | st.builds(Icmp, type=st.sampled_from((0, 8, 128)), code=st.none() | st.just(0))
_rules = st.builds(
    Rule, action=st.sampled_from(list(Action)), origin=st.just(Origin(kind="NetworkPolicy", name="a", rule=0)),
    ip_version=st.sampled_from((None, None, 4, 6)), protocol=st.sampled_from((None, *PROTOCOLS)),
    not_protocol=st.sampled_from((None, None, *PROTOCOLS)), icmp=_icmp, not_icmp=_icmp, source=_matches,
    destination=_matches, log_prefix=st.sampled_from(("", 'a "b" $c\\')),
)  # fmt: skip
_rule_lists = st.lists(_rules, max_size=3).map(tuple)
_stages = st.builds(
    TierStage, tier=st.sampled_from(("default", "t")), policies=some(POLICIES[:3], 3),
    default_action=st.sampled_from((Action.DENY, Action.PASS)),
)  # fmt: skip
_prefix_sets = st.frozensets(st.sampled_from(CIDRS), max_size=5)
_port_sets = st.frozensets(
    st.tuples(st.sampled_from(HOSTS), st.sampled_from((6, 17)), st.sampled_from((80, 81))), max_size=3
)
_settings = st.builds(
    Settings, interface_prefix=st.sampled_from(("mus", "mus", "tap", "mus,tap")), drop_invalid=st.booleans(),
    endpoint_to_host_action=st.sampled_from(("Drop", "Accept")), masquerade=some(CIDRS), pools=some(CIDRS),
)  # fmt: skip


def _group(identity: GroupId) -> st.SearchStrategy[Group]:
    direction = Direction.EGRESS if identity.startswith("e") else Direction.INGRESS
    return st.builds(
        Group, id=st.just(identity), direction=st.just(direction), stages=st.lists(_stages, max_size=2).map(tuple),
        profiles=some(POLICIES[3:]),
    )


def _endpoint(number: int) -> st.SearchStrategy[Endpoint]:
    return st.builds(
        Endpoint, key=st.just(EndpointKey(f"WorkloadEndpoint/ns/w{number}")), interface=st.sampled_from(INTERFACES),
        ingress=st.sampled_from(GROUPS), egress=st.sampled_from(GROUPS), addresses=some(HOSTS, 3),
        spoofable=some(CIDRS),
    )


def _policy(identity: PolicyId) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy, id=st.just(identity), ingress=_rule_lists, egress=_rule_lists,
        staged=st.sampled_from((False, False, True)),
    )


def _choice(values: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=values)


@st.composite
def intents(draw: st.DrawFn) -> HostIntent:
    """A whole intent, with references that may lead nowhere."""
    sets = draw(_choice({
        **{name: st.builds(AddressSet, id=st.just(name), members=_prefix_sets) for name in SETS[:2]},
        **{name: st.builds(PortSet, id=st.just(name), members=_port_sets) for name in SETS[2:]},
    }))  # fmt: skip
    return HostIntent(
        sets=sets,
        policies=draw(_choice({name: _policy(name) for name in POLICIES})),
        groups=draw(_choice({name: _group(name) for name in GROUPS})),
        endpoints=draw(_choice({EndpointKey(f"WorkloadEndpoint/ns/w{n}"): _endpoint(n) for n in range(3)})),
        settings=draw(_settings),
    )


def mixed(old: HostIntent, new: HostIntent, choices: list[bool]) -> HostIntent:
    """Part of the one and part of the other, so that a step changes one thing and not another."""
    picked = {}
    for place, name in enumerate(("sets", "policies", "groups", "endpoints", "settings")):
        picked[name] = getattr(new if choices[place] else old, name)
    return HostIntent(**picked)


def step(old: HostIntent, new: HostIntent, *, members: bool) -> Delta:
    """The delta between two; `members`: sets that stay change member by member, as the server sends them."""
    delta = Delta()
    for name in ("sets", "policies", "groups", "endpoints"):
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

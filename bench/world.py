"""Hosts to be measured, as intents: workloads behind policies of five rules, of which only the very last matches.

That is the worst case, and the same for every layout: a new packet is compared with everything. Each rule names a set
of a hundred addresses, as a rule with a selector does, or a prefix; the last rule alone names a set that holds those
who send.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from bench import rig
from muslin.intent import (
    ALL_INTERFACES,
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
    Match,
    Origin,
    Policy,
    PolicyId,
    Qos,
    Rule,
    SetId,
    Settings,
    TierStage,
)
from muslin.net import Cidr

RULES, MEMBERS = 5, 100
SENDERS = SetId("senders")
DENIED = 9999
"""A port that no policy allows."""


def interface(number: int) -> str:
    """As the agent names them: digits that say nothing. The first goes through all sixteen in turn."""
    return f"mus{number % 16:x}{random.Random(number).getrandbits(40):010x}"


class Sort(StrEnum):
    """Of the rules. How much of them a layout can answer by one lookup differs; what they decide here does not."""

    PORTS = "a port for each rule"
    PEERS = "one port, peers for each rule"
    RANGES = "wide ranges that overlap"
    ANY = "peers, and no port"
    MIXED = "mixed: denies, prefixes, wide ranges"
    EXCEPT = "mixed: ports, and whom notNets leave"
    LOGGED = "mixed: ports, and who is told of and denied"


COMPARED = (Sort.PORTS, Sort.PEERS, Sort.RANGES, Sort.ANY, Sort.MIXED)
"""Those that others' layouts are measured with. They walk all rules of a policy, whatever its sort."""


def _rules(sort: Sort, policy: int, last: bool) -> Iterator[Rule]:
    for index in range(RULES):
        origin = Origin(kind="GlobalNetworkPolicy", name=f"p{policy}", direction=Direction.INGRESS, rule=index)
        if last and index == RULES - 1:  # ports need a protocol: it is one for TCP and one for UDP
            for protocol in (6, 17):
                yield Rule(action=Action.ALLOW, origin=origin, protocol=protocol, source=Match(sets=(SENDERS,)),
                           destination=Match(ports=((7000, 7001),)))
        else:
            yield _rule(sort, policy * RULES + index, origin)


def _rule(sort: Sort, number: int, origin: Origin) -> Rule:
    """None of them matches any packet that is sent here."""
    policy, index, low = number // RULES, number % RULES, 8000 + number * 2
    protocol = 6 if index % 2 else 17
    if sort is Sort.PEERS:
        return Rule(action=Action.ALLOW, origin=origin, protocol=17, source=_from(policy),
                    destination=Match(ports=((7001, 7001),)))
    if sort is Sort.RANGES:
        return Rule(action=Action.ALLOW, origin=origin, protocol=17, source=_from(policy),
                    destination=Match(ports=((1000 + number, 60000 - number),)))
    if sort is Sort.EXCEPT and index > 2:
        return Rule(action=Action.ALLOW, origin=origin, source=_but(policy) if index == 3 else _BUT_PRIVATE,
                    protocol=17 if index == 3 else None)
    if sort is Sort.LOGGED and index > 2:
        prefix = Match(nets=(Cidr(f"172.{16 + policy % 16}.{policy % 256}.0/24"),))
        return Rule(action=Action.LOG if index == 3 else Action.DENY, origin=origin, source=prefix)
    if sort is Sort.ANY:
        return Rule(action=Action.ALLOW, origin=origin, source=_from(policy))
    if sort is Sort.MIXED and index in (1, 3):
        prefix = Match(nets=(Cidr(f"172.{16 + number % 16}.{number % 256}.0/24"),))
        return Rule(action=Action.DENY if index == 1 else Action.ALLOW, origin=origin, protocol=17, source=prefix,
                    destination=Match(ports=((1000 + number, 60000 - number),)))
    if sort is Sort.MIXED and index in (0, 4):
        return Rule(action=Action.DENY if index == 0 else Action.ALLOW, origin=origin, source=_from(policy))
    return Rule(action=Action.ALLOW, origin=origin, protocol=protocol, source=_from(policy),
                destination=Match(ports=((low, low + 1),)))


_BUT_PRIVATE = Match(not_nets=(Cidr("10.0.0.0/8"), Cidr("172.16.0.0/12"), Cidr("192.168.0.0/16")))


def _but(policy: int) -> Match:
    """Those who send are left out by everybody; others each by one policy."""
    return Match(not_nets=(Cidr("10.0.0.0/8"), Cidr(f"172.{16 + policy % 16}.{policy % 256}.0/24")))


def _from(policy: int) -> Match:
    return Match(sets=(SetId(f"set{policy}"),))


def intent(endpoints: int, policies: int, sort: Sort = Sort.PORTS) -> HostIntent:
    """`endpoints` workloads that all carry the same `policies` policies; A and B are two of them."""
    dice = random.Random(7)
    made = HostIntent()
    made.sets[SENDERS] = AddressSet(id=SENDERS, members=frozenset(
        Cidr(f"{address}/32") for address in rig.ADDRESSES.values()))
    names = []
    for policy in range(policies):
        last = policy == policies - 1
        members = {Cidr(f"172.{dice.randrange(16, 32)}.{dice.randrange(256)}.{dice.randrange(1, 255)}/32")
                   for _ in range(MEMBERS)}
        identity = SetId(f"set{policy}")
        made.sets[identity] = AddressSet(id=identity, members=frozenset(members))
        name = PolicyId(f"GlobalNetworkPolicy/p{policy}")
        made.policies[name] = Policy(id=name, ingress=tuple(_rules(sort, policy, last)))
        names.append(name)
    into, out = GroupId("aaaaaaaaaaaaaaaa"), _open(made)
    stages = (TierStage(tier="default", policies=tuple(names)),)
    made.groups[into] = Group(id=into, direction=Direction.INGRESS, stages=stages)
    for number in range(endpoints):
        side = {0: "a", 1: "b"}.get(number)
        key = EndpointKey(f"WorkloadEndpoint/default/w{number}")
        address = rig.ADDRESSES[side] if side else f"10.66.{number // 250}.{number % 250 + 1}"
        made.endpoints[key] = Endpoint(
            key=key, interface=rig.INTERFACES[side] if side else interface(number), ingress=into, egress=out,
            addresses=(Cidr(f"{address}/32"),),
        )
    return made


def with_host(forward: bool) -> HostIntent:
    """100 x 10, and a host endpoint for every interface of the host; `forward`: also for what it forwards."""
    made = intent(100, 10)
    through = GroupId("cccccccccccccccc")
    made.groups[through] = Group(id=through, direction=Direction.INGRESS, end=Action.ALLOW)
    key, into, out = EndpointKey("HostEndpoint/all"), GroupId("aaaaaaaaaaaaaaaa"), _open(made)
    asked = through if forward else GroupId("")
    made.host_interfaces[key] = HostInterface(
        key=key, interface=ALL_INTERFACES, ingress=into, egress=out, forward_ingress=asked)
    return made


def with_limits(*numbers: int) -> HostIntent:
    """100 x 10, these workloads with rates that nobody reaches: 0 is A, 1 is B."""
    made = intent(100, 10)
    for key in [EndpointKey(f"WorkloadEndpoint/default/w{number}") for number in numbers]:
        qos = Qos(ingress_packet_rate=10**9, egress_packet_rate=10**9, ingress_packet_burst=10**6,
                  egress_packet_burst=10**6)
        made.endpoints[key] = msgspec.structs.replace(made.endpoints[key], qos=qos)
    return made


def with_floating() -> HostIntent:
    """100 x 10, everybody with a floating address."""
    made = intent(100, 10)
    made.settings = Settings(floating_addresses=True, pools=(Cidr("10.0.0.0/8"),))
    for number, (key, endpoint) in enumerate(made.endpoints.items()):
        own = endpoint.addresses[0].partition("/")[0]
        made.endpoints[key] = msgspec.structs.replace(endpoint, nat=((f"192.0.2.{number + 1}", own),))
    return made


def of_their_own(endpoints: int, rules: int, members: int) -> HostIntent:
    """Every workload has a policy of its own of so many rules, all of them about one large set."""
    made = HostIntent()
    everybody = SetId("everybody")
    made.sets[everybody] = AddressSet(id=everybody, members=frozenset(
        Cidr(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/32") for number in range(members)))
    for number in range(endpoints):
        add_of_its_own(made, number, rules)
    return made


def add_of_its_own(made: HostIntent, number: int, rules: int) -> Delta:
    """One more of them; into the intent as well."""
    policy, into = PolicyId(f"NetworkPolicy/default/own{number}"), GroupId(f"{number:016x}")
    made.policies[policy] = Policy(id=policy, ingress=tuple(
        Rule(action=Action.ALLOW, protocol=6, source=Match(sets=(SetId("everybody"),)),
             destination=Match(ports=((port, port),)),
             origin=Origin(kind="NetworkPolicy", name=f"own{number}", direction=Direction.INGRESS, rule=index))
        for index, port in enumerate(range(1000 + number % 1000, 1000 + number % 1000 + rules))))
    made.groups[into] = Group(id=into, direction=Direction.INGRESS, stages=(
        TierStage(tier="default", policies=(policy,)),))
    key = EndpointKey(f"WorkloadEndpoint/default/w{number}")
    made.endpoints[key] = Endpoint(
        key=key, interface=interface(number), ingress=into, egress=_open(made),
        addresses=(Cidr(f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/32"),))
    return Delta(policies={policy: made.policies[policy]}, groups={into: made.groups[into]},
                 endpoints={key: made.endpoints[key]})


def _open(made: HostIntent) -> GroupId:
    """The group of those who may send anything."""
    allow, out = PolicyId("Profile/allow"), GroupId("bbbbbbbbbbbbbbbb")
    if out not in made.groups:
        origin = Origin(kind="Profile", name="allow", direction=Direction.EGRESS, rule=0)
        made.policies[allow] = Policy(id=allow, egress=(Rule(action=Action.ALLOW, origin=origin),))
        made.groups[out] = Group(id=out, direction=Direction.EGRESS, profiles=(allow,))
    return out

"""The chains that every host has: where packets come in, and what holds before and after policy.

    forward   conntrack first: the packets of a flow that policy has let through pay one lookup
              from4, from6: (source address, interface) -> the sender's egress group: anti-spoof and dispatch at once
              a workload's packet with any other source: dropped
              a packet by an interface of ours that nobody declared: dropped
              the rest comes from outside: to4, to6 as below
    egress-allowed   no tunnels inside tunnels; to4, to6: outgoing interface -> the receiver's ingress group
              out by an interface of ours that nobody declared: dropped
              to the host itself: as the settings say; anywhere else: out it goes
    input     only packets from workloads: replies, what the link needs (ND, DHCP), then egress policy as in forward
    output    nothing: the host may always reach its own workloads

Everything that names an endpoint is an element of a set or map here, so that these chains depend on the settings only.
A packet that concerns no workload is never dropped here, not even one that conntrack calls invalid.
All this stays in the kernel while no agent runs: an interface that nobody declared stays shut.
"""

from __future__ import annotations

from muslin.intent import Settings
from muslin.net import Cidr, version_of
from muslin.render.nft.chains import EGRESS_ALLOWED, FAMILIES
from muslin.render.nft.matching import WORDS
from muslin.render.nft.prefixes import maximal
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    ByMap,
    Chain,
    Choose,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    Hook,
    InSet,
    Masquerade,
    Match,
    NameBegins,
    NamedSet,
    OneOf,
    Rule,
    Statement,
    Type,
    Verdict,
    goto,
)

FILTER_PRIORITY = 0
SOURCE_NAT_PRIORITY = 100

WORKLOADS = "workloads"
FROM = {4: "from4", 6: "from6"}
FROM_NETS = {4: "from4-nets", 6: "from6-nets"}
TO = {4: "to4", 6: "to6"}
MASQUERADED = {4: "masqueraded4", 6: "masqueraded6"}
POOLS = {4: "pools4", 6: "pools6"}
SPOOFED = "spoofed"
INVALID = "invalid"
TO_HOST = "to-host"
WORKLOAD_INPUT = "workload-input"

UDP, IP_IN_IP, ICMP6 = 17, 4, 58
VXLAN_PORT = 4789
LINK_ICMP6 = (130, 131, 132, 133, 135, 136)
"""MLD and neighbour discovery, as far as a workload has reason to speak it. Not 134: a workload is no router."""

_ADDRESS = {4: Type.ADDRESS4, 6: Type.ADDRESS6}


def sets() -> tuple[NamedSet, ...]:
    """The sets and maps that hold this host's endpoints and pools."""
    found = [NamedSet(WORKLOADS, (Type.INTERFACE,))]
    for family, address in _ADDRESS.items():
        found += [
            NamedSet(FROM[family], (address, Type.INTERFACE), verdicts=True),
            NamedSet(FROM_NETS[family], (address, Type.INTERFACE), interval=True, verdicts=True),
            NamedSet(TO[family], (Type.INTERFACE,), verdicts=True),
            NamedSet(MASQUERADED[family], (address,), interval=True),
            NamedSet(POOLS[family], (address,), interval=True),
        ]
    return tuple(found)


def elements(settings: Settings) -> dict[tuple[str, Element], Verdict | None]:
    """The elements that the settings put into those sets."""
    found: dict[tuple[str, Element], Verdict | None] = {}
    for where, prefixes in ((MASQUERADED, settings.masquerade), (POOLS, settings.pools)):
        for family in FAMILIES:
            for prefix in maximal(net for net in prefixes if version_of(net) == family):
                found[where[family], prefix] = None
    return found


def chains(settings: Settings) -> tuple[Chain, ...]:
    found = [
        _forward(settings),
        *(_egress_allowed(family, settings) for family in FAMILIES),
        _spoofed(),
        _invalid(settings),
        _input(settings),
        _workload_input(settings),
        _to_host(settings),
    ]
    return (*found, _postrouting()) if settings.masquerade else tuple(found)


def _forward(settings: Settings) -> Chain:
    invalid = ((CtState.INVALID, goto(INVALID)),) if settings.drop_invalid else ()
    rules = [
        Rule((Choose(Field.CT_STATE, (*_OF_A_FLOW, *invalid)),)),
        *_from_workload(),
        Rule((InSet((Field.IN_INTERFACE,), WORKLOADS), goto(SPOOFED))),
        _undeclared(Field.IN_INTERFACE, settings),
        *(Rule((_family(family), ByMap((Field.OUT_INTERFACE,), TO[family]))) for family in FAMILIES),
        _undeclared(Field.OUT_INTERFACE, settings),
    ]
    return Chain("forward", tuple(rules), Hook("filter", "forward", FILTER_PRIORITY))


def _egress_allowed(family: int, settings: Settings) -> Chain:
    vxlan = (Equal(Field.PROTOCOL, UDP), Equal(Field.DESTINATION_PORT, VXLAN_PORT))
    return Chain(
        EGRESS_ALLOWED[family],
        (
            Rule((Equal(Field.PROTOCOL, IP_IN_IP), *_DROP), "a workload may not send IP in IP"),
            Rule((*vxlan, *_DROP), "a workload may not send VXLAN"),
            Rule((ByMap((Field.OUT_INTERFACE,), TO[family]),)),
            _undeclared(Field.OUT_INTERFACE, settings),
            Rule((Equal(Field.OUT_INDEX, 0), goto(TO_HOST))),
            Rule((ACCEPT,)),
        ),
    )


def _spoofed() -> Chain:
    by_net = tuple(
        Rule((ByMap((WORDS[family].source.address, Field.IN_INTERFACE), FROM_NETS[family]),)) for family in FAMILIES
    )
    return Chain(SPOOFED, (*by_net, Rule(_DROP, "a source address that is not the workload's")))


def _invalid(settings: Settings) -> Chain:
    """Only what concerns a workload: the host may forward other traffic, asymmetrically too."""
    ends = (Field.IN_INTERFACE, Field.OUT_INTERFACE)
    return Chain(
        INVALID,
        (
            *(Rule((InSet((end,), WORKLOADS), *_DROP), "invalid, says conntrack") for end in ends),
            *(_undeclared(end, settings) for end in ends),
            Rule((ACCEPT,)),
        ),
    )


def _input(settings: Settings) -> Chain:
    rules = (
        Rule((InSet((Field.IN_INTERFACE,), WORKLOADS), goto(WORKLOAD_INPUT))),
        _undeclared(Field.IN_INTERFACE, settings),
    )
    return Chain("input", rules, Hook("filter", "input", FILTER_PRIORITY))


def _workload_input(settings: Settings) -> Chain:
    """The link's own needs come before policy. Neighbour discovery is untracked, so it is not among the replies."""
    invalid = ((CtState.INVALID, DROP),) if settings.drop_invalid else ()
    discovery: tuple[Match, ...] = (Equal(Field.PROTOCOL, ICMP6), OneOf((Field.ICMP6_TYPE,), LINK_ICMP6))
    dhcp4: tuple[Match, ...] = (_family(4), *_udp(68, 67))
    dhcp6: tuple[Match, ...] = (_family(6), *_udp(546, 547))
    link_local = OneOf((Field.SOURCE6,), (Cidr("::/128"), Cidr("fe80::/10")))
    own = Equal(Field.RETURN_INDEX, 0, True)
    return Chain(
        WORKLOAD_INPUT,
        (
            Rule((Choose(Field.CT_STATE, (*_OF_A_FLOW, *invalid)),)),
            Rule((_family(6), *discovery, link_local, ACCEPT), "neighbour discovery"),
            Rule((_family(6), *discovery, own, ACCEPT), "neighbour discovery"),
            Rule((*dhcp4, Equal(Field.SOURCE4, Cidr("0.0.0.0/32")), ACCEPT), "DHCP"),
            Rule((*dhcp4, own, ACCEPT), "DHCP"),
            Rule((*dhcp6, link_local, ACCEPT), "DHCP"),
            *_from_workload(),
            Rule((goto(SPOOFED),)),
        ),
    )


def _to_host(settings: Settings) -> Chain:
    """Accept and Return are one to nftables: other tables have their say after either."""
    if settings.endpoint_to_host_action == "Drop":
        return Chain(TO_HOST, (Rule(_DROP, "from a workload to its host: endpointToHostAction Drop"),))
    return Chain(TO_HOST, (Rule((Counter(), ACCEPT), "from a workload to its host"),))


def _postrouting() -> Chain:
    rules = tuple(
        Rule(
            (
                InSet((WORDS[family].source.address,), MASQUERADED[family]),
                InSet((WORDS[family].destination.address,), POOLS[family], True),
                Counter(),
                Masquerade(),
            ),
            "natOutgoing",
        )
        for family in FAMILIES
    )
    return Chain("postrouting", rules, Hook("nat", "postrouting", SOURCE_NAT_PRIORITY))


_OF_A_FLOW = ((CtState.ESTABLISHED, ACCEPT), (CtState.RELATED, ACCEPT))
_DROP: tuple[Statement, ...] = (Counter(), DROP)


def _from_workload() -> tuple[Rule, ...]:
    return tuple(
        Rule((ByMap((WORDS[family].source.address, Field.IN_INTERFACE), FROM[family]),)) for family in FAMILIES
    )


def _undeclared(end: Field, settings: Settings) -> Rule:
    return Rule((NameBegins(end, settings.interface_prefix), *_DROP), "an interface that no endpoint declares")


def _family(family: int) -> Match:
    return Equal(Field.FAMILY, family)


def _udp(source: int, destination: int) -> tuple[Match, ...]:
    return (
        Equal(Field.PROTOCOL, UDP),
        Equal(Field.SOURCE_PORT, source),
        Equal(Field.DESTINATION_PORT, destination),
    )

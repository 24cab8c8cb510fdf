"""The chains that every host has: where packets come in, and what holds before and after policy.

    forward         from4, from6: (source address, interface) -> the sender's egress group, which begins with
                    conntrack: anti-spoof and dispatch in one lookup
                    other packets from an interface of ours: other-source
                    conntrack: a packet of a flow that policy has let through goes on
                    cut4, cut6: a packet of a flow that policy has ended is dropped
                    the rest comes from outside: to-workload
    other-source    a prefix that the workload may send from: its egress group
                    else dropped, be it a false source or an interface that nobody declared
    to-workload     to: outgoing interface -> the receiver's ingress group
                    out by an interface of ours that nobody declared: dropped
    egress-allowed  no tunnels inside tunnels; to-workload
                    to the host itself: as the settings say; anywhere else: out it goes
    input           only from interfaces of ours: what the link needs (ND, DHCP), then as in forward
    output          nothing: the host may always reach its own workloads

Interfaces of the host itself have their own chains, and a place in input, if a HostEndpoint covers any: see hosts.

The source is looked at before conntrack is asked: else a workload could speak within the flows of its neighbours, by
taking their addresses and ports. That costs an established packet 0.19 of plain routing (1.33 -> 1.52, measured).
"An interface of ours" is known by its prefix, in one comparison. Taps may have any name; only while there are such, one
more lookup finds them in `others`.

Everything that names an endpoint is an element of a set or map, so that these chains depend on little: see extent.
A packet that concerns no workload is never dropped here, not even one that conntrack calls invalid.
All this stays in the kernel while no agent runs: an interface that nobody declared stays shut.
"""

from __future__ import annotations

from collections.abc import Mapping

from muslin.intent import Settings
from muslin.net import Cidr
from muslin.render.matching import WORDS
from muslin.render.nft import cutting, hosts, qos, translation
from muslin.render.nft.chains import INVALID_FROM_WORKLOAD, of_a_flow
from muslin.render.nft.extent import ADDRESS, OTHERS, UDP, Extent, of_family, udp
from muslin.render.nft.places import DENIED, EGRESS_ALLOWED, FAMILIES, manner_of
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    ByMap,
    Chain,
    Counter,
    Equal,
    Field,
    Hook,
    Match,
    NamedSet,
    OneOf,
    Reject,
    Rule,
    Statement,
    Type,
    goto,
    jump,
)

FILTER_PRIORITY = 0

FROM = {4: "from4", 6: "from6"}
FROM_NETS = {4: "from4-nets", 6: "from6-nets"}
TO = "to"
TO_WORKLOAD = "to-workload"
OTHER_SOURCE = "other-source"
INVALID = "invalid"
TO_HOST = "to-host"
WORKLOAD_INPUT = "workload-input"

TCP, IP_IN_IP, ICMP6 = 6, 4, 58
VXLAN_PORT = 4789
LINK_ICMP6 = (130, 131, 132, 133, 135, 136)
"""MLD and neighbour discovery, as far as a workload has reason to speak it. Not 134: a workload is no router."""


def sets() -> tuple[NamedSet, ...]:
    """The sets and maps of every host."""
    found = [NamedSet(OTHERS, (Type.INTERFACE,)), NamedSet(TO, (Type.INTERFACE,), verdicts=True)]
    for family, address in ADDRESS.items():
        found += [
            NamedSet(FROM[family], (address, Type.INTERFACE), verdicts=True),
            NamedSet(FROM_NETS[family], (address, Type.INTERFACE), interval=True, verdicts=True),
        ]
    return (*found, *translation.sets(), *cutting.sets())


def optional_sets() -> tuple[NamedSet, ...]:
    """Those that are there only while they hold something."""
    return (*hosts.sets(), *translation.optional_sets(), *qos.optional_sets())


def chains(extent: Extent) -> tuple[Chain, ...]:
    """All that do not stand for a policy or a group."""
    settings = extent.settings
    return (
        _forward(extent),
        _other_source(),
        _egress_allowed(),
        _to_workload(extent),
        *_invalid(extent),
        cutting.chain(),
        *([_denied()] if manner_of(settings).reject else []),
        _input(extent),
        _workload_input(extent),
        _to_host(settings),
        *hosts.chains(extent),
        *translation.chains(extent),
        *qos.chains(extent),
    )


def _to_workload(extent: Extent) -> Chain:
    """Whoever finds nothing in `to` has no endpoint, or its policy list is only just being made.

    One chain for all who lead there: the kernel walks the whole map for each rule that looks into it, whenever an
    endpoint comes, but walks a chain once.
    """
    says = "to an interface that no endpoint declares"
    undeclared = extent.ours.rules(Field.OUT_INTERFACE, *_DROP, comment=says)
    return Chain(TO_WORKLOAD, (Rule((ByMap((Field.OUT_INTERFACE,), TO),)), *undeclared))


def _forward(extent: Extent) -> Chain:
    rules = (
        *_by_source(FROM),
        *extent.ours.rules(Field.IN_INTERFACE, goto(OTHER_SOURCE)),
        of_a_flow(INVALID),
        *(cutting.rule(family) for family in FAMILIES),
        Rule((jump(TO_WORKLOAD),)),
    )
    return Chain("forward", rules, Hook("filter", "forward", FILTER_PRIORITY))


def _by_source(where: Mapping[int, str]) -> tuple[Rule, ...]:
    return tuple(
        Rule((ByMap((WORDS[family].source.address, Field.IN_INTERFACE), where[family]),)) for family in FAMILIES
    )


def _other_source() -> Chain:
    return Chain(OTHER_SOURCE, (*_by_source(FROM_NETS), Rule(_DROP, "a source that no endpoint of this interface has")))


def _egress_allowed() -> Chain:
    vxlan = (Equal(Field.PROTOCOL, UDP), Equal(Field.DESTINATION_PORT, VXLAN_PORT))
    return Chain(
        EGRESS_ALLOWED,
        (
            Rule((Equal(Field.PROTOCOL, IP_IN_IP), *_DROP), "a workload may not send IP in IP"),
            Rule((*vxlan, *_DROP), "a workload may not send VXLAN"),
            Rule((jump(TO_WORKLOAD),)),
            Rule((Equal(Field.OUT_INDEX, 0), goto(TO_HOST))),
            Rule((ACCEPT,)),
        ),
    )


def _denied() -> Chain:
    """Where policy sends what it denies, if it is to be told so. A packet that lies, or that belongs to no interface or
    flow, is dropped in any case: nobody is there to be told."""
    tcp = Equal(Field.PROTOCOL, TCP)
    return Chain(DENIED, (Rule((tcp, Reject(reset=True))), Rule((Reject(reset=False),))))


def _invalid(extent: Extent) -> tuple[Chain, Chain]:
    """What conntrack calls invalid is dropped where it comes from a workload or goes to one: the host may forward
    other traffic, asymmetrically too. Both chains return when the settings want it so, and policy decides."""
    says = "invalid, says conntrack"
    if not extent.settings.drop_invalid:
        return Chain(INVALID, ()), Chain(INVALID_FROM_WORKLOAD, ())
    return (
        Chain(INVALID, extent.ours.rules(Field.OUT_INTERFACE, *_DROP, comment=says)),
        Chain(INVALID_FROM_WORKLOAD, (Rule(_DROP, says),)),
    )


def _input(extent: Extent) -> Chain:
    rules = (*extent.ours.rules(Field.IN_INTERFACE, goto(WORKLOAD_INPUT)), *hosts.input_rules(extent))
    return Chain("input", rules, Hook("filter", "input", FILTER_PRIORITY))


def _workload_input(extent: Extent) -> Chain:
    """The link's own needs come before policy, and have sources that no endpoint has. Flows that policy has ended are
    looked for before conntrack is asked: what the host still sends in such a flow meets no rule, opens it again, and
    makes what the workload sends an answer."""
    discovery: tuple[Match, ...] = (of_family(6), Equal(Field.PROTOCOL, ICMP6), OneOf((Field.ICMP6_TYPE,), LINK_ICMP6))
    dhcp4: tuple[Match, ...] = (of_family(4), *udp(68, 67))
    dhcp6: tuple[Match, ...] = (of_family(6), *udp(546, 547))
    link_local = OneOf((Field.SOURCE6,), (Cidr("::/128"), Cidr("fe80::/10")))
    own = Equal(Field.RETURN_INDEX, 0, True)
    return Chain(
        WORKLOAD_INPUT,
        (
            *hosts.workload_input_rules(extent),
            Rule((*discovery, link_local, ACCEPT), "neighbour discovery"),
            Rule((*discovery, own, ACCEPT), "neighbour discovery"),
            Rule((*dhcp4, Equal(Field.SOURCE4, Cidr("0.0.0.0/32")), ACCEPT), "DHCP"),
            Rule((*dhcp4, own, ACCEPT), "DHCP"),
            Rule((*dhcp6, link_local, ACCEPT), "DHCP"),
            Rule((*dhcp6, own, ACCEPT), "DHCP"),
            *(cutting.rule(family) for family in FAMILIES),
            *_by_source(FROM),
            Rule((goto(OTHER_SOURCE),)),
        ),
    )


def _to_host(settings: Settings) -> Chain:
    """Accept and Return are one to nftables: other tables have their say after either."""
    if settings.endpoint_to_host_action == "Drop":
        return Chain(TO_HOST, (Rule(_DROP, "from a workload to its host: endpointToHostAction Drop"),))
    return Chain(TO_HOST, (Rule((Counter(), ACCEPT), "from a workload to its host"),))


_DROP: tuple[Statement, ...] = (Counter(), DROP)

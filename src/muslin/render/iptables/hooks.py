"""The chains that every host has, as far as workloads are concerned.

    raw PREROUTING     from an interface of ours: a source that the endpoint has, or what the link itself needs, else
                       dropped. Before conntrack: else a workload could speak within the flows of its neighbours
    filter FORWARD     a packet of a flow that policy let through goes on. A new one: `forward_ingress` of its
                       interface, mus-from (the sender's group), mus-to (the receiver's group), `forward_egress`; each
                       drops it, or returns. Then accepted, if it is any of our business
    filter INPUT       from an interface of ours: what the link needs, flows, mus-from, and as the settings say.
                       Flows that policy has ended come first: nothing stops the host's own packets in them, and what
                       the workload sends would be an answer
    filter OUTPUT      nothing: the host may always reach its own workloads

    mus-from   (source, interface) in the set of a group? its chain. Then prefixes. Else dropped
    mus-to     (destination, interface) in the set of a group? its chain. Then the interface alone. Else dropped

Nothing here names an endpoint but by its sets, apart from those with rules of their own (see site). A packet that
concerns neither a workload nor a host endpoint returns to whoever else has rules. All this stays in the kernel while
no agent runs: an interface that nobody declared stays shut.
"""

from __future__ import annotations

from collections.abc import Iterator

from muslin.intent import Direction, Endpoint
from muslin.net import Cidr, is_host, version_of
from muslin.render.iptables import cutting, names
from muslin.render.iptables.chains import ACCEPT, DROP, RETURN, Place, denial, endings
from muslin.render.iptables.extras import RATES, rate_rules
from muslin.render.iptables.hosts import forwards, from_host_rules, input_rules, output_rules, raw_rules
from muslin.render.iptables.site import Site, by_interface, chain, group_jump, limits_connections, limits_rates
from muslin.render.iptables.words import (
    Address,
    Chain,
    End,
    Flow,
    IcmpType,
    InSet,
    Interface,
    Jump,
    Marked,
    Ports,
    Protocol,
    Reject,
    Rule,
    Ruling,
    SetMark,
    Table,
    Test,
)
from muslin.render.prefixes import maximal

SOURCE, DESTINATION = End.SOURCE, End.DESTINATION
BOTH = {SOURCE: (SOURCE, SOURCE), DESTINATION: (DESTINATION, DESTINATION)}

UDP, TCP, IP_IN_IP, ICMP6 = 17, 6, 4, 58
VXLAN_PORT = 4789
LINK_ICMP6 = (130, 131, 132, 133, 135, 136)
"""MLD and neighbour discovery, as far as a workload has reason to speak it. Not 134: a workload is no router."""

FLOWS = Flow(("ESTABLISHED", "RELATED"))
INVALID = Flow(("INVALID",))

SOURCE_CHECK, LINK = "mus-source", "mus-link"
FROM_WORKLOAD, TO_WORKLOAD = "mus-fwd-from", "mus-fwd-to"
FORWARD_IN, FORWARD_OUT = "mus-fwd-in", "mus-fwd-out"
OF_A_FLOW, INPUT, FULL = "mus-flow", "mus-input", "mus-full"


def raw(site: Site, family: int) -> tuple[Chain, ...]:
    """Sources, and what is never tracked."""
    found = [
        chain(
            names.base("PREROUTING"),
            *_forget_marks(site),
            *site.from_ours(Jump(SOURCE_CHECK)),
            *raw_rules(site, family, SOURCE),
        ),
        chain(
            SOURCE_CHECK,
            Rule((InSet(names.sources(family), BOTH[SOURCE]),), RETURN),
            *_link_needs(family, RETURN),
            *_own_prefixes(site, family),
            denial(site.place(Table.RAW, family), "a source that no endpoint of this interface has"),
        ),
    ]
    if out := tuple(raw_rules(site, family, DESTINATION)):
        found.append(chain(names.base("OUTPUT"), *_forget_marks(site), *out))
    return tuple(found)


def _forget_marks(site: Site) -> tuple[Rule, ...]:
    """What our bits say must be ours to say."""
    bits = site.way.marks.all
    return (Rule((Marked(0, bits, True),), SetMark(0, bits)),) if site.listens_to_marks else ()


def _link_needs(family: int, target: Ruling) -> Iterator[Rule]:
    """What has sources that no endpoint has."""
    if family == 4:
        yield Rule((Address(SOURCE, Cidr("0.0.0.0/32")), *_udp(68, 67)), target, "DHCP")
        return
    for link_local in (Cidr("::/128"), Cidr("fe80::/10")):
        for number in LINK_ICMP6:
            yield Rule(
                (Address(SOURCE, link_local), Protocol(ICMP6), IcmpType(6, number)), target, "neighbour discovery"
            )
        yield Rule((Address(SOURCE, link_local), *_udp(546, 547)), target, "DHCP")


def _own_link_needs(family: int) -> Iterator[Rule]:
    """The same, from an address of its own: the link comes before policy."""
    own = InSet(names.sources(family), BOTH[SOURCE])
    ports = (68, 67) if family == 4 else (546, 547)
    yield Rule((*_udp(*ports), own), ACCEPT, "DHCP")
    for number in LINK_ICMP6 if family == 6 else ():
        yield Rule((Protocol(ICMP6), IcmpType(6, number), own), ACCEPT, "neighbour discovery")
    yield Rule((*_udp(546, 547), own), ACCEPT, "DHCP")


def _udp(source: int, destination: int) -> tuple[Test, ...]:
    return Protocol(UDP), Ports(SOURCE, ((source, source),)), Ports(DESTINATION, ((destination, destination),))


def _own_prefixes(site: Site, family: int) -> Iterator[Rule]:
    for endpoint in site.special:
        for net in _nets(endpoint, family):
            yield Rule((Interface(SOURCE, endpoint.interface), *_within(SOURCE, net)), RETURN)


def _nets(endpoint: Endpoint, family: int) -> tuple[Cidr, ...]:
    own = (*endpoint.addresses, *endpoint.spoofable)
    return maximal(net for net in own if version_of(net) == family and not is_host(net))


def _within(end: End, net: Cidr) -> tuple[Test, ...]:
    return () if net in ("0.0.0.0/0", "::/0") else (Address(end, net),)


def filtering(site: Site, family: int) -> tuple[Chain, ...]:
    place = site.place(Table.FILTER, family)
    found = [
        *_forward(site, place),
        *_input(site, place),
        _from(site, place),
        _to(site, place),
        cutting.chain(),
    ]
    if limits_rates(site):
        found.append(chain(RATES, *rate_rules(site)))
    if out := tuple(output_rules(site)):
        found.append(chain(names.base("OUTPUT"), *out))
    return (*found, *endings(site.way, family))


def _forward(site: Site, place: Place) -> Iterator[Chain]:
    allow, hosts = site.way.allow, forwards(site)
    measured = (Rule((), Jump(RATES)),) if limits_rates(site) else ()
    yield chain(
        names.base("FORWARD"),
        Rule((FLOWS,), Jump(OF_A_FLOW, for_good=True)),
        cutting.rule(place.family),
        *(_forward_in(site) if hosts else ()),
        *site.from_ours(Jump(FROM_WORKLOAD)),
        *site.to_ours(Jump(TO_WORKLOAD)),
        *((Rule((), Jump(FORWARD_OUT)),) if hosts else ()),
        *measured,
        *site.from_ours(allow),
        *site.to_ours(allow),
        *((site.way.allowed(allow),) if hosts else ()),
        *((site.way.forget(),) if site.listens_to_marks else ()),
    )
    known = site.way.known
    yield chain(OF_A_FLOW, *measured, *site.from_ours(known), *site.to_ours(known), *from_host_rules(site, known))
    yield chain(FROM_WORKLOAD, *_invalid(site), Rule((), Jump(names.FROM)), *_no_tunnels(place), *_full(site))
    yield chain(TO_WORKLOAD, *_invalid(site), Rule((), Jump(names.TO)), *_full(site))
    if hosts:
        for name, end, field, direction in (
            (FORWARD_IN, SOURCE, "forward_ingress", Direction.INGRESS),
            (FORWARD_OUT, DESTINATION, "forward_egress", Direction.EGRESS),
        ):
            chains: dict[str, str] = {
                one.key: jump.chain if (jump := group_jump(site, getattr(one, field), direction)) else "mus-missing"
                for one in site.covered
            }
            yield chain(name, *by_interface(site, end, field, chains))
        yield chain("mus-missing", denial(place, "missing: a group of a host endpoint"))


def _forward_in(site: Site) -> tuple[Rule, ...]:
    """What raw or mangle accepted is not asked again."""
    if not site.listens_to_marks:
        return site.way.unanswered(), Rule((), Jump(FORWARD_IN))
    accepted = site.way.marks.accept
    return (Rule((Marked(accepted, accepted, True),), Jump(FORWARD_IN)),)


def _invalid(site: Site) -> tuple[Rule, ...]:
    return (Rule((INVALID,), DROP, "invalid, says conntrack"),) if site.settings.drop_invalid else ()


def _no_tunnels(place: Place) -> tuple[Rule, ...]:
    deny = place.way.deny(place.table)
    vxlan = (Protocol(UDP), Ports(DESTINATION, ((VXLAN_PORT, VXLAN_PORT),)))
    return (
        Rule((Protocol(IP_IN_IP),), deny, "a workload may not send IP in IP"),
        Rule(vxlan, deny, "a workload may not send VXLAN"),
    )


def _full(site: Site) -> tuple[Rule, ...]:
    """Would this be one connection more than the workload may have? See extras."""
    bit = site.way.marks.full
    return (Rule((Marked(bit, bit),), Jump(FULL)),) if limits_connections(site) else ()


def _input(site: Site, place: Place) -> Iterator[Chain]:
    yield chain(
        names.base("INPUT"),
        *site.from_ours(Jump(INPUT, for_good=True)),
        *input_rules(site),
        *((site.way.forget(),) if site.listens_to_marks else ()),
    )
    action = site.settings.endpoint_to_host_action
    verdict = ACCEPT if action == "Accept" else RETURN if action == "Return" else site.way.deny(Table.FILTER)
    measured = limits_rates(site)
    yield chain(
        INPUT,
        *_link_needs(place.family, ACCEPT),
        *_own_link_needs(place.family),
        cutting.rule(place.family),
        *((Rule((FLOWS,), Jump(RATES)),) if measured else ()),
        Rule((FLOWS,), ACCEPT),
        *_invalid(site),
        Rule((), Jump(names.FROM)),
        *_no_tunnels(place),
        *_full(site),
        *((Rule((), Jump(RATES)),) if measured else ()),
        site.way.forget(),
        Rule((), verdict, f"from a workload to its host: endpointToHostAction {action}"),
    )
    if limits_connections(site):
        says = "as many connections as the workload may have"
        yield chain(FULL, Rule((Protocol(TCP),), Reject(place.family, reset=True), says), Rule((), DROP, says))


def _from(site: Site, place: Place) -> Chain:
    return chain(
        names.FROM,
        *(
            Rule(
                (InSet(names.senders(group, place.family), BOTH[SOURCE]),),
                Jump(names.group_chain(group, Direction.EGRESS), for_good=True),
            )
            for group in site.senders
        ),
        *_by_rule(site, place),
        denial(place, "a source that no endpoint of this interface has"),
    )


def _to(site: Site, place: Place) -> Chain:
    """By their own addresses, which is one lookup for each group; else by the interface alone."""
    by_address = {group: names.receivers(group, place.family) for group in site.receivers}
    by_interface = [
        (group, names.behind(group, place.family, part))
        for group, parts in site.receivers.items() for part in range(parts)
    ]
    return chain(
        names.TO,
        *(
            Rule(
                (InSet(name, BOTH[DESTINATION]),),
                Jump(names.group_chain(group, Direction.INGRESS), for_good=True),
            )
            for group, name in (*by_address.items(), *by_interface)
        ),
        denial(place, "to an interface that no endpoint declares"),
    )


def _by_rule(site: Site, place: Place) -> Iterator[Rule]:
    """The prefixes of endpoints that have some."""
    for endpoint in site.special:
        jump = group_jump(site, endpoint.egress, Direction.EGRESS)
        for net in _nets(endpoint, place.family):
            tests = (Interface(SOURCE, endpoint.interface), *_within(SOURCE, net))
            verdict = Jump(jump.chain, for_good=True) if jump else place.way.deny(place.table)
            yield Rule(tests, verdict, endpoint.key)

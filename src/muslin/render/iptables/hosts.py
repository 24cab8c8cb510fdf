"""The chains of the host's own interfaces, as far as host endpoints cover them. The law is in `intent.endpoint`.

A host endpoint has a chain for each role in which a policy selects it: `mus-h-in-...` and so on. Untracked and pre-DNAT
groups answer in raw and mangle what filter must know: the accept bit of the mark carries it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from muslin.intent import ALL_INTERFACES, Direction, HostInterface
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, version_of
from muslin.render.iptables import cutting, names
from muslin.render.iptables.chains import DROP, RETURN, denial
from muslin.render.iptables.site import Site, by_interface, group_jump, group_of
from muslin.render.iptables.words import (
    Address,
    Chain,
    End,
    Flow,
    Interface,
    Ports,
    Protocol,
    Rule,
    Table,
    Target,
    Test,
    Untrack,
)

Failsafe = tuple[int, int, str]


class Role(NamedTuple):
    """`field`: of HostInterface, that names the group."""

    word: str
    field: str
    table: Table
    direction: Direction


IN = Role("in", "ingress", Table.FILTER, Direction.INGRESS)
OUT = Role("out", "egress", Table.FILTER, Direction.EGRESS)
PRE = Role("pre", "pre_dnat", Table.MANGLE, Direction.INGRESS)
RAW_IN = Role("rin", "untracked_ingress", Table.RAW, Direction.INGRESS)
RAW_OUT = Role("rout", "untracked_egress", Table.RAW, Direction.EGRESS)
ROLES = (IN, OUT, PRE, RAW_IN, RAW_OUT)


def forwards(site: Site) -> bool:
    """Does any host endpoint look at what is forwarded?"""
    return any(one.forward_ingress or one.forward_egress for one in site.host_interfaces)


def raw_rules(site: Site, family: int, end: End) -> Iterator[Rule]:
    role = RAW_IN if end is End.SOURCE else RAW_OUT
    yield from by_interface(site, end, role.field, _chains(site, role))


def pre_dnat_rules(site: Site) -> Iterator[Rule]:
    rules = tuple(by_interface(site, End.SOURCE, PRE.field, _chains(site, PRE)))
    if rules:
        yield site.way.allowed(RETURN)
        yield Rule((Flow(("ESTABLISHED", "RELATED")),), RETURN)
        yield from rules


def input_rules(site: Site) -> Iterator[Rule]:
    if site.listens_to_marks:
        yield site.way.allowed(site.way.allow)
    yield from by_interface(site, End.SOURCE, IN.field, _chains(site, IN))


def output_rules(site: Site) -> Iterator[Rule]:
    if site.listens_to_marks:
        yield site.way.allowed(site.way.allow)
    if rules := tuple(by_interface(site, End.DESTINATION, OUT.field, _chains(site, OUT))):
        yield from site.to_ours(RETURN)
        yield from rules


def from_host_rules(site: Site, verdict: Target) -> Iterator[Rule]:
    """What of an established flow is the business of a host endpoint that looks at forwarded packets."""
    for end, field in ((End.SOURCE, "forward_ingress"), (End.DESTINATION, "forward_egress")):
        for one in site.covered:
            if group_of(one, field):
                everything = one.interface == ALL_INTERFACES
                yield Rule((Interface(end, "lo" if everything else one.interface, everything),), verdict)


def _chains(site: Site, role: Role) -> dict[str, str]:
    return {one.key: names.host_chain(role.word, one.key) for one in site.covered}


def role_chains(site: Site, family: int, table: Table) -> tuple[Chain, ...]:
    return tuple(
        Chain(names.host_chain(role.word, one.key), tuple(_role_rules(site, family, role, one)))
        for role in ROLES if role.table is table
        for one in site.covered if group_of(one, role.field)
    )


def _role_rules(site: Site, family: int, role: Role, host: HostInterface) -> Iterator[Rule]:
    place = site.place(role.table, family)
    tracked = role.table is Table.FILTER
    passing = site.way.allow if tracked else RETURN
    if tracked:
        yield Rule((Flow(("ESTABLISHED", "RELATED")),), passing)
        yield cutting.rule(family)
        if site.settings.drop_invalid:
            yield Rule((Flow(("INVALID",)),), DROP, "invalid, says conntrack")
    yield from _failsafes(site, family, role, passing)
    jump = group_jump(site, group_of(host, role.field), role.direction)
    if jump is None:
        yield denial(place, f"missing: group {group_of(host, role.field)} of {host.key}")
        return
    yield Rule((), jump, host.key)
    if tracked:
        yield site.way.allowed(passing)
    if role.table is Table.RAW:
        yield site.way.allowed(Untrack())


def _failsafes(site: Site, family: int, role: Role, target: Target) -> Iterator[Rule]:
    inbound, outbound = site.settings.failsafe_inbound, site.settings.failsafe_outbound
    here, other = (inbound, outbound) if role.direction is Direction.INGRESS else (outbound, inbound)
    peer = End.SOURCE if role.direction is Direction.INGRESS else End.DESTINATION
    for one in here:
        if tests := _failsafe(one, family, peer, End.DESTINATION):
            yield Rule(tests, target, "failsafe")
    if role.table is Table.RAW:
        for one in other:
            if tests := _failsafe(one, family, peer, End.SOURCE):
                yield Rule(tests, target, "failsafe, the answer")


def _failsafe(failsafe: Failsafe, family: int, peer: End, port_end: End) -> tuple[Test, ...]:
    protocol, port, prefix = failsafe
    if prefix and version_of(prefix) != family:
        return ()
    address = (Address(peer, Cidr(prefix)),) if prefix and not prefix.endswith("/0") else ()
    ports = (Ports(port_end, ((port, port),)),) if protocol in PROTOCOLS_WITH_PORTS else ()
    return (Protocol(protocol), *address, *ports)


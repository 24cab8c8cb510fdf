"""What the chains that every host has must know: the settings, and all that is not just an element of a set.

Most endpoints are only elements, so that these chains do not grow with them. Rules of their own get those of which
iptables wants to know more than an address and an interface: a name without our prefix, a prefix for a source, a
limit, a floating address. They are few, and so are the interfaces of the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from muslin.intent import (
    ALL_INTERFACES,
    Direction,
    Endpoint,
    Group,
    GroupId,
    HostInterface,
    Policy,
    PolicyId,
    SetId,
    Settings,
)
from muslin.net import is_host
from muslin.render.iptables import names
from muslin.render.iptables.chains import Place, Way
from muslin.render.iptables.words import Chain, End, Interface, Jump, Rule, Ruling, Table, Target, Test
from muslin.render.matching import SetShape
from muslin.render.nft.names import prefixes


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """`senders`: the egress groups that have workloads. `receivers`: the ingress groups, each with how many sets its
    interfaces fill (see members). `special`: endpoints with rules of their own, by key."""

    way: Way
    groups: Mapping[GroupId, Group] = {}
    policies: Mapping[PolicyId, Policy] = {}
    shapes: Mapping[SetId, SetShape] = {}
    senders: tuple[GroupId, ...] = ()
    receivers: Mapping[GroupId, int] = {}
    special: tuple[Endpoint, ...] = ()
    host_interfaces: tuple[HostInterface, ...] = ()

    @property
    def settings(self) -> Settings:
        return self.way.settings

    def place(self, table: Table, family: int) -> Place:
        return Place(table, family, self.way)

    @property
    def ours(self) -> tuple[str, ...]:
        """Interfaces of workloads: by prefix, and those that do not bear one."""
        known = prefixes(self.settings)
        others = (one.interface for one in self.special if not one.interface.startswith(known))
        return (*(f"{prefix}+" for prefix in known), *others)

    def from_ours(self, target: Target, *tests: Test) -> tuple[Rule, ...]:
        return tuple(Rule((Interface(End.SOURCE, name), *tests), target) for name in self.ours)

    def to_ours(self, target: Target, *tests: Test) -> tuple[Rule, ...]:
        return tuple(Rule((Interface(End.DESTINATION, name), *tests), target) for name in self.ours)

    @property
    def covered(self) -> tuple[HostInterface, ...]:
        """Host endpoints on an interface of their own, then the one on all others. Should two claim an interface, the
        smaller key has it."""
        held: dict[str, HostInterface] = {}
        for one in self.host_interfaces:
            held.setdefault(one.interface, one)
        rest = held.pop(ALL_INTERFACES, None)
        named = (one for name, one in held.items() if names.usable(name))
        return (*named, *((rest,) if rest else ()))

    @property
    def listens_to_marks(self) -> bool:
        """Is there anything that answers in one hook what another must know?"""
        return any(one.untracked_ingress or one.untracked_egress or one.pre_dnat for one in self.host_interfaces)


def is_special(endpoint: Endpoint, settings: Settings) -> bool:
    if not names.usable(endpoint.interface):
        return False
    return bool(
        endpoint.qos or endpoint.nat or endpoint.published
        or not endpoint.interface.startswith(prefixes(settings))
        or not all(is_host(net) for net in (*endpoint.addresses, *endpoint.spoofable))
    )


def limits_connections(site: Site) -> bool:
    return any(one.qos and (one.qos.ingress_connections or one.qos.egress_connections) for one in site.special)


def limits_rates(site: Site) -> bool:
    return any(one.qos and (one.qos.ingress_packet_rate or one.qos.egress_packet_rate) for one in site.special)


def group_of(host: HostInterface, field: str) -> GroupId:
    found: GroupId = getattr(host, field)
    return found


def by_interface(site: Site, end: End, field: str, chain_of: Mapping[str, str]) -> Iterator[Rule]:
    """To the chain of the host endpoint that covers the packet's interface, if it has one in this role. `field`: of
    HostInterface, that names the group. `chain_of`: the chain, by the host endpoint's key."""
    covered = [one for one in site.covered if group_of(one, field)]
    for_all = next((one for one in covered if one.interface == ALL_INTERFACES), None)
    if not covered:
        return
    for one in site.covered:
        if one.interface == ALL_INTERFACES:
            continue
        if one in covered:
            yield Rule((Interface(end, one.interface),), Jump(chain_of[one.key], for_good=True), one.key)
        elif for_all:
            yield Rule((Interface(end, one.interface),), Ruling.RETURN)
    if for_all:
        yield Rule((Interface(end, "lo", True),), Jump(chain_of[for_all.key], for_good=True), for_all.key)


def group_jump(site: Site, group: GroupId, direction: Direction) -> Jump | None:
    """None: there is no such group for this direction."""
    if group not in site.groups or site.groups[group].direction is not direction:
        return None
    return Jump(names.group_chain(group, direction))


def chain(name: str, *parts: Rule) -> Chain:
    return Chain(name, parts)

"""What endpoints and address sets put into ipsets.

An address set is one hash:net in each family, in which a single address is a prefix of full length: one lookup for each
length that occurs. An endpoint is elements: its addresses with its interface, in the set of all sources, in the set
of its egress group, and in that of its ingress group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muslin.intent import AddressSet, Direction, Endpoint, Group, GroupId, MemberChange, PortMember, PortSet, SetId
from muslin.net import Cidr, is_host, version_of
from muslin.render.iptables import names
from muslin.render.iptables.book import Book, Elements
from muslin.render.iptables.words import IpSet, Kind
from muslin.render.matching import SetShape

FAMILIES = (4, 6)

_HALVES = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}
"""A hash:net takes no prefix of length 0."""


def element(prefix: str) -> str:
    """As ipset prints it: the length is left out of a single address."""
    return prefix.partition("/")[0] if is_host(Cidr(prefix)) else prefix


def elements_of(nets: Iterable[str]) -> frozenset[str]:
    return frozenset(element(part) for net in nets for part in _HALVES.get(net, (net,)))


def port_element(member: PortMember) -> str:
    return f"{element(member[0])},{member[1]}:{member[2]}"


def list_sets(lists: Mapping[str, tuple[Cidr, ...]]) -> dict[str, tuple[IpSet, frozenset[str]]]:
    return {
        name: (IpSet(name, Kind.NETS, version_of(nets[0])), elements_of(nets)) for name, nets in lists.items()
    }


class Contents:
    """Address sets and port sets in the book, one member at a time."""

    def __init__(self, book: Book) -> None:
        self.shapes: dict[SetId, SetShape] = {}
        self._book = book

    def update(
        self, set_id: SetId, change: AddressSet | PortSet | MemberChange | None, now: AddressSet | PortSet | None
    ) -> bool:
        """Takes one set's change over; `now` is the set with it. True when its shape changed: rules that name it must
        be written anew."""
        before = self.shapes.get(set_id)
        if now is None or (before and before.ports is not isinstance(now, PortSet)):
            self._drop(set_id, before)
        if now is not None:
            if isinstance(change, MemberChange) and set_id in self.shapes and not _is_wide(change):
                self._change(set_id, change)
            else:
                self._replace(set_id, now)
        return self.shapes.get(set_id) != before

    def _drop(self, set_id: SetId, shape: SetShape | None) -> None:
        self.shapes.pop(set_id, None)
        for declared in _sets(set_id, shape) if shape else ():
            self._book.drop_set(declared.name)

    def _replace(self, set_id: SetId, members: AddressSet | PortSet) -> None:
        shape = self.shapes[set_id] = SetShape(ports=isinstance(members, PortSet))
        for declared in _sets(set_id, shape):
            self._book.put_set(declared)
            if isinstance(members, PortSet):
                found = {port_element(m) for m in members.members if version_of(m[0]) == declared.family}
                self._book.put_content(declared.name, found)
            else:
                nets = (m for m in members.members if version_of(m) == declared.family)
                self._book.put_content(declared.name, elements_of(nets))

    def _change(self, set_id: SetId, change: MemberChange) -> None:
        if self.shapes[set_id].ports:
            for member in change.ports_removed:
                self._book.remove(names.port_set(set_id, version_of(member[0])), port_element(member))
            for member in change.ports_added:
                self._book.add(names.port_set(set_id, version_of(member[0])), port_element(member))
            return
        for net in change.removed:
            self._book.remove(names.host_set(set_id, version_of(net)), element(net))
        for net in change.added:
            self._book.add(names.host_set(set_id, version_of(net)), element(net))


def _is_wide(change: MemberChange) -> bool:
    """Does a prefix come or go that stands for two elements, or may be one of two?"""
    return any(net.endswith(("/0", "/1")) for net in (*change.added, *change.removed))


def _sets(set_id: SetId, shape: SetShape) -> tuple[IpSet, ...]:
    if shape.ports:
        return tuple(IpSet(names.port_set(set_id, family), Kind.ADDRESS_PORTS, family) for family in FAMILIES)
    return tuple(IpSet(names.host_set(set_id, family), Kind.NETS, family) for family in FAMILIES)


def group_sets(group: Group) -> tuple[IpSet, ...]:
    """Where its endpoints are."""
    name = names.senders if group.direction is Direction.EGRESS else names.receivers
    return tuple(IpSet(name(group.id, family), Kind.ADDRESS_INTERFACES, family) for family in FAMILIES)


def endpoint_elements(endpoint: Endpoint, groups: Mapping[GroupId, Group]) -> Elements:
    """What the sets hold of one endpoint: its single addresses. Prefixes get rules of their own, see hooks. A group
    that is not there denies: the endpoint is in no set of any."""
    if not names.usable(endpoint.interface):
        return {}
    found: dict[str, set[str]] = {}
    for address in (*endpoint.addresses, *endpoint.spoofable):
        if not is_host(address):
            continue
        family, entry = version_of(address), f"{element(address)},{endpoint.interface}"
        found.setdefault(names.sources(family), set()).add(entry)
        if is_of(groups, endpoint.egress, Direction.EGRESS):
            found.setdefault(names.senders(endpoint.egress, family), set()).add(entry)
        if is_of(groups, endpoint.ingress, Direction.INGRESS):
            found.setdefault(names.receivers(endpoint.ingress, family), set()).add(entry)
    return found


MOST_BEHIND = 60
"""An ipset takes the same prefix with 64 interfaces; while one takes another's place, both are there."""


def parts_of(interfaces: Iterable[str]) -> list[frozenset[str]]:
    """In an order of their own, so that one more moves at most one from each part to the next."""
    ordered = sorted(interfaces)
    return [frozenset(ordered[place : place + MOST_BEHIND]) for place in range(0, len(ordered), MOST_BEHIND)]


def behind_sets(group: GroupId, interfaces: Iterable[str]) -> dict[str, tuple[IpSet, frozenset[str]]]:
    """Which interfaces lead to that ingress group, whatever the address."""
    found: dict[str, tuple[IpSet, frozenset[str]]] = {}
    for part, content in enumerate(parts_of(interfaces)):
        for family, everything in ((4, "0.0.0.0/0"), (6, "::/0")):
            declared = IpSet(names.behind(group, family, part), Kind.ADDRESS_INTERFACES, family)
            found[declared.name] = declared, frozenset(f"{everything},{interface}" for interface in content)
    return found


def receives(endpoint: Endpoint, groups: Mapping[GroupId, Group]) -> bool:
    """Is there a policy by which it could get anything?"""
    return names.usable(endpoint.interface) and is_of(groups, endpoint.ingress, Direction.INGRESS)


def is_of(groups: Mapping[GroupId, Group], group: GroupId, direction: Direction) -> bool:
    return group in groups and groups[group].direction is direction

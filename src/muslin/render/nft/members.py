"""What endpoints and address sets put into nft sets and maps.

An address set becomes a hash for single addresses in each family, always there, and, only while it holds prefixes of
a family, an interval set beside it (hash: one lookup at any size, one element a change; intervals are slow to change).
An endpoint is nothing but elements: its interface, its addresses with it, and the groups they lead to.

They lead there by jump, though a group always decides and nobody comes back: elements of a map change for every packet
at once, and the rules of a chain for those that begin after. A change brings its chains filled, before anything leads
there (0087). But where the whole is renewed in one transaction, since somebody has meddled with it (see table), a chain
that comes with it is empty to a packet which is under way: the packet comes back, and the rules behind the map drop it;
after a goto it would be accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muslin.intent import AddressSet, Endpoint, Group, GroupId, PortMember, PortSet, SetId, Settings
from muslin.net import Cidr, is_host, version_of
from muslin.render.matching import SetShape
from muslin.render.nft import names
from muslin.render.nft.book import Place
from muslin.render.nft.extent import ADDRESS, OTHERS
from muslin.render.nft.hooks import FROM, FROM_NETS, TO
from muslin.render.nft.hosts import to_group
from muslin.render.nft.places import FAMILIES, Gate
from muslin.render.nft.qos import limits_of
from muslin.render.nft.translation import Service, floating_elements, published_elements
from muslin.render.nft.words import Element, Mapped, NamedSet, Type, jump
from muslin.render.prefixes import maximal


def shape_of(members: AddressSet | PortSet) -> SetShape:
    if isinstance(members, PortSet):
        return SetShape(ports=True)
    return shape_from(member for member in members.members if not is_host(member))


def shape_from(nets: Iterable[Cidr]) -> SetShape:
    """The shape of an address set that holds these prefixes, besides any single addresses."""
    return SetShape(nets=frozenset(version_of(net) for net in nets))


def sets_of(set_id: SetId, shape: SetShape) -> tuple[NamedSet, ...]:
    """The nft sets of one set."""
    if shape.ports:
        return tuple(
            NamedSet(names.port_set(set_id, family), (ADDRESS[family], Type.PROTOCOL, Type.PORT))
            for family in FAMILIES
        )
    hosts = [NamedSet(names.host_set(set_id, family), (ADDRESS[family],)) for family in FAMILIES]
    nets = [
        NamedSet(names.net_set(set_id, family), (ADDRESS[family],), interval=True) for family in sorted(shape.nets)
    ]
    return (*hosts, *nets)


def hosts_of(set_id: SetId, members: Iterable[Cidr]) -> dict[str, list[Element]]:
    """The single addresses, by nft set."""
    v4, v6 = names.host_set(set_id, 4), names.host_set(set_id, 6)
    found: dict[str, list[Element]] = {v4: [], v6: []}
    for member in members:
        if is_host(member):
            found[v6 if ":" in member else v4].append(member)
    return found


def nets_of(set_id: SetId, nets: Iterable[Cidr]) -> dict[str, list[Element]]:
    """Prefixes, overlaps resolved, by nft set; only families that have any."""
    by_family: dict[int, list[Cidr]] = {}
    for net in nets:
        by_family.setdefault(version_of(net), []).append(net)
    return {names.net_set(set_id, family): list(maximal(found)) for family, found in by_family.items()}


def ports_of(set_id: SetId, members: Iterable[PortMember]) -> dict[str, list[Element]]:
    """Named ports, by nft set."""
    found: dict[str, list[Element]] = {names.port_set(set_id, family): [] for family in FAMILIES}
    for member in members:
        found[names.port_set(set_id, version_of(member[0]))].append(member)
    return found


def endpoint_elements(
    endpoint: Endpoint, groups: Mapping[GroupId, Group], settings: Settings, floating: frozenset[Cidr],
    services: frozenset[Service],
) -> dict[Place, Mapped]:
    """Everything that the kernel knows of one endpoint. A group that is not there denies.

    `floating`: which of the addresses that it claims by its floating addresses are its own; `services`: likewise of the
    host's ports.

    An interface that nft cannot name gets nothing here; the model refuses such names, it never carries a workload.
    """
    name = endpoint.interface
    if not names.usable_interface(name):
        return {}
    found: dict[Place, Mapped] = {}
    if not name.startswith(names.prefixes(settings)):
        found[OTHERS, name] = None
    if settings.floating_addresses:
        found.update(floating_elements(endpoint, floating))
    found.update(published_elements(endpoint, services))
    for limits in limits_of(endpoint):
        found[limits.end, name] = jump(limits.name)
    found[TO, name] = to_group(endpoint.ingress, Gate.INGRESS, 4, groups, jump)
    for family in FAMILIES:
        leave = to_group(endpoint.egress, Gate.EGRESS, family, groups, jump)
        own = [address for address in (*endpoint.addresses, *endpoint.spoofable) if version_of(address) == family]
        for address in own:
            if is_host(address):
                found[FROM[family], (address, name)] = leave
        for net in maximal(address for address in own if not is_host(address)):
            found[FROM_NETS[family], (net, name)] = leave
    return found

"""Addresses that change on the way: floating addresses, and sources that are hidden behind their host's.

    floating-in     prerouting, before routing: what is sent to a floating address goes to the workload's own, what is
                    sent to a published port of the host to the workload's
    floating-local  output: likewise for what the host itself sends
    postrouting     back to itself: a workload that asks for its own floating address is asked from there
                    to the world outside: from the floating address, if the workload has one
                    else from the host's, if its pool says so (natOutgoing)

The world outside is what no pool holds, and nothing that the settings exclude. Policy stands between the two hooks and
sees workloads' own addresses; conntrack translates the answers. A floating address is elements of maps, and no rule. A
workload that asks for its neighbour's floating address keeps its own source: the answer passes here in any case.
"""

from __future__ import annotations

from collections.abc import Iterator

from muslin.intent import Endpoint, Published, Settings
from muslin.net import Cidr, host_cidr, version_of
from muslin.render.matching import WORDS
from muslin.render.nft import names
from muslin.render.nft.extent import ADDRESS, Extent
from muslin.render.nft.places import FAMILIES
from muslin.render.nft.words import (
    Chain,
    Counter,
    Element,
    Equal,
    Field,
    Hook,
    InSet,
    Mapped,
    Masquerade,
    Match,
    NameBegins,
    NamedSet,
    OneOf,
    Redirect,
    Rule,
    SourceNat,
    Span,
    Translate,
    Type,
)
from muslin.render.prefixes import maximal

DESTINATION_NAT_PRIORITY, SOURCE_NAT_PRIORITY = -100, 100
MASQUERADED = {4: "masqueraded4", 6: "masqueraded6"}
POOLS = {4: "pools4", 6: "pools6"}
FLOATING = {4: "floating4", 6: "floating6"}
"""Floating address -> the workload's own."""
OWN = {4: "floating-of4", 6: "floating-of6"}
"""The workload's own -> its floating address, the first if it has several."""
HAIRPIN = {4: "hairpin4", 6: "hairpin6"}
"""The workload's own, twice."""
PUBLISHED = {4: "published4", 6: "published6"}
"""Protocol and port of the host -> the workload's own address and port."""
PUBLISHED_AT = {4: "published-at4", 6: "published-at6"}
"""The same for one address of the host."""
OWN_PORTS = {4: "published-hairpin4", 6: "published-hairpin6"}
"""The own address of a workload that has published ports, twice."""
LOOPBACK = {4: Cidr("127.0.0.0/8"), 6: Cidr("::1/128")}
LOCAL = 2
"""RTN_LOCAL: an address of the host."""
_TCP_AND_UDP = (6, 17)

Service = tuple[str, int, int]
"""(address of the host or "", protocol, port); (address of the workload, 0, 0) for where they lead."""


def sets() -> tuple[NamedSet, ...]:
    return tuple(
        NamedSet(where[family], (ADDRESS[family],), interval=True)
        for family in FAMILIES for where in (MASQUERADED, POOLS)
    )


def optional_sets() -> tuple[NamedSet, ...]:
    found: list[NamedSet] = []
    for family, address in ADDRESS.items():
        found += [NamedSet(where[family], (address,), data=(address,)) for where in (FLOATING, OWN)]
        found += [NamedSet(where[family], (address, address)) for where in (HAIRPIN, OWN_PORTS)]
        service = (Type.PROTOCOL, Type.PORT)
        found.append(NamedSet(PUBLISHED[family], service, data=(address, Type.PORT)))
        found.append(NamedSet(PUBLISHED_AT[family], (address, *service), data=(address, Type.PORT)))
    return tuple(found)


def elements(settings: Settings) -> dict[tuple[str, Element], Mapped]:
    """Of the pools: whose sources are hidden, and what is not the world outside."""
    found: dict[tuple[str, Element], Mapped] = {}
    inside = (*settings.pools, *settings.masquerade_exclude)
    for where, prefixes in ((MASQUERADED, settings.masquerade), (POOLS, inside)):
        for family in FAMILIES:
            for prefix in maximal(net for net in prefixes if version_of(net) == family):
                found[where[family], prefix] = None
    return found


def addresses_of(endpoint: Endpoint | None) -> frozenset[Cidr]:
    """What the endpoint claims for itself by its floating addresses: these and its own."""
    pairs = endpoint.nat if endpoint else ()
    return frozenset(host_cidr(address) for pair in pairs for address in pair)


def floating_elements(endpoint: Endpoint, held: frozenset[Cidr]) -> Iterator[tuple[tuple[str, Element], Mapped]]:
    """`held`: those that it claims and that are not another endpoint's."""
    own: set[Cidr] = set()
    for pair in endpoint.nat:
        external, internal = (host_cidr(address) for address in pair)
        family = version_of(external)
        if family != version_of(internal):
            continue
        if external in held:
            yield (FLOATING[family], external), internal
        if internal in held and internal not in own:
            own.add(internal)
            yield (OWN[family], internal), external
            yield (HAIRPIN[family], (internal, internal)), None


def service_of(published: Published) -> Service:
    return published.host_address, published.protocol, published.host_port


def services_of(endpoint: Endpoint | None) -> frozenset[Service]:
    """What the endpoint claims for itself by its published ports: these, and its own addresses to which they lead."""
    if endpoint is None or not endpoint.published:
        return frozenset()
    own = ((address, 0, 0) for family in FAMILIES if (address := _own(endpoint, family)))
    return frozenset((*map(service_of, endpoint.published), *own))


def _own(endpoint: Endpoint, family: int) -> Cidr | None:
    return next((address for address in endpoint.addresses if version_of(address) == family), None)


def published_elements(endpoint: Endpoint, held: frozenset[Service]) -> Iterator[tuple[tuple[str, Element], Mapped]]:
    """`held`: those of what it claims that are not another endpoint's."""
    for family in FAMILIES:
        own = _own(endpoint, family)
        if own is None:
            continue
        for each in endpoint.published:
            if service_of(each) not in held:
                continue
            if not each.host_address:
                yield (PUBLISHED[family], (each.protocol, each.host_port)), (own, each.port)
            elif version_of(each.host_address) == family:
                at = host_cidr(each.host_address)
                yield (PUBLISHED_AT[family], (at, each.protocol, each.host_port)), (own, each.port)
        if (own, 0, 0) in held:
            yield (OWN_PORTS[family], (own, own)), None


def chains(extent: Extent) -> tuple[Chain, ...]:
    floating = [family for family in FAMILIES if FLOATING[family] in extent.maps]
    inwards = tuple(Rule((Translate(WORDS[family].destination.address, FLOATING[family]),)) for family in floating)
    inwards += tuple(_published(extent))
    outwards = (*_floating(extent), *_to_itself(extent), *_masquerade(extent.settings))
    found = (
        Chain("floating-in", inwards, Hook("nat", "prerouting", DESTINATION_NAT_PRIORITY)),
        Chain("floating-local", inwards, Hook("nat", "output", DESTINATION_NAT_PRIORITY)),
        Chain("postrouting", outwards, Hook("nat", "postrouting", SOURCE_NAT_PRIORITY)),
    )
    return tuple(chain for chain in found if chain.rules)


def _published(extent: Extent) -> Iterator[Rule]:
    """Loopback addresses stay the host's own: a workload's answer to one would never come back."""
    for family in FAMILIES:
        destination, service = WORDS[family].destination.address, (Field.PROTOCOL, Field.DESTINATION_PORT)
        to_host = (Equal(destination, LOOPBACK[family], True), Equal(Field.DESTINATION_TYPE, LOCAL))
        if PUBLISHED_AT[family] in extent.maps:
            yield Rule((*to_host, Redirect(family, (destination, *service), PUBLISHED_AT[family])), "published port")
        if PUBLISHED[family] in extent.maps:
            yield Rule((*to_host, Redirect(family, service, PUBLISHED[family])), "published port")


def _to_itself(extent: Extent) -> Iterator[Rule]:
    """Without another source, its answer would go to itself, and not back the way it came."""
    for family in FAMILIES:
        if OWN_PORTS[family] in extent.maps:
            both = (WORDS[family].source.address, WORDS[family].destination.address)
            yield Rule((InSet(both, OWN_PORTS[family]), Counter(), Masquerade(None)), "back to itself")


def _floating(extent: Extent) -> Iterator[Rule]:
    for family in FAMILIES:
        if OWN[family] in extent.maps:
            source, destination = WORDS[family].source.address, WORDS[family].destination.address
            translate = Translate(source, OWN[family])
            yield Rule((InSet((source, destination), HAIRPIN[family]), translate), "back to itself")
            yield Rule((InSet((destination,), POOLS[family], True), translate), "floating address")


def _masquerade(settings: Settings) -> Iterator[Rule]:
    """Ports can only be chosen where there are any; the other protocols follow."""
    leaving = _leaving_by(settings.masquerade_interfaces)
    if not settings.masquerade or leaving is None:
        return
    ports = Span(*settings.masquerade_ports) if settings.masquerade_ports else None
    for family in FAMILIES:
        hidden: tuple[Match, ...] = (
            InSet((WORDS[family].source.address,), MASQUERADED[family]),
            InSet((WORDS[family].destination.address,), POOLS[family], True),
            *leaving,
        )
        if ports:
            tcp_and_udp = OneOf((Field.PROTOCOL,), _TCP_AND_UDP)
            yield Rule((*hidden, tcp_and_udp, Counter(), _hiding(settings, family, ports)), "natOutgoing")
        yield Rule((*hidden, Counter(), _hiding(settings, family, None)), "natOutgoing")


def _hiding(settings: Settings, family: int, ports: Span | None) -> Masquerade | SourceNat:
    address = settings.masquerade_address
    return SourceNat(address, ports) if address and family == 4 else Masquerade(ports)


def _leaving_by(pattern: str) -> tuple[Match, ...] | None:
    """`eth+`: those that begin with eth. None: what cannot be a name is the name of no interface."""
    begins = pattern.removesuffix("+")
    if not pattern or pattern == "+":
        return ()
    if not names.usable_interface(begins):
        return None
    if pattern != begins:
        return (NameBegins(Field.OUT_INTERFACE, begins),)
    return (Equal(Field.OUT_INTERFACE, pattern),)

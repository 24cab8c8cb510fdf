"""What endpoints ask for beside policy: limits, a class of service, translated addresses, and masquerading.

Connections are counted in mangle, which changes seldom: the kernel counts them anew whenever the table is written. (Of
packets it counts on, under the counter's name, so that they are counted in filter, behind policy.) A workload with as
many connections as it may have gets a bit on the packet that would be one more; filter refuses that packet once policy
has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterator

from muslin.intent import Endpoint, EndpointKey, Published
from muslin.net import Cidr, host_cidr, version_of
from muslin.render.iptables import names
from muslin.render.iptables.chains import DROP
from muslin.render.iptables.hosts import pre_dnat_rules
from muslin.render.iptables.site import Site, chain
from muslin.render.iptables.words import (
    Above,
    Address,
    Chain,
    Connections,
    End,
    Flow,
    InSet,
    Interface,
    Jump,
    Masquerade,
    Ports,
    Protocol,
    Rule,
    SetDscp,
    SetMark,
    Target,
    ToHost,
    Translate,
)

CONNECTIONS, RATES = "mus-connections", "mus-rates"
DEFAULT_BURST = 5
_TCP_AND_UDP = (6, 17)
LOOPBACK = {4: Cidr("127.0.0.0/8"), 6: Cidr("::1/128")}


def mangling(site: Site, family: int) -> tuple[Chain, ...]:
    limited = tuple(rule for one in site.special for rule in _connections(site, one))
    found = [
        chain(names.base("PREROUTING"), *_classes(site), *pre_dnat_rules(site)),
    ]
    if limited:
        full = site.way.marks.full
        found += [
            chain(CONNECTIONS, Rule((), SetMark(0, full)), *limited),
            *(
                chain(names.base(hook), Rule((Flow(("NEW",)),), Jump(CONNECTIONS)))
                for hook in ("FORWARD", "INPUT")
            ),
        ]
    return tuple(each for each in found if each.rules)


def _classes(site: Site) -> Iterator[Rule]:
    for one in site.special:
        if one.qos and one.qos.dscp is not None:
            yield Rule((Interface(End.SOURCE, one.interface),), SetDscp(one.qos.dscp))


def rate_rules(site: Site) -> Iterator[Rule]:
    """Packets a second, of those that policy has allowed."""
    for one in site.special:
        for word, end, rate, burst in (
            ("o", End.SOURCE, one.qos.egress_packet_rate, one.qos.egress_packet_burst),
            ("i", End.DESTINATION, one.qos.ingress_packet_rate, one.qos.ingress_packet_burst),
        ) if one.qos else ():
            if rate:
                counter = names.counter(word, one.interface, rate, burst or DEFAULT_BURST)
                above = Above(rate, burst or DEFAULT_BURST, counter)
                yield Rule((Interface(end, one.interface), above), DROP, "more packets than the link may carry")


def _connections(site: Site, one: Endpoint) -> Iterator[Rule]:
    full = SetMark(site.way.marks.full, site.way.marks.full)
    for end, above in (
        (End.DESTINATION, one.qos.ingress_connections if one.qos else 0),
        (End.SOURCE, one.qos.egress_connections if one.qos else 0),
    ):
        if above:
            yield Rule((Interface(end, one.interface), Connections(above)), full)


def translating(site: Site, family: int) -> tuple[Chain, ...]:
    found = (
        chain(names.base("PREROUTING"), *_to_internal(site, family)),
        chain(names.base("OUTPUT"), *_to_internal(site, family)),
        chain(names.base("POSTROUTING"), *_to_external(site, family), *_masquerade(site, family)),
    )
    return tuple(each for each in found if each.rules)


def _pairs(site: Site, family: int) -> Iterator[tuple[Cidr, Cidr]]:
    """(floating, own), of this family. Who claims an address first, by key, has it."""
    if site.settings.floating_addresses:
        held: dict[str, EndpointKey] = {}
        for one in site.special:
            for pair in one.nat:
                external, internal = (host_cidr(address) for address in pair)
                if not version_of(external) == version_of(internal) == family:
                    continue
                if one.key == held.setdefault(external, one.key) == held.setdefault(internal, one.key):
                    yield external, internal


def _to_internal(site: Site, family: int) -> Iterator[Rule]:
    for external, internal in _pairs(site, family):
        inside = internal.partition("/")[0]
        yield Rule((Address(End.DESTINATION, external),), Translate(End.DESTINATION, inside), "floating address")
    for port, own in _published(site, family):
        at = (Address(End.DESTINATION, host_cidr(port.host_address)),) if port.host_address else (
            Address(End.DESTINATION, LOOPBACK[family], True),)
        tests = (Protocol(port.protocol), *at, ToHost(), Ports(End.DESTINATION, ((port.host_port, port.host_port),)))
        target = Translate(End.DESTINATION, own.partition("/")[0], (port.port, port.port))
        yield Rule(tests, target, "published port")


def _published(site: Site, family: int) -> Iterator[tuple[Published, Cidr]]:
    """Each port of the host once, with the own address that it leads to; those for one address of the host first."""
    taken: set[tuple[str, int, int]] = set()
    for one in sorted(site.special, key=lambda each: each.key):
        own = next((address for address in one.addresses if version_of(address) == family), None)
        if own is not None:
            for port in sorted(one.published, key=lambda each: not each.host_address):
                service = port.host_address, port.protocol, port.host_port
                if service not in taken and (not port.host_address or version_of(port.host_address) == family):
                    taken.add(service)
                    yield port, own


def _to_external(site: Site, family: int) -> Iterator[Rule]:
    """Also when a workload speaks to itself by its floating address: the answer must come back the same way. Of several
    the first counts."""
    outside = InSet(names.pools(family), (End.DESTINATION,), True)
    for external, internal in _pairs(site, family):
        source, verdict = Address(End.SOURCE, internal), Translate(End.SOURCE, external.partition("/")[0])
        yield Rule((source, Address(End.DESTINATION, internal)), verdict, "floating address")
        yield Rule((source, outside), verdict, "floating address")
    for own in dict.fromkeys(own for _, own in _published(site, family)):
        itself = (Address(End.SOURCE, own), Address(End.DESTINATION, own))
        yield Rule(itself, Masquerade(), "back to itself")


def _masquerade(site: Site, family: int) -> Iterator[Rule]:
    settings = site.settings
    leaving = settings.masquerade_interfaces
    if not any(version_of(net) == family for net in settings.masquerade):
        return
    if leaving not in ("", "+") and not names.usable(leaving.removesuffix("+")):
        return  # what cannot be a name is the name of no interface
    tests = (
        InSet(names.masqueraded(family), (End.SOURCE,)),
        InSet(names.pools(family), (End.DESTINATION,), True),
        *((Interface(End.DESTINATION, leaving),) if leaving not in ("", "+") else ()),
    )
    ports = settings.masquerade_ports
    if ports:
        for protocol in _TCP_AND_UDP:
            yield Rule((Protocol(protocol), *tests), _source_nat(site, family, ports), "natOutgoing")
    yield Rule(tests, _source_nat(site, family, None), "natOutgoing")


def _source_nat(site: Site, family: int, ports: tuple[int, int] | None) -> Target:
    address = site.settings.masquerade_address
    if address and version_of(address) == family:
        return Translate(End.SOURCE, address, ports)
    return Masquerade(ports)

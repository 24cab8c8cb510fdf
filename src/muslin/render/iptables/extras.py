"""What endpoints ask for beside policy: limits, a class of service, translated addresses, and masquerading.

Limits live in mangle, which changes seldom: the kernel counts connections anew whenever the table is written, and
counts packets on under the counter's name. A workload with as many connections as it may have gets a bit on the packet
that would be one more; filter refuses that packet once policy has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterator

from muslin.intent import Endpoint
from muslin.net import Cidr, version_of
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
    Protocol,
    Rule,
    SetDscp,
    SetMark,
    Target,
    Translate,
)

CONNECTIONS = "mus-connections"
DEFAULT_BURST = 5
_WITH_PORTS = (6, 17, 132)


def mangling(site: Site, family: int) -> tuple[Chain, ...]:
    limited = tuple(rule for one in site.special for rule in _connections(site, one))
    found = [
        chain(names.base("PREROUTING"), *_leaving(site), *pre_dnat_rules(site)),
        chain(names.base("POSTROUTING"), *(rule for one in site.special for rule in _arriving(one))),
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


def _leaving(site: Site) -> Iterator[Rule]:
    for one in site.special:
        came = Interface(End.SOURCE, one.interface)
        if one.qos and one.qos.egress_packet_rate:
            counter = names.counter("o", one.interface)
            yield Rule((came, Above(one.qos.egress_packet_rate, one.qos.egress_packet_burst or DEFAULT_BURST, counter)),
                       DROP, "more packets than the workload may send")
        if one.qos and one.qos.dscp is not None:
            yield Rule((came,), SetDscp(one.qos.dscp))


def _arriving(one: Endpoint) -> Iterator[Rule]:
    if one.qos and one.qos.ingress_packet_rate:
        counter = names.counter("i", one.interface)
        above = Above(one.qos.ingress_packet_rate, one.qos.ingress_packet_burst or DEFAULT_BURST, counter)
        yield Rule((Interface(End.DESTINATION, one.interface), above), DROP, "more packets than the workload may get")


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


def _pairs(site: Site, family: int) -> Iterator[tuple[str, str]]:
    if site.settings.floating_addresses:
        for one in site.special:
            yield from (pair for pair in one.nat if version_of(pair[0]) == family)


def _host(address: str) -> Cidr:
    address = address.partition("/")[0]
    return Cidr(f"{address}/{128 if ':' in address else 32}")


def _to_internal(site: Site, family: int) -> Iterator[Rule]:
    for external, internal in _pairs(site, family):
        inside = internal.partition("/")[0]
        yield Rule((Address(End.DESTINATION, _host(external)),), Translate(End.DESTINATION, inside), "floating address")


def _to_external(site: Site, family: int) -> Iterator[Rule]:
    """Also when a workload speaks to itself by its external address: the answer must come back the same way."""
    outside = InSet(names.pools(family), (End.DESTINATION,), True)
    for external, internal in _pairs(site, family):
        source, verdict = Address(End.SOURCE, _host(internal)), Translate(End.SOURCE, external.partition("/")[0])
        yield Rule((source, Address(End.DESTINATION, _host(internal))), verdict, "floating address")
        yield Rule((source, outside), verdict, "floating address")


def _masquerade(site: Site, family: int) -> Iterator[Rule]:
    settings = site.settings
    if not any(version_of(net) == family for net in settings.masquerade):
        return
    tests = (
        InSet(names.masqueraded(family), (End.SOURCE,)),
        InSet(names.pools(family), (End.DESTINATION,), True),
        *((Interface(End.DESTINATION, settings.masquerade_interfaces),) if settings.masquerade_interfaces else ()),
    )
    ports = settings.masquerade_ports
    if ports:
        for protocol in _WITH_PORTS:
            yield Rule((Protocol(protocol), *tests), _source_nat(site, family, ports), "natOutgoing")
    yield Rule(tests, _source_nat(site, family, None), "natOutgoing")


def _source_nat(site: Site, family: int, ports: tuple[int, int] | None) -> Target:
    address = site.settings.masquerade_address
    if address and version_of(address) == family:
        return Translate(End.SOURCE, address, ports)
    return Masquerade(ports)

"""What a workload's link may carry: packets a second, connections at a time, and the class that its packets get.

    qos         forward, behind policy: qos-out by the interface that the packet came by, qos-in by the one it leaves by
    qos-input   input, behind policy: qos-out
    out-100-5-10-46   one chain for each distinct set of limits, whoever has them:
                      a packet over the rate is dropped; a new connection over the number gets a reset, or is dropped
                      where the protocol knows no reset; the packet's DSCP is written

Endpoints are elements of the two maps. Each has its own measure all the same: a set beside the chain, which the kernel
fills, keeps one for each interface, and forgets it when it is idle. Limits count what policy has allowed: whoever may
not open connections to a workload cannot use them up. What the host itself sends to its workloads is not counted.
Without limits none of it is there. Bandwidths are not the table's business, but the link's (see drivers).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from muslin.intent import Endpoint
from muslin.render.nft.extent import Extent, of_family
from muslin.render.nft.places import FAMILIES
from muslin.render.nft.words import (
    DROP,
    ByMap,
    Chain,
    ConnectionsOver,
    Counter,
    CtState,
    Equal,
    Field,
    Hook,
    Limit,
    NamedSet,
    PacketsOver,
    Reject,
    Rule,
    SetDscp,
    Type,
    goto,
)

QOS_PRIORITY = 10
OUT, IN = "qos-out", "qos-in"
TOO_MANY = "too-many-connections"
DEFAULT_BURST = 5
"""Packets, as Calico has it."""
TCP = 6


class Limits(msgspec.Struct, frozen=True, order=True):
    """Of one direction. Their name is that of their chain."""

    end: str
    packets: int = 0
    burst: int = 0
    connections: int = 0
    dscp: int | None = None

    @property
    def name(self) -> str:
        numbers = (self.packets, self.burst, self.connections, "any" if self.dscp is None else self.dscp)
        return "-".join((self.end, *map(str, numbers)))

    @property
    def field(self) -> Field:
        return Field.IN_INTERFACE if self.end == OUT else Field.OUT_INTERFACE


def limits_of(endpoint: Endpoint | None) -> tuple[Limits, ...]:
    """At most one for each direction; none where nothing is limited here."""
    qos = endpoint.qos if endpoint else None
    if qos is None:
        return ()
    found = (
        _limits(OUT, qos.egress_packet_rate, qos.egress_packet_burst, qos.egress_connections, qos.dscp),
        _limits(IN, qos.ingress_packet_rate, qos.ingress_packet_burst, qos.ingress_connections, None),
    )
    return tuple(each for each in found if each.packets or each.connections or each.dscp is not None)


def _limits(end: str, rate: int, burst: int, connections: int, dscp: int | None) -> Limits:
    return Limits(end, rate, (burst or DEFAULT_BURST) if rate else 0, connections, dscp)


def optional_sets() -> tuple[NamedSet, ...]:
    return tuple(NamedSet(name, (Type.INTERFACE,), verdicts=True) for name in (OUT, IN))


def measures(limits: Limits) -> tuple[NamedSet, ...]:
    """The sets that the kernel fills while it counts."""
    wanted = (("packets", limits.packets), ("connections", limits.connections))
    return tuple(
        NamedSet(f"{limits.name}-{what}", (Type.INTERFACE,), dynamic=True, timeout=what == "packets")
        for what, number in wanted if number
    )


def chain(limits: Limits) -> Chain:
    return Chain(limits.name, tuple(_rules(limits)))


def _rules(limits: Limits) -> Iterator[Rule]:
    field = limits.field
    if limits.packets:
        limit = Limit(limits.packets, "second", limits.burst)
        over = PacketsOver(field, f"{limits.name}-packets", limit)
        yield Rule((over, Counter(), DROP), "more packets than the link may carry")
    if limits.connections:
        over_number = ConnectionsOver(field, f"{limits.name}-connections", limits.connections)
        yield Rule((Equal(Field.CT_STATE, CtState.NEW), over_number, Counter(), goto(TOO_MANY)))
    if limits.dscp is not None:
        yield from (Rule((of_family(family), SetDscp(family, limits.dscp))) for family in FAMILIES)


def chains(extent: Extent) -> tuple[Chain, ...]:
    """Those that lead to the limits."""
    out = (Rule((ByMap((Field.IN_INTERFACE,), OUT),)),) if OUT in extent.maps else ()
    into = (Rule((ByMap((Field.OUT_INTERFACE,), IN),)),) if IN in extent.maps else ()
    found = (
        Chain("qos", (*out, *into), Hook("filter", "forward", QOS_PRIORITY)),
        Chain("qos-input", out, Hook("filter", "input", QOS_PRIORITY)),
    )
    used = tuple(each for each in found if each.rules)
    return (*used, _too_many()) if used else ()


def _too_many() -> Chain:
    reset = Rule((Equal(Field.PROTOCOL, TCP), Reject(reset=True)))
    return Chain(TOO_MANY, (reset, Rule((DROP,))))

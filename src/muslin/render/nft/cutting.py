"""Flows that policy has ended, kept from being picked up again.

Who denies a flow that is under way must make conntrack forget it. But conntrack takes the next packet of it, from
either end, for the first of a new flow, and policy may well allow the opposite direction: the server's next segment
would open the flow again, as one of its own, and the client's packets would pass as the answers. So the ends of such a
flow are put into a set, in both orientations, for as long as either end may go on sending. A packet that conntrack
calls new, and whose ends are there, is dropped; a TCP packet that asks for a connection is a new flow indeed, and is
judged by policy.

The elements have lifetimes and are put in while the agent runs (`drivers.nft`): they are no part of the table that is
rendered from the intent. Flows of protocols without ports cannot be named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, version_of
from muslin.render.matching import WORDS
from muslin.render.nft.table import AddElements, Command, RemoveElements
from muslin.render.nft.words import (
    DROP,
    RETURN,
    Chain,
    Counter,
    Element,
    Field,
    InSet,
    NamedSet,
    OpensTcp,
    Rule,
    Type,
    jump,
)

CUT = {4: "cut4", 6: "cut6"}
CUT_CHAIN = "cut"
_ADDRESS = {4: Type.ADDRESS4, 6: Type.ADDRESS6}


class Flow(NamedTuple):
    """The ends of a flow, as either end sees it; addresses are canonical text. `protocol` has ports: TCP, UDP, SCTP or
    UDP-Lite."""

    source: str
    destination: str
    protocol: int
    source_port: int
    destination_port: int

    @property
    def reverse(self) -> Flow:
        return Flow(self.destination, self.source, self.protocol, self.destination_port, self.source_port)


def sets() -> tuple[NamedSet, ...]:
    """Source, destination, protocol, source port, destination port."""
    return tuple(
        NamedSet(CUT[family], (address, address, Type.PROTOCOL, Type.PORT, Type.PORT), timeout=True)
        for family, address in _ADDRESS.items()
    )


def chain() -> Chain:
    return Chain(CUT_CHAIN, (Rule((OpensTcp(), RETURN)), Rule((Counter(), DROP), "of a flow that policy has ended")))


def rule(family: int) -> Rule:
    """Behind conntrack's rule, before policy."""
    words = WORDS[family]
    ends = (words.source.address, words.destination.address, Field.PROTOCOL, words.source.port, words.destination.port)
    return Rule((InSet(ends, CUT[family]), jump(CUT_CHAIN)))


def elements(flows: Iterable[Flow]) -> Mapping[NamedSet, tuple[Element, ...]]:
    """By set, both orientations of each; flows whose protocol has no ports are left out."""
    found: dict[int, list[Element]] = {4: [], 6: []}
    for flow in flows:
        if flow.protocol in PROTOCOLS_WITH_PORTS:
            family = version_of(flow.source)
            found[family] += [_element(flow), _element(flow.reverse)]
    return {declared: tuple(found[family]) for family, declared in zip(found, sets(), strict=True) if found[family]}


def commands(flows: Iterable[Flow], seconds: int = 0) -> Iterator[Command]:
    """These flows are not picked up again for so long, counted from now also where they were cut before; 0: they may go
    on, also those that were never cut. There is no "replace" and no "delete if there": what is added first can be
    deleted in any case."""
    for declared, found in elements(flows).items():
        keys = tuple(dict.fromkeys(found))
        pairs = tuple((key, None) for key in keys)
        yield AddElements(declared, pairs)
        yield RemoveElements(declared, keys)
        if seconds:
            yield AddElements(declared, pairs, seconds)


def _element(flow: Flow) -> Element:
    length = "/128" if ":" in flow.source else "/32"
    ends = Cidr(flow.source + length), Cidr(flow.destination + length)
    return (*ends, flow.protocol, flow.source_port, flow.destination_port)

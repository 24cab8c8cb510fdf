"""Flows that policy has ended, kept from being picked up again: see render.nft.cutting for the law.

An ipset has room for three of a flow's five parts: (address, protocol and port, other address). So both ends of a flow
are put in, and a packet is of a flow that was cut if its source is there with its port, and its destination with its
own. (Between the same two addresses, the port of one cut flow with that of another is taken for one, too.)
The elements have lifetimes and are put in while the agent runs; they are no part of what is rendered from the intent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muslin.net import PROTOCOLS_WITH_PORTS, version_of
from muslin.render.iptables import names
from muslin.render.iptables.words import Chain, End, InSet, IpSet, Jump, Kind, OpensTcp, Rule, Ruling
from muslin.render.nft import Flow

CHAIN = "mus-cut"
_SOURCE = (End.SOURCE, End.SOURCE, End.DESTINATION)
_DESTINATION = (End.DESTINATION, End.DESTINATION, End.SOURCE)


def sets() -> tuple[IpSet, ...]:
    return tuple(IpSet(names.cut(family), Kind.FLOWS, family, timeout=True) for family in (4, 6))


def chain() -> Chain:
    return Chain(CHAIN, (Rule((OpensTcp(),), Ruling.RETURN), Rule((), Ruling.DROP, "of a flow that policy has ended")))


def rule(family: int) -> Rule:
    """Behind conntrack's rule, before policy."""
    name = names.cut(family)
    return Rule((InSet(name, _SOURCE), InSet(name, _DESTINATION)), Jump(CHAIN))


def cut_lines(flows: Iterable[Flow], seconds: int) -> Iterator[str]:
    """For `ipset restore`. Who is cut already is so from now on."""
    yield from (f"add {element} timeout {seconds}" for element in _elements(flows))


def uncut_lines(flows: Iterable[Flow]) -> Iterator[str]:
    yield from (f"del {element}" for element in _elements(flows))


def _elements(flows: Iterable[Flow]) -> Iterator[str]:
    for flow in flows:
        if flow.protocol in PROTOCOLS_WITH_PORTS:
            for end in (flow, flow.reverse):
                name = names.cut(version_of(end.source))
                yield f"{name} {end.source},{end.protocol}:{end.source_port},{end.destination}"

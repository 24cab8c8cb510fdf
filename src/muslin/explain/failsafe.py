"""Ports that no policy of a host may close, so that nobody locks himself out.

    inbound     a packet to that port, from that prefix
    outbound    a packet to that port, to that prefix

Where flows are not tracked, their answers must be known by their ports: from the port of an inbound failsafe outwards,
from the port of an outbound one inwards.
"""

from __future__ import annotations

from muslin.explain.packet import End, Facts
from muslin.intent import Direction, Settings

Listed = tuple[tuple[int, int, str], ...]


def is_failsafe(settings: Settings, facts: Facts, direction: Direction) -> bool:
    if direction is Direction.INGRESS:
        return _listed(settings.failsafe_inbound, facts, facts.destination, facts.source)
    return _listed(settings.failsafe_outbound, facts, facts.destination, facts.destination)


def answers_failsafe(settings: Settings, facts: Facts, direction: Direction) -> bool:
    """Does it come from a failsafe port, back to whoever asked?"""
    if direction is Direction.INGRESS:
        return _listed(settings.failsafe_outbound, facts, facts.source, facts.source)
    return _listed(settings.failsafe_inbound, facts, facts.source, facts.destination)


def _listed(failsafes: Listed, facts: Facts, ported: End, peer: End) -> bool:
    """`ported` has the port, `peer` is within the prefix."""
    return any(
        protocol == facts.packet.protocol and port == ported.port and (not prefix or prefix in peer.within)
        for protocol, port, prefix in failsafes
    )

"""The law of one rule, line by line, in a real kernel: what `explain` says a rule means is what each backend does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import iptrig
import netrig
import nftrig
from intent_words import W2, endpoint, host, policy, rule, tier
from muslin.explain import Packet
from muslin.intent import Settings
from nftrig import Host, Station
from rule_law import LAW, SETS

pytestmark = pytest.mark.kernel

GUARDED, OUTSIDE = 2, 99
TO_GUARDED = ("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2")
"""Destinations of the law's packets: all behind the one workload whose policy is under test."""


class Rig:
    """A world outside that sends whatever it likes, and a workload behind one rule."""

    def __init__(self, host: Host, outside: Station, guarded: Station) -> None:
        self._host, self._outside, self._guarded = host, outside, guarded

    def passes(self, fields: dict[str, Any], packet: Packet) -> bool:
        """Through a policy that holds this one Allow rule, in a tier that denies the rest. What conntrack finds
        strange (an answer that nobody asked for) is let through to it."""
        only = policy("NetworkPolicy/shop/p", rule(**fields))
        guard = endpoint(W2, interface=self._guarded.interface)
        stages = (tier("default", only.id),)
        self._host.apply(
            host(only, ingress=stages, sets=SETS, endpoints=(guard,), settings=Settings(drop_invalid=False))
        )
        netrig.in_ns(self._host.space, "conntrack", "-F")
        ports = (packet.destination_port, packet.source_port)
        if packet.icmp_type is not None:
            ports = (packet.icmp_type, packet.icmp_code)
        on_wire = nftrig.Packet(packet.source, packet.destination, packet.protocol, *ports)
        return self._guarded.hears(self._outside.send(on_wire), nftrig.DEADLINE)


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        there = stack.enter_context(iptrig.host(request.param))
        guarded = stack.enter_context(nftrig.station(there, GUARDED))
        outside = stack.enter_context(nftrig.station(there, OUTSIDE, "up0"))
        for address in TO_GUARDED:
            way = ("via", guarded.v6 if ":" in address else guarded.v4, "dev", guarded.interface, "onlink")
            netrig.run("ip", "-n", there.space, "route", "add", address, *way)
        yield Rig(there, outside, guarded)


@pytest.mark.parametrize(("fields", "packet", "expected"), [case[1:] for case in LAW], ids=[case[0] for case in LAW])
def test_the_kernel_obeys_the_law_of_a_rule(
    rig: Rig, fields: dict[str, Any], packet: Packet, expected: bool
) -> None:
    """The same table that `explain` obeys."""
    assert rig.passes(fields, packet) is expected

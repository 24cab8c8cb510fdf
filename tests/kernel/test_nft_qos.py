"""Limits of a workload's link, counted by the kernel on real packets and connections."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing

import msgspec
import pytest

import iptrig
import netrig
import nftrig
from intents import OPEN, OPEN_IN, OPEN_OUT, SHUT_IN, endpoint, intent
from muslin.intent import Endpoint, HostIntent, Qos, Settings
from muslin.render.nft import NftState, render
from nftrig import DEADLINE, UDP, Host, Packet, Station, own_socket

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

BOTH = pytest.mark.parametrize("version", [4, 6])
RATE, BURST = 1, 20
"""So slow that no second packet is earned while a test runs; the burst is what passes."""
HOST = {4: "10.200.0.1", 6: "fd20::1"}


class Rig:
    """Workloads 1, 2 and 3."""

    def __init__(self, host: Host, *stations: Station) -> None:
        self.host = host
        self.one, self.two, self.three = stations

    def becomes(self, made: HostIntent) -> None:
        self.host.state = NftState()
        self.host.apply(made)
        netrig.in_ns(self.host.space, "conntrack", "-F")

    def carried(self, source: Station, target: Station, version: int, number: int, *, source_port: int = 0) -> int:
        """How many of so many packets arrive; of one flow, if a source port is given."""
        token = os.urandom(8)
        mac = bytes.fromhex(nftrig.HOST_MAC.replace(":", "")) + b"\x02\0\0\0\0\1"
        for _ in range(number):
            packet = nftrig.between(source, target, version, protocol=UDP, port=80, source_port=source_port)
            source.wire.send(mac + (b"\x08\0" if version == 4 else b"\x86\xdd") + packet.bytes(token))
        return sum(1 for _ in _heard(target, token))


def _heard(target: Station, token: bytes) -> Iterator[bytes]:
    while select.select([target.wire], [], [], DEADLINE)[0]:
        frame, address = target.wire.recvfrom(2048)
        if token in frame and address[2] != socket.PACKET_OUTGOING:
            yield frame


def _limited(number: int, **limits: int | None) -> Endpoint:
    return msgspec.structs.replace(endpoint(number, OPEN_IN, OPEN_OUT), qos=Qos(**limits))


QUIET = ("table ip6 quiet { chain out { type filter hook output priority 0; "
         "icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit, nd-neighbor-solicit } drop; }; }")
"""A station's own kernel says who it is, for some seconds: limits would count that, too."""


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        for address in (f"{HOST[4]}/32", f"{HOST[6]}/128"):
            netrig.run("ip", "-n", host.space, "addr", "add", address, "dev", "lo")
        stations = [stack.enter_context(nftrig.station(host, number)) for number in (1, 2, 3)]
        for each in stations:
            netrig.in_ns(each.space, "nft", QUIET)
        yield Rig(host, *stations)


PLAIN = [endpoint(number, OPEN_IN, OPEN_OUT) for number in (1, 2, 3)]


@BOTH
@pytest.mark.parametrize("source_port", [0, 7000], ids=["new", "established"])
def test_packets_over_the_rate_are_dropped_each_way(rig: Rig, version: int, source_port: int) -> None:
    """Also those of an established flow; the other way, and other workloads, are not touched."""
    out = _limited(1, egress_packet_rate=RATE, egress_packet_burst=BURST)
    rig.becomes(intent(*OPEN, out, *PLAIN[1:]))
    assert BURST <= rig.carried(rig.one, rig.two, version, 60, source_port=source_port) <= BURST + 2
    assert rig.carried(rig.two, rig.one, version, 60, source_port=source_port) == 60
    assert rig.carried(rig.three, rig.two, version, 60, source_port=source_port) == 60

    into = _limited(1, ingress_packet_rate=RATE, ingress_packet_burst=BURST)
    rig.becomes(intent(*OPEN, into, *PLAIN[1:]))
    assert BURST <= rig.carried(rig.two, rig.one, version, 60, source_port=source_port) <= BURST + 2
    assert rig.carried(rig.one, rig.two, version, 60, source_port=source_port) == 60


def test_two_with_the_same_limits_have_each_their_own(rig: Rig) -> None:
    """They share a chain, not a measure."""
    limits = {"egress_packet_rate": RATE, "egress_packet_burst": BURST}
    rig.becomes(intent(*OPEN, _limited(1, **limits), _limited(2, **limits), PLAIN[2]))

    for source in (rig.one, rig.two):
        assert BURST <= rig.carried(source, rig.three, 4, 60) <= BURST + 2


def test_a_limit_holds_for_what_is_sent_to_the_host_as_well(rig: Rig) -> None:
    limited = _limited(1, egress_packet_rate=RATE, egress_packet_burst=5)
    rig.becomes(intent(*OPEN, limited, settings=Settings(endpoint_to_host_action="Accept")))
    with closing(own_socket(rig.host.space, socket.AF_INET, socket.SOCK_DGRAM)) as ear:
        ear.bind(("", 4000))
        for _ in range(30):
            rig.one.send(Packet(rig.one.v4, HOST[4], UDP, 4000))
        heard = 0
        while select.select([ear], [], [], DEADLINE)[0]:
            ear.recv(100)
            heard += 1
    assert 5 <= heard <= 7


def test_a_new_limit_counts_anew_and_none_is_none(rig: Rig) -> None:
    for burst in (6, 9):
        rig.host.apply(intent(*OPEN, _limited(1, egress_packet_rate=RATE, egress_packet_burst=burst), *PLAIN[1:]))
        assert burst <= rig.carried(rig.one, rig.two, 4, 40) <= burst + 2
    rig.host.apply(intent(*OPEN, *PLAIN))
    assert rig.carried(rig.one, rig.two, 4, 40) == 40


@BOTH
@pytest.mark.parametrize("way", ["ingress", "egress"])
def test_a_connection_too_many_is_reset_and_one_that_ends_makes_room(rig: Rig, version: int, way: str) -> None:
    """Those of other workloads are not counted."""
    limited = _limited(1 if way == "egress" else 2, **{f"{way}_connections": 2})
    rig.becomes(intent(*OPEN, limited, *(each for each in PLAIN if each.key != limited.key)))
    with ExitStack() as stack:
        server = stack.enter_context(closing(_listening(rig.two, version)))
        first = _connected(rig.one, rig.two, version)
        stack.enter_context(closing(_connected(rig.one, rig.two, version)))
        with pytest.raises(ConnectionRefusedError):
            _connected(rig.one, rig.two, version)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()

        def again() -> socket.socket | None:
            try:
                return _connected(rig.one, rig.two, version)
            except ConnectionRefusedError:
                return None

        stack.enter_context(closing(netrig.wait_for("room for another connection", again)))
        del server


def test_what_policy_denies_uses_up_no_connection(rig: Rig) -> None:
    """Else anybody could shut a workload from the world."""
    limited = msgspec.structs.replace(_limited(2, ingress_connections=2), ingress=SHUT_IN.id)
    rig.becomes(intent(*OPEN, SHUT_IN, limited, PLAIN[0]))
    for port in range(1, 30):
        rig.one.send(nftrig.between(rig.one, rig.two, protocol=nftrig.TCP, port=80, source_port=50000 + port))
    rig.host.apply(intent(*OPEN, _limited(2, ingress_connections=2), PLAIN[0]))
    with closing(_listening(rig.two, 4)):
        _connected(rig.one, rig.two, 4).close()


def _listening(station: Station, version: int) -> socket.socket:
    server = own_socket(station.space, socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", 8080))
    server.listen()
    return server


def _connected(source: Station, target: Station, version: int) -> socket.socket:
    client = own_socket(source.space, socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    client.settimeout(5)
    try:
        client.connect((target.v4 if version == 4 else target.v6, 8080))
    except OSError:
        client.close()
        raise
    return client


@BOTH
@pytest.mark.parametrize("value", [46, 0])
def test_dscp_is_written_into_what_the_workload_sends(rig: Rig, version: int, value: int) -> None:
    """And into nothing that it gets."""
    rig.becomes(intent(*OPEN, _limited(1, dscp=value), *PLAIN[1:]))

    def seen(source: Station, target: Station) -> int:
        token = source.send(nftrig.between(source, target, version, protocol=UDP, port=80))
        (frame,) = _heard(target, token)
        return frame[15] >> 2 if version == 4 else int.from_bytes(frame[14:16], "big") >> 6 & 0x3F

    assert seen(rig.one, rig.two) == value
    assert seen(rig.two, rig.one) == 0


def test_what_the_kernel_counts_is_no_drift(rig: Rig) -> None:
    limits = {"egress_packet_rate": 1000, "egress_connections": 5, "ingress_packet_rate": 9, "ingress_connections": 7}
    made = intent(*OPEN, _limited(1, dscp=10, **limits), *PLAIN[1:])
    rig.becomes(made)
    assert rig.carried(rig.one, rig.two, 4, 3) == 3
    assert rig.carried(rig.two, rig.one, 4, 3) == 3

    assert rig.host.drift(made) == ()


def test_without_limits_there_is_nothing(rig: Rig) -> None:
    """A bandwidth is the link's business."""
    del rig
    assert render(intent(*OPEN, _limited(1, ingress_bandwidth=10**6))) == render(intent(*OPEN, PLAIN[0]))

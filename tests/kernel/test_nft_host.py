"""Between a workload and its own host: what the link needs, what policy and settings say, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

import iptrig
import netrig
import nftrig
from intents import (
    ALLOW,
    EGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    SHUT_IN,
    SHUT_OUT,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import Settings
from muslin.net import Cidr
from nftrig import DEADLINE, TCP, UDP, Host, Packet, Station

pytestmark = pytest.mark.kernel
ACCEPT_TO_HOST = Settings(endpoint_to_host_action="Accept")
HOST = {4: "10.200.0.1", 6: "fd20::1"}


class Rig:
    def __init__(self, host: Host, one: Station, tap: Station) -> None:
        self.host, self.one, self.tap = host, one, tap

    def host_hears(self, packet: Packet, station: Station | None = None) -> bool:
        """Does a socket of the host, on that port, get the packet?"""
        station = station or self.one
        family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
        with closing(nftrig.own_socket(self.host.space, family, socket.SOCK_DGRAM)) as ear:
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.bind(("", packet.port))
            ear.settimeout(DEADLINE)
            token = station.send(packet)
            try:
                return token in ear.recv(2048)
            except TimeoutError:
                return False


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        netrig.run("ip", "-n", host.space, "addr", "add", f"{HOST[4]}/32", "dev", "lo")
        netrig.run("ip", "-n", host.space, "addr", "add", f"{HOST[6]}/128", "dev", "lo")
        one = stack.enter_context(nftrig.station(host, 1))
        yield Rig(host, one, stack.enter_context(nftrig.station(host, 2, "tap-of-a-vm")))


BOTH = pytest.mark.parametrize("version", [4, 6])


def _to_host(station: Station, version: int, **what: int) -> Packet:
    return Packet(station.v4 if version == 4 else station.v6, HOST[version], UDP, **what)


@BOTH
def test_a_workload_does_not_reach_its_host(rig: Rig, version: int) -> None:
    """endpointToHostAction is Drop unless somebody says otherwise."""
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))

    assert not rig.host_hears(_to_host(rig.one, version, port=5353))


@BOTH
def test_accept_lets_through_what_egress_policy_allows(rig: Rig, version: int) -> None:
    for action in ("Accept", "Return"):
        allowed = policy("dns", egress=(rule(ALLOW, UDP, side(ports="53")),))
        out = group(EGRESS, tier(allowed))
        settings = Settings(endpoint_to_host_action=action)
        rig.host.apply(intent(*OPEN, allowed, out, endpoint(1, OPEN_IN, out), settings=settings))

        assert rig.host_hears(_to_host(rig.one, version, port=53))
        assert not rig.host_hears(_to_host(rig.one, version, port=54))


@BOTH
def test_a_false_source_does_not_reach_the_host(rig: Rig, version: int) -> None:
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), settings=ACCEPT_TO_HOST))
    stranger = "192.0.2.1" if version == 4 else "2001:db8::1"

    assert rig.host_hears(_to_host(rig.one, version, port=53))
    assert not rig.host_hears(Packet(stranger, HOST[version], UDP, 53))


@BOTH
def test_an_undeclared_interface_does_not_reach_the_host(rig: Rig, version: int) -> None:
    rig.host.apply(intent(*OPEN, settings=ACCEPT_TO_HOST))

    assert not rig.host_hears(_to_host(rig.one, version, port=53))


@BOTH
def test_the_host_reaches_its_workload_and_gets_the_answer(rig: Rig, version: int) -> None:
    """Whatever the policy of the workload: otherwise health checks would need one."""
    rig.host.apply(intent(SHUT_IN, SHUT_OUT, endpoint(1, SHUT_IN, SHUT_OUT)))
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with (
        closing(nftrig.own_socket(rig.one.space, family, socket.SOCK_DGRAM)) as workload,
        closing(nftrig.own_socket(rig.host.space, family, socket.SOCK_DGRAM)) as host,
    ):
        workload.settimeout(1)
        host.settimeout(1)
        workload.bind(("", 7007))
        host.bind((HOST[version], 0))
        host.sendto(b"are you well?", (rig.one.v4 if version == 4 else rig.one.v6, 7007))
        question, asker = workload.recvfrom(100)
        workload.sendto(b"yes", asker)

        assert (question, host.recv(100)) == (b"are you well?", b"yes")


def test_the_host_answers_neighbour_discovery(rig: Rig) -> None:
    """From the link-local and from the workload's own address; without it there is no IPv6 at all."""
    rig.host.apply(intent(SHUT_IN, SHUT_OUT, endpoint(1, SHUT_IN, SHUT_OUT)))
    netrig.run("ip", "-n", rig.one.space, "neigh", "del", "fe80::1", "dev", "eth0")
    try:
        netrig.in_ns(rig.one.space, "ping", "-6", "-c1", "-W1", "-I", rig.one.v6, "fe80::1%eth0", check=False)
        found = netrig.wait_for("the host's answer", lambda: [
            entry for entry in netrig.ip_json(rig.one.space, "-6", "neigh", "show", "fe80::1", "dev", "eth0")
            if entry.get("lladdr") == nftrig.HOST_MAC
        ])
    finally:
        netrig.run("ip", "-n", rig.one.space, "neigh", "replace", "fe80::1", "lladdr", nftrig.HOST_MAC,
                   "dev", "eth0", "nud", "permanent")
    assert found


def test_dhcp_reaches_the_host_before_the_workload_has_an_address(rig: Rig) -> None:
    """Whatever its egress policy says; and nothing else comes from 0.0.0.0."""
    rig.host.apply(intent(SHUT_IN, SHUT_OUT, endpoint(1, SHUT_IN, SHUT_OUT)))

    assert rig.host_hears(Packet("0.0.0.0", "255.255.255.255", UDP, 67, 68))
    assert rig.host_hears(Packet(rig.one.v4, HOST[4], UDP, 67, 68))
    assert not rig.host_hears(Packet("0.0.0.0", "255.255.255.255", UDP, 69, 68))
    assert not rig.host_hears(Packet("192.0.2.9", HOST[4], UDP, 67, 68))
    assert rig.host_hears(Packet("fe80::9", "fe80::1", UDP, 547, 546))
    assert not rig.host_hears(Packet("fe80::9", "fe80::1", UDP, 548, 546))
    assert rig.host_hears(Packet(rig.one.v6, HOST[6], UDP, 547, 546))
    assert not rig.host_hears(Packet("2001:db8::9", HOST[6], UDP, 547, 546))


@BOTH
def test_a_tap_of_any_name_counts_by_being_an_endpoints_interface(rig: Rig, version: int) -> None:
    """It has no prefix to know it by; anti-spoofing, policy and the host's own door hold all the same."""
    tap = endpoint(2, SHUT_IN, OPEN_OUT, interface="tap-of-a-vm")
    rig.host.apply(intent(*OPEN, SHUT_IN, tap, endpoint(1, OPEN_IN, OPEN_OUT)))
    one = rig.one.v4 if version == 4 else rig.one.v6
    stranger = "192.0.2.1" if version == 4 else "2001:db8::1"

    assert rig.host.passes(rig.tap, rig.one, version=version, port=80)
    assert not rig.host.passes(rig.one, rig.tap, version=version, port=80)
    assert not rig.host.passes(rig.tap, rig.one, Packet(stranger, one, UDP, 80))
    assert not rig.host_hears(_to_host(rig.tap, version, port=53), rig.tap)


def test_traffic_that_concerns_no_workload_is_left_alone(rig: Rig) -> None:
    """Even when conntrack calls it invalid: the host may forward other things, asymmetrically too."""
    with ExitStack() as stack:
        left = stack.enter_context(nftrig.station(rig.host, 7, "left"))
        right = stack.enter_context(nftrig.station(rig.host, 8, "right"))
        rig.host.apply(intent(SHUT_IN, SHUT_OUT, endpoint(1, SHUT_IN, SHUT_OUT)))

        assert rig.host.passes(left, right, port=80)
        assert rig.host.passes(left, right, protocol=TCP, port=80, flags=0x3F)
        assert rig.host_hears(_to_host(left, 4, port=53), left)
        assert not rig.host.passes(left, rig.one, port=80)


def test_invalid_packets_are_dropped_unless_the_settings_say_otherwise(rig: Rig) -> None:
    """A TCP packet with every flag set is invalid to conntrack."""
    tap = endpoint(2, OPEN_IN, OPEN_OUT, interface="tap-of-a-vm")
    for drop in (True, False):
        rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), tap, settings=Settings(drop_invalid=drop)))
        assert rig.host.passes(rig.one, rig.tap, protocol=TCP, port=80, flags=0x3F) is not drop


def test_sources_of_pools_with_nat_outgoing_are_masqueraded_outside_all_pools(rig: Rig) -> None:
    with ExitStack() as stack:
        outside = stack.enter_context(nftrig.station(rig.host, 9, "uplink"))
        netrig.run("ip", "-n", rig.host.space, "addr", "add", "192.0.2.1/32", "dev", "uplink")
        netrig.run("ip", "-n", rig.host.space, "route", "add", "198.51.100.1/32", "via", "10.65.0.9", "dev", "uplink",
                   "onlink")
        for pools, seen in (("10.65.0.0/16",), b"\xc0\0\2\1"), (("10.65.0.0/16", "198.51.100.0/24"), b"\x0a\x41\0\1"):
            settings = Settings(masquerade=(Cidr("10.65.0.0/16"),), pools=tuple(Cidr(pool) for pool in pools))
            rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), settings=settings))
            packet = Packet(rig.one.v4, "198.51.100.1", UDP, 80)
            token = rig.one.send(packet)
            assert _source_seen(outside, token) == seen
        rig.host.apply(intent())


def _source_seen(station: Station, token: bytes) -> bytes:
    def frame() -> bytes:
        got = station.wire.recv(2048)
        return got if token in got else b""

    station.wire.settimeout(1)
    return netrig.wait_for("the packet", frame)[26:30]

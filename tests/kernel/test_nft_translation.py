"""Floating addresses and hidden sources, as packets meet them; policy sees workloads' own addresses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import msgspec
import pytest

import iptrig
import netrig
import nftrig
from intents import (
    ALLOW,
    EGRESS,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    SHUT_IN,
    SHUT_OUT,
    endpoint,
    group,
    host_interface,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import Endpoint, Group, HostIntent, Published, Settings
from muslin.net import Cidr
from muslin.render.nft import NftState
from nftrig import DEADLINE, UDP, Host, Packet, Station, own_socket

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

BOTH = pytest.mark.parametrize("version", [4, 6])
WORLD = {4: "198.51.100.7", 6: "2001:db8:7::7"}
FLOATING = {4: "192.0.2.1", 6: "2001:db8::1"}
OTHER = {4: "192.0.2.2", 6: "2001:db8::2"}
UPLINK = {4: "192.0.2.200", 6: "2001:db8::200"}
POOLS = (Cidr("10.65.0.0/16"), Cidr("fd65::/64"))
SETTINGS = Settings(floating_addresses=True, pools=POOLS)


class Rig:
    """Workloads 1 and 2 with floating addresses, and the world outside behind `uplink`."""

    def __init__(self, host: Host, outside: Station, one: Station, two: Station) -> None:
        self.host, self.outside, self.one, self.two = host, outside, one, two

    def becomes(self, made: HostIntent) -> None:
        self.host.state = NftState()
        self.host.apply(made)
        netrig.in_ns(self.host.space, "conntrack", "-F")

    def arrives(self, source: Station, target: Station, packet: Packet) -> tuple[str, str] | None:
        """The addresses with which it arrives, if it does."""
        token = source.send(packet)
        return _seen(target, token)


def _seen(target: Station, token: bytes) -> tuple[str, str] | None:
    """ICMP errors carry the packet as well, above all the redirect that a host sends for what leaves by the interface
    that it came by."""
    while (frame := target.frame(token, DEADLINE)) is not None and _is_error(frame):
        pass
    if frame is None:
        return None
    family, at, size = (socket.AF_INET, 26, 4) if frame[12:14] == b"\x08\0" else (socket.AF_INET6, 22, 16)
    return tuple(socket.inet_ntop(family, frame[at + n * size : at + (n + 1) * size]) for n in (0, 1))


def _is_error(frame: bytes) -> bool:
    protocol, kind = (frame[23], frame[34]) if frame[12:14] == b"\x08\0" else (frame[20], frame[54])
    return (protocol, kind) in ((nftrig.ICMP, 5), (nftrig.ICMP6, 137))


def _of(station: Station, version: int) -> str:
    return station.v4 if version == 4 else station.v6


def _floating(number: int, ingress: Group = OPEN_IN, egress: Group = OPEN_OUT) -> Endpoint:
    addresses = FLOATING if number == 1 else OTHER
    made = endpoint(number, ingress, egress)
    pairs = ((addresses[4], f"10.65.0.{number}"), (addresses[6], f"fd65::{number:x}"))
    return msgspec.structs.replace(made, nat=pairs)


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        outside, one, two = (stack.enter_context(nftrig.station(host, number, interface))
                             for number, interface in ((9, "uplink"), (1, ""), (2, "")))
        for version in (4, 6):
            prefix = 32 if version == 4 else 128
            usable = ("nodad",) if version == 6 else ()  # a tentative address is no source for masquerade
            netrig.run("ip", "-n", host.space, "addr", "add", f"{UPLINK[version]}/{prefix}", "dev", "uplink", *usable)
            netrig.run("ip", "-n", host.space, "route", "add", WORLD[version], "via", _of(outside, version), "dev",
                       "uplink", "onlink")
        yield Rig(host, outside, one, two)


@BOTH
def test_a_floating_address_is_the_workload_s_for_the_world(rig: Rig, version: int) -> None:
    """In and out, and for the answers; inside the pools the workload is itself."""
    rig.becomes(intent(*OPEN, _floating(1), endpoint(2, OPEN_IN, OPEN_OUT), settings=SETTINGS))
    one, two, world = _of(rig.one, version), _of(rig.two, version), WORLD[version]

    assert rig.arrives(rig.outside, rig.one, Packet(world, FLOATING[version], UDP, 80, 7000)) == (world, one)
    assert rig.arrives(rig.one, rig.outside, Packet(one, world, UDP, 7000, 80)) == (FLOATING[version], world)
    assert rig.arrives(rig.one, rig.outside, Packet(one, world, UDP, 90)) == (FLOATING[version], world)
    assert rig.arrives(rig.one, rig.two, Packet(one, two, UDP, 90)) == (one, two)
    assert rig.arrives(rig.two, rig.outside, Packet(two, world, UDP, 90)) == (two, world)


@BOTH
def test_policy_sees_the_workload_s_own_address(rig: Rig, version: int) -> None:
    """At the receiver and at the sender; pre-DNAT policy alone sees the floating one."""
    own = policy("own", rule(ALLOW, UDP, side(nets="10.65.0.1/32", ports="80")),
                 rule(ALLOW, UDP, side(nets="fd65::1/128", ports="80")),
                 egress=(rule(ALLOW, UDP, None, side(nets="10.65.0.1/32")),
                         rule(ALLOW, UDP, None, side(nets="fd65::1/128"))))
    into, out = group(INGRESS, tier(own)), group(EGRESS, tier(own))
    rig.becomes(intent(own, into, out, _floating(1, into, out), settings=SETTINGS))
    world = WORLD[version]

    assert rig.arrives(rig.outside, rig.one, Packet(world, FLOATING[version], UDP, 80))
    assert not rig.arrives(rig.outside, rig.one, Packet(world, FLOATING[version], UDP, 81))
    assert rig.arrives(rig.one, rig.outside, Packet(_of(rig.one, version), world, UDP, 80))
    assert not rig.arrives(rig.one, rig.outside, Packet(FLOATING[version], world, UDP, 80)), "it has no such address"

    early = policy("early", rule(ALLOW, UDP, side(nets=f"{FLOATING[version]}/{32 if version == 4 else 128}")))
    shut = group(INGRESS, tier(early))
    rig.becomes(intent(*OPEN, early, shut, SHUT_IN, SHUT_OUT, _floating(1),
                       host_interface("uplink", pre_dnat=shut), settings=SETTINGS))
    assert rig.arrives(rig.outside, rig.one, Packet(world, FLOATING[version], UDP, 80))
    assert not rig.arrives(rig.outside, rig.one, Packet(world, _of(rig.one, version), UDP, 80))


@BOTH
def test_workloads_of_the_same_host_reach_a_floating_address(rig: Rig, version: int) -> None:
    """A neighbour's, and their own: then the answer must come back the same way."""
    rig.becomes(intent(*OPEN, _floating(1), _floating(2), settings=SETTINGS))
    one, two = _of(rig.one, version), _of(rig.two, version)

    assert rig.arrives(rig.one, rig.two, Packet(one, OTHER[version], UDP, 80, 7001)) == (one, two)
    assert rig.arrives(rig.two, rig.one, Packet(two, one, UDP, 7001, 80)) == (OTHER[version], one)
    assert rig.arrives(rig.one, rig.one, Packet(one, FLOATING[version], UDP, 80, 7002)) == (FLOATING[version], one)
    assert rig.arrives(rig.one, rig.one, Packet(one, FLOATING[version], UDP, 7002, 80)) == (FLOATING[version], one)


@BOTH
def test_the_host_itself_reaches_a_floating_address(rig: Rig, version: int) -> None:
    rig.becomes(intent(SHUT_IN, SHUT_OUT, _floating(1, SHUT_IN, SHUT_OUT), settings=SETTINGS))
    family, token = (socket.AF_INET if version == 4 else socket.AF_INET6), os.urandom(8)
    prefix = 32 if version == 4 else 128
    route = (f"{FLOATING[version]}/{prefix}", "dev", "uplink")
    netrig.run("ip", "-n", rig.host.space, "route", "add", *route)
    try:
        with closing(own_socket(rig.host.space, family, socket.SOCK_DGRAM)) as host:
            host.sendto(token, (FLOATING[version], 80))
            seen = _seen(rig.one, token)
    finally:
        netrig.run("ip", "-n", rig.host.space, "route", "del", *route)
    assert seen is not None
    assert seen[1] == _of(rig.one, version)


@BOTH
def test_they_are_off_unless_the_settings_say_otherwise(rig: Rig, version: int) -> None:
    rig.becomes(intent(*OPEN, _floating(1), settings=Settings(pools=POOLS)))
    one, world = _of(rig.one, version), WORLD[version]

    assert rig.arrives(rig.one, rig.outside, Packet(one, world, UDP, 80)) == (one, world)
    assert not rig.arrives(rig.outside, rig.one, Packet(world, FLOATING[version], UDP, 80))


@BOTH
def test_a_floating_address_comes_before_masquerade(rig: Rig, version: int) -> None:
    settings = msgspec.structs.replace(SETTINGS, masquerade=POOLS)
    rig.becomes(intent(*OPEN, _floating(1), endpoint(2, OPEN_IN, OPEN_OUT), settings=settings))
    world = WORLD[version]

    for source, seen in ((rig.one, FLOATING[version]), (rig.two, UPLINK[version])):
        assert rig.arrives(source, rig.outside, Packet(_of(source, version), world, UDP, 80)) == (seen, world)


@BOTH
def test_two_that_claim_a_floating_address_do_not_depend_on_who_came_first(rig: Rig, version: int) -> None:
    """The smaller key has it, and the other one when that goes."""
    first = _floating(1)
    pairs = ((FLOATING[4], "10.65.0.2"), (FLOATING[6], "fd65::2"))
    second = msgspec.structs.replace(endpoint(2, OPEN_IN, OPEN_OUT), nat=pairs)
    packet = Packet(WORLD[version], FLOATING[version], UDP, 80)
    for endpoints, target in (((second,), rig.two), ((second, first), rig.one), ((second,), rig.two)):
        rig.host.apply(intent(*OPEN, *endpoints, settings=SETTINGS))
        assert rig.arrives(rig.outside, target, packet)


def test_masquerade_as_the_settings_want_it(rig: Rig) -> None:
    """Address, ports, the interface that the packet leaves by, and what is inside besides the pools."""
    base = Settings(masquerade=POOLS, pools=POOLS)

    def seen(**fields: object) -> tuple[str, int]:
        rig.becomes(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), settings=msgspec.structs.replace(base, **fields)))
        token = rig.one.send(Packet(rig.one.v4, WORLD[4], UDP, 80, 40001))
        frame = rig.outside.frame(token, DEADLINE)
        assert frame is not None
        return socket.inet_ntop(socket.AF_INET, frame[26:30]), int.from_bytes(frame[34:36], "big")

    assert seen() == (UPLINK[4], 40001)
    assert seen(masquerade_exclude=(Cidr("198.51.100.0/24"),)) == (rig.one.v4, 40001)
    assert seen(masquerade_address="192.0.2.77") == ("192.0.2.77", 40001)
    assert seen(masquerade_interfaces="uplink") == (UPLINK[4], 40001)
    assert seen(masquerade_interfaces="upl+") == (UPLINK[4], 40001)
    assert seen(masquerade_interfaces="eth+") == (rig.one.v4, 40001)
    address, port = seen(masquerade_ports=(2000, 2010))
    assert address == UPLINK[4]
    assert 2000 <= port <= 2010
    address, port = seen(masquerade_ports=(2000, 2010), masquerade_address="192.0.2.77")
    assert address == "192.0.2.77"
    assert 2000 <= port <= 2010
    chosen = msgspec.structs.replace(base, masquerade_ports=(9, 9))
    rig.becomes(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), settings=chosen))
    assert rig.arrives(rig.one, rig.outside, Packet(rig.one.v4, WORLD[4], nftrig.ICMP, 8)) == (UPLINK[4], WORLD[4])


def _published(port: Published, ingress: Group = OPEN_IN) -> Endpoint:
    return msgspec.structs.replace(endpoint(1, ingress, OPEN_OUT), published=(port,))


@BOTH
def test_a_published_port_leads_to_the_workload_from_outside_and_from_neighbours(rig: Rig, version: int) -> None:
    web = Published(protocol=UDP, host_port=8080, port=80)
    rig.becomes(intent(*OPEN, _published(web), endpoint(2, OPEN_IN, OPEN_OUT), settings=SETTINGS))
    one, host = _of(rig.one, version), UPLINK[version]
    for source, address in ((rig.outside, WORLD[version]), (rig.two, _of(rig.two, version))):
        assert rig.arrives(source, rig.one, Packet(address, host, UDP, 8080)) == (address, one)
        assert rig.arrives(source, rig.one, Packet(address, host, UDP, 8081)) is None
        assert rig.arrives(source, rig.one, Packet(address, OTHER[version], UDP, 8080)) is None, "not the host's"


@BOTH
def test_a_port_published_at_one_address_of_the_host_is_at_no_other(rig: Rig, version: int) -> None:
    sent = Packet(WORLD[version], UPLINK[version], UDP, 8080)
    for address, arrives in ((FLOATING[version], False), (UPLINK[version], True)):
        web = Published(protocol=UDP, host_port=8080, port=80, host_address=address)
        rig.becomes(intent(*OPEN, _published(web), settings=SETTINGS))
        assert (rig.arrives(rig.outside, rig.one, sent) is not None) == arrives


@BOTH
def test_policy_sees_the_published_port_as_the_workload_s_own(rig: Rig, version: int) -> None:
    """What it denies stays out, published or not."""
    web = Published(protocol=UDP, host_port=8080, port=80)
    for port, arrives in ((80, True), (8080, False)):
        only = policy("only", rule(ALLOW, UDP, side(ports=str(port))))
        into = group(INGRESS, tier(only))
        rig.becomes(intent(*OPEN, only, into, _published(web, into), settings=SETTINGS))
        sent = Packet(WORLD[version], UPLINK[version], UDP, 8080)
        assert (rig.arrives(rig.outside, rig.one, sent) is not None) == arrives

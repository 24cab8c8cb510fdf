"""Conntrack's list, taken apart in one go, against what `conntrack` prints; and flows that are dropped one by one."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from muslin.drivers import conntrack, conntrack_text
from muslin.drivers.netns import inside, opened
from muslin.net import TrackedFlow
from netrig import in_ns, namespace, wait_for
from nftrig import own_socket

pytestmark = pytest.mark.kernel


@pytest.fixture
def space() -> Iterator[str]:
    with namespace("ct") as name:
        in_ns(name, "nft", "add table inet t; add chain inet t c { type filter hook output priority 0; }; "
                           "add rule inet t c ct state new accept")
        yield name


def insert(space: str, protocol: str, source: str, destination: str, *more: str, port: int = 80) -> None:
    ports = ("--sport", "4000", "--dport", str(port), *(("--state", "ESTABLISHED") if protocol == "tcp" else ()))
    in_ns(space, "conntrack", "-I", "-p", protocol, "-s", source, "-d", destination, *ports, "-t", "1000", *more)


def read(space: str, *of: str) -> list[TrackedFlow]:
    few = [ip_address(each).packed for each in of]
    with opened(space) as descriptor, inside(descriptor):
        return sorted(conntrack.read(set(few) if of else None, few=few))


def told(flow: TrackedFlow) -> tuple[object, ...]:
    return tuple(str(ip_address(part)) if isinstance(part, bytes) else part for part in flow[:9])


def test_each_field_is_where_conntrack_prints_it(space: str) -> None:
    """Plain, translated at either end, of both families."""
    insert(space, "tcp", "10.0.0.1", "10.0.0.2")
    insert(space, "udp", "10.0.0.3", "203.0.113.1", "-g", "10.0.0.4:8080")
    insert(space, "udp", "10.0.0.5", "192.0.2.9", "-n", "192.0.2.1:7777")
    insert(space, "udp", "fd00::1", "fd00::2", port=53)
    assert [told(flow) for flow in read(space)] == [
        (6, "10.0.0.1", 4000, "10.0.0.2", 80, "10.0.0.2", 80, "10.0.0.1", 4000),
        (17, "10.0.0.3", 4000, "203.0.113.1", 80, "10.0.0.4", 8080, "10.0.0.3", 4000),
        (17, "10.0.0.5", 4000, "192.0.2.9", 80, "192.0.2.9", 80, "192.0.2.1", 7777),
        (17, "fd00::1", 4000, "fd00::2", 53, "fd00::2", 53, "fd00::1", 4000),
    ]


def test_icmp_and_protocols_without_ports_are_read_and_dropped_too(space: str) -> None:
    in_ns(space, "ping", "-c1", "-W1", "127.0.0.1")
    in_ns(space, "ping", "-c1", "-W1", "::1")
    with own_socket(space, socket.AF_INET, socket.SOCK_RAW, 97) as raw:
        raw.sendto(b"anything", ("127.0.0.1", 0))
    found = wait_for("three flows", lambda: len(flows := read(space)) == 3 and flows)
    assert [(flow.protocol, flow.receiver_port) for flow in found] == [(1, 8 << 8), (58, 128 << 8), (97, 0)]
    with opened(space) as descriptor, inside(descriptor):
        conntrack.drop(found)
        assert conntrack.read() == []


def test_by_address_the_kernel_chooses_and_nothing_else_goes(space: str) -> None:
    for number in range(1, 8):
        insert(space, "udp", f"10.0.0.{number}", "10.0.1.1")
        insert(space, "udp", f"fd00::{number}", "fd00:1::1")
    insert(space, "udp", "10.0.0.20", "203.0.113.1", "-g", "10.0.0.5:80")
    assert {told(flow)[1] for flow in read(space, "10.0.0.5", "fd00::5")} == {"10.0.0.5", "10.0.0.20", "fd00::5"}
    assert len(read(space, *(f"10.0.0.{number}" for number in range(1, 8)))) == 8, "many are chosen by us"
    with opened(space) as descriptor, inside(descriptor):
        conntrack.drop([flow for flow in conntrack.read() if told(flow)[1] == "fd00::5"])
        assert len(conntrack.read()) == 14
        conntrack.forget([], ["203.0.113.1"])
        assert len(conntrack.read()) == 13, "by the address before the translation"
        conntrack.forget([f"10.0.0.{number}" for number in range(1, 7)])
        assert [told(flow)[1] for flow in conntrack.read() if len(flow.source) == 4] == ["10.0.0.7"]


def test_a_flow_in_a_zone_is_none_of_ours(space: str) -> None:
    insert(space, "udp", "10.0.0.1", "10.0.0.2", "-w", "5")
    insert(space, "udp", "10.0.0.1", "10.0.0.2")
    [flow] = read(space)
    with opened(space) as descriptor, inside(descriptor):
        conntrack.drop([flow])
    assert "zone=5" in in_ns(space, "conntrack", "-L", "-p", "udp")


@pytest.fixture
def sockets() -> Iterator[list[str]]:
    """Of which kinds sockets were made since; a listing needs one of netlink."""
    made: list[str] = []
    watching = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "socket.__new__":
            made.append(str(arguments[1]))

    sys.addaudithook(note)
    yield made
    watching = False  # a hook cannot be taken off


def test_of_an_address_that_no_flow_has_nothing_is_listed(space: str, sockets: list[str]) -> None:
    """A listing costs ten times as much, and mostly there is none."""
    if conntrack_text.mentioned(1, ()) is None:
        pytest.skip("this kernel has no text of its flows")
    insert(space, "udp", "10.0.0.1", "10.0.0.2")
    with opened(space) as descriptor, inside(descriptor):
        conntrack.forget(["10.0.0.3", "fd00::3"], ["203.0.113.1"])
        assert conntrack.read({b"\x0a\0\0\x03"}) == []
        assert sockets == []
        conntrack.forget(["10.0.0.2", "fd00::3"])
        assert len(sockets) == 1
        assert conntrack.read() == []


def test_flows_are_found_in_the_text_by_each_of_their_addresses(space: str) -> None:
    insert(space, "udp", "10.0.0.1", "203.0.113.1", "-g", "10.0.0.4:80")
    insert(space, "tcp", "fd00::1", "fd00:0:0:1::2")
    every = [ip_address(each).packed for each in ("10.0.0.1", "203.0.113.1", "10.0.0.4", "fd00::1", "fd00:0:0:1::2")]
    strange = [ip_address(each).packed for each in ("10.0.0.11", "10.0.0.0", "3.0.113.1", "fd00::12", "fd00::")]
    with opened(space) as descriptor, inside(descriptor):
        if conntrack_text.mentioned(2, ()) is None:
            pytest.skip("this kernel has no text of its flows")
        assert conntrack_text.mentioned(2, every + strange) == set(every)
        assert conntrack_text.all_mentioned(2) == set(every)
        assert conntrack_text.mentioned(100_000, every) is None, "so many are listed"

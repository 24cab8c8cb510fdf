"""An address that goes to somebody else takes none of its flows along, whoever began them and however fast it goes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from agentrig import V3, Site, site
from muslin.lab.record import Workload
from netrig import in_ns, namespace, run, wait_for
from nftrig import own_socket

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SHUT = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "shut"},
        "spec": {"selector": "role == 'next'", "types": ["Ingress"], "ingress": []}}
ASKED, ASKING = 7, 5555
"""Ports of the address: on one the peer asks, from the other the first holder did."""


class Peer:
    """It goes on sending to the address, on both ports and in both families, a packet each millisecond."""

    def __init__(self, network: str, first: Workload, own: Workload, stack: ExitStack) -> None:
        self._ends: list[tuple[socket.socket, str, int]] = []
        self._over = threading.Event()
        for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            address = first.address(version)
            for port in (ASKED, ASKING):
                mine = stack.enter_context(own_socket(network, family, socket.SOCK_DGRAM))
                theirs = stack.enter_context(own_socket(first.network, family, socket.SOCK_DGRAM))
                for end in (mine, theirs):
                    end.settimeout(5)
                mine.bind((own.address(version), 0))
                theirs.bind((address, port))
                one, other = (mine, theirs) if port == ASKED else (theirs, mine)
                one.connect(other.getsockname()[:2])
                one.send(b"begin")
                _, back = other.recvfrom(10)
                other.sendto(b"answer", back[:2])
                assert one.recv(10) == b"answer"
                mine.setblocking(False)
                self._ends.append((mine, address, port))
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self) -> None:
        while not self._over.is_set():
            for end, address, port in self._ends:
                with suppress(OSError):  # what the network says of it is no matter
                    end.sendto(b"still there?", (address, port))
            time.sleep(0.001)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)


@contextmanager
def ears(network: str) -> Iterator[list[socket.socket]]:
    """Whoever lives there next hears what comes to these ports."""
    with ExitStack() as stack:
        made = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in (ASKED, ASKING):
                end = stack.enter_context(own_socket(network, family, socket.SOCK_DGRAM))
                if family == socket.AF_INET6:
                    end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                end.bind(("", port))
                end.setblocking(False)
                made.append(end)
        yield made


def hears(ends: list[socket.socket]) -> list[int]:
    """Ports of `ears` at which something came."""
    found = []
    for end in ends:
        with suppress(BlockingIOError):
            end.recv(64)
            found.append(end.getsockname()[1])
    return found


def settle() -> None:
    """Long enough for a thousand packets."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["next", "first"], ids=["another workload", "the same one, made anew"])
def test_the_next_holder_hears_nothing_that_its_policy_denies(name: str) -> None:
    """Also when it comes at once: the address is in use again only when the kernel has forgotten."""
    with site() as place, ExitStack() as stack:
        place.start_agent("h1")
        place.declare(SHUT)
        first, peer = place.guest("h1", "first"), place.guest("h1", "peer")
        with Peer(peer.network, first, peer, stack), namespace("next") as space, ears(space) as ends:
            place.remove(first)
            place.add("h1", name, space, labels={"role": "next"}, addresses=list(first.addresses))
            settle()
            assert hears(ends) == []
            place.api.delete(f"{V3}/globalnetworkpolicies/shut")
            wait_for("what it is allowed to hear", lambda: hears(ends))


def test_the_next_holder_hears_nothing_though_the_last_one_was_taken_out_of_the_store() -> None:
    """Its addresses are free at once then, while it still speaks: they are asked for before this host has let go of it,
    and forgetting that begins early must not count."""
    with site() as place, ExitStack() as stack:
        place.start_agent("h1")
        place.declare(SHUT)
        first, peer = place.guest("h1", "first"), place.guest("h1", "peer")
        endpoints = f"{V3}/namespaces/default/workloadendpoints"
        (name,) = [each["metadata"]["name"] for each in place.api.get(endpoints)["items"]
                   if each["spec"]["workload"] == "first"]
        with Peer(peer.network, first, peer, stack), namespace("next") as space, ears(space) as ends:
            place.api.delete(f"{endpoints}/{name}")
            place.add("h1", "next", space, labels={"role": "next"}, addresses=list(first.addresses))
            settle()
            assert hears(ends) == []
            place.api.delete(f"{V3}/globalnetworkpolicies/shut")
            wait_for("what it is allowed to hear", lambda: hears(ends))


@pytest.fixture
def two() -> Iterator[Site]:
    with site() as place:
        spaces = [place.make_host(host) for host in ("h1", "h2")]
        run("ip", "link", "add", "up0", "netns", spaces[0], "type", "veth", "peer", "name", "up0", "netns", spaces[1])
        for number, space in enumerate(spaces, 1):
            run("ip", "-n", space, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", space, "addr", "add", f"2001:db8::{number}/64", "dev", "up0", "nodad")
            run("ip", "-n", space, "link", "set", "up0", "up")
        for host in ("h1", "h2"):
            place.start_agent(host, "--as-number", "64512")
        yield place


@pytest.mark.parametrize("to", ["h1", "h2"])
def test_an_address_that_goes_to_another_host_leaves_its_flows_on_both(two: Site, to: str) -> None:
    """The peer lives on h1: the address leaves its host, or comes to it."""
    away = "h2" if to == "h1" else "h1"
    with ExitStack() as stack:
        two.declare(SHUT)
        first, peer = two.guest(away, "first"), two.guest("h1", "peer")
        wait_for("the way there", lambda: all(reaches(peer, first.address(version)) for version in (4, 6)), seconds=30)
        with Peer(peer.network, first, peer, stack), namespace("next") as space, ears(space) as ends:
            two.remove(first)
            two.add(to, "next", space, labels={"role": "next"}, addresses=list(first.addresses))
            settle()
            assert hears(ends) == []
            two.api.delete(f"{V3}/globalnetworkpolicies/shut")
            wait_for("what it is allowed to hear", lambda: hears(ends), seconds=30)


def reaches(one: Workload, address: str) -> bool:
    return "1 received" in in_ns(one.network, "ping", "-c1", "-W0.5", address, check=False)


def test_what_the_next_holder_begins_itself_is_its_own() -> None:
    """It asks the same peer from the same port: a new flow, by its own policy."""
    with site() as place, ExitStack() as stack:
        place.start_agent("h1")
        deny: dict[str, Any] = {**SHUT, "spec": {"selector": "role == 'next'", "types": ["Egress"], "egress": []}}
        place.declare(deny)
        first, peer = place.guest("h1", "first"), place.guest("h1", "peer")
        with (own_socket(first.network, socket.AF_INET, socket.SOCK_DGRAM) as asking,
              own_socket(peer.network, socket.AF_INET, socket.SOCK_DGRAM) as asked):
            asked.bind((peer.address(4), 53))
            asked.settimeout(5)
            asking.bind((first.address(4), ASKING))
            asking.connect((peer.address(4), 53))
            asking.send(b"?")
            asked.recv(10)
            place.remove(first)
            space = stack.enter_context(namespace("next"))
            place.add("h1", "next", space, labels={"role": "next"}, addresses=list(first.addresses))
            again = stack.enter_context(own_socket(space, socket.AF_INET, socket.SOCK_DGRAM))
            again.bind((first.address(4), ASKING))
            again.connect((peer.address(4), 53))
            asked.settimeout(0.5)
            again.send(b"?")
            with pytest.raises(TimeoutError):
                asked.recv(10)

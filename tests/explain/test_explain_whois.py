"""Who holds an address: everybody who does, and what it lies in."""

from __future__ import annotations

import pytest

from calcwords import OPEN, Things, netset, thing, wl
from muslin.calc.cluster import Graph
from muslin.errors import Invalid
from muslin.explain.cluster import Whois, whois
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import ResourceKey


def town(*more: Things) -> tuple[Graph, list[object]]:
    things: Things = {}
    for each in (
        OPEN, wl("h1-muslin-web-eth0", "h1", "10.65.0.1", role="web", interface="musweb", spec={
            "ipNATs": [{"internalIP": "10.65.0.1", "externalIP": "203.0.113.9"}]}),
        netset("partner", "192.0.2.0/24", "192.0.2.0/28", kind="partner"), netset("one", "10.65.0.1/32", ns="shop"),
        thing("IPPool", "pool", {"cidr": "10.65.0.0/16"}), thing("IPPool", "bad", {"cidr": "x"}),
        thing("Node", "h1", {"bgp": {"ipv4Address": "172.16.0.1/24"}, "addresses": [{"address": "fd00::1"}]}),
        thing("IPReservation", "printers", {"reservedCIDRs": ["10.65.9.0/24"]}),
        {ResourceKey("IPAMBlock", "", "10.65.0.0/26"): Block(
            cidr="10.65.0.0/26", affinity="host:h1", allocations=(None, 0, 1, *[None] * 61), attributes=(
                BlockAttribute(handle_id="muslin.web", secondary={"node": "h1"}),
                BlockAttribute(handle_id="muslin.old", released_at="2026-01-01T00:00:00Z")))}, *more,
    ):
        things |= each
    graph = Graph()
    graph.update(things)
    graph.flush()
    return graph, [value for value in things.values() if value is not None]


def ask(address: str) -> Whois:
    graph, resources = town()
    return whois(graph, address, resources)  # type: ignore[arg-type]


@pytest.mark.parametrize(("address", "text"), [
    ("10.65.0.1", "10.65.0.1 is workload shop/web on h1 and in NetworkSet shop/one and in pool pool (10.65.0.0/16)"),
    ("203.0.113.9", "203.0.113.9 is the floating address of workload shop/web (10.65.0.1) on h1"),
    ("192.0.2.3", "192.0.2.3 is in GlobalNetworkSet partner by 192.0.2.0/28"),
    ("172.16.0.1", "172.16.0.1 is host h1"),
    ("FD00:0::1", "fd00::1 is host h1"),
    ("10.65.0.2", "10.65.0.2 is nobody's and released in block 10.65.0.0/26 of h1 and in pool pool (10.65.0.0/16)"),
    ("10.65.0.9", "10.65.0.9 is nobody's and free in block 10.65.0.0/26 of h1 and in pool pool (10.65.0.0/16)"),
    ("10.65.9.9", "10.65.9.9 is nobody's and in pool pool (10.65.0.0/16) and reserved by printers"),
    ("8.8.8.8", "8.8.8.8 is nobody's and outside every pool"),
])
def test_everything_that_is_known_of_an_address(address: str, text: str) -> None:
    """In one sentence; an unreadable pool holds nothing."""
    assert ask(address).text == text


def test_who_has_it_in_the_books_is_told() -> None:
    """The handle finds the orchestrator's own record."""
    block = ask("10.65.0.1").block
    assert block is not None
    assert (block.host, block.state, block.handle, block.attributes) == ("h1", "in use", "muslin.web", {"node": "h1"})


@pytest.mark.parametrize("text", ["web", "10.65.0.0/24", "", "10.65.0.300", "fe80::1%eth0"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    """A prefix is none either."""
    with pytest.raises(Invalid, match="write one such as"):
        ask(text)

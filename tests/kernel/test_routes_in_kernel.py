"""Our packed rtnetlink against a real kernel, with `ip -j` as the other opinion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from muslin.drivers import links, netns, rtnetlink
from muslin.drivers.netlink import Netlink
from muslin.drivers.rtnetlink import Address, Change
from muslin.errors import Broken, Transient
from muslin.intent import Neighbour, Route, RouteKind
from muslin.net import Cidr
from netrig import ip_json, namespace, run, wait_for

pytestmark = pytest.mark.kernel


class Rig:
    """A namespace with a dummy-like uplink `up0` and a socket inside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        run("ip", "-n", name, "link", "add", "up0", "type", "veth", "peer", "name", "far0")
        run("ip", "-n", name, "link", "set", "far0", "up")
        run("ip", "-n", name, "link", "set", "up0", "up")
        run("ip", "-n", name, "addr", "add", "192.0.2.1/24", "dev", "up0")
        run("ip", "-n", name, "addr", "add", "2001:db8::1/64", "dev", "up0", "nodad")
        with netns.opened(name) as fd, netns.inside(fd):
            self.netlink = Netlink()

    @property
    def indexes(self) -> dict[str, int]:
        return {name: link.index for name, link in links.read_links(self.netlink).items()}

    def routes(self) -> dict[rtnetlink.RouteKey, Route]:
        return rtnetlink.read_routes(self.netlink, {i: n for n, i in self.indexes.items()})

    def apply(self, *changes: Change) -> list[rtnetlink.Failure]:
        return rtnetlink.apply(self.netlink, changes, self.indexes)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with namespace("rt") as name:
        made = Rig(name)
        yield made
        made.netlink.close()


def device(destination: str, interface: str = "up0", metric: int = 0) -> Route:
    return Route(destination=Cidr(destination), kind=RouteKind.DEVICE, interface=interface, metric=metric)


def via(destination: str, gateway: str, interface: str = "") -> Route:
    return Route(destination=Cidr(destination), kind=RouteKind.VIA, gateway=gateway, interface=interface)


EVERY_SORT = (
    device("10.65.0.1/32"),
    device("fd00:65::1/128"),
    device("10.65.0.9/32", metric=50),
    device("fd00:65::9/128", metric=50),
    via("10.66.0.0/16", "192.0.2.9"),
    via("10.67.0.0/16", "203.0.113.9", "up0"),
    via("fd00:66::/64", "2001:db8::9"),
    Route(destination=Cidr("10.65.0.64/26"), kind=RouteKind.BLACKHOLE),
    Route(destination=Cidr("fd00:65::40/122"), kind=RouteKind.BLACKHOLE),
    Route(destination=Cidr("169.254.1.0/24"), kind=RouteKind.LOCAL, interface="lo"),
    Route(destination=Cidr("0.0.0.0/0"), kind=RouteKind.VIA, gateway="192.0.2.254"),
    Route(destination=Cidr("::/0"), kind=RouteKind.VIA, gateway="2001:db8::fe"),
)


def test_every_sort_of_route_is_read_back_as_it_was_written(rig: Rig) -> None:
    """Otherwise a reconciler sees a difference for ever, and repairs for ever."""
    assert rig.apply(*(Change(route) for route in EVERY_SORT)) == []
    assert set(rig.routes().values()) == {rtnetlink.normal_route(route) for route in EVERY_SORT}
    assert rig.apply(*(Change(None, route) for route in EVERY_SORT)) == []
    assert rig.routes() == {}


def test_ip_sees_the_route_that_we_meant(rig: Rig) -> None:
    rig.apply(*(Change(route) for route in EVERY_SORT))
    four = {route["dst"]: route for route in ip_json(rig.name, "-4", "route", "show", "table", "all", "proto", "80")}
    six = {route["dst"]: route for route in ip_json(rig.name, "-6", "route", "show", "table", "all", "proto", "80")}
    assert four["10.65.0.1"] == {**four["10.65.0.1"], "dev": "up0", "scope": "link"}
    assert four["10.66.0.0/16"]["gateway"] == "192.0.2.9"
    assert four["10.67.0.0/16"]["flags"] == ["onlink"]
    assert four["10.65.0.64/26"]["type"] == "blackhole"
    assert four["169.254.1.0/24"]["type"] == "local"
    assert four["default"]["gateway"] == "192.0.2.254"
    assert six["fd00:65::1"]["metric"] == 1
    assert six["fd00:65::40/122"]["type"] == "blackhole"


def test_ten_thousand_routes_are_there_and_go_again(rig: Rig) -> None:
    """More than one batch, more than one datagram of a dump."""
    wanted = [device(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32") for i in range(10_000)]
    assert rig.apply(*(Change(route) for route in wanted)) == []
    assert set(rig.routes().values()) == set(wanted)
    assert len(ip_json(rig.name, "route", "show", "proto", "80")) == 10_000
    assert rig.apply(*(Change(None, route) for route in wanted)) == []
    assert ip_json(rig.name, "route", "show", "proto", "80") == []


@pytest.mark.parametrize("receive_buffer", [0, rtnetlink.RECEIVE_BUFFER])
def test_of_ten_thousand_routes_every_refused_one_comes_back_by_its_number(rig: Rig, receive_buffer: int) -> None:
    """As many are sent at once as answers find room if all are refused; of more, the kernel throws answers away."""
    wanted = [Change(new=device(f"10.{n >> 8}.{n & 255}.1/32")) for n in range(10_000)]
    assert rig.apply(*wanted) == []
    there = [wanted[number] if number % 10 else Change(new=device(f"11.0.{number // 250}.{number % 250}/32"))
             for number in range(10_000)]

    with netns.opened(rig.name) as fd, netns.inside(fd), Netlink(receive_buffer=receive_buffer) as netlink:
        failures = rtnetlink.apply(netlink, there, rig.indexes)

    assert [failure.index for failure in failures] == [number for number in range(10_000) if number % 10]


def test_a_strangers_route_is_neither_seen_nor_taken_nor_removed(rig: Rig) -> None:
    run("ip", "-n", rig.name, "route", "add", "10.65.0.1/32", "dev", "far0", "proto", "static")
    run("ip", "-n", rig.name, "-6", "route", "add", "fd00:65::1/128", "dev", "far0", "metric", "1", "proto", "static")
    assert rig.routes() == {}

    wanted = device("10.65.0.1/32"), device("fd00:65::1/128"), device("10.65.0.2/32")
    failures = rig.apply(*(Change(route) for route in wanted))

    assert [failure.index for failure in failures] == [0, 1]
    assert all(isinstance(failure.error, Transient) for failure in failures)
    assert "10.65.0.1/32 dev up0: somebody else's" in str(failures[0].error)
    assert rig.apply(Change(None, device("10.65.0.1/32"))) == []
    assert len(ip_json(rig.name, "route", "show", "proto", "static")) == 1
    assert list(rig.routes()) == [("10.65.0.2/32", 0)]


def test_a_better_route_of_ours_lives_beside_birds(rig: Rig) -> None:
    """While a workload moves, BIRD may still know the old way: ours must win, in both families."""
    birds = ("metric", "32", "proto", "bird")
    run("ip", "-n", rig.name, "-6", "route", "add", "fd00:65::1/128", "via", "2001:db8::9", *birds)
    run("ip", "-n", rig.name, "route", "add", "10.65.0.1/32", "via", "192.0.2.9", *birds)
    assert rig.apply(Change(device("10.65.0.1/32", "far0")), Change(device("fd00:65::1/128", "far0"))) == []
    for address in ("10.65.0.1", "fd00:65::1"):
        assert ip_json(rig.name, "route", "get", address)[0]["dev"] == "far0"


def test_a_route_moves_to_another_interface_in_one_step(rig: Rig) -> None:
    """Replace, never remove and add: not one packet finds no route."""
    for old, new in ((device("10.65.0.1/32"), device("10.65.0.1/32", "far0")),
                     (device("fd00:65::1/128"), device("fd00:65::1/128", "far0"))):
        assert rig.apply(Change(old)) == []
        assert rig.apply(Change(new, old)) == []
        assert rig.routes()[rtnetlink.route_key(new)] == new
        assert len([key for key in rig.routes() if key.destination == new.destination]) == 1


def test_a_failure_names_its_object_and_spares_the_others(rig: Rig) -> None:
    run("ip", "-n", rig.name, "link", "set", "far0", "down")
    failures = rig.apply(
        Change(device("10.65.0.1/32", "mus00000000000")),
        Change(device("10.65.0.2/32")),
        Change(device("10.65.0.3/32", "far0")),
        Change(via("10.65.0.4/32", "198.51.100.1")),
        Change(device("10.65.0.5/32")),
    )
    words = {failure.index: str(failure.error) for failure in failures}
    assert set(words) == {0, 2, 3}
    assert words[0] == "route 10.65.0.1/32 dev mus00000000000: interface mus00000000000 is not there"
    assert words[2] == "route 10.65.0.3/32 dev far0: the interface is down"
    assert words[3].startswith("route 10.65.0.4/32 via 198.51.100.1: ")
    assert [key.destination for key in rig.routes()] == ["10.65.0.2/32", "10.65.0.5/32"]


def test_what_the_kernel_will_never_take_is_not_worth_a_retry(rig: Rig) -> None:
    [failure] = rig.apply(Change(via("10.65.0.4/32", "224.0.0.1", "up0")))
    assert isinstance(failure.error, Broken)
    assert "route 10.65.0.4/32 via 224.0.0.1" in str(failure.error)


def test_a_permanent_neighbour_replaces_a_learnt_one_and_is_recognised(rig: Rig) -> None:
    for address, state in (("10.65.0.1", "stale"), ("10.65.0.7", "permanent")):
        run("ip", "-n", rig.name, "neigh", "add", address, "lladdr", "02:00:00:00:00:99", "dev", "up0", "nud", state)
    wanted = (
        Neighbour(address="10.65.0.1", interface="up0", mac="02:00:00:00:00:01"),
        Neighbour(address="fd00:65::1", interface="up0", mac="02:00:00:00:00:01"),
    )
    assert rig.apply(*(Change(item) for item in wanted)) == []
    names = {index: name for name, index in rig.indexes.items()}
    assert rtnetlink.read_neighbours(rig.netlink, names) == {f"{item.address}%up0": item for item in wanted}
    seen = {entry["dst"]: entry for entry in ip_json(rig.name, "neigh", "show", "dev", "up0")}
    assert seen["10.65.0.1"]["state"] == ["PERMANENT"]
    assert seen["10.65.0.1"]["lladdr"] == "02:00:00:00:00:01"
    assert rig.apply(*(Change(None, item) for item in wanted)) == []
    assert rtnetlink.read_neighbours(rig.netlink, names) == {}
    assert [entry["dst"] for entry in ip_json(rig.name, "neigh", "show", "nud", "permanent")] == ["10.65.0.7"]


def test_an_address_is_usable_at_once_and_recognised(rig: Rig) -> None:
    """No duplicate address detection: the first packet would wait a second for it."""
    wanted = (Address(interface="up0", address="fe80::1/64"), Address(interface="up0", address="10.65.0.5/32"))
    assert rig.apply(*(Change(item) for item in wanted)) == []
    assert rig.apply(*(Change(item) for item in wanted)) == [], "twice is fine"
    names = {index: name for name, index in rig.indexes.items()}
    assert rtnetlink.read_addresses(rig.netlink, names) == set(wanted)
    [link] = ip_json(rig.name, "addr", "show", "dev", "up0")
    six = next(info for info in link["addr_info"] if info["local"] == "fe80::1")
    assert not six.get("tentative")
    assert six["prefixlen"] == 64
    assert rig.apply(*(Change(None, item) for item in wanted)) == []
    assert rtnetlink.read_addresses(rig.netlink, names) == frozenset()


def test_an_address_is_in_use_when_packets_to_it_are_delivered(rig: Rig) -> None:
    assert rtnetlink.is_delivered(rig.netlink, "192.0.2.1/24")
    assert not rtnetlink.is_delivered(rig.netlink, "192.0.2.9")
    assert not rtnetlink.is_delivered(rig.netlink, "203.0.113.1"), "no route at all"
    assert not rtnetlink.is_delivered(rig.netlink, "2001:db8::9")
    wait_for("the kernel's work queue", lambda: rtnetlink.is_delivered(rig.netlink, "2001:db8::1/64"))

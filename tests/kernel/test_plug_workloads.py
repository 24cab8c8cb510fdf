"""A workload's link in a real kernel: packets, not settings, are what counts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from muslin.drivers import links, netns, plug, sysctl
from muslin.drivers.netlink import Netlink, Refusal
from muslin.drivers.plug import Doomed
from muslin.errors import Invalid
from muslin.intent import EndpointKey, Route, RouteKind
from muslin.net import Cidr
from netrig import in_ns, ip_json, namespace, run, wait_for
from plugrig import ADDRESSES, Host, cable

pytestmark = pytest.mark.kernel

@pytest.fixture
def host() -> Iterator[Host]:
    with namespace("host") as name:
        made = Host(name)
        yield made
        made.netlink.close()


@pytest.fixture
def space() -> Iterator[Callable[[], str]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(namespace("w"))


def ping(name: str, address: str, *words: str) -> bool:
    return "1 received" in in_ns(name, "ping", "-c1", "-W2", *words, address, check=False)


def test_two_workloads_of_one_host_reach_each_other_and_their_gateways(host: Host, space: Callable[[], str]) -> None:
    one, two = space(), space()
    host.plug(cable(one, 1), *ADDRESSES)
    host.plug(cable(two, 2), Cidr("10.65.0.2/32"), Cidr("fd00:65::2/128"))
    for address in ("10.65.0.2", "fd00:65::2", "169.254.1.1"):
        assert ping(one, address), address
    wait_for("the host's own address", lambda: ping(one, "fe80::1%eth0"))
    assert ping(two, "10.65.0.1")
    assert ping(two, "fd00:65::1")


def test_the_very_first_packet_is_answered(host: Host, space: Callable[[], str]) -> None:
    """The host's side sends, and the workload's IPv6 address is in use, some time after; connect waits for both."""
    peer = space()
    host.plug(cable(peer, 99), Cidr("10.65.0.99/32"), Cidr("fd00:65::99/128"))
    for number in range(1, 16):
        guest = space()
        host.plug(cable(guest, number), Cidr(f"10.65.0.{number}/32"), Cidr(f"fd00:65::{number}/128"))
        link = links.read_links(host.netlink)[cable(guest, number).interface]  # a list does not hurry the kernel
        assert link.sends
        assert ping(guest, "10.65.0.99", "-W0.5")
        assert ping(peer, f"fd00:65::{number}", "-W0.5")


def test_the_gateway_answers_arp_and_nd_itself(host: Host, space: Callable[[], str]) -> None:
    """A VM has no permanent neighbour for its gateway: it must ask, and be answered at once, without proxy ARP."""
    guest = space()
    host.plug(cable(guest), *ADDRESSES)
    run("ip", "-n", guest, "neigh", "flush", "dev", "eth0", "nud", "permanent")
    assert ping(guest, "169.254.1.1", "-W0.5")
    wait_for("fe80::1", lambda: ping(guest, "fe80::1%eth0", "-W0.5"))
    macs = {entry["lladdr"] for entry in ip_json(guest, "neigh", "show", "dev", "eth0") if "lladdr" in entry}
    assert macs == {plug.HOST_MAC}


def test_the_hosts_side_has_its_switches_from_the_start(host: Host, space: Callable[[], str]) -> None:
    """Whatever the host gives to new interfaces."""
    guest = cable(space())
    in_ns(host.name, "sysctl", "-qw", "net.ipv4.conf.default.forwarding=0", "net.ipv4.conf.default.proxy_arp=1",
          "net.ipv6.conf.default.accept_ra=2", "net.ipv6.conf.default.accept_redirects=1",
          "net.ipv6.conf.default.disable_ipv6=1")
    with host.inside():
        plug.lay(host.netlink, guest)
        wanted = sysctl.workload_link(guest.interface) | sysctl.forwarding(guest.interface, on=True)
        assert sysctl.ensure(wanted) == ()
    [link] = ip_json(host.name, "addr", "show", guest.interface)
    assert link["addr_info"] == [], "the same MAC on every link would make the same address"


def test_what_is_laid_is_connected_without_a_second_look_and_nothing_stays_open(
    host: Host, space: Callable[[], str]
) -> None:
    guest, peer = cable(space()), space()
    host.plug(cable(peer, 9), Cidr("10.65.0.9/32"))
    with host.inside():
        laid = plug.lay(host.netlink, guest)
        assert laid.is_new
        assert laid.inside is not None
        for address in ADDRESSES:
            host.route(Route(destination=address, kind=RouteKind.DEVICE, interface=guest.interface))
        plug.connect(host.netlink, guest, ADDRESSES, laid)
        assert laid.inside.fileno() == -1
        laid.close()
        again = plug.lay(host.netlink, guest)
        assert not again.is_new
        plug.connect(host.netlink, guest, ADDRESSES, again)
    assert ping(guest.namespace, "10.65.0.9")
    assert in_ns(guest.namespace, "sysctl", "-n", "net.ipv6.conf.eth0.accept_dad").strip() == "0"


def test_nothing_is_up_before_connect(host: Host, space: Callable[[], str]) -> None:
    """Between the two steps the agent programs policy: the workload must not be able to send yet."""
    guest = space()
    with host.inside():
        plug.lay(host.netlink, cable(guest))
    [link] = ip_json(guest, "addr", "show", "dev", "eth0")
    assert "UP" not in link["flags"]
    assert link["addr_info"] == []
    [outer] = ip_json(host.name, "link", "show", "dev", cable(guest).interface)
    assert outer["address"] == plug.HOST_MAC
    assert "UP" in outer["flags"]


def test_plugging_twice_changes_nothing(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    host.plug(cable(guest), *ADDRESSES)
    before = [link.index for link in links.read_links(host.netlink).values()]
    with host.inside():
        plug.lay(host.netlink, cable(guest))
        plug.connect(host.netlink, cable(guest), ADDRESSES)
        assert plug.check(host.netlink, cable(guest), ADDRESSES) == ()
    assert [link.index for link in links.read_links(host.netlink).values()] == before


def test_new_addresses_take_the_place_of_the_old(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    host.plug(cable(guest), *ADDRESSES)
    with host.inside():
        plug.connect(host.netlink, cable(guest), (Cidr("10.65.0.9/32"),))
    [link] = ip_json(guest, "addr", "show", "dev", "eth0")
    assert [info["local"] for info in link["addr_info"] if info["scope"] == "global"] == ["10.65.0.9"]


def test_check_names_what_is_missing_and_connect_mends_it(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    host.plug(cable(guest), *ADDRESSES)
    run("ip", "-n", guest, "route", "del", "default")
    run("ip", "-n", guest, "addr", "del", "fd00:65::1/128", "dev", "eth0")
    with host.inside():
        assert set(plug.check(host.netlink, cable(guest), ADDRESSES)) == {
            f"address fd00:65::1/128 on eth0 in {guest} is missing",
            f"route 0.0.0.0/0 via 169.254.1.1 in {guest} is missing",
        }
        plug.connect(host.netlink, cable(guest), ADDRESSES)
        assert plug.check(host.netlink, cable(guest), ADDRESSES) == ()


def test_every_way_to_be_wrong_has_its_own_error_and_leaves_nothing(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    run("ip", "-n", guest, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    run("ip", "-n", host.name, "link", "add", "mus00000000009", "type", "veth", "peer", "name", "far9")
    before = sorted(links.read_links(host.netlink))
    with host.inside():
        with pytest.raises(netns.NoSuchNamespace, match="nowhere"):
            plug.lay(host.netlink, cable("nowhere"))
        with pytest.raises(netns.NoSuchNamespace, match="is not a network namespace"):
            plug.lay(host.netlink, cable("/etc/hostname"))
        with pytest.raises(plug.OwnNamespace):
            plug.lay(host.netlink, cable("/proc/thread-self/ns/net"))
        with pytest.raises(plug.NameTaken, match="eth0"):
            plug.lay(host.netlink, cable(guest))
        with pytest.raises(plug.NameTaken, match="mus00000000009"):
            plug.lay(host.netlink, cable(guest, 9, "net9"))
        with pytest.raises(plug.NoSuchInterface):
            plug.adopt(host.netlink, "tap7")
        with pytest.raises(Invalid, match="device of the host"):
            plug.adopt(host.netlink, "lo")
        with pytest.raises(Invalid, match="MAC"):
            plug.lay(host.netlink, replace(cable(guest, 3, "net3"), mac="zz"))
    assert sorted(links.read_links(host.netlink)) == before


def test_a_foreign_default_route_is_refused_with_its_name(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    run("ip", "-n", guest, "link", "add", "net1", "type", "veth", "peer", "name", "net2")
    run("ip", "-n", guest, "link", "set", "net1", "up")
    run("ip", "-n", guest, "route", "add", "default", "dev", "net1")
    with host.inside():
        plug.lay(host.netlink, cable(guest))
        with pytest.raises(plug.NoWay, match=r"0\.0\.0\.0/0"):
            plug.connect(host.netlink, cable(guest), ADDRESSES)


def test_a_workload_that_moved_to_another_namespace_is_plugged_there(host: Host, space: Callable[[], str]) -> None:
    """A container restarted: same name, new namespace, while the old one is still held by somebody."""
    old, new = space(), space()
    host.plug(cable(old), *ADDRESSES)
    with host.inside():
        plug.lay(host.netlink, cable(new))
        plug.connect(host.netlink, cable(new), ADDRESSES)
    assert {link["ifname"] for link in ip_json(old, "link", "show")} == {"lo"}
    assert "eth0" in {link["ifname"] for link in ip_json(new, "link", "show")}


def test_unplug_takes_only_its_own(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    host.plug(cable(guest), *ADDRESSES)
    run("ip", "-n", host.name, "link", "add", "mus00000000009", "type", "veth", "peer", "name", "far9")
    stranger = EndpointKey("WorkloadEndpoint/default/w9")
    assert not plug.unplug(host.netlink, [Doomed("mus00000000009", stranger)])
    assert not plug.unplug(host.netlink, [Doomed(cable(guest).interface, stranger)])
    ours = [Doomed(cable(guest).interface, cable(guest).owner), Doomed("mus00000000009", stranger)]
    assert plug.unplug(host.netlink, ours) == {cable(guest).interface}
    assert not plug.unplug(host.netlink, ours), "twice is fine"
    assert {link["ifname"] for link in ip_json(guest, "link", "show")} == {"lo"}
    assert "mus00000000009" in links.read_links(host.netlink)


def test_a_link_whose_number_is_known_is_not_read_before_it_goes(host: Host, space: Callable[[], str]) -> None:
    class Mute(Netlink):
        def get(self, kind: int, body: bytes) -> bytes | Refusal:
            raise AssertionError("asked for an object")

    one, two = cable(space(), 1), cable(space(), 2)
    with host.inside(), Mute() as mute:
        known = [Doomed(each.interface, each.owner, plug.lay(host.netlink, each).link.index) for each in (one, two)]
        assert plug.unplug(mute, known) == {one.interface, two.interface}
    assert not {one.interface, two.interface} & links.read_links(host.netlink).keys()


def test_a_link_that_took_name_or_number_of_one_that_was_ours_is_left_alone(
    host: Host, space: Callable[[], str]
) -> None:
    ours = cable(space())
    with host.inside():
        number = plug.lay(host.netlink, ours).link.index
    run("ip", "-n", host.name, "link", "del", ours.interface)
    run("ip", "-n", host.name, "link", "add", ours.interface, "type", "veth", "peer", "name", "far")
    run("ip", "-n", host.name, "link", "add", "theirs", "index", str(number),
        "type", "veth", "peer", "name", "far2")
    assert not plug.unplug(host.netlink, [Doomed(ours.interface, ours.owner, number)])
    assert {ours.interface, "theirs"} <= links.read_links(host.netlink).keys()


def test_a_tap_is_adopted_but_forwards_nothing_yet(host: Host) -> None:
    run("ip", "-n", host.name, "tuntap", "add", "tapvm", "mode", "tap")
    with host.inside():
        plug.adopt(host.netlink, "tapvm")
        plug.adopt(host.netlink, "tapvm")
    [link] = ip_json(host.name, "link", "show", "dev", "tapvm")
    assert link["address"] == plug.HOST_MAC
    assert "UP" in link["flags"]
    assert in_ns(host.name, "sysctl", "-n", "net.ipv4.conf.tapvm.forwarding").strip() == "0"


def test_preparing_a_host_leaves_a_listener_to_router_advertisements_listening(space: Callable[[], str]) -> None:
    """Forwarding silences accept_ra=1; the host would lose its own default route when the RA's lifetime ends."""
    name = space()
    in_ns(name, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    run("ip", "-n", name, "link", "add", "up0", "type", "veth", "peer", "name", "far0")
    in_ns(name, "sysctl", "-qw", "net.ipv6.conf.up0.accept_ra=1")
    with netns.opened(name) as fd, netns.inside(fd):
        assert "ipv4/ip_forward" in sysctl.prepare_host()
        assert sysctl.prepare_host() == (), "what is right is not written again"
    assert in_ns(name, "sysctl", "-n", "net.ipv6.conf.up0.accept_ra").strip() == "2"


def test_we_are_home_again_after_a_stay_inside(space: Callable[[], str]) -> None:
    before = {name for _, name in socket.if_nameindex()}
    with netns.opened(space()) as fd, netns.inside(fd):
        assert {name for _, name in socket.if_nameindex()} == {"lo"}
    assert {name for _, name in socket.if_nameindex()} == before

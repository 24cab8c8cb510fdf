"""A veth is made in a few steps, and somebody may come between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from muslin.drivers import links, netns, plug, sysctl, veth
from muslin.drivers.netlink import Message, Netlink, Refusal
from muslin.drivers.veth import Veth
from muslin.errors import Transient
from netrig import in_ns, ip_json, namespace, run
from plugrig import ADDRESSES, Host, cable

pytestmark = pytest.mark.kernel


class Meddled(Netlink):
    """Something happens after each of our messages to the kernel."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self._meddle = meddle

    def send(self, messages: Iterable[Message]) -> list[Refusal]:
        refused = super().send(messages)
        self._meddle()
        return refused


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


def test_what_is_said_of_a_link_that_was_laid_is_what_the_kernel_has(host: Host, space: Callable[[], str]) -> None:
    guest = cable(space())
    with host.inside():
        laid = plug.lay(host.netlink, guest).link
    read = links.read_links(host.netlink)[guest.interface]
    assert laid.peer_namespace == links.NOT_ASKED
    assert replace(laid, peer_namespace=read.peer_namespace, sends=read.sends) == read
    assert laid.owner == guest.owner


def test_one_that_was_laid_loose_lies_here_with_both_ends(host: Host) -> None:
    loose = cable(netns.OWN, inner="loose0")
    with host.inside():
        laid = plug.lay_loose(host.netlink, loose).link
    found = links.read_links(host.netlink)
    assert (laid.peer, laid.peer_namespace) == (found["loose0"].index, None)
    assert found[loose.interface].peer == laid.peer


def test_a_link_whose_other_end_nobody_asked_for_is_resized_with_it(host: Host, space: Callable[[], str]) -> None:
    guest = cable(space())
    with host.inside():
        laid = plug.lay(host.netlink, guest).link
        assert plug.resize(host.netlink, [laid], 1400) == {}
    for name, interface in ((host.name, guest.interface), (guest.namespace, guest.inner)):
        [link] = ip_json(name, "link", "show", "dev", interface)
        assert link["mtu"] == 1400, name


def test_nothing_is_done_to_a_strangers_link_of_the_same_name(host: Host, space: Callable[[], str]) -> None:
    guest = cable(space())
    run("ip", "-n", host.name, "link", "add", guest.interface, "type", "veth", "peer", "name", "far")

    def look() -> object:
        [link] = ip_json(host.name, "-d", "link", "show", "dev", guest.interface)
        switches = in_ns(host.name, "sysctl", "-a", "-r", rf"net\.ipv4\.conf\.{guest.interface}")
        return link["flags"], link.get("ifalias"), link["inet6_addr_gen_mode"], switches

    before = look()
    with host.inside(), pytest.raises(plug.NameTaken):
        plug.lay(host.netlink, guest)
    assert look() == before


def test_a_router_that_raises_the_other_side_at_once_is_not_believed(host: Host, space: Callable[[], str]) -> None:
    """Our side is not up before it has its switches, and never gives itself an address."""
    guest, seen = cable(space()), set[tuple[bool, str]]()
    in_ns(host.name, "sysctl", "-qw", "net.ipv6.conf.default.accept_ra=2")

    def meddle() -> None:
        run("ip", "-n", guest.namespace, "link", "set", guest.inner, "up")
        accepts = in_ns(host.name, "sysctl", "-n", f"net.ipv6.conf.{guest.interface}.accept_ra").strip()
        seen.add((links.read_links(host.netlink)[guest.interface].up, accepts))

    with host.inside(), Meddled(meddle) as meddled:
        plug.lay(meddled, guest)
    assert seen == {(False, "2"), (True, "0")}
    [link] = ip_json(host.name, "addr", "show", "dev", guest.interface)
    assert "LOWER_UP" in link["flags"]
    assert link["addr_info"] == []


def test_what_goes_wrong_halfway_leaves_no_link(host: Host, space: Callable[[], str]) -> None:
    guest = cable(space())
    before = sorted(links.read_links(host.netlink))

    def rename() -> None:
        if guest.inner in {link["ifname"] for link in ip_json(guest.namespace, "link", "show")}:
            run("ip", "-n", guest.namespace, "link", "set", guest.inner, "name", "other0")

    def remove() -> None:
        if guest.interface in links.read_links(host.netlink):
            run("ip", "-n", host.name, "link", "del", guest.interface)

    for meddle in (rename, remove):
        with host.inside(), Meddled(meddle) as meddled, pytest.raises(Transient, match=r"gone|cannot be set"):
            plug.lay(meddled, guest)
        assert sorted(links.read_links(host.netlink)) == before, meddle
    with host.inside():
        plug.lay(host.netlink, guest)


def test_one_that_cannot_be_marked_as_ours_is_not_left(host: Host, space: Callable[[], str]) -> None:
    guest = space()
    no_switch = 1000
    with host.inside(), netns.opened(guest) as descriptor:
        asked = Veth(name="mus00000000001", mac=plug.HOST_MAC, owner="w", mtu=1500, peer_name="eth0",
                     peer_mac="02:00:00:00:00:01", peer_namespace=descriptor, settings=((no_switch, 1),))
        with pytest.raises(Transient, match="settings"):
            veth.make(host.netlink, asked)
        assert "mus00000000001" not in links.read_links(host.netlink)
        veth.make(host.netlink, replace(asked, settings=sysctl.workload_link_v4()))


def test_each_end_has_one_queue_from_the_start(host: Host, space: Callable[[], str]) -> None:
    """However many processors there are; the kernel would use one of them."""
    guest = cable(space())
    host.plug(guest, *ADDRESSES)
    for name, interface in ((host.name, guest.interface), (guest.namespace, guest.inner)):
        [link] = ip_json(name, "-d", "link", "show", "dev", interface)
        assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1)

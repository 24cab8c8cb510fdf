"""What is read again when an endpoint's interface comes, goes, or is made anew."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from muslin.agent.wiring import Wiring
from muslin.drivers import links, netns
from muslin.drivers.monitor import Monitor, Noticed
from muslin.drivers.netlink import Netlink
from muslin.intent import Delta, Endpoint, EndpointKey, GroupId, HostIntent, Route, RouteKind
from muslin.net import Cidr
from muslin.reconcile import Done
from netrig import ip_json, namespace, run, wait_for

pytestmark = pytest.mark.kernel
NAME, KEY, ADDRESS = "mus00000000001", EndpointKey("WorkloadEndpoint/default/w1"), Cidr("10.65.0.1/32")
ADDRESS_V6 = Cidr("fd00:65::1/128")


class Counting(Netlink):
    """Counts its listings."""

    dumps = 0

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        self.dumps += 1
        return super().dump(kind, body)


class Scene:
    """A host whose one endpoint's interface is not there yet."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.netlink, self.monitor = Counting(), Monitor()
        self.wiring = Wiring(self.netlink)
        self.wiring.read_all()
        self.bring_endpoint()
        self.monitor.drain(self.netlink.port)

    def bring_endpoint(self) -> None:
        endpoint = Endpoint(key=KEY, interface=NAME, ingress=GroupId("1" * 16), egress=GroupId("2" * 16),
                            addresses=(ADDRESS, ADDRESS_V6))
        route = Route(destination=ADDRESS, kind=RouteKind.DEVICE, interface=NAME)
        intent = HostIntent(endpoints={KEY: endpoint}, routes={ADDRESS: route})
        self.wiring.duties.take(Delta(endpoints={KEY: endpoint}, routes={ADDRESS: route}), intent)
        self.settle()

    def settle(self) -> None:
        now = time.monotonic()
        self.wiring.do(self.wiring.plan(now), now)

    def hear_of_it(self, index: int) -> Noticed:
        heard = Noticed()

        def told() -> bool:
            heard.add(self.monitor.drain(self.netlink.port))
            link = heard.links.get(NAME)
            return link is not None and link.index == index and link.up

        wait_for("the interface to be told of", told)
        return heard

    def make(self) -> int:
        run("ip", "-n", self.host, "link", "add", NAME, "type", "veth", "peer", "name", "other")
        run("ip", "-n", self.host, "link", "set", NAME, "up", "group", str(links.OWN_GROUP), "alias", f"muslin {KEY}")
        return next(link["ifindex"] for link in ip_json(self.host, "link") if link["ifname"] == NAME)

    def take_endpoint_away(self) -> None:
        gone = Delta(endpoints={KEY: None}, routes={ADDRESS: None})
        self.wiring.duties.take(gone, HostIntent())
        self.settle()

    @property
    def is_gateway(self) -> bool:
        [link] = ip_json(self.host, "address", "show", "dev", NAME)
        return any(address["local"] == "fe80::1" for address in link["addr_info"])

    @property
    def redirects(self) -> str:
        return run("ip", "netns", "exec", self.host, "sysctl", "-n", f"net.ipv4.conf.{NAME}.accept_redirects").strip()

    @property
    def has_way(self) -> bool:
        return any(route["dst"] == "10.65.0.1" and route["dev"] == NAME for route in ip_json(self.host, "route"))


@pytest.fixture
def scene() -> Iterator[Scene]:
    with namespace() as host, netns.opened(host) as descriptor, netns.inside(descriptor):
        scene = Scene(host)
        try:
            yield scene
        finally:
            scene.monitor.close()
            scene.netlink.close()


@pytest.mark.parametrize("who", ["we", "somebody"])
def test_an_interface_that_comes_after_its_endpoint_is_opened_and_nothing_is_read_again(scene: Scene, who: str) -> None:
    """Containers come so: the server may be faster than the link. To read all that a host of a thousand has: 60 ms."""
    assert scene.wiring.troubles()[NAME].why == f"interface {NAME} is not there"
    heard, before = scene.hear_of_it(scene.make()), scene.netlink.dumps
    if who == "we":  # and the one that made it says so before the kernel is listened to
        made = links.read_link(scene.netlink, NAME)
        assert made is not None
        scene.wiring.interfaces.made(made)
    scene.wiring.look_again(heard, time.monotonic())
    assert scene.netlink.dumps == before
    scene.settle()
    assert scene.has_way
    assert not scene.wiring.troubles()


def test_a_link_that_is_told_of_again_and_again_while_it_is_laid_is_no_reason_to_read_all(scene: Scene) -> None:
    """Where others hold the kernel's lock for links, it tells of one that is half made, and of it again."""
    run("ip", "-n", scene.host, "link", "add", NAME, "group", str(links.OWN_GROUP), "type", "veth",
        "peer", "name", "other")
    half, before = links.read_link(scene.netlink, NAME), scene.netlink.dumps
    for _ in range(3):
        scene.wiring.look_again(Noticed(links={NAME: half}), time.monotonic())
    assert scene.netlink.dumps == before
    scene.settle()
    assert scene.has_way
    run("ip", "-n", scene.host, "link", "set", NAME, "down")
    scene.wiring.look_again(Noticed(links={NAME: links.read_link(scene.netlink, NAME)}), time.monotonic())
    assert scene.netlink.dumps > before, "what stood on it went"


def test_what_stood_on_an_interface_that_was_made_anew_is_put_there_again(scene: Scene) -> None:
    scene.wiring.look_again(scene.hear_of_it(scene.make()), time.monotonic())
    scene.settle()
    run("ip", "-n", scene.host, "link", "del", NAME)
    heard = scene.hear_of_it(scene.make())
    assert not scene.has_way
    scene.wiring.look_again(heard, time.monotonic())
    scene.settle()
    assert scene.has_way
    assert not scene.wiring.troubles()


def test_only_ways_are_taken_from_an_interface_that_is_about_to_go(scene: Scene) -> None:
    """The kernel walks all IPv6 routes of a host when an address goes, and does so again when the interface goes."""
    scene.make()
    scene.wiring.look_again(Noticed(lost=True), time.monotonic())
    scene.settle()
    assert scene.is_gateway
    scene.wiring.leaving.add(NAME)
    scene.take_endpoint_away()
    assert not scene.has_way
    assert scene.is_gateway
    scene.wiring.leaving.discard(NAME)  # it could not be removed
    scene.wiring.read_all()
    scene.settle()
    assert not scene.is_gateway


def test_the_switches_of_a_link_that_we_made_are_not_read_again(scene: Scene) -> None:
    scene.make()
    assert scene.redirects == "1"
    made = links.read_link(scene.netlink, NAME)
    assert made is not None
    scene.wiring.interfaces.made(made)
    assert scene.wiring.interfaces.open(NAME) == Done()
    assert scene.redirects == "1"
    assert scene.wiring.interfaces.open(NAME) == Done()
    assert scene.redirects == "0", "only what was just made is known"


def test_a_link_that_was_opened_unread_is_read_by_the_next_scan_however_many_there_are(scene: Scene) -> None:
    """A machine's own rules for new interfaces (udev's, with /etc/sysctl.d) may set its switches a moment later."""
    others = [f"mus{number:011x}" for number in range(16, 16 + 60)]
    words = "".join(f"link add {name} type veth peer name p{name}\n" for name in others)
    run("ip", "-n", scene.host, "-batch", "-", stdin=words)
    assert all(scene.wiring.interfaces.open(name) == Done() for name in others)
    scene.make()
    made = links.read_link(scene.netlink, NAME)
    assert made is not None
    scene.wiring.interfaces.made(made)
    assert scene.wiring.interfaces.open(NAME) == Done()
    assert f"ipv4/conf/{NAME}/accept_redirects" in scene.wiring.interfaces.recheck()
    assert scene.redirects == "0"


def test_a_link_that_took_the_name_of_one_that_we_made_is_not_taken_for_it(scene: Scene) -> None:
    scene.make()
    made = links.read_link(scene.netlink, NAME)
    assert made is not None
    scene.wiring.interfaces.made(made)
    run("ip", "-n", scene.host, "link", "del", NAME)
    scene.wiring.interfaces.told(NAME, scene.hear_of_it(scene.make()).links[NAME])
    assert scene.wiring.interfaces.open(NAME) == Done()
    assert scene.redirects == "0"


def test_one_that_comes_again_under_its_name_took_nobodys_place(scene: Scene) -> None:
    """A container that is started again. Of its first link the kernel told last when it was on its way out."""
    scene.wiring.look_again(scene.hear_of_it(scene.make()), time.monotonic())
    scene.settle()
    going = links.read_link(scene.netlink, NAME)
    scene.take_endpoint_away()
    scene.wiring.interfaces.told(NAME, going)
    run("ip", "-n", scene.host, "link", "del", NAME)
    scene.wiring.interfaces.told(NAME, None)
    scene.make()
    scene.bring_endpoint()
    assert scene.has_way
    assert not scene.wiring.look_at_replaced()

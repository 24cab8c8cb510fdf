"""MTU: links follow the host's uplinks, and a path that is narrower than the link is found out."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from agentrig import Site, site
from muslin.lab.record import Workload
from netrig import ip_json, run, wait_for
from nftrig import own_socket
from outrig import Outside, outside

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def mtus(place: Site, workload: Workload) -> tuple[int, int]:
    """Of the host's side, and of the workload's."""
    [name] = [item["interface"] for item in place.agent("h1").get("/v1/workloads")["items"]
              if item["name"] == workload.name]
    [host], [inner] = (ip_json(space, "link", "show", "dev", interface)
                       for space, interface in ((place.space("h1"), name), (workload.network, "eth0")))
    return host["mtu"], inner["mtu"]


def test_links_get_the_mtu_of_the_smallest_uplink_and_follow_it(place: Site) -> None:
    with outside(place.make_host("h1"), mtu=1400):
        place.start_agent("h1")
        one = place.guest("h1", "one")
        chosen = place.guest("h1", "chosen", mtu=1280)
        assert mtus(place, one) == (1400, 1400)
        assert place.report("h1")["mtu"] == 1400

        run("ip", "-n", place.space("h1"), "link", "set", "up0", "mtu", "1350")
        wait_for("both ends to follow", lambda: mtus(place, one) == (1350, 1350))
        assert mtus(place, chosen) == (1280, 1280), "who chose a number keeps it"

        place.signal("agent-h1", signal.SIGKILL)
        run("ip", "-n", place.space("h1"), "link", "set", "up0", "mtu", "1450")
        place.start_agent("h1")
        wait_for("what changed while no agent ran", lambda: mtus(place, one) == (1450, 1450))
        assert mtus(place, place.guest("h1", "late")) == (1450, 1450)
        assert place.report("h1").get("repairs", []) == []


def test_the_settings_say_which_interfaces_are_uplinks(place: Site) -> None:
    space = place.make_host("h1")
    with outside(space, mtu=1400):
        run("ip", "-n", space, "link", "add", "wide0", "mtu", "1600", "type", "veth", "peer", "name", "wide1")
        felix: dict[str, Any] = {
            "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": {"mtuIfacePattern": "^wide0$"}}
        place.api.post("/apis/projectcalico.org/v3/felixconfigurations", felix)
        place.start_agent("h1")
        assert mtus(place, place.guest("h1", "one")) == (1600, 1600)


CLOSED = {
    "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "closed"},
    "spec": {"selector": "all()", "types": ["Ingress"]},
}


@pytest.mark.parametrize(("near", "far"), [(1400, 1500), (1500, 1400)])
def test_a_path_narrower_than_the_link_is_found_out_by_tcp(place: Site, near: int, far: int) -> None:
    """ICMP errors, of our own host and of a router, pass policy that lets nothing else in: they belong to a flow."""
    with ExitStack() as stack:
        there = stack.enter_context(outside(place.make_host("h1"), mtu=near, far_mtu=far))
        place.start_agent("h1")
        place.declare(CLOSED)
        one = place.guest("h1", "one", mtu=1500)
        for version in (4, 6):
            assert poured(one, there, version) == 1 << 20


def test_a_link_narrower_than_a_sender_outside_believes_is_found_out_too(place: Site) -> None:
    """The other direction: the workload's own end announces what its link does not carry, and the host says so."""
    with ExitStack() as stack:
        there = stack.enter_context(outside(place.make_host("h1"), mtu=1500, far_mtu=1500))
        place.start_agent("h1")
        one = place.guest("h1", "one", mtu=1400)
        run("ip", "-n", one.network, "link", "set", "eth0", "mtu", "1500")
        for version in (4, 6):
            assert poured(there, one, version) == 1 << 20


def poured(sender: Workload | Outside, receiver: Workload | Outside, version: int) -> int:
    """Bytes that arrive of a megabyte by TCP, whose sender believes in its link's MTU."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with own_socket(receiver.network, family, socket.SOCK_STREAM) as door:
        door.bind((receiver.address(version), 0))
        door.listen()
        # The receiver's own link would tell the narrow MTU by its MSS: it says what a wide one would.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1440)
        with own_socket(sender.network, family, socket.SOCK_STREAM) as caller:
            caller.settimeout(5)
            caller.connect(door.getsockname()[:2])
            answerer, _ = door.accept()
            with answerer:
                answerer.settimeout(5)
                caller.setblocking(False)
                left, count = 1 << 20, 0
                while count < 1 << 20:
                    if left:
                        with suppress(BlockingIOError):
                            left -= caller.send(bytes(min(left, 1 << 15)))
                    count += len(answerer.recv(1 << 16))
                return count

"""Two hosts on one cable: agents, BIRD and the kernel together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from agentrig import Site, ping, play, site
from muslin.lab.crowd import Flow
from netrig import ip_json, run, wait_for

pytestmark = pytest.mark.kernel


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


def established(place: Site, host: str) -> bool:
    sessions = place.report(host).get("sessions", [])
    return len(sessions) == 2 and all(session["state"] == "Established" for session in sessions)


def test_hosts_find_each_other_and_their_workloads_talk(two: Site) -> None:
    """Addresses are found on the uplink, Nodes register themselves, the mesh comes up, routes arrive in the kernel."""
    one, other = two.guest("h1", "one"), two.guest("h2", "other")
    for host in ("h1", "h2"):
        wait_for(f"the sessions of {host}", lambda host=host: established(two, host), seconds=30)
    for address in other.addresses:
        wait_for(f"{address} from the other host", lambda address=address: ping(one.network, address), seconds=15)
    wait_for("word of it", lambda: two.report("h1").get("bgp") == "running")


def test_kill_nine_of_bird_and_agent_loses_no_packet_between_hosts(two: Site) -> None:
    one, other = two.guest("h1", "one"), two.guest("h2", "other")
    play(two.crowd.serve(other.network, udp=[7]))
    for address in other.addresses:
        wait_for(f"the way to {address}", lambda address=address: ping(one.network, address), seconds=30)
    wait_for("all sessions", lambda: established(two, "h1") and established(two, "h2"), seconds=30)
    flows = [Flow(source=one, destination=other, port=7, version=version) for version in (4, 6)]

    async def scene() -> None:
        async with two.crowd.stream(flows) as running:
            await running.packets(300)
            dead = two.bird_pid("h1")
            os.kill(dead, signal.SIGKILL)
            two.signal("agent-h1", signal.SIGKILL)
            await running.packets(300)
            two.start_agent("h1", "--as-number", "64512")
            wait_for("a new BIRD", lambda: two.bird_pid("h1") not in (0, dead))
            await running.packets(1500)
            wait_for("its sessions", lambda: established(two, "h1"), seconds=30)
            await running.packets(500)

    play(scene())
    for flow in flows:
        assert flow.count.sent > 2000
        assert flow.count.lost == 0, (flow.version, flow.count)


def test_an_agent_starts_its_bird_again_when_that_dies(two: Site) -> None:
    one = two.guest("h1", "one")
    wait_for("all sessions", lambda: established(two, "h1"), seconds=30)
    dead = two.bird_pid("h1")
    os.kill(dead, signal.SIGKILL)
    wait_for("a new BIRD", lambda: two.report("h1").get("bgp") == "running" and two.bird_pid("h1") not in (0, dead))
    wait_for("its sessions", lambda: established(two, "h1"), seconds=30)
    assert not learnt(two), "nobody is on the other host yet"
    late = two.guest("h2", "late")
    wait_for("what the new one learns", lambda: learnt(two))
    wait_for("the way there", lambda: ping(one.network, late.addresses[0]))


def learnt(place: Site) -> list[str]:
    """What h1's BIRD has put into its kernel."""
    return [route["dst"] for route in ip_json(place.space("h1"), "route", "show", "dev", "up0", "proto", "bird")]

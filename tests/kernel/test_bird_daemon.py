"""Real BIRDs with rendered configurations: what is announced arrives, and a dead BIRD costs no packet."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bgpwords import Cluster, bgp_filter, block, configuration, node, peer, pool, secret
from birdrig import Host, switched, wait_established
from muslin.drivers import netns
from muslin.drivers.bird import Refused
from muslin.model.network import FilterRule
from muslin.render.bird import conf
from netrig import ip_json, run, wait_for

pytestmark = pytest.mark.kernel

NODES = {f"h{n}": node(f"10.0.0.{n}/24", f"fd00::{n}/64") for n in (1, 2, 3)}
POOLS = [pool("10.65.0.0/16"), pool("fd65::/112")]
BLOCKS = [
    block("10.65.0.0/26", "h1"), block("10.65.0.64/26", "h2"), block("fd65::/122", "h1"), block("fd65::40/122", "h2"),
]
PAIR = {name: NODES[name] for name in ("h1", "h2")}


def start(cluster: Cluster, *hosts: Host) -> None:
    for host in hosts:
        host.apply(conf(cluster.of(host.name), log=str(host.bird.log)))


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    """Two hosts in a mesh, each with a block of both families, converged."""
    with switched("h1", "h2") as (one, two):
        start(Cluster(PAIR, blocks=BLOCKS, pools=POOLS), one, two)
        wait_established(one, two, sessions=2)
        for version, blocks in ((4, 2), (6, 2)):
            wait_for("routes", lambda v=version, n=blocks: len(one.routes(v)) == n == len(two.routes(v)))  # type: ignore[misc]
        yield one, two


def test_blocks_are_announced_in_both_families(pair: tuple[Host, Host]) -> None:
    one, two = pair

    assert one.routes() == {"10.65.0.0/26": "blackhole", "10.65.0.64/26": "10.0.0.2"}
    assert one.routes(6) == {"fd65::/122": "blackhole", "fd65::40/122": "fd00::2"}
    assert two.routes() == {"10.65.0.64/26": "blackhole", "10.65.0.0/26": "10.0.0.1"}


def test_learnt_routes_prefer_the_hosts_own_address_as_source(pair: tuple[Host, Host]) -> None:
    """A host that speaks to a remote workload is then known by the address in its Node."""
    (route,) = ip_json(pair[0].ns, "route", "get", "10.65.0.70")

    assert route["prefsrc"] == "10.0.0.1"


def test_sessions_are_reported_as_bird_sees_them(pair: tuple[Host, Host]) -> None:
    session = pair[0].sessions()["Mesh_10_0_0_2"]

    assert (session.peer, session.peer_as, session.state) == ("10.0.0.2", 64512, "Established")
    assert (session.imported, session.exported) == (1, 1)
    assert pair[0].read().version.startswith("2.")


def test_a_workloads_own_route_is_not_announced_beside_its_block(pair: tuple[Host, Host]) -> None:
    """64 workloads are one route for everybody else."""
    one, two = pair
    run("ip", "-n", one.ns, "link", "add", "mus1", "type", "veth", "peer", "name", "w1")
    run("ip", "-n", one.ns, "link", "set", "mus1", "up")
    run("ip", "-n", one.ns, "link", "set", "w1", "up")
    run("ip", "-n", one.ns, "route", "add", "10.65.0.5/32", "dev", "mus1")
    before = two.sessions()["Mesh_10_0_0_1"].imported
    one.apply(conf(Cluster(PAIR, blocks=[*BLOCKS, block("10.65.1.0/26", "h1")], pools=POOLS).of("h1")))

    wait_for("the second block", lambda: two.routes().get("10.65.1.0/26"))

    wait_for("one route more", lambda: two.sessions()["Mesh_10_0_0_1"].imported == before + 1)
    assert "10.65.0.5" not in two.routes()
    assert ip_json(one.ns, "route", "get", "10.65.0.5")[0]["dev"] == "mus1"


def test_a_configuration_that_is_already_there_is_left_alone(pair: tuple[Host, Host]) -> None:
    one, _ = pair
    text = (one.bird.directory / "bird.conf").read_text()

    assert one.apply(text) is False
    assert one.apply(text + "# and a word\n") is True
    assert one.established() == {"Mesh_10_0_0_2", "Mesh_fd00__2"}, "no session was lost over it"


def test_a_configuration_that_bird_refuses_changes_nothing(pair: tuple[Host, Host]) -> None:
    """Neither the running daemon, nor what its next start reads."""
    one, _ = pair
    file = one.bird.directory / "bird.conf"
    before = file.read_text()

    with pytest.raises(Refused, match=r"bird\.conf:\d+:\d+ "):
        one.apply("router id 1.1.1.1;\nprotocol nonsense {}\n")

    assert file.read_text() == before
    assert len(one.established()) == 2


def test_a_first_configuration_that_bird_refuses_starts_nothing() -> None:
    with switched("h1") as (one,):
        with pytest.raises(Refused):
            one.apply("nonsense;\n")

        assert one.bird.pid is None
        assert not one.read().running


def test_death_is_noticed_at_once(pair: tuple[Host, Host]) -> None:
    async def killed() -> None:
        waiting = asyncio.create_task(pair[0].bird.wait_dead())
        await asyncio.sleep(0)
        assert not waiting.done()
        os.kill(pair[0].bird.pid or 0, signal.SIGKILL)
        await asyncio.wait_for(waiting, 2)

    asyncio.run(killed())

    assert not pair[0].read().running


class Stream:
    """A UDP packet every millisecond from one host to an address of another, each with its number."""

    def __init__(self, sender: Host, receiver: Host, source: str, destination: str) -> None:
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        for host, address in ((sender, source), (receiver, destination)):
            run("ip", "-n", host.ns, "addr", "add", address, "dev", "lo")
        self.out, self.into = (_socket(host, family, address)
                               for host, address in ((sender, source), (receiver, destination)))
        self.into.settimeout(0.5)
        self.to = self.into.getsockname()[:2]
        self.sent = 0
        self.got: set[int] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.out.close()
        self.into.close()

    def _send(self) -> None:
        while not self._stop.wait(0.001):
            self.out.sendto(self.sent.to_bytes(4, "big"), self.to)
            self.sent += 1

    def _receive(self) -> None:
        while True:
            try:
                self.got.add(int.from_bytes(self.into.recv(64), "big"))
            except TimeoutError:
                if self._stop.is_set():
                    return

    def wait_more(self, packets: int) -> None:
        target = self.sent + packets
        wait_for(f"{packets} more packets", lambda: self.sent >= target)

    @property
    def lost(self) -> int:
        return self.sent - len(self.got)


def _socket(host: Host, family: int, address: str) -> socket.socket:
    with netns.opened(host.ns) as fd, netns.inside(fd):
        made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((address, 0))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("source", "destination"), [("10.65.0.1", "10.65.0.65"), ("fd65::1", "fd65::41")])
def test_kill_9_of_bird_loses_no_packet(pair: tuple[Host, Host], source: str, destination: str) -> None:
    """Neither its death, nor its restart, nor the peers' view of it may take a route away, at either end."""
    one, two = pair
    with Stream(one, two, source, destination) as stream:
        stream.wait_more(50)
        for victim in (one, two):
            os.kill(victim.bird.pid or 0, signal.SIGKILL)
            asyncio.run(victim.bird.wait_dead())
            stream.wait_more(100)
            victim.apply((victim.bird.directory / "bird.conf").read_text())
            wait_established(one, two, sessions=2)
            stream.wait_more(300)
            log = victim.bird.log
            wait_for("the end of recovery", lambda log=log: "Graceful restart done" in log.read_text())  # type: ignore[misc]
            stream.wait_more(300)

    assert stream.sent > 1000
    assert stream.lost == 0


def test_a_stop_in_peace_keeps_the_routes_too(pair: tuple[Host, Host]) -> None:
    """An upgrade of BIRD is no outage."""
    one, _ = pair
    one.stop()

    assert one.bird.pid is None
    assert one.routes() == {"10.65.0.0/26": "blackhole", "10.65.0.64/26": "10.0.0.2"}


def test_a_borrowed_address_goes_to_the_host_that_holds_it() -> None:
    """More specific than the block it lies in, and never swallowed by a blackhole where the workload is."""
    blocks = [block("10.65.0.0/26", "h1"), block("10.65.0.64/26", "h2", {1: "h1"})]
    with switched("h1", "h2", "h3") as hosts:
        start(Cluster(NODES, blocks=blocks, pools=POOLS), *hosts)
        for other in hosts[1:]:
            wait_for("the single address", lambda o=other: o.routes().get("10.65.0.65") == "10.0.0.1")  # type: ignore[misc]

        assert "10.65.0.65" not in hosts[0].routes()


def test_a_withheld_pool_stays_at_home_unless_a_filter_tells_it() -> None:
    """disableBGPExport, and Calico's order: a BGPFilter is asked first."""
    secret_pool, nodes = pool("10.66.0.0/16", disable_bgp_export=True), PAIR
    blocks = [block("10.65.0.0/26", "h1"), block("10.66.0.0/26", "h1"), block("10.66.0.64/26", "h1")]
    told = FilterRule(cidr="10.66.0.64/26", match_operator="Equal", action="Accept")
    cluster = Cluster(
        nodes, blocks=blocks, pools=[*POOLS, secret_pool], filters={"one": bgp_filter(export_v4=(told,))},
        configurations={"default": configuration(node_to_node_mesh_enabled=False)},
        peers={"p": peer(node="h1", peer_ip="10.0.0.2", as_number=64512, filters=("one",))},
    )
    with switched("h1", "h2") as (one, two):
        start(cluster, one, two)
        wait_for("both blocks", lambda: {"10.65.0.0/26", "10.66.0.64/26"} <= set(two.routes()))
        wait_for("the one that stays", lambda: one.routes().get("10.66.0.0/26") == "blackhole")

        assert set(two.routes()) == {"10.65.0.0/26", "10.66.0.64/26"}


def test_a_reflector_tells_its_clients_of_each_other() -> None:
    """Without a mesh, and without standing in the way of the packets."""
    reflector = node("10.0.0.3/24", "fd00::3/64", labels={"rr": ""}, route_reflector_cluster_id="244.0.0.1")
    cluster = Cluster(
        {**NODES, "h3": reflector}, blocks=BLOCKS, pools=POOLS,
        configurations={"default": configuration(node_to_node_mesh_enabled=False)},
        peers={"rr": peer(node_selector="!has(rr)", peer_selector="has(rr)")},
    )
    with switched("h1", "h2", "h3") as hosts:
        start(cluster, *hosts)
        wait_for("the reflected block", lambda: hosts[0].routes().get("10.65.0.64/26") == "10.0.0.2")
        wait_for("the other family", lambda: hosts[0].routes(6).get("fd65::40/122") == "fd00::2")

        wait_for("a client's sessions", lambda: len(hosts[0].established()) == 2)
        wait_for("the reflector's", lambda: len(hosts[2].established()) == 4)


def test_protected_sessions_come_up_between_those_who_know_the_word() -> None:
    """TTL security and a password at both ends; the third host has the wrong password."""
    wish = {"peer_selector": "all()", "node_selector": "all()", "ttl_security": 1, "password": secret("bgp", "word")}
    no_mesh = {"default": configuration(node_to_node_mesh_enabled=False)}

    def knowing(word: str) -> Cluster:
        return Cluster(NODES, blocks=BLOCKS, pools=POOLS, configurations=no_mesh, peers={"p": peer(**wish)},
                       secrets={("bgp", "word"): word})

    with switched("h1", "h2", "h3") as hosts:
        start(knowing("hush"), *hosts[:2])
        start(knowing("guess"), hosts[2])
        wait_for("the block", lambda: hosts[0].routes().get("10.65.0.64/26"))
        wait_established(*hosts[:2], sessions=2)

        assert hosts[2].established() == set()
        assert not any(name.endswith("3") for name in hosts[0].established())


def test_a_peer_behind_a_router_is_found_by_the_kernels_default_route() -> None:
    """A next hop off the link is resolved by a route that somebody else made; that route is told to nobody."""
    with switched("h1", "h2", "gw") as (one, two, gateway):
        for host, number in ((one, 1), (two, 2)):
            run("ip", "-n", host.ns, "addr", "del", f"10.0.0.{number}/24", "dev", "eth0")
            run("ip", "-n", host.ns, "addr", "add", f"10.{number}.0.1/24", "dev", "eth0")
            run("ip", "-n", gateway.ns, "addr", "add", f"10.{number}.0.254/24", "dev", "eth0")
            run("ip", "-n", host.ns, "route", "add", "default", "via", f"10.{number}.0.254")
        nodes = {"h1": node("10.1.0.1/24"), "h2": node("10.2.0.1/24")}
        start(Cluster(nodes, blocks=BLOCKS, pools=POOLS), one, two)

        wait_for("the block behind the router", lambda: one.routes().get("10.65.0.64/26") == "10.1.0.254")
        wait_for("both blocks", lambda: {"10.65.0.0/26", "10.65.0.64/26"} <= set(two.routes()))
        assert set(two.routes()) == {"10.65.0.0/26", "10.65.0.64/26"}


def test_a_deleted_route_comes_back_within_the_scan_time(pair: tuple[Host, Host]) -> None:
    """Drift is repaired within ten seconds; BIRD looks every five."""
    one, _ = pair
    run("ip", "-n", one.ns, "route", "del", "10.65.0.64/26")
    began = time.monotonic()

    wait_for("the route again", lambda: "10.65.0.64/26" in one.routes())

    assert time.monotonic() - began < 10

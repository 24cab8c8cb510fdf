"""Bandwidth limits: what arrives in a second, and what is left in the kernel when they go."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import nftrig
from agentrig import V3, Site, site
from muslin.client.blocking import MERGE_PATCH
from muslin.drivers import shaping
from muslin.drivers.links import read_links
from muslin.drivers.netlink import Netlink
from muslin.drivers.netns import inside, opened
from muslin.drivers.shaping import Shape, shape
from muslin.intent import Qos
from muslin.lab.record import Workload
from netrig import in_ns, ip_json, run, wait_for
from nftrig import own_socket

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

MBIT = 1_000_000
SECONDS = 1.5


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


def throughput(sender: Workload, receiver: Workload) -> float:
    """TCP from one to the other, in Mbit/s: what arrives in a while, once the first burst is over."""
    door = own_socket(receiver.network, socket.AF_INET, socket.SOCK_STREAM)
    door.bind((receiver.address(4), 0))
    door.listen()
    caller = own_socket(sender.network, socket.AF_INET, socket.SOCK_STREAM)
    caller.settimeout(5)
    caller.connect(door.getsockname())
    answerer, _ = door.accept()
    over = threading.Event()

    def pour() -> None:
        while not over.is_set():
            try:
                caller.send(bytes(1 << 16))
            except OSError:
                return

    pouring = threading.Thread(target=pour, daemon=True)
    pouring.start()
    try:
        answerer.settimeout(5)
        _drained(answerer, 0.5)
        began = time.monotonic()
        count = _drained(answerer, SECONDS)
        return count * 8 / MBIT / (time.monotonic() - began)
    finally:
        over.set()
        for each in (answerer, caller, door):
            each.close()
        pouring.join(10)


def _drained(end: socket.socket, seconds: float) -> int:
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        count += len(end.recv(1 << 16))
    return count


def limit(place: Site, workload: str, **controls: int) -> None:
    [found] = [item for item in place.api.get(f"{V3}/workloadendpoints")["items"]
               if item["spec"]["workload"] == workload]
    spec: dict[str, Any] = {"qosControls": controls or None}
    place.api.patch(f"{V3}/namespaces/default/workloadendpoints/{found['metadata']['name']}", {"spec": spec},
                    kind=MERGE_PATCH)


def interface_of(place: Site, workload: str) -> str:
    [found] = [item for item in place.agent("h1").get("/v1/workloads")["items"] if item["name"] == workload]
    return str(found["interface"])


def shapes(place: Site) -> dict[str, Shape]:
    with opened(place.space("h1")) as descriptor, inside(descriptor):
        netlink = Netlink()
    with netlink:
        return shaping.read(netlink, read_links(netlink))


def ifbs(place: Site) -> list[str]:
    return [link["ifname"] for link in ip_json(place.space("h1"), "-d", "link", "show")
            if link.get("linkinfo", {}).get("info_kind") == "ifb"]


def test_each_direction_has_its_limit_and_gives_it(place: Site) -> None:
    burst = 400_000
    limited = place.guest("h1", "limited", qosControls={
        "ingressBandwidth": 40 * MBIT, "ingressBurst": burst, "egressBandwidth": 20 * MBIT, "egressBurst": burst})
    free = place.guest("h1", "free")

    towards, away = throughput(free, limited), throughput(limited, free)

    print(f"towards {towards:.1f} of 40, away {away:.1f} of 20 Mbit/s")
    assert 0.8 * 40 < towards < 1.2 * 40
    assert 0.8 * 20 < away < 1.2 * 20
    assert shapes(place).keys() == {interface_of(place, "limited")}, "the other has none"


def test_limits_change_and_go_while_the_workload_runs(place: Site) -> None:
    one, other = place.guest("h1", "one"), place.guest("h1", "other")
    limit(place, "one", egressBandwidth=10 * MBIT, egressBurst=400_000)
    interface = interface_of(place, "one")
    wait_for("the limit", lambda: interface in shapes(place))
    assert throughput(one, other) < 12

    limit(place, "one", egressBandwidth=50 * MBIT, egressBurst=400_000)
    wait_for("the other limit", lambda: _rate(shapes(place)[interface]) == 50 * MBIT // 8)
    assert 40 < throughput(one, other) < 60

    limit(place, "one")
    wait_for("the end of all limits", lambda: not shapes(place))
    assert ifbs(place) == []
    assert "clsact" not in in_ns(place.space("h1"), "tc", "qdisc", "show")
    assert throughput(one, other) > 100


def _rate(found: Shape) -> int:
    return found.away.rate if found.away else 0


def test_what_somebody_took_away_is_put_back_and_told(place: Site) -> None:
    place.guest("h1", "one", qosControls={"ingressBandwidth": 10 * MBIT, "egressBandwidth": 10 * MBIT})
    interface, space = interface_of(place, "one"), place.space("h1")
    wanted = shapes(place)[interface]
    for words in (
        ("qdisc", "del", "dev", interface, "root"), ("qdisc", "del", "dev", interface, "clsact"),
        ("qdisc", "change", "dev", interface, "root", "tbf", "rate", "1gbit", "burst", "1mb", "limit", "1mb"),
    ):
        run("tc", "-n", space, *words)
        wait_for(f"the repair of tc {' '.join(words)}", lambda: shapes(place).get(interface) == wanted)
    run("ip", "-n", space, "link", "del", shaping.ifb_name(interface))
    wait_for("the repair of the ifb", lambda: shapes(place).get(interface) == wanted)
    wait_for("words of it", lambda: any("bandwidth limit" in what for what in place.repairs("h1")))


def test_a_restarted_agent_finds_its_limits_and_removes_those_that_went_meanwhile(place: Site) -> None:
    for name in ("stays", "goes", "dies"):
        place.guest("h1", name, qosControls={"ingressBandwidth": 10 * MBIT, "egressBandwidth": 10 * MBIT})
    interfaces = {name: interface_of(place, name) for name in ("stays", "goes", "dies")}
    before = in_ns(place.space("h1"), "tc", "-j", "qdisc", "show", "dev", interfaces["stays"])
    place.signal("agent-h1", signal.SIGKILL)
    limit(place, "goes")
    run("ip", "-n", place.space("h1"), "link", "del", interfaces["dies"])

    place.start_agent("h1")

    wait_for("what is left", lambda: set(shapes(place)) == {interfaces["stays"]})
    wait_for("the ifb of a link that is gone to go", lambda: ifbs(place) == [shaping.ifb_name(interfaces["stays"])])
    after = in_ns(place.space("h1"), "tc", "-j", "qdisc", "show", "dev", interfaces["stays"])
    assert json.loads(after) == json.loads(before)
    assert not [what for what in place.repairs("h1") if interfaces["stays"] in what]


def test_a_workload_that_goes_leaves_nothing(place: Site) -> None:
    one = place.guest("h1", "one", qosControls={"egressBandwidth": 10 * MBIT})
    assert len(ifbs(place)) == 1
    place.remove(one)
    wait_for("no ifb", lambda: ifbs(place) == [])


def test_what_a_stranger_put_on_a_link_stays(place: Site) -> None:
    place.guest("h1", "one")
    interface, space = interface_of(place, "one"), place.space("h1")
    run("tc", "-n", space, "qdisc", "add", "dev", interface, "clsact")
    limit(place, "one", egressBandwidth=10 * MBIT)
    wait_for("the limit", lambda: interface in shapes(place))
    run("tc", "-n", space, "filter", "add", "dev", interface, "ingress", "prio", "7", "u32", "match", "u32", "0", "0",
        "flowid", "1:1")
    limit(place, "one")
    wait_for("its end", lambda: not shapes(place))
    assert "pref 7 u32" in in_ns(space, "tc", "filter", "show", "dev", interface, "ingress")


def test_numbers_are_what_calico_makes_of_them() -> None:
    made = shape(Qos(ingress_bandwidth=8 * MBIT, ingress_burst=800_000, ingress_peakrate=16 * MBIT), 1500)
    assert made is not None
    assert made.away is None
    bucket = made.towards
    assert bucket is not None
    assert (bucket.rate, bucket.burst, bucket.peakrate, bucket.minburst) == (MBIT, 100_000, 2 * MBIT, 1514)
    unsaid = shape(Qos(egress_bandwidth=8 * MBIT), 1500)
    assert unsaid is not None
    assert unsaid.away is not None
    assert unsaid.away.burst == 4294967296 // 8
    assert unsaid.away.limit <= 0.3 * MBIT, "but no queue of half a gigabyte"
    assert shape(Qos(ingress_packet_rate=5), 1500) is None


class Vm:
    """Whoever holds a tap: frames in, frames out."""

    MAC = "02:00:00:00:00:99"

    def __init__(self, space: str, name: str) -> None:
        with opened(space) as descriptor, inside(descriptor):
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))  # TAP, NO_PI

    def close(self) -> None:
        os.close(self.tap)

    def heard(self, seconds: float, pour: Callable[[], None]) -> int:
        """Bytes that come out, while somebody pours."""
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            pour()
            try:
                while True:
                    count += len(os.read(self.tap, 2048))
            except BlockingIOError:
                pass
        return count

    def pour(self, source: str, destination: str, port: int) -> None:
        packet = nftrig.Packet(source, destination, nftrig.UDP, port, 4000).bytes(bytes(1300))
        frame = bytes.fromhex((nftrig.HOST_MAC + self.MAC).replace(":", "")) + b"\x08\0" + packet
        for _ in range(20):
            os.write(self.tap, frame)


def test_a_vm_behind_a_tap_has_its_limits(place: Site) -> None:
    vm, other = Vm(place.space("h1"), "tapvm"), place.guest("h1", "other")
    try:
        added = place.agent("h1").post("/v1/workloads", {
            "name": "vm", "tap": "tapvm", "mac": Vm.MAC, "qosControls": {
                "ingressBandwidth": 30 * MBIT, "ingressBurst": 100_000,
                "egressBandwidth": 15 * MBIT, "egressBurst": 100_000}})
        [address] = [each.partition("/")[0] for each in added["addresses"] if ":" not in each]
        far = own_socket(other.network, socket.AF_INET, socket.SOCK_DGRAM)
        far.bind((other.address(4), 5000))
        far.setblocking(False)

        def pour_at_vm() -> None:
            for _ in range(20):
                with suppress(BlockingIOError):
                    far.sendto(bytes(1300), (address, 4000))

        towards = vm.heard(SECONDS, pour_at_vm) * 8 / MBIT / SECONDS
        count, until = 0, time.monotonic() + SECONDS
        while time.monotonic() < until:
            vm.pour(address, other.address(4), 5000)
            with suppress(BlockingIOError):
                while True:
                    count += len(far.recv(2048)) + 42
        away = count * 8 / MBIT / SECONDS
        far.close()
        print(f"towards {towards:.1f} of 30, away {away:.1f} of 15 Mbit/s")
        assert 0.8 * 30 < towards < 1.2 * 30
        assert 0.8 * 15 < away < 1.2 * 15
    finally:
        vm.close()

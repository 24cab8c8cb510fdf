"""The process that lives in the workloads tells the truth: what passes is counted, what is dropped is missed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from muslin.lab.crowd import Crowd, Flow, Probe
from muslin.lab.record import Workload
from netrig import in_ns, namespace, run, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture
def pair() -> Iterator[tuple[Crowd, Workload, Workload]]:
    """Two namespaces on one cable, and the process that lives in both."""
    with ExitStack() as stack:
        left, right = (stack.enter_context(namespace(word)) for word in ("l", "r"))
        run("ip", "link", "add", "c0", "netns", left, "type", "veth", "peer", "name", "c0", "netns", right)
        for number, ns in ((1, left), (2, right)):
            in_ns(ns, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0")
            run("ip", "-n", ns, "addr", "add", f"10.0.0.{number}/24", "dev", "c0")
            run("ip", "-n", ns, "addr", "add", f"fd00::{number}/64", "dev", "c0", "nodad")
            run("ip", "-n", ns, "link", "set", "c0", "up")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="mut-"))
        socket = Path(directory) / "traffic.sock"
        process = subprocess.Popen([sys.executable, "-m", "muslin.lab.traffic", str(socket)])
        stack.callback(process.wait)
        stack.callback(os.kill, process.pid, signal.SIGKILL)
        wait_for("its socket", socket.exists)
        yield Crowd(socket), *(
            Workload(name=ns, namespace="t", host="", network=ns, addresses=(f"10.0.0.{n}/32", f"fd00::{n}/128"))
            for n, ns in ((1, left), (2, right))
        )


def firewall(ns: str, rule: str) -> None:
    run("ip", "netns", "exec", ns, "nft", "-f", "-",
        stdin=f"table inet t {{ chain i {{ type filter hook input priority 0; {rule} drop; }}; }}\n")


def asked(crowd: Crowd, one: Workload, two: Workload, *wishes: tuple[int, str, int]) -> list[bool]:
    probes = [Probe(source=one, destination=two, version=v, protocol=p, port=port) for v, p, port in wishes]
    return asyncio.run(crowd.probe(probes))


def test_a_probe_reaches_what_listens_what_refuses_and_what_replies(pair: tuple[Crowd, Workload, Workload]) -> None:
    """A refusal comes from the far end's own kernel: the packet has passed every policy on its way there."""
    crowd, one, two = pair
    asyncio.run(crowd.serve(one.network))
    asyncio.run(crowd.serve(two.network, tcp=[80], udp=[53]))

    wishes = [(v, *rest) for v in (4, 6) for rest in (("tcp", 80), ("udp", 53), ("tcp", 81), ("udp", 54), ("icmp", 0))]
    assert asked(crowd, one, two, *wishes) == [True] * len(wishes)


def test_a_probe_misses_what_is_dropped(pair: tuple[Crowd, Workload, Workload]) -> None:
    crowd, one, two = pair
    for each in pair[1:]:
        asyncio.run(crowd.serve(each.network, tcp=[80, 443], udp=[53]))
    firewall(two.network, "meta l4proto . th dport { tcp . 80, udp . 53 }")
    firewall(two.network, "meta l4proto { icmp } ")

    assert asked(crowd, one, two, (4, "tcp", 80), (6, "udp", 53), (4, "icmp", 0), (6, "icmp", 0), (6, "tcp", 443)) == [
        False, False, False, True, True]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_stream_counts_every_packet(pair: tuple[Crowd, Workload, Workload], fresh: bool) -> None:
    """One flow passes whole, one is dropped whole."""
    crowd, one, two = pair
    for each in pair[1:]:
        asyncio.run(crowd.serve(each.network, udp=[53, 54]))
    firewall(two.network, "udp dport 54")
    flows = [Flow(one, two, 53), Flow(one, two, 54), Flow(two, one, 53, version=6)]

    async def streamed() -> None:
        async with crowd.stream(flows, fresh=fresh) as stream:
            await stream.packets(400)

    asyncio.run(streamed())

    passed, dropped, back = (flow.count for flow in flows)
    assert passed.sent > 300
    assert passed.lost == back.lost == 0
    assert passed.arrived == passed.sent
    assert dropped.sent > 300
    assert dropped.arrived == dropped.answered == 0

"""A host that has 1000 endpoints: what it costs to sit there, and what while workloads come and go all the time.

`idle`: nothing changes. `churn`: 100 changes a second through the agent's door, 50 workloads that come (a veth into a
namespace, address, policy, routes, all in the kernel before the answer) and 50 that go, at their times whatever the
answers take. Figures are processor time of the process and of what it starts, in percent of one core.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from subprocess import Popen

from bench import cold, daemons, rig
from bench.figures import Figure, Section, blocks, percentile
from bench.plan import Plan
from muslin.client import Client

CALLERS = 16
POOL = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "bench"},
        "spec": {"cidr": "172.20.0.0/16"}}


def _seconds(process: Popen[bytes]) -> float:
    """Of processor, until now, with all children that ended."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class _Share:
    """Of one core, since it was made."""

    def __init__(self, process: Popen[bytes]) -> None:
        self._process = process
        self._used, self._at = _seconds(process), time.monotonic()

    @property
    def used(self) -> float:
        """Seconds of processor."""
        return _seconds(self._process) - self._used

    def percent(self) -> float:
        return 100 * self.used / (time.monotonic() - self._at)


@contextmanager
def _namespaces(number: int) -> Iterator[list[str]]:
    spaces = [f"mub-{os.getpid()}-c{each}" for each in range(number)]
    try:
        for space in spaces:
            rig.run("ip", "netns", "add", space)
        yield spaces
    finally:
        for space in spaces:
            rig.run("ip", "netns", "del", space)


def _give_uplink(host: str) -> None:
    """With an address, as every host has one: for each route, the kernel looks for an address to send from among all
    interfaces until it finds one."""
    for words in ("link add up0 type veth peer name wire", "link set up0 up", "address add 192.0.2.1/24 dev up0"):
        rig.run("ip", "-n", host, *words.split())


def _churn(site: daemons.Site, spaces: list[str], a_second: float, seconds: float) -> list[float]:
    """Milliseconds until each workload was ready."""
    ready: list[float] = []

    def come_and_go(agent: Client, space: str, name: str, at: float, stay: float) -> None:
        time.sleep(max(0.0, at - time.monotonic()))
        began = time.monotonic()
        agent.post("/v1/workloads", {"name": name, "namespace": "default", "netns": space, "labels": {"app": "app1"}})
        ready.append((time.monotonic() - began) * 1000)
        time.sleep(max(0.0, at + stay - time.monotonic()))
        agent.delete(f"/v1/workloads/default/{name}")

    start, numbers = time.monotonic() + 0.1, count()
    stay = len(spaces) / a_second * 0.5

    def lives_of(space: str, first: float) -> None:
        at, agent = first, site.agent("here")
        while at < start + seconds:
            come_and_go(agent, space, f"churn{next(numbers)}", at, stay)
            at += len(spaces) / a_second

    with ThreadPoolExecutor(len(spaces)) as callers:
        lives = [callers.submit(lives_of, space, start + number / a_second) for number, space in enumerate(spaces)]
        for life in lives:
            life.result()
    return ready


def measure(plan: Plan) -> list[Section]:
    endpoints, seconds = plan.times(20, 1000, 1000), plan.times(1, 10, 60)
    plan.progress.begin("churn", 3)
    plan.progress.step("starting")
    with daemons.site() as site, _namespaces(CALLERS) as spaces:
        _give_uplink(site.namespace)
        asyncio.run(cold.fill(site.store, 2 * endpoints, endpoints))
        cold.make_links(site.namespace, endpoints)
        server = site.serve()
        site.client().post("/apis/projectcalico.org/v3/ippools", POOL)
        agent = site.attend("here")
        daemons.wait_for("the agent to be in sync", lambda: site.synced("here"), seconds=120)
        time.sleep(min(seconds, 6))  # the first scan, the snapshot on disk
        plan.progress.step("idle")
        shares = [_Share(each) for each in (agent, server)]
        time.sleep(seconds)
        idle = [share.percent() for share in shares]
        plan.progress.step("churn")
        shares = [_Share(each) for each in (agent, server)]
        ready = _churn(site, spaces, 50, seconds)
        busy = [share.percent() for share in shares]
        each = [share.used * 1000 / (2 * len(ready)) for share in shares]
        grown = daemons.rss(agent)
    title = f"A host with {endpoints} endpoints"
    figures = [
        Figure(name="agent", group="idle", values=(idle[0],), unit="%", aim=1),
        Figure(name="server", group="idle", values=(idle[1],), unit="%", aim=1),
        Figure(name="agent", group="50 come and 50 go a second", values=(busy[0],), unit="%", aim=30),
        Figure(name="server", group="50 come and 50 go a second", values=(busy[1],), unit="%", aim=30),
    ]
    costs = [Figure(name=name, values=(cost,), unit="ms") for name, cost in zip(("agent", "server"), each, strict=True)]
    return [
        Section(key="churn.processor", title=title, measure=f"percent of one core, {seconds} s",
                figures=tuple(figures)),
        Section(key="churn.each", title="One that comes or goes", measure="processor time", figures=tuple(costs)),
        Section(key="churn.clock", title="Until a workload is ready meanwhile", measure="wall time",
                figures=(Figure(name="p50", values=blocks(ready), unit="ms"),
                         Figure(name="p99", values=(percentile(0.99)(ready),), unit="ms"))),
        Section(key="churn.memory", title="The agent's memory after that", measure="resident",
                figures=(Figure(name="agent", values=(grown,), unit="MB"),)),
    ]

"""How long a change takes to be true: from the API call to the kernel, and to the first packet.

`policy change`: from sending the write until the last transaction of nftables that it makes on the host; of a host with
a thousand endpoints under that policy, too. `endpoint add`: from asking the agent for a workload until it answers
(address, routes and policy are in the kernel), and until a first packet of it has come back from another workload of
the host, a `ping` process included.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial

from bench import cold, daemons, rig
from bench.figures import Figure, Section, blocks, percentile
from bench.plan import Plan
from muslin.client import Client
from muslin.drivers.netns import inside, opened
from muslin.drivers.nft import Nft

READY, FIRST = "endpoint add -> ready", "endpoint add -> first packet"
POLICY = "policy change -> kernel"
AIMS = {READY: (15, 30), FIRST: (15, 30), POLICY: (10, 30)}
"""p50 and p99, ms."""
SETTLED = 0.05
"""Seconds without a transaction, after which there comes none any more."""
GNP = "/apis/projectcalico.org/v3/globalnetworkpolicies"


def _policy(number: int, selector: str) -> dict[str, object]:
    return {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "bench"},
        "spec": {"selector": selector, "types": ["Ingress"], "ingress": [
            {"action": "Allow", "protocol": "ICMP"},
            {"action": "Allow", "protocol": "TCP", "destination": {"ports": [1000 + number]}}]},
    }


def _moved(nft: Nft, before: int, seconds: float = 5.0) -> float:
    """When the table changed for the last time (`time.perf_counter`): a change comes in up to three transactions."""
    begun = time.perf_counter()
    moved, seen = begun, before
    while seen == before or time.perf_counter() - moved < SETTLED:
        if (now := nft.generation()) != seen:
            moved, seen = time.perf_counter(), now
        if time.perf_counter() - begun > seconds:
            raise SystemExit("the kernel's table never changed, or never stopped to")
        time.sleep(0.0002)  # who waits must not take one of two processors from those that work
    return moved


Mark = Callable[[str, float], None]
"""What was reached, and when."""


class Taken:
    """Milliseconds of each change: on the clock, until what the change calls by a name, and of processor."""

    def __init__(self, site: daemons.Site) -> None:
        self._site = site
        self.clock: dict[str, list[float]] = {}
        self.processor: list[float] = []

    def change(self, do: Callable[[Mark], None]) -> None:
        before, begun = daemons.spent(self._site.processes), time.perf_counter()
        do(lambda name, at: self.clock.setdefault(name, []).append((at - begun) * 1000))
        time.sleep(0.05)  # one change at a time, and what it leaves to be done counts as its own
        self.processor.append(daemons.spent(self._site.processes) - before)


def _policy_changes(site: daemons.Site, rounds: int, what: str, selector: str) -> Taken:
    client, nft, taken = site.client(), Nft(), Taken(site)
    client.post(GNP, _policy(0, selector))
    time.sleep(0.3)

    def change(number: int, mark: Mark) -> None:
        before = nft.generation()
        client.patch(f"{GNP}/bench", {"spec": _policy(number, selector)["spec"]})
        mark(what, _moved(nft, before))

    for number in range(1, rounds + 1):
        taken.change(partial(change, number))
    return taken


def _add(agent: Client, name: str, namespace: str) -> str:
    answer = agent.post("/v1/workloads", {
        "name": name, "namespace": "default", "netns": namespace, "labels": {"app": "bench"},
    })
    return next(str(address).partition("/")[0] for address in answer["addresses"] if ":" not in str(address))


def _pings(namespace: str, address: str) -> bool:
    words = ["ip", "netns", "exec", namespace, "ping", "-c1", "-W1", "-q", address]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _endpoint_adds(site: daemons.Site, spaces: list[str]) -> Taken:
    agent, taken = site.agent("here"), Taken(site)
    target = _add(agent, "target", spaces[0])

    def add(space: str, mark: Mark) -> None:
        _add(agent, f"w-{space}", space)
        mark(READY, time.perf_counter())
        if not _pings(space, target):
            raise SystemExit(f"the workload in {space} is ready but its first packet did not come back")
        mark(FIRST, time.perf_counter())

    for space in spaces[1:]:
        taken.change(partial(add, space))
    return taken


def _with_namespaces(count: int, work: Callable[[list[str]], None]) -> None:
    spaces = [f"mub-{os.getpid()}-w{number}" for number in range(count)]
    made = []
    try:
        for space in spaces:
            rig.run("ip", "netns", "add", space)
            made.append(space)
            rig.run("ip", "-n", space, "link", "set", "lo", "up")
        work(spaces)
    finally:
        for space in made:
            rig.run("ip", "netns", "del", space)


def _changes_for_many(plan: Plan, count: int, rounds: int) -> Taken:
    """A host with so many endpoints, all under the policy that changes."""
    plan.progress.step(f"a host with {count} endpoints")
    with daemons.site() as site:
        asyncio.run(cold.fill(site.store, count, local=count))
        cold.make_links(site.namespace, count)
        site.serve()
        site.attend("here")
        daemons.wait_for("the agent to be in sync", lambda: site.synced("here"), seconds=120)
        plan.progress.step(f"a policy of {count} endpoints")
        with opened(site.namespace) as descriptor, inside(descriptor):
            return _policy_changes(site, rounds, f"policy of {count} endpoints -> kernel", "all()")


def _changes_for_few(plan: Plan, rounds: int) -> list[Taken]:
    found: list[Taken] = []
    plan.progress.step("starting")
    with daemons.site() as site:
        site.serve()
        site.client().post("/apis/projectcalico.org/v3/ippools", {
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "bench"},
            "spec": {"cidr": "10.65.0.0/16"},
        })
        site.attend("here")
        daemons.wait_for("the agent to be in sync", lambda: site.synced("here"))

        def work(spaces: list[str]) -> None:
            plan.progress.step("endpoints")
            found.append(_endpoint_adds(site, spaces))
            plan.progress.step("policies")
            with opened(site.namespace) as descriptor, inside(descriptor):
                found.append(_policy_changes(site, rounds, POLICY, "app == 'bench'"))

        _with_namespaces(min(rounds, 50) + 1, work)
    return found


def _figures(what: str, taken: list[float]) -> list[Figure]:
    middle, worst = AIMS.get(what, (20, 30))
    return [Figure(name=f"{what}, p50", values=blocks(taken), unit="ms", aim=middle),
            Figure(name=f"{what}, p99", values=(percentile(0.99)(taken),), unit="ms", aim=worst)]


def measure(plan: Plan) -> list[Section]:
    rounds, many = plan.times(3, 50, 200), plan.times(20, 1000, 1000)
    plan.progress.begin("control", 5)
    found = [*_changes_for_few(plan, rounds), _changes_for_many(plan, many, rounds)]
    names = ("endpoint add", "policy change", f"policy of {many} endpoints")
    return [
        Section(key="control.clock", title="Latency of a change on one host, server and agent included",
                measure=f"wall time of {rounds}",
                figures=tuple(one for taken in found for name, clock in taken.clock.items()
                              for one in _figures(name, clock))),
        Section(key="control.processor", title="What a change costs server and agent",
                measure="processor time of both and of the programs that they run, p50",
                figures=tuple(Figure(name=name, values=blocks(taken.processor), unit="ms")
                              for name, taken in zip(names, found, strict=True))),
    ]

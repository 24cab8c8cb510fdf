"""How long a change takes to be true: from the API call to the kernel, and to the first packet.

`policy change`: from sending the write until the host's nftables generation has moved. `endpoint add`: from asking
the agent for a workload until it answers (address, routes and policy are in the kernel), and until a first packet of
it has come back from another workload of the host.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from bench import daemons, rig
from bench.figures import Figure, Section, blocks, percentile
from bench.plan import Plan
from muslin.client import Client
from muslin.drivers.netns import inside, opened
from muslin.drivers.nft import Nft

GNP = "/apis/projectcalico.org/v3/globalnetworkpolicies"


def _policy(number: int) -> dict[str, object]:
    return {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "bench"},
        "spec": {"selector": "app == 'bench'", "types": ["Ingress"], "ingress": [
            {"action": "Allow", "protocol": "ICMP"},
            {"action": "Allow", "protocol": "TCP", "destination": {"ports": [1000 + number]}}]},
    }


def _moved(nft: Nft, before: int, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while nft.generation() == before:
        if time.monotonic() > deadline:
            raise SystemExit("the kernel's table never changed")


def _policy_changes(client: Client, rounds: int) -> list[float]:
    client.post(GNP, _policy(0))
    time.sleep(0.3)
    nft, taken = Nft(), []
    for number in range(1, rounds + 1):
        before = nft.generation()
        begun = time.perf_counter()
        client.patch(f"{GNP}/bench", {"spec": _policy(number)["spec"]})
        _moved(nft, before)
        taken.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.05)  # one change at a time: this measures latency, not throughput
    return taken


def _add(agent: Client, name: str, namespace: str) -> str:
    answer = agent.post("/v1/workloads", {
        "name": name, "namespace": "default", "netns": namespace, "labels": {"app": "bench"},
    })
    return next(str(address).partition("/")[0] for address in answer["addresses"] if ":" not in str(address))


def _pings(namespace: str, address: str) -> bool:
    words = ["ip", "netns", "exec", namespace, "ping", "-c1", "-W1", "-q", address]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _endpoint_adds(agent: Client, spaces: list[str]) -> tuple[list[float], list[float]]:
    target = _add(agent, "target", spaces[0])
    ready, first = [], []
    for number, space in enumerate(spaces[1:]):
        begun = time.perf_counter()
        _add(agent, f"w{number}", space)
        ready.append((time.perf_counter() - begun) * 1000)
        if not _pings(space, target):
            raise SystemExit(f"workload w{number} is ready but its first packet did not come back")
        first.append((time.perf_counter() - begun) * 1000)
    return ready, first


def _figures(what: str, taken: list[float], aims: tuple[float, float]) -> list[Figure]:
    return [Figure(name=f"{what}, p50", values=blocks(taken), unit="ms", aim=aims[0]),
            Figure(name=f"{what}, p99", values=(percentile(0.99)(taken),), unit="ms", aim=aims[1])]


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


def measure(plan: Plan) -> list[Section]:
    found: list[Figure] = []
    rounds = plan.times(3, 50, 200)
    plan.progress.begin("control", 3)
    plan.progress.step("starting")
    with daemons.site() as site:
        site.serve()
        client = site.client()
        client.post("/apis/projectcalico.org/v3/ippools", {
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "bench"},
            "spec": {"cidr": "10.65.0.0/16"},
        })
        site.attend("here")
        daemons.wait_for("the agent to be in sync", lambda: site.synced("here"))

        def work(spaces: list[str]) -> None:
            plan.progress.step("endpoints")
            ready, first = _endpoint_adds(site.agent("here"), spaces)
            plan.progress.step("policies")
            with opened(site.namespace) as descriptor, inside(descriptor):
                changed = _policy_changes(client, rounds)
            found.extend(_figures("endpoint add -> ready", ready, (15, 30)))
            found.extend(_figures("endpoint add -> first packet, ping included", first, (15, 30)))
            found.extend(_figures("policy change -> kernel", changed, (10, 30)))

        _with_namespaces(min(rounds, 50) + 1, work)
    return [Section(key="control", title="Latency of a change on one host, server and agent included",
                    measure=f"wall time of {rounds}", figures=tuple(found))]

"""Cold start: one host with 100 or 1000 endpoints of its own, in clusters of 10,000 and of 100,000 endpoints.

The store is filled first, without a server. Then the server starts; then the agent. `server`: from its start until
it answers with everything counted. `agent`: from its start until all is in its kernel.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from bench import daemons, rig
from bench.figures import Figure, Section
from bench.plan import Plan
from muslin.model.meta import ResourceKey
from muslin.model.names import workload_endpoint_name
from muslin.store import layout
from muslin.store.sqlite import SqliteStore

SIZES = ((10_000, 100), (100_000, 100), (100_000, 1000))
"""Endpoints in the cluster, and of the host."""
LOCAL, HOSTS, APPS, POLICIES = 100, 1000, 50, 100


def _endpoint(number: int, local: int) -> tuple[str, bytes]:
    node = "here" if number < local else f"h{number % HOSTS}"
    name = workload_endpoint_name(node, "k8s", f"pod{number}", "eth0")
    space = f"ns{number % 20}"
    body = {
        "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
        "metadata": {
            "name": name, "namespace": space, "uid": f"{number:08x}-0000-4000-8000-000000000000",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": f"app{number % APPS}", "tier": ("web", "api", "db")[number % 3],
                       "projectcalico.org/namespace": space, "projectcalico.org/orchestrator": "k8s"},
        },
        "spec": {
            "orchestrator": "k8s", "node": node, "pod": f"pod{number}", "endpoint": "eth0",
            "profiles": [f"kns.{space}"],
            "ipNetworks": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"],
            "interfaceName": interface(number), "mac": "02:00:00:00:00:01",
        },
    }
    return layout.path(ResourceKey("WorkloadEndpoint", space, name)), json.dumps(body).encode()


def _policy(number: int) -> tuple[str, bytes]:
    body = {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": f"p{number}"},
        "spec": {
            "tier": "default", "order": number, "selector": f"app == 'app{number % APPS}'", "types": ["Ingress"],
            "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [8000 + number]},
                         "source": {"selector": f"app == 'app{(number + 1) % APPS}'"}}],
        },
    }
    return layout.path(ResourceKey("GlobalNetworkPolicy", "", f"p{number}")), json.dumps(body).encode()


def _namespace(number: int) -> tuple[str, bytes]:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{number}"}}
    return layout.path(ResourceKey("Namespace", "", f"ns{number}")), json.dumps(body).encode()


async def fill(file: Path, count: int, local: int = LOCAL) -> None:
    """A store with so many endpoints, `local` of them on the host `here`."""
    store = SqliteStore(file, synchronous="OFF")
    entries = [*map(_namespace, range(20)), *map(_policy, range(POLICIES))]
    entries += [_endpoint(number, local) for number in range(count)]
    for first in range(0, len(entries), 2000):
        await asyncio.gather(*(store.put(key, value) for key, value in entries[first : first + 2000]))
    await store.close()


def interface(number: int) -> str:
    return f"mus{number:011x}"


def make_links(namespace: str, count: int) -> None:
    """The interfaces of the host's endpoints, as whoever started them left them."""
    words = "".join(f"link add {interface(number)} type veth peer name p{number}\n" for number in range(count))
    rig.run("ip", "-n", namespace, "-batch", "-", text=words)


def start(count: int, local: int) -> tuple[float, float, float, float]:
    """Seconds until the server answers and the agent is in sync; megabytes of each."""
    with daemons.site() as site:
        asyncio.run(fill(site.store, count, local))
        make_links(site.namespace, local)
        begun = time.monotonic()
        server = site.serve()
        served = time.monotonic() - begun
        begun = time.monotonic()
        agent = site.attend("here")
        daemons.wait_for("the agent to be in sync", lambda: site.synced("here"), seconds=120)
        return served, time.monotonic() - begun, daemons.rss(server), daemons.rss(agent)


def measure(plan: Plan) -> list[Section]:
    sizes = ((500, 20),) if plan.size == "tiny" else SIZES
    rounds = plan.times(1, 1, 3)
    plan.progress.begin("cold", len(sizes) * rounds)
    seconds: list[Figure] = []
    megabytes: list[Figure] = []
    for count, local in sizes:
        taken = []
        for _ in range(rounds):
            plan.progress.step(f"{count} endpoints, {local} here")
            taken.append(start(count, local))
        server, agent, server_size, agent_size = zip(*taken, strict=True)
        group = f"{count} endpoints, {local} of them here"
        seconds += [Figure(name="server answers", group=group, values=server, unit="s"),
                    Figure(name="agent in sync", group=group, values=agent, unit="s", aim=5)]
        megabytes += [Figure(name="server", group=group, values=server_size, unit="MB", aim=250),
                      Figure(name="agent", group=group, values=agent_size, unit="MB", aim=100)]
    title = f"Cold start of a host whose endpoints are there, {POLICIES} policies"
    return [
        Section(key="cold.time", title=title, measure="wall time", figures=tuple(seconds)),
        Section(key="cold.memory", title="Memory after that", measure="resident", figures=tuple(megabytes)),
    ]

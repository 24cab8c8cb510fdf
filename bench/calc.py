"""What calculation costs: 100,000 endpoints in 2,000 classes, 500 policies, from cold and then change by change.

Resources are made batch by batch and not kept, as they arrive from a store; making them is not timed. Time is CPU time
of this process, memory is its resident size with nothing but the graph (and the interpreter) in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import Figure, Section, blocks
from bench.plan import Plan
from muslin.calc import cluster, host
from muslin.intent import AddressSet, Delta, MemberChange, SetId
from muslin.model.endpoint import WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec
from muslin.model.meta import Meta, Resource, ResourceKey
from muslin.model.network import Namespace
from muslin.model.policy import EntityRule, NetworkPolicy, NetworkPolicySpec, Rule, Tier, TierSpec
from muslin.net import Cidr

NAMESPACES, APPS = 100, 20
BATCH = 1000
Batch = dict[ResourceKey, Resource | None]


def workload(number: int, hosts: int, app: str | None = None) -> Batch:
    """Endpoint `number`: one of 2,000 pairs of namespace and app."""
    namespace, name = f"ns{number % NAMESPACES}", f"h{number % hosts}-k8s-pod{number}-eth0"
    key = ResourceKey("WorkloadEndpoint", namespace, name)
    kind, third, fourth = number // NAMESPACES % APPS, number >> 8 & 255, number & 255
    labels = {
        "app": app or f"app{kind}", "tier": ("web", "api", "db")[kind % 3],
        "version": "v1", "team": f"team{number % NAMESPACES % 7}",
    }
    return {key: WorkloadEndpoint(kind=key.kind, metadata=Meta(name=name, namespace=namespace, labels=labels),
        spec=WorkloadEndpointSpec(
            node=f"h{number % hosts}", orchestrator="k8s", workload=f"pod{number}", endpoint="eth0",
            interface_name=f"mus{number:011x}", mac=f"02:00:00:{number >> 16:02x}:{third:02x}:{fourth:02x}",
            ip_networks=(f"10.{number >> 16}.{third}.{fourth}/32",),
            profiles=(f"kns.{namespace}",), ports=(WorkloadEndpointPort(name="http", protocol="TCP", port=8080),)))}


def policy(number: int, port: int = 80) -> Batch:
    namespace, app = f"ns{number % NAMESPACES}", f"app{number // NAMESPACES % APPS}"
    key = ResourceKey("NetworkPolicy", namespace, f"p{number}")
    spec = NetworkPolicySpec(
        selector=f"app == '{app}'", types=("Ingress", "Egress"), order=float(number),
        ingress=(
            Rule(action="Allow", protocol="TCP", source=EntityRule(selector=f"app == 'app{(number + 1) % APPS}'"),
                 destination=EntityRule(ports=(port, "http"))),
            Rule(action="Allow", source=EntityRule(namespace_selector="team == 'ops'")),
        ),
        egress=(Rule(action="Allow", destination=EntityRule(selector="tier == 'db'")), Rule(action="Deny")),
    )
    return {key: NetworkPolicy(kind=key.kind, metadata=Meta(name=key.name, namespace=namespace), spec=spec)}


def surroundings() -> Batch:
    found: Batch = {ResourceKey("Tier", "", "default"): Tier(
        kind="Tier", metadata=Meta(name="default"), spec=TierSpec(order=1e6, default_action="Deny"))}
    for number in range(NAMESPACES):
        name = f"ns{number}"
        found[ResourceKey("Namespace", "", name)] = Namespace(
            kind="Namespace", metadata=Meta(name=name, labels={"team": "ops" if number == 0 else "shop"}))
    return found


def workloads(count: int, hosts: int) -> Iterator[Batch]:
    for start in range(0, count, BATCH):
        batch: Batch = {}
        for number in range(start, min(start + BATCH, count)):
            batch |= workload(number, hosts)
        yield batch


def resident() -> float:
    """Megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000


def cold(endpoints: int, policies: int, hosts: int, subscribed: int, found: list[Figure]) -> tuple[
        cluster.Graph, dict[str, Delta]]:
    graph = cluster.Graph()
    base = resident()
    spent = timed(lambda: graph.update(surroundings()))
    for batch in workloads(endpoints, hosts):
        spent += timed(partial(graph.update, batch))
    found.append(once("endpoints taken in", spent))
    for number in range(policies):
        spent += timed(partial(graph.update, policy(number)))
    deltas: dict[str, Delta] = {}

    def subscribe() -> None:
        for number in range(subscribed):
            deltas[f"h{number}"] = graph.subscribe(f"h{number}")

    subscribing = timed(subscribe)
    found.append(once(f"hosts subscribed: {subscribed}", subscribing))
    found.append(once("cold start in all", spent + subscribing + timed(graph.flush),
                      note=f"{resident() - base:.0f} MB more"))
    return graph, deltas


def _taken_in(graph: Any, change: Batch | Delta) -> None:
    graph.update(change)
    graph.flush()


def changes(graph: cluster.Graph, hosts: int, endpoints: int) -> list[Figure]:
    def step(batch: Batch) -> float:
        return timed(partial(_taken_in, graph, batch))

    new = [endpoints + 1 + number * hosts for number in range(200)]
    return [
        many("one endpoint added", [step(workload(number, hosts)) for number in new]),
        many("its label changed", [step(workload(number, hosts, app="app7")) for number in new]),
        many("one endpoint gone", [step(dict.fromkeys(workload(number, hosts))) for number in new]),
        many("rule of a policy changed", [step(policy(number % 10, port=1000 + number)) for number in range(200)]),
        many("policy gone, and back", [step(dict.fromkeys(policy(5))) + step(policy(5)) for _ in range(100)]),
    ]


def on_the_host(delta: Delta, members: int) -> list[Figure]:
    graph = host.Graph()
    snapshot = timed(partial(_taken_in, graph, delta))
    big = SetId("big")
    addresses = frozenset(Cidr(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32") for number in range(members))
    graph.update(Delta(sets={big: AddressSet(id=big, members=addresses)}))
    graph.flush()

    def join(number: int) -> float:
        change = Delta(sets={big: MemberChange(added=frozenset({Cidr(f"11.0.0.{number}/32")}))})
        return timed(partial(_taken_in, graph, change))

    return [
        once(f"agent: snapshot with {len(delta.endpoints)} endpoints", snapshot),
        many(f"agent: a member joins a set of {members}", [join(number) for number in range(50)]),
    ]


def many(what: str, times: list[float]) -> Figure:
    return Figure(name=what, values=blocks(times), unit="ms")


def once(what: str, took: float, note: str = "") -> Figure:
    return Figure(name=what, values=(took,), unit="ms", note=note)


def measure(plan: Plan) -> list[Section]:
    endpoints, policies = plan.times(1000, 100_000, 100_000), plan.times(20, 500, 500)
    hosts, subscribed = plan.times(20, 1000, 1000), 10
    plan.progress.begin("calc", 3)
    plan.progress.step("cold start")
    found: list[Figure] = []
    graph, deltas = cold(endpoints, policies, hosts, subscribed, found)
    plan.progress.step("changes")
    found += changes(graph, hosts, endpoints)
    plan.progress.step("agent")
    found += on_the_host(deltas["h0"], endpoints)
    return [Section(
        key="calc", title=f"Calculation: {endpoints} endpoints in 2000 classes, {policies} policies, {hosts} hosts",
        measure="processor time; of changes the p50", figures=tuple(found))]

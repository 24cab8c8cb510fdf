"""What questions about the whole cluster cost: matrix, diff, who-can, and one `why` in a cluster of 100,000 workloads.

Policies have ports of their own, so that a comparison has hundreds of sorts of traffic to tell apart, and every pair of
namespace and app is told from every other by some rule, so that no two label classes fall together. Time is CPU time of
this process, memory is its resident size, the graph and the interpreter included.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.calc import APPS, Batch, policy, resident, surroundings, timed, workload, workloads
from bench.figures import Figure, Section, blocks
from bench.plan import Plan
from muslin.calc import cluster as calculation
from muslin.explain import cluster, ends, question
from muslin.explain.ends import Hosts
from muslin.explain.question import Question
from muslin.model.meta import Meta, ResourceKey
from muslin.model.policy import EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, Rule

PORTS = [(6, 80), (6, 443), (17, 53)]


def everywhere(number: int) -> Batch:
    """A policy for one app in all namespaces."""
    key = ResourceKey("GlobalNetworkPolicy", "", f"g{number}")
    rule = Rule(action="Allow", protocol="TCP", source=EntityRule(selector=f"app == 'app{(number + 3) % APPS}'"),
                destination=EntityRule(ports=(2000 + number,)))
    return {key: GlobalNetworkPolicy(kind=key.kind, metadata=Meta(name=key.name), spec=GlobalNetworkPolicySpec(
        selector=f"app == 'app{number % APPS}'", order=float(number % 7), types=("Ingress",), ingress=(rule,)))}


def grown(endpoints: int, policies: int, hosts: int) -> calculation.Graph:
    graph = calculation.Graph()
    graph.update(surroundings())
    for batch in workloads(endpoints, hosts):
        graph.update(batch)
    for number in range(policies):
        graph.update(everywhere(number) if number < APPS else policy(number, port=1000 + number))
    graph.flush()
    return graph


class Asker:
    """What `why` asks of a server."""

    def __init__(self, graph: calculation.Graph) -> None:
        self.graph = graph
        self.hosts: Hosts = {}

    def why(self, source: str, destination: str) -> object:
        by, to = (ends.resolve(name, self.graph, self.hosts) for name in (source, destination))
        packet = question.packet_of(Question(port=80), by, to)
        return question.answer(self, by, to, packet, question.decided(self, by, to, packet),
                               where=lambda origin: ("", 0))


def whole(endpoints: int, policies: int, hosts: int) -> list[Figure]:
    graph = grown(endpoints, policies, hosts)
    rows: list[Figure] = []
    found: list[cluster.Matrix] = []
    spent = timed(lambda: found.append(cluster.matrix(graph, PORTS)))
    answers = sum(len(one.ports) * len(one.destinations) for one in found[0].reaches)
    where = f"in {endpoints} workloads"
    rows.append(_figure(where, f"matrix, {len(PORTS)} ports", (spent,), len(found[0].classes), answers))
    known = cluster.census(graph)
    who: list[cluster.WhoCan] = []
    spent = timed(lambda: who.append(cluster.who_can(known, [next(iter(known.residents))], 6, 8080)))
    rows.append(_figure(where, "who-can", (spent,), len(who[0].classes), len(who[0].reaches)))
    asker = Asker(graph)
    asker.why("pod1", "ns2/pod102")
    times = [timed(lambda number=number: asker.why(f"pod{number}", f"pod{number * 7}"))  # type: ignore[misc]
             for number in range(1, 51)]
    rows.append(Figure(name="why, median of 50", group=where, values=blocks(times), unit="ms",
                       note=f"{resident():.0f} MB resident"))
    return rows


def _figure(group: str, what: str, times: tuple[float, ...], classes: int, answers: int) -> Figure:
    return Figure(name=what, group=group, values=times, unit="ms",
                  note=f"{classes} classes, {answers} answers, {resident():.0f} MB resident")


def compared(endpoints: int, policies: int, hosts: int) -> list[Figure]:
    changes: dict[str, Callable[[], Batch]] = {
        "one rule of a policy": lambda: policy(101, port=99),
        "a policy gone": lambda: dict.fromkeys(policy(101)),
        "one label": lambda: workload(5, hosts, app="app7"),
        "a deny for everybody's UDP": lambda: {key: _first(value) for key, value in everywhere(1).items()},
    }
    rows: list[Figure] = []
    for what, change in changes.items():
        graph = grown(endpoints, policies, hosts)
        before = cluster.census(graph)
        graph.update(change())
        found: list[cluster.Diff] = []
        spent = timed(lambda: found.append(cluster.diff(before, graph)))  # noqa: B023 (called at once)
        pairs = sum(map(found[0].size, found[0].groups))
        rows.append(_figure(f"diff in {endpoints} workloads", what, (spent,), len(found[0].classes), pairs))
    return rows


def _first(value: object) -> GlobalNetworkPolicy:
    assert isinstance(value, GlobalNetworkPolicy)
    rule = Rule(action="Deny", protocol="UDP")
    return GlobalNetworkPolicy(kind=value.kind, metadata=value.metadata, spec=GlobalNetworkPolicySpec(
        order=-1.0, types=("Ingress",), ingress=(rule, Rule(action="Pass"))))


def measure(plan: Plan) -> list[Section]:
    endpoints, few = plan.times(1000, 100_000, 100_000), plan.times(500, 10_000, 10_000)
    policies, hosts = plan.times(120, 500, 500), plan.times(20, 1000, 1000)
    plan.progress.begin("explain", 2)
    plan.progress.step("differences")
    rows = compared(few, policies, hosts // 10)
    plan.progress.step("the whole cluster")
    rows += whole(endpoints, policies, hosts)
    title = f"Questions about the cluster: {policies} policies, each with a port of its own"
    return [Section(key="explain", title=title, measure="processor time", figures=tuple(rows))]

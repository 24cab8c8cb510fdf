"""What a question costs whoever asks it: over HTTP, of a real server that holds 100,000 workloads.

Wall time from the request to the whole answer, in a client that keeps nothing between two questions: what a person
waits for, but for the start of the command (bench: `command`). `why` is asked by names, by full names and by addresses,
and of names that nobody has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from bench import cold, daemons
from bench.figures import Figure, Section, blocks
from bench.plan import Plan
from muslin.client import ApiError, Client

V1 = "/muslin/v1"


def _why(client: Client, source: str, destination: str) -> Callable[[], object]:
    return lambda: client.get(f"{V1}/why", source=source, destination=destination, protocol="tcp", port="8001")


def _refused(ask: Callable[[], object]) -> None:
    try:
        ask()
    except ApiError:
        return
    raise SystemExit("a name that nobody has was answered")


def _wider(number: int) -> dict[str, object]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "p1"}, "spec": {"ingress": [
                {"action": "Allow", "protocol": "TCP", "destination": {"ports": [9000 + number]}}]}}


def _questions(client: Client, count: int) -> Iterator[tuple[str, int, float | None, Callable[[int], object]]]:
    """(what, how often, what it may take in ms, the question)"""
    def name(number: int) -> str:
        return f"pod{number * 997 % count}"

    def address(number: int) -> str:
        which = number * 997 % count
        return f"10.{which >> 16}.{which >> 8 & 255}.{which & 255}"

    yield "why, by name", 50, 50, lambda n: _why(client, name(n), name(n + 1))()
    yield "why, by address", 50, 50, lambda n: _why(client, address(n), address(n + 1))()
    yield "why, from outside", 50, 50, lambda n: _why(client, "outside", name(n))()
    yield "why, a name that nobody has", 10, None, lambda n: _refused(_why(client, f"pood{n}", name(n)))
    yield "whois", 20, None, lambda n: client.get(f"{V1}/whois", address=address(n))
    yield "who-can", 5, None, lambda n: client.get(f"{V1}/who-can", destination=name(n), protocol="tcp", port="8001")
    yield "diff of a rule", 3, None, lambda n: client.post(f"{V1}/diff", {"patch": [_wider(n)]})


def measure(plan: Plan) -> list[Section]:
    count = plan.times(500, 100_000, 100_000)
    figures: list[Figure] = []
    with daemons.site() as site:
        asyncio.run(cold.fill(site.store, count))
        site.serve()
        client = site.client()
        _why(client, "pod0", "pod1")()
        questions = list(_questions(client, count))
        plan.progress.begin("asked", len(questions))
        for what, rounds, aim, ask in questions:
            plan.progress.step(what)
            taken = [_timed(ask, number) for number in range(plan.times(2, rounds, rounds))]
            figures.append(Figure(name=what, values=blocks(taken), unit="ms", aim=aim))
    title = f"Asked over HTTP of a server with {count} workloads, {cold.POLICIES} policies"
    return [Section(key="asked", title=title, measure="wall time", figures=tuple(figures))]


def _timed(ask: Callable[[int], object], number: int) -> float:
    begun = time.perf_counter()
    ask(number)
    return (time.perf_counter() - begun) * 1000

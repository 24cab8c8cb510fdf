"""What a person waits for: whole commands, from the shell's fork to the exit code.

`get` must stay below 150 ms on a machine that has nothing else to do. The first line is Python itself, so that a slow
or busy machine is told from a slow command: compare processor time, and multiples of that line.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench import daemons
from bench.figures import Figure, Section, Side, blocks
from bench.plan import Plan

OBJECTS = 100
PYTHON = "python -c pass"
GNP = "/apis/projectcalico.org/v3/globalnetworkpolicies"
COMMANDS = (
    "get tiers", f"get gnp ({OBJECTS})", "get gnp p0 -o yaml", "get gnp p0 -o json", "status", "kinds",
    "apply -f FILE (unchanged)", "validate -f FILE", "explain gnp.spec", "--help",
)


def _policy(number: int) -> dict[str, object]:
    return {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": f"p{number}"},
        "spec": {"order": number, "selector": f"app == 'a{number}'", "ingress": [{"action": "Allow"}]},
    }


def _timed(words: list[str], environment: dict[str, str], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds on the clock, and of processor."""
    taken, used = [], []
    for _ in range(rounds):
        before, begun = _processor(), time.perf_counter()
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - begun) * 1000)
        used.append(_processor() - before)
    return taken, used


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def _commands(file: Path) -> list[tuple[str, list[str]]]:
    muslin = str(daemons.MUSLIN)
    words = [(f"muslin {each}", [muslin, *each.partition(" (")[0].replace("FILE", str(file)).split()])
             for each in COMMANDS]
    return [(PYTHON, [sys.executable, "-c", "pass"]), *words]


def measure(plan: Plan) -> list[Section]:
    clock: list[Figure] = []
    processor: list[Figure] = []
    plan.progress.begin("command", len(COMMANDS) + 1)
    with daemons.site() as site:
        site.serve()
        client = site.client()
        for number in range(OBJECTS):
            client.post(GNP, _policy(number))
        file = site.directory / "policy.json"
        file.write_text(json.dumps(_policy(0)))
        environment = {**os.environ, "MUSLIN_SERVER": str(client.address)}
        for name, words in _commands(file):
            plan.progress.step(name)
            taken, used = _timed(words, environment, plan.times(2, 20, 40))
            side = Side.LIMIT if name == PYTHON else Side.OURS
            aim = 150.0 if " get " in name else None
            clock.append(Figure(name=name, values=blocks(taken), unit="ms", side=side, aim=aim))
            processor.append(Figure(name=name, values=blocks(used), unit="ms", side=side))
    return [
        Section(key="command.processor", title="Whole commands", measure="processor time, p50", base=PYTHON,
                figures=tuple(processor)),
        Section(key="command.clock", title="Whole commands, on the clock", measure="wall time, p50",
                figures=tuple(clock), pictured=False),
    ]

"""What a person waits for: whole commands, from the shell's fork to the exit code.

`get` must stay below 150 ms on a machine that has nothing else to do. The first line is Python itself, so that a slow
or busy machine is told from a slow command: compare processor time, and multiples of that line.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import daemons, table

ROUNDS = 30
OBJECTS = 100
COLUMNS = ("command", "p50 ms", "p90 ms", "processor ms", "x python -c pass")
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


def _timed(words: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """p50, p90, and mean processor time, in ms."""
    taken, before = [], _processor()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - begun) * 1000)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.9)], (_processor() - before) / ROUNDS


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def _commands(file: Path) -> list[tuple[str, list[str]]]:
    muslin = str(daemons.MUSLIN)
    words = [(f"muslin {each}", [muslin, *each.partition(" (")[0].replace("FILE", str(file)).split()])
             for each in COMMANDS]
    return [("python -c pass", [sys.executable, "-c", "pass"]), *words]


def main() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    with daemons.site() as site:
        site.serve()
        client = site.client()
        for number in range(OBJECTS):
            client.post(GNP, _policy(number))
        file = site.directory / "policy.json"
        file.write_text(json.dumps(_policy(0)))
        environment = {**os.environ, "MUSLIN_SERVER": str(client.address)}
        floor = 0.0
        for name, words in _commands(file):
            p50, p90, processor = _timed(words, environment)
            floor = floor or processor
            rows.append((name, p50, p90, processor, processor / floor))
    table.show("Whole commands", COLUMNS, rows)
    return rows

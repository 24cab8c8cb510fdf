"""What CNI ADD costs a runtime, beside the stock `bridge` with `host-local`, in one run, turn and turn about.

Each call is a whole process, as runtimes make it: start, standard input, exit. `at once`: so many calls in parallel, as
a node does when it starts. The stock plugins give no policy; ours answers when policy and routes are in the kernel.
Last row: ADD while the host has 110 pods, kubelet's default limit.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import daemons, rig, table
from muslin.plugins.cni import program

COLUMNS = ("plugin", "at once", "p50 ms", "p99 ms", "n")
PLUGINS = Path("/usr/lib/cni")
ROUNDS = 3
PODS = 110


class Plugin:
    def __init__(self, name: str, command: tuple[str, ...], config: dict[str, Any], netns: str) -> None:
        self.name = name
        self._command = ("nsenter", f"--net=/run/netns/{netns}", *command)
        self._config = json.dumps(config, sort_keys=True, separators=(",", ":"))  # as libcni writes it

    def call(self, what: str, space: str) -> float:
        """Milliseconds."""
        environment = os.environ | {
            "CNI_COMMAND": what, "CNI_CONTAINERID": space, "CNI_NETNS": f"/run/netns/{space}", "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        begun = time.perf_counter()
        done = subprocess.run(self._command, input=self._config, env=environment, capture_output=True, text=True,
                              check=False)
        taken = (time.perf_counter() - begun) * 1000
        if done.returncode:
            raise SystemExit(f"{self.name} {what}: {done.stdout or done.stderr}")
        return taken


@contextmanager
def _spaces(number: int) -> Iterator[list[str]]:
    names = [f"mub-{os.getpid()}-c{one}" for one in range(number)]
    try:
        for name in names:
            rig.run("ip", "netns", "add", name)
        yield names
    finally:
        for name in names:
            rig.run("ip", "netns", "del", name)


def _installed(directory: Path) -> str:
    """Our executable, as `muslin cni install` writes it."""
    file = directory / "muslin"
    file.write_text(program.text())
    file.chmod(0o755)
    return str(file)


def _measure(plugin: Plugin, spaces: list[str], at_once: int) -> list[float]:
    with ThreadPoolExecutor(at_once) as pool:
        taken = list(pool.map(lambda space: plugin.call("ADD", space), spaces))
        list(pool.map(lambda space: plugin.call("DEL", space), spaces))
    return taken


def _row(name: str, at_once: int, taken: list[float]) -> tuple[object, ...]:
    ordered = sorted(taken)
    worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return name, at_once, round(statistics.median(ordered), 1), round(worst, 1), len(ordered)


def main() -> list[tuple[object, ...]]:
    if not (PLUGINS / "bridge").exists():
        raise SystemExit("the stock plugins are not there: apt install containernetworking-plugins")
    rows: list[tuple[object, ...]] = []
    with daemons.site() as site:
        site.serve()
        for name, cidr in (("four", "10.65.0.0/16"), ("six", "fd00:65::/64")):
            site.client().post("/apis/projectcalico.org/v3/ippools", {
                "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
                "spec": {"cidr": cidr}})
        site.attend("h1")
        daemons.wait_for("the agent", lambda: site.synced("h1"))
        stock = Plugin("bridge + host-local", (str(PLUGINS / "bridge"),), {
            "cniVersion": "1.0.0", "name": "stock", "type": "bridge", "bridge": "cnibench0", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": str(site.directory / "stock"),
                     "ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd00:88::/64"}]]}}, site.namespace)
        ours = Plugin("muslin", (_installed(site.directory),), {"cniVersion": "1.0.0", "name": "net", "type": "muslin",
                                       "agentSocket": f"{site.directory}/run/agents/h1.sock"}, site.namespace)
        for at_once in (1, 10, 50):
            taken: dict[str, list[float]] = {stock.name: [], ours.name: []}
            with _spaces(50) as spaces:
                for _ in range(ROUNDS):
                    for plugin in (stock, ours):
                        taken[plugin.name] += _measure(plugin, spaces, at_once)
            rows += [_row(name, at_once, each) for name, each in taken.items()]
        with _spaces(PODS) as spaces:
            rows.append(_row(f"muslin, up to {PODS} pods", 1, [ours.call("ADD", space) for space in spaces]))
            for space in spaces:
                ours.call("DEL", space)
    table.show("CNI ADD, the whole process", COLUMNS, rows)
    return rows

"""What CNI ADD costs a runtime, beside the stock `bridge` with `host-local`, in one run, turn and turn about.

Each call is a whole process, as runtimes make it: start, standard input, exit. `at once`: so many calls in parallel, as
a node does when it starts. The stock plugins give no policy, with `firewall` chained an accept for each container; ours
answers when policy and routes are in the kernel.
Last row: ADD while the host has 110 pods, kubelet's default limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import daemons, rig
from bench.figures import Figure, Section, Side, blocks, percentile
from bench.plan import Plan
from muslin.plugins.cni import program

PLUGINS = Path("/usr/lib/cni")
ROUNDS = 3
PODS = 110


Step = tuple[str, dict[str, Any]]
"""A program and its configuration."""


class Plugin:
    """One plugin, or several of which each is given the result of the one before."""

    def __init__(self, name: str, steps: tuple[Step, ...], netns: str) -> None:
        self.name = name
        self._steps = steps
        self._enter = ("nsenter", f"--net=/run/netns/{netns}")
        self._results: dict[str, dict[str, Any]] = {}

    def call(self, what: str, space: str) -> float:
        """Milliseconds."""
        begun = time.perf_counter()
        for plugin, config in self._steps if what == "ADD" else reversed(self._steps):
            if before := self._results.get(space):
                config = config | {"prevResult": before}
            answer = self._run(what, space, plugin, config)
            if what == "ADD":
                self._results[space] = json.loads(answer)
        taken = (time.perf_counter() - begun) * 1000
        if what == "DEL":
            del self._results[space]
        return taken

    def _run(self, what: str, space: str, plugin: str, config: dict[str, Any]) -> str:
        environment = os.environ | {
            "CNI_COMMAND": what, "CNI_CONTAINERID": space, "CNI_NETNS": f"/run/netns/{space}", "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        written = json.dumps(config, sort_keys=True, separators=(",", ":"))  # as libcni writes it
        done = subprocess.run((*self._enter, plugin), input=written, env=environment, capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise SystemExit(f"{self.name} {what}: {done.stdout or done.stderr}")
        return done.stdout


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


def _figures(name: str, group: str, taken: list[float], side: Side) -> list[Figure]:
    return [Figure(name=name, group=group, values=blocks(taken), unit="ms", side=side),
            Figure(name=f"{name}, p99", group=group, values=(percentile(0.99)(taken),), unit="ms", side=side)]


def _plugins(site: daemons.Site) -> tuple[Plugin, ...]:
    """Ours last."""
    def bridge(name: str, v4: str, v6: str) -> Step:
        return str(PLUGINS / "bridge"), {
            "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": f"cni{name}", "isGateway": True,
            "ipam": {"type": "host-local", "dataDir": str(site.directory / name),
                     "ranges": [[{"subnet": v4}], [{"subnet": v6}]]}}

    firewall = str(PLUGINS / "firewall"), {"cniVersion": "1.0.0", "name": "walled", "type": "firewall"}
    ours = _installed(site.directory), {"cniVersion": "1.0.0", "name": "net", "type": "muslin",
                                        "agentSocket": f"{site.directory}/run/agents/h1.sock"}
    return (Plugin("bridge + host-local", (bridge("bare", "10.88.0.0/16", "fd00:88::/64"),), site.namespace),
            Plugin("bridge + host-local + firewall", (bridge("walled", "10.89.0.0/16", "fd00:89::/64"), firewall),
                   site.namespace),
            Plugin("muslin", (ours,), site.namespace))


def measure(plan: Plan) -> list[Section]:
    if not (PLUGINS / "bridge").exists():
        raise SystemExit("the stock plugins are not there: apt install containernetworking-plugins")
    rounds, containers, pods = plan.times(1, ROUNDS, 2 * ROUNDS), plan.times(4, 50, 50), plan.times(2, PODS, PODS)
    parallel = (1, 4) if plan.size == "tiny" else (1, 10, 50)
    plan.progress.begin("cni", len(parallel) * rounds * 3 + 1)
    found: list[Figure] = []
    with daemons.site() as site:
        site.serve()
        for name, cidr in (("four", "10.65.0.0/16"), ("six", "fd00:65::/64")):
            site.client().post("/apis/projectcalico.org/v3/ippools", {
                "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
                "spec": {"cidr": cidr}})
        site.attend("h1")
        daemons.wait_for("the agent", lambda: site.synced("h1"))
        plugins = _plugins(site)
        ours = plugins[-1]
        for at_once in parallel:
            taken: dict[Plugin, list[float]] = {plugin: [] for plugin in plugins}
            with _spaces(containers) as spaces:
                for _ in range(rounds):
                    for plugin in plugins:
                        plan.progress.step(f"{plugin.name}, {at_once} at once")
                        taken[plugin] += _measure(plugin, spaces, at_once)
            for plugin, each in taken.items():
                found += _figures(plugin.name, f"{at_once} at once", each, Side.OURS if plugin is ours else Side.PEER)
        plan.progress.step(f"up to {pods} pods")
        with _spaces(pods) as spaces:
            found += _figures("muslin", f"one by one up to {pods} pods", [ours.call("ADD", one) for one in spaces],
                              Side.OURS)
            for space in spaces:
                ours.call("DEL", space)
    return [Section(key="cni", title="A container's ADD by CNI: the whole process, as runtimes call it",
                    measure="wall time, p50 unless p99 is said; of the stock plugins only `firewall` writes rules at"
                            " all: one accept for each container",
                    figures=tuple(found))]

"""A server on its own SQLite file and an agent in its own namespace, for one measurement."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import rig
from muslin.client import ApiError, Client, Unreachable

MUSLIN = Path(__file__).parent.parent / ".venv/bin/muslin"


def wait_for(what: str, ask: Callable[[], bool], seconds: float = 60.0, pause: float = 0.02) -> None:
    """Returns when the answer is yes. Ends the measurement, saying what never came, after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ask():
            return
        time.sleep(pause)
    raise SystemExit(f"waited {seconds:g} s in vain for {what}")


def rss(process: subprocess.Popen[bytes]) -> float:
    """Resident memory in MB, of the process itself."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {process.pid} has gone")


def spent(processes: Iterable[subprocess.Popen[bytes]]) -> float:
    """Processor time so far in ms: of all their threads, and of the programs that they ran and waited for."""
    found = 0.0
    for process in processes:
        here = Path(f"/proc/{process.pid}")
        found += sum(int(file.read_text().split()[0]) for file in here.glob("task/*/schedstat")) / 1e6
        children = (here / "stat").read_text().rpartition(")")[2].split()[13:15]
        found += sum(map(int, children)) * 1000 / os.sysconf("SC_CLK_TCK")
    return found


@dataclass(slots=True)
class Site:
    """`directory` holds sockets, store and logs; `namespace` is the agent's host."""

    directory: Path
    namespace: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.directory / "muslin.db"

    def client(self) -> Client:
        return Client(f"unix:{self.directory}/run/server.sock")

    def agent(self, node: str) -> Client:
        return Client(f"unix:{self.directory}/run/agents/{node}.sock")

    def start(self, name: str, *words: str, namespace: str = "") -> subprocess.Popen[bytes]:
        enter = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        environment = os.environ | {
            "MUSLIN_RUN": str(self.directory / "run"), "MUSLIN_STATE": str(self.directory / "state"),
        }
        log = (self.directory / f"{name}.log").open("wb")
        process = subprocess.Popen([*enter, str(MUSLIN), *words], env=environment, stdout=log, stderr=log)
        log.close()
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """Starts the server; returns when it answers."""
        process = self.start("server", "server", "--store", f"sqlite:///{self.store}")
        wait_for("the server", self._answers, pause=0.01)
        return process

    def attend(self, node: str) -> subprocess.Popen[bytes]:
        """Starts the agent in its namespace; does not wait."""
        return self.start("agent", "agent", "--node", node, "--no-bgp", namespace=self.namespace)

    def synced(self, node: str) -> bool:
        """Has the agent everything in its kernel?"""
        try:
            hosts = self.client().get("/muslin/v1/status").get("hosts", [])
        except (ApiError, Unreachable):
            return False
        return any(host["name"] == node and host["connected"] and host["in_sync"] for host in hosts)

    def _answers(self) -> bool:
        try:
            self.client().get("/muslin/v1/status")
        except Unreachable:
            return False
        return True

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


@contextmanager
def site() -> Iterator[Site]:
    """Directory and namespace; both go, with all processes, however the measurement ends."""
    made = Site(Path(tempfile.mkdtemp(prefix="muslin-bench-")), f"mub-{os.getpid()}-agent")
    rig.run("ip", "netns", "add", made.namespace)
    try:
        rig.run("ip", "-n", made.namespace, "link", "set", "lo", "up")
        yield made
    finally:
        made.stop()
        rig.run("ip", "netns", "del", made.namespace)
        shutil.rmtree(made.directory)

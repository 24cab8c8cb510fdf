"""What a lab has made on this machine, written down before it is made, so that `down` works after any crash.

    RUN/lab/<name>.json    namespaces by name, processes by (pid, start time), workloads
    RUN/lab/<name>/        the lab's own run directory: sockets, BIRD
    STATE/lab/<name>/      the lab's own state directory: the store, the agents' snapshots

A name that is written down but not there costs nothing; one that is there but not written down could never be told
from a stranger's. A process is ours when both its pid and its start time fit: pids come round again.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from muslin import paths
from muslin.errors import Invalid
from muslin.lab.topology import Topology


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """`started`: clock ticks after boot, as in /proc/PID/stat."""

    name: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return started(self.pid) == self.started

    def bury(self) -> None:
        """A dead child of this process leaves the process table; somebody else's children are buried by them."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Nothing happens when it is gone already."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """`name` and `namespace` are those of the API; `network` is the network namespace that it lives in. `key` is its
    endpoint's."""

    name: str
    namespace: str
    host: str
    network: str
    key: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    def address(self, version: int) -> str:
        """Without a length; "" when it has none of that family."""
        bare = (address.partition("/")[0] for address in self.addresses)
        return next((address for address in bare if (":" in address) == (version == 6)), "")


class Record(msgspec.Struct, kw_only=True):
    """Mutable: it grows while the lab does. Call `save` before making what was added."""

    topology: Topology
    namespaces: list[str] = []
    processes: dict[str, Process] = {}
    workloads: dict[str, Workload] = {}

    @property
    def run(self) -> Path:
        return _home() / self.topology.name

    @property
    def state(self) -> Path:
        return paths.state_dir() / "lab" / self.topology.name

    def save(self) -> None:
        file = _file(self.topology.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        fresh.replace(file)

    def remember(self, name: str, pid: int) -> None:
        self.processes[name] = Process(name=name, pid=pid, started=started(pid) or 0)
        self.save()

    def forget(self) -> None:
        """Remove the record itself and the lab's directories: the last act of `down`."""
        for directory in (self.run, self.state):
            shutil.rmtree(directory, ignore_errors=True)
        _file(self.topology.name).unlink(missing_ok=True)


def recorded() -> list[str]:
    """Names of the labs that are up, or were and crashed."""
    return sorted(file.stem for file in _home().glob("*.json"))


def load(name: str) -> Record:
    """Raises Invalid when there is none of that name."""
    known = recorded()
    if name not in known:
        mend = f"these are up: {', '.join(known)}" if known else "make one: muslin lab up"
        raise Invalid(f"there is no lab {name!r}; {mend}")
    return msgspec.json.decode(_file(name).read_bytes(), type=Record)


def started(pid: int) -> int | None:
    """When a live process began; None when there is none, or only its zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def _home() -> Path:
    return paths.run_dir() / "lab"


def _file(name: str) -> Path:
    return _home() / f"{name}.json"

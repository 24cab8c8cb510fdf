"""The processes of a lab: the real daemons, started by their own commands, found again by the record.

They outlive whoever started them, and know each other by MUSLIN_RUN, MUSLIN_STATE and MUSLIN_SERVER. Their words go to
`<name>.log` in the lab's run directory.

    server          one, in the machine's own namespace: hosts reach it by its unix socket
    traffic         one, the life in all workloads
    agent HOST      one for each host, in its namespace
    bird MACHINE    routers' are ours; a host's is started, and started again, by its agent
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from muslin.drivers.bird import Bird, running_below
from muslin.errors import Transient
from muslin.lab.fabric import namespace_of
from muslin.lab.record import Record
from muslin.lab.waiting import PATIENCE, wait_for


class Daemons:
    def __init__(self, record: Record) -> None:
        self._record = record
        self.server = f"unix:{record.run / 'server.sock'}"
        self.environment = {
            "MUSLIN_RUN": str(record.run), "MUSLIN_STATE": str(record.state), "MUSLIN_SERVER": self.server,
        }

    async def start_server(self) -> None:
        """Returns when it answers."""
        store = f"sqlite:///{self._record.state / 'store.db'}"
        self._start("server", muslin("server", "--store", store, "--listen", self.server))
        await self._wait_healthy("server", self._record.run / "server.sock")

    async def start_agent(self, name: str) -> None:
        """It registers its host with the server. Returns when it is in sync: the kernel is as it should be."""
        host = next(host for host in self._record.topology.hosts if host.name == name)
        v4, v6 = host.addresses
        words = muslin("agent", "--node", name, "--ip", v4, "--ip6", v6, "--as-number", str(host.local_as),
                       "--label", f"rack={host.rack}")
        self._start(f"agent {name}", ["ip", "netns", "exec", namespace_of(self._record.topology.name, name), *words])
        await self._wait_healthy(f"agent {name}", self.agent_socket(name))

    async def start_traffic(self) -> None:
        at = self._record.run / "traffic.sock"
        self._start("traffic", [sys.executable, "-m", "muslin.lab.traffic", str(at)])
        await wait_for("the life in the workloads", at.exists)

    def bird(self, machine: str) -> Bird:
        """Of a router or a host."""
        enter = ("ip", "netns", "exec", namespace_of(self._record.topology.name, machine))
        return Bird(machine, directory=self._record.run / "bird" / machine, enter=enter)

    def agent_socket(self, host: str) -> Path:
        return self._record.run / "agents" / f"{host}.sock"

    async def kill9(self, name: str) -> None:
        """Dead at once, without a word. Names as above."""
        if name.startswith("bird "):
            bird = self.bird(name.removeprefix("bird "))
            if bird.pid is not None:
                os.kill(bird.pid, signal.SIGKILL)
            await asyncio.wait_for(bird.wait_dead(), PATIENCE)
        else:
            process = self._record.processes[name]
            process.kill()
            await wait_for(f"the end of {name}", lambda: not process.alive)
            process.bury()

    async def end(self) -> None:
        """Everything that the record names, and then every BIRD: while an agent lives, it starts its BIRD again."""
        processes = self._record.processes.values()
        for process in processes:
            process.kill()
        await wait_for("the end of all processes", lambda: not any(process.alive for process in processes))
        for process in processes:
            process.bury()
        await wait_for("the end of all BIRDs", self._no_bird)

    def _no_bird(self) -> bool:
        found = running_below(self._record.run / "bird")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    def _start(self, name: str, command: list[str]) -> None:
        """In a session of its own, and held by no object of ours: asyncio's would kill it when it is collected."""
        log = str(self._log(name))
        pid = os.posix_spawnp(
            command[0], command, {**os.environ, **self.environment}, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        self._record.remember(name, pid)

    async def _wait_healthy(self, name: str, at: Path) -> None:
        process = self._record.processes[name]

        async def healthy() -> bool:
            if not process.alive:
                raise Transient(f"{name} is gone again: {self._last_words(name)}")
            return await asyncio.to_thread(_is_healthy, at)

        await wait_for(f"{name} healthy", healthy)

    def _last_words(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-1000:].strip() or f"{self._log(name)} is empty"

    def _log(self, name: str) -> Path:
        return self._record.run / f"{name.replace(' ', '-')}.log"


def muslin(*words: str) -> list[str]:
    """The command line of the `muslin` that belongs to this Python."""
    return [str(Path(sys.executable).with_name("muslin")), *words]


def _is_healthy(at: Path) -> bool:
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(str(at))
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

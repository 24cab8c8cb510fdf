"""BIRD as a daemon of its own: started, configured and asked by the agent, outliving it.

                   bird.conf   what we last gave it, complete and accepted
    RUN/bird/NODE/ bird.ctl    its control socket: we speak its protocol directly, `birdc` would be a process each time
                   bird.pid    removed by BIRD when it goes in peace
                   bird.log

A routing daemon that dies with its agent would take the host's routes along, so nothing here ties the two together:
BIRD daemonises, and an agent that starts finds it by these files. How we recognise it: the control socket answers,
and the process of the pid file has our socket on its command line. A stranger's BIRD has other files.

Whether routes survive BIRD's own death is decided at its next start. They stay in the kernel (`persist`), but a plain
start would clean them away before a single peer has spoken. So every start but the first after boot is made with -R:
the kernel is left alone until the peers have told everything again. The directory lies in /run, which a boot empties;
that is how we know.

Rule: a configuration that BIRD refuses changes nothing, neither in BIRD nor in the file that its next start reads.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muslin import paths
from muslin.drivers.bird_control import Line, ask
from muslin.errors import Invalid, Transient
from muslin.intent import SessionState

_START_SECONDS = 10.0


class Refused(Invalid):
    """BIRD does not take this configuration; it goes on with the one it has. The message is BIRD's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BirdState:
    """What BIRD says of itself. `version` "" and no sessions: it is not there."""

    running: bool
    version: str = ""
    sessions: tuple[SessionState, ...] = ()


class Bird:
    """The BIRD of one node. `enter` is put before its command line: `ip netns exec NAME` for a node of a lab."""

    def __init__(self, node: str, *, directory: Path | None = None, enter: Sequence[str] = ()) -> None:
        self.directory = (directory or paths.run_dir() / "bird" / node).absolute()
        self.log = self.directory / "bird.log"
        self._conf = self.directory / "bird.conf"
        self._socket = self.directory / "bird.ctl"
        self._pid_file = self.directory / "bird.pid"
        self._enter = tuple(enter)

    @property
    def pid(self) -> int | None:
        """Our running BIRD's process, None when it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if os.fsencode(self._socket) in arguments else None  # a zombie has no command line left

    async def apply(self, conf: str) -> bool:
        """Make BIRD run with `conf`: start it, or reconfigure it when that differs. True: something was done.

        Raises Refused (nothing has changed) and Transient (BIRD does not answer).
        """
        if self.pid is None:
            await self._start(conf)
            return True
        if conf == self._accepted():
            return False
        await self._reconfigure(conf)
        return True

    async def read(self) -> BirdState:
        if self.pid is None:
            return BirdState(running=False)
        try:
            answer = await ask(self._socket, "show protocols all")
        except Transient:
            return BirdState(running=self.pid is not None)
        return BirdState(running=True, version=answer.version, sessions=sessions(answer.lines))

    async def wait_dead(self) -> None:
        """Until our BIRD runs no more; at once when it does not run."""
        pid = self.pid
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop, dead = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, dead.set)
        try:
            await dead.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def stop(self) -> None:
        """End BIRD in peace. Its kernel routes stay, and so do its peers' routes to us, for their restart time."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            await asyncio.wait_for(self.wait_dead(), _START_SECONDS)

    def _accepted(self) -> str:
        try:
            return self._conf.read_text()
        except FileNotFoundError:
            return ""

    def _offer(self, conf: str) -> Path:
        """The new file, beside the accepted one. It may hold passwords."""
        offered = self._conf.with_suffix(".offered")
        descriptor = os.open(offered, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(conf)
        return offered

    async def _reconfigure(self, conf: str) -> None:
        offered = self._offer(conf)
        checked = await ask(self._socket, f'configure check "{offered}"')
        if checked.refusal:
            raise Refused(_without_path(checked.refusal, offered))
        offered.replace(self._conf)
        taken = await ask(self._socket, f'configure "{self._conf}"')
        if taken.refusal:
            raise Transient(f"BIRD checked the configuration and then refused it: {taken.refusal}")

    async def _start(self, conf: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        seen_before = self._conf.exists()
        offered = self._offer(conf)
        code, said = await self._run("bird", "-p", "-c", str(offered))
        if code:
            raise Refused(_without_path(said, offered))
        offered.replace(self._conf)
        recover = ("-R",) if seen_before else ()
        code, said = await self._run("bird", "-c", str(self._conf), "-s", str(self._socket),
                                     "-P", str(self._pid_file), *recover)
        if code:
            raise Transient(f"BIRD does not start: {said}")
        await ask(self._socket, "show status")  # answered by the daemon's loop, which begins behind the pid file
        if self.pid is None:
            raise Transient("BIRD started and is gone again: see " + str(self.log))

    async def _run(self, *command: str) -> tuple[int, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._enter, *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise Transient(f"{error.filename} is not installed: install the package bird2") from None
        _, said = await process.communicate()
        return process.returncode or 0, said.decode(errors="replace").strip()


def running_below(directory: Path) -> list[int]:
    """All BIRDs whose control socket lies below the directory, also those that have no pid file yet: an agent that is
    killed may just have begun to start one."""
    below = os.fsencode(directory.absolute()) + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        name = arguments[0].rpartition(b"/")[2]
        if name == b"bird" and any(argument.startswith(below) for argument in arguments[1:]):
            found.append(int(entry.name))
    return found


def _without_path(said: str, offered: Path) -> str:
    return said.replace(str(offered), "bird.conf").removeprefix("bird: ")


_ROUTES = re.compile(r"Routes:\s+(\d+) imported,(?: \d+ filtered,)? (\d+) exported")
_RESTARTING = "Neighbor graceful restart active"


def sessions(lines: Sequence[Line]) -> tuple[SessionState, ...]:
    """The BGP sessions in what `show protocols all` says."""
    found = []
    row: list[str] = []
    details: list[str] = []
    for line in (*lines, Line(0, "")):
        if line.code != 1006:
            if len(row) >= 5 and row[1] == "BGP":
                found.append(_session(row, details))
            row, details = line.text.split(None, 5), []
        else:
            details.append(line.text.strip())
    return tuple(found)


def _session(row: Sequence[str], details: Sequence[str]) -> SessionState:
    """`row`: name, protocol, table, state, since, info."""
    fields: dict[str, str] = {}
    imported = exported = 0
    for text in details:
        if routes := _ROUTES.match(text):
            imported, exported = imported + int(routes[1]), exported + int(routes[2])
        else:
            name, _, value = text.partition(":")
            fields.setdefault(name, value.strip())
    return SessionState(
        name=row[0],
        peer=fields.get("Neighbor address", ""),
        peer_as=int(fields.get("Neighbor AS", "0")),
        state=fields.get("BGP state", row[3]),
        since=row[4],
        info=fields.get("Last error", "restarting gracefully" if _RESTARTING in fields else ""),
        imported=imported,
        exported=exported,
    )


__all__ = ["Bird", "BirdState", "Refused", "running_below", "sessions"]

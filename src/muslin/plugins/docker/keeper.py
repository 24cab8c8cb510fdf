"""Keeps processes beside the agent alive: started with it, they outlive it, as BIRD does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_OPEN_WITHIN = 10.0
_DOOR = Path(__file__).with_name("door.py")
"""Started as a file of its own: with the rest of muslin it would need three times the memory."""
_PACKAGES = Path(__file__).parents[3]
_RESOLVE = ("import sys; sys.path.insert(0, sys.argv[1])\n"
            "from muslin.plugins.docker.resolver import main; main(*sys.argv[2:])")
"""What it needs of muslin needs nothing but the standard library."""


class Keeper:
    """One process, that listens at `listen` and writes its pid beside it. `mark` is in its command line."""

    def __init__(self, listen: Path, command: Sequence[str], mark: str) -> None:
        self.listen = listen
        self._command = command
        self._mark = mark
        self._pid = listen.with_name(f"{listen.name}.pid")
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """It is there. Raises TimeoutError."""
        async with self._turn:
            if await self._answers():
                return
            await asyncio.create_subprocess_exec(
                *self._command, str(self._pid),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, start_new_session=True, cwd="/",
            )
            async with asyncio.timeout(_OPEN_WITHIN):
                while not await self._answers():
                    await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.listen)
        except OSError:
            return False
        writer.close()
        return True

    def close(self) -> None:
        try:
            pid = int(self._pid.read_text())
        except (FileNotFoundError, ValueError):
            return
        if self._mark.encode() in _command(pid):
            os.kill(pid, signal.SIGTERM)


def door(listen: Path, agent: Path) -> Keeper:
    """`listen`: the socket that dockerd knows; `agent`: the agent's own. Closed, dockerd does not find us any more."""
    return Keeper(listen, (sys.executable, "-IS", str(_DOOR), str(listen), str(agent)), str(_DOOR))


def resolver(listen: Path) -> Keeper:
    """`listen`: where the agent tells it what there is."""
    return Keeper(listen, (sys.executable, "-IS", "-c", _RESOLVE, str(_PACKAGES), str(listen)), _RESOLVE)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

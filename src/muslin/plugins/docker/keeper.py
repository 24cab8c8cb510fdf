"""Keeps the door open: started with the agent, it outlives it, as BIRD does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

_OPEN_WITHIN = 5.0
_DOOR = Path(__file__).with_name("door.py")
"""Started as a file of its own: with the rest of muslin it would need three times the memory."""


class Keeper:
    """`listen`: the socket that dockerd knows; `agent`: the agent's own."""

    def __init__(self, listen: Path, agent: Path) -> None:
        self.listen = listen
        self._agent = agent
        self._pid = listen.with_name(f"{listen.name}.pid")
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """The door is there. Raises TimeoutError."""
        async with self._turn:
            if await self._answers():
                return
            await asyncio.create_subprocess_exec(
                sys.executable, "-IS", str(_DOOR), str(self.listen), str(self._agent), str(self._pid),
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
        """The door goes; dockerd does not find us any more."""
        try:
            pid = int(self._pid.read_text())
        except (FileNotFoundError, ValueError):
            return
        if str(_DOOR).encode() in _command(pid):
            os.kill(pid, signal.SIGTERM)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

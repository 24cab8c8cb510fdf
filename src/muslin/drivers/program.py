"""One run of a program of the system, in our namespace or in a named one."""

from __future__ import annotations

import asyncio
import os
import shutil

from muslin.errors import Broken, Transient


class RefusedLine(Broken):
    """A program does not take one line of what it was given."""

    def __init__(self, message: str, line: str) -> None:
        super().__init__(message)
        self.line = line

    @property
    def of_all(self) -> bool:
        """It is said of the whole that was given, so that no line is to blame."""
        return self.line.strip() in ("", "COMMIT")


class Program:
    """`netns` is for tests and labs: the name of a namespace, instead of our own."""

    def __init__(self, netns: str | None = None) -> None:
        self._prefix = ("ip", "netns", "exec", netns) if netns else ()

    async def run(self, *words: str, given: str | None = None) -> tuple[int, str, str]:
        """(exit code, output, errors). Raises Transient when the program is not installed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._prefix, *words,
                stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment(),
            )
        except FileNotFoundError as error:
            raise Transient(f"{error.filename} is not installed: apt install iptables ipset iproute2") from None
        output, errors = await process.communicate(given.encode() if given is not None else None)
        return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


def is_installed(name: str) -> bool:
    return shutil.which(name, path=environment()["PATH"]) is not None


def environment() -> dict[str, str]:
    """Errors in the words that we look for, and programs found where Debian puts them, also without a root's PATH."""
    return {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}

r"""The last word of the servers on disk, for a start while none of them answers.

    snapshot.json   base      one line, the whole            beside and renamed, with fsync, when the changes outgrow it
                    change    one line, as the feed brought it     \  appended before anything is done about them, and
                    change    ...                                  /  with fsync at most every 2 s

To write the whole at each change costs as much as there is, so what is kept was seconds old: now it is what came, byte
for byte, before the kernel hears of it. So whoever is killed, however far he got, is followed by one who knows at least
what the kernel was told; and the end of a line that is cut short was told to nobody. A line may be a whole as well, as
at each connection: then nothing before it counts. What is read is the same as if a server had said it again.

A power cut costs what came in the last 2 s, and the kernel forgets all of it too.

Where the disk takes nothing the agent goes on, and what lies there falls behind. That is noted where no disk is asked,
in a file that does not outlive the kernel's state (below /run): he who finds it leaves the kernel as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from muslin.calc.host import Graph
from muslin.intent import Delta

_NAME = "snapshot.json"
_LEAST = 1 << 18
"""Bytes of changes that are never worth writing all anew: some five hundred workloads that come and go."""
_AT_MOST_EVERY = 2.0
"""Seconds between two waits for the disk, fsync or a new base."""
_AGAIN = 10.0
"""Seconds between two tries while the disk takes nothing: each has the whole encoded, 10 ms for 100,000 addresses."""
_MOST_MEANWHILE = 1 << 24
"""Bytes that may come while a base is written. A disk that takes seconds for it must not fill the memory."""

_LINE = msgspec.json.Encoder()

log = structlog.get_logger()


class Snapshot:
    """One agent's. `behind`: the file that says that what is on disk is behind the kernel."""

    def __init__(self, directory: Path, behind: Path) -> None:
        self._file = directory / _NAME
        self._behind = behind
        self._length: int | None = None
        """Of the file as we left it. None: it is not known to hold all that was said."""
        self._room = 0
        """Bytes until a new base is due."""
        self._meanwhile: bytearray | None = None
        """What came since the base that is being written. None: no base is, or too much came."""
        self._due = asyncio.Event()
        self._failing = False

    def append(self, lines: bytes, *, anew: bool) -> None:
        """Whole lines of deltas, before anything is done about them. `anew`: the first is a whole.

        Never raises, for the agent goes on without a disk.
        """
        self._note(lines)
        try:
            if anew:
                self._begin_again(lines)
            elif self._length is not None:
                self._add(lines, self._length)
        except OSError as error:
            self._fall_behind(error)
        self._due.set()

    async def run(self, whole: Callable[[], Delta]) -> None:
        """Never returns. `whole`: all that was appended, as one."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                if self._length is None or self._room < 0:
                    await self._renew(_LINE.encode_lines([whole()]))
                else:
                    await asyncio.to_thread(_sync, self._file)
            except OSError as error:
                self._fall_behind(error)
                self._due.set()
            await asyncio.sleep(_AT_MOST_EVERY if self._length is not None else _AGAIN)

    def load(self) -> Delta | None:
        """The whole. Blocks for the disk: call it in a thread.

        None when there is none, or none that may be used: behind what the kernel was told, or illegible. Of a file
        that cannot be read in the middle nothing counts, for a later line may have closed what an earlier one opens.
        """
        if self._behind.exists():
            log.error("snapshot_not_used", why=f"it is behind what this kernel was told, says {self._behind}")
            return None
        try:
            found, why = _read(self._file), f"{self._file} is illegible"
        except FileNotFoundError:
            return None
        except OSError as error:
            found, why = None, str(error)
        if found is None:
            log.error("snapshot_not_used", why=why)
        return found

    # ---- appended

    def _note(self, lines: bytes) -> None:
        if self._meanwhile is not None:
            self._meanwhile += lines
            if len(self._meanwhile) > _MOST_MEANWHILE:
                self._meanwhile = None

    def _begin_again(self, lines: bytes) -> None:
        """Behind whatever lies there, be it a stranger's or torn: it counts until the first line is whole."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            there = os.lseek(file, 0, os.SEEK_END)
            is_ours = there == self._length
            if not is_ours:
                there = _end_with_a_line(file, there)
            _write(file, lines)
        finally:
            os.close(file)
        self._room = max(_LEAST, len(lines)) - there if is_ours else -1
        self._hold(there + len(lines))

    def _add(self, lines: bytes, length: int) -> None:
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if (there := os.lseek(file, 0, os.SEEK_END)) != length:
                raise OSError(f"{self._file} has {there} bytes instead of {length}: somebody else writes there")
            _write(file, lines)
        finally:
            os.close(file)
        self._length = length + len(lines)
        self._room -= len(lines)

    # ---- written anew

    async def _renew(self, base: bytes) -> None:
        """The old file is appended to until the new one takes its place, so that there is one that is whole always."""
        meanwhile = self._meanwhile = bytearray()
        beside = self._file.with_name(f"{_NAME}.new")
        try:
            await asyncio.to_thread(_write_beside, beside, base)
            if self._meanwhile is not meanwhile:
                self._due.set()
                return
            with beside.open("ab", buffering=0) as file:
                _write(file.fileno(), meanwhile)
            beside.replace(self._file)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()  # on a full disk it is room for others
            if self._length is None:
                raise
            self._room = max(_LEAST, len(base))  # it is whole as it is, and only long
            log.warning("snapshot_not_renewed", why=str(error))
            return
        finally:
            self._meanwhile = None
        self._room = max(_LEAST, len(base)) - len(meanwhile)
        self._hold(len(base) + len(meanwhile))
        await asyncio.to_thread(_sync, self._file.parent)

    # ---- whole or not

    def _hold(self, length: int) -> None:
        self._length = length
        self._behind.unlink(missing_ok=True)
        if self._failing:
            log.info("snapshot_written_again", file=str(self._file))
        self._failing = False

    def _fall_behind(self, error: OSError) -> None:
        self._length = None
        if self._failing:
            return
        self._failing = True
        log.error("snapshot_not_written", why=str(error))
        try:
            self._behind.touch()
        except OSError as again:
            log.error("snapshot_not_written", why=str(again))


def _write(file: int, lines: bytes | bytearray) -> None:
    """All of it, or an error that says why not."""
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(file, rest) :]


def _write_beside(beside: Path, base: bytes) -> None:
    beside.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write(file, base)
        os.fsync(file)
    finally:
        os.close(file)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _end_with_a_line(file: int, length: int) -> int:
    """A predecessor may have been killed while he wrote; what a former version wrote ends without a line's end."""
    last = os.pread(file, length, 0).rpartition(b"\n")[2]
    if not last:
        return length
    if _delta(last) is not None:
        _write(file, b"\n")
        return length + 1
    os.ftruncate(file, length - len(last))
    return length - len(last)


def _read(file: Path) -> Delta | None:
    """All lines as one. None: not since the last whole."""
    graph: Graph | None = None
    with file.open("rb") as lines:
        for line in lines:
            delta = _delta(line)
            if delta is None:
                if line.strip() and line.endswith(b"\n"):
                    graph = None
            elif delta.snapshot:
                graph = Graph()
                graph.update(delta)
            elif graph is not None:
                graph.update(delta)
    return graph.given if graph is not None else None


def _delta(line: bytes) -> Delta | None:
    try:
        return msgspec.json.decode(line, type=Delta)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

"""What a workload's addition has done so far, on disk, so that an agent killed in the middle is cleaned up after.

An entry is written before the first step and ended when the addition has answered, well or badly. One that was not
ended at a start is of an addition that nobody got an answer to: the next agent undoes it. Not fsynced: after a crash of
the whole machine its namespaces are gone anyway.

One file, a line for each beginning and each end: to make, fill and rename a file for each addition costs a file system
four times as much. It is written anew, with what is under way, when it has grown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from muslin.errors import Transient
from muslin.intent import EndpointKey

_NAME = "additions.jsonl"
_LONGEST = 1 << 16
"""Bytes: some three hundred additions."""

log = structlog.get_logger()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Enough to undo: the veth ("" for a tap), the resource, the addresses' handle ("" when the user has its own)."""

    key: EndpointKey
    interface: str
    handle: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    begun: Entry | None = None
    ended: EndpointKey | None = None


class Journal:
    """Of one agent: what is under way is known without the disk, which only tells the next one."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / _NAME
        self._under_way = {entry.key: entry for entry in read(directory)}
        self._room = 0
        """Bytes until it is written anew."""

    def write(self, entry: Entry) -> None:
        """Raises Transient: it cannot be noted, so nothing must be begun."""
        self._under_way[entry.key] = entry
        try:
            self._append(_Line(begun=entry))
        except OSError as error:
            del self._under_way[entry.key]
            raise Transient(f"the addition cannot be noted: {self._file}: {error.strerror}") from None

    def remove(self, key: EndpointKey) -> None:
        """An end that cannot be noted (a full disk) takes the file along: the next agent would undo what stands."""
        if self._under_way.pop(key, None) is None:
            return
        try:
            self._append(_Line(ended=key))
        except OSError as error:
            log.warning("journal_not_written", file=str(self._file), why=error.strerror)
            self._file.unlink(missing_ok=True)

    def holds(self, key: EndpointKey) -> bool:
        return key in self._under_way

    def entries(self) -> tuple[Entry, ...]:
        """Not ended, by a predecessor or by us."""
        return tuple(self._under_way.values())

    def _append(self, line: _Line) -> None:
        text = _text([line])
        self._room -= len(text)
        if self._room < 0 or not self._is_appended(text):
            self._write_anew()

    def _is_appended(self, text: bytes) -> bool:
        """No: somebody has cleared up, or the disk is full, or nearly."""
        try:
            file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self._room, room = 0, self._room  # until it is known to be whole
        try:
            is_whole = os.write(file, text) == len(text)
        finally:
            os.close(file)
        self._room = room if is_whole else 0
        return is_whole

    def _write_anew(self) -> None:
        """What is under way: many at once have as much room again."""
        text, beside = _text(_Line(begun=entry) for entry in self._under_way.values()), self._file.with_suffix(".new")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text)
        beside.replace(self._file)
        self._room = max(_LONGEST, len(text))


def read(directory: Path) -> tuple[Entry, ...]:
    """What an agent left that ended there. A torn line is of an addition that had done nothing yet."""
    try:
        lines = (directory / _NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    under_way: dict[EndpointKey, Entry] = {}
    for text in lines:
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if line.begun is not None:
            under_way[line.begun.key] = line.begun
        elif line.ended is not None:
            under_way.pop(line.ended, None)
    return tuple(under_way.values())


def _text(lines: Iterable[_Line]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)

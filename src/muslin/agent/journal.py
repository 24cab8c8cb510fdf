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

from muslin.intent import EndpointKey

_NAME = "additions.jsonl"
_LONGEST = 1 << 16
"""Bytes: some three hundred additions."""


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
        self._under_way[entry.key] = entry
        self._append(_Line(begun=entry))

    def remove(self, key: EndpointKey) -> None:
        if self._under_way.pop(key, None) is not None:
            self._append(_Line(ended=key))

    def holds(self, key: EndpointKey) -> bool:
        return key in self._under_way

    def entries(self) -> tuple[Entry, ...]:
        """Not ended, by a predecessor or by us."""
        return tuple(self._under_way.values())

    def _append(self, line: _Line) -> None:
        text = _text([line])
        self._room -= len(text)
        if self._room < 0:
            return self._write_anew()
        try:
            file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody has cleared up
            return self._write_anew()
        try:
            os.write(file, text)
        finally:
            os.close(file)

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

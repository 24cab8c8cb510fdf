"""What a workload's addition has done so far, on disk, so that an agent killed in the middle is cleaned up after.

An entry is written before the first step and removed when the addition has answered, well or badly. An entry that is
there at a start is an addition that nobody got an answer to: the next agent undoes it. Not fsynced: after a crash of
the whole machine its namespaces are gone anyway.

To make a file costs a file system half a millisecond, to rename one much less: a file that is done with is kept as a
spare for the next entry.
"""

from __future__ import annotations

import hashlib
import os
from itertools import islice
from pathlib import Path

import msgspec

from muslin.intent import EndpointKey

_SPARES = 64


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Enough to undo: the veth ("" for a tap), the resource, the addresses' handle ("" when the user has its own)."""

    key: EndpointKey
    interface: str
    handle: str


class Journal:
    def __init__(self, directory: Path) -> None:
        self._directory = directory / "additions"
        self._spares = dict.fromkeys(islice(self._directory.glob("*.spare"), _SPARES))

    def write(self, entry: Entry) -> None:
        path, text = self._path(entry.key), msgspec.json.encode(entry)
        beside = self._spares.popitem()[0] if self._spares else path.with_suffix(".new")
        try:
            _fill(beside, text)
        except FileNotFoundError:  # the first of all, or somebody has cleared up
            self._directory.mkdir(parents=True, exist_ok=True)
            _fill(beside, text)
        beside.replace(path)

    def remove(self, key: EndpointKey) -> None:
        path = self._path(key)
        if len(self._spares) >= _SPARES:
            path.unlink(missing_ok=True)
            return
        spare = path.with_suffix(".spare")
        try:
            path.replace(spare)
        except FileNotFoundError:
            return
        self._spares[spare] = None

    def holds(self, key: EndpointKey) -> bool:
        return self._path(key).exists()

    def entries(self) -> tuple[Entry, ...]:
        """Left by a predecessor. A torn file is of one that had done nothing yet."""
        found: list[Entry] = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Entry))
            except (msgspec.DecodeError, UnicodeDecodeError):
                path.unlink()
        return tuple(found)

    def _path(self, key: EndpointKey) -> Path:
        return self._directory / f"{hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()}.json"


def _fill(path: Path, text: bytes) -> None:
    """Not cut to nothing first: a file system may take that for the replacement of a file, and write it out at once."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text)
        os.ftruncate(file, len(text))
    finally:
        os.close(file)

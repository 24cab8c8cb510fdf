"""What a workload's addition has done so far, on disk, so that an agent killed in the middle is cleaned up after.

An entry is written before the first step and removed when the addition has answered, well or badly. An entry that is
there at a start is an addition that nobody got an answer to: the next agent undoes it. Not fsynced: after a crash of
the whole machine its namespaces are gone anyway.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from muslin.intent import EndpointKey


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Enough to undo: the veth ("" for a tap), the resource, the addresses' handle ("" when the user has its own)."""

    key: EndpointKey
    interface: str
    handle: str


class Journal:
    def __init__(self, directory: Path) -> None:
        self._directory = directory / "additions"

    def write(self, entry: Entry) -> None:
        path, text = self._path(entry.key), msgspec.json.encode(entry)
        beside = path.with_suffix(".new")
        try:
            beside.write_bytes(text)
        except FileNotFoundError:  # the first of all, or somebody has cleared up
            self._directory.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(text)
        beside.replace(path)

    def remove(self, key: EndpointKey) -> None:
        self._path(key).unlink(missing_ok=True)

    def holds(self, key: EndpointKey) -> bool:
        return self._path(key).exists()

    def entries(self) -> tuple[Entry, ...]:
        """Left by a predecessor. A torn file is of one that had done nothing yet."""
        found: list[Entry] = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Entry))
            except msgspec.DecodeError:
                path.unlink()
        return tuple(found)

    def _path(self, key: EndpointKey) -> Path:
        return self._directory / f"{hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()}.json"

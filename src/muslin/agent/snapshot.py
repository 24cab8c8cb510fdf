"""The last intent on disk, for a start while no server answers.

Written beside and renamed into place, with fsync, so that a reader finds the old one or the new one, whole. It is
used only until a server's first word, which replaces all of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from muslin.intent import Delta, EndpointKey, HostIntent, HostInterface

_NAME = "snapshot.json"


def as_delta(intent: HostIntent, host_interfaces: Mapping[EndpointKey, HostInterface]) -> Delta:
    """The whole as a change from nothing. `host_interfaces` as the server gave them, not as they are bound now."""
    return Delta(
        revision=intent.revision,
        snapshot=True,
        sets=dict(intent.sets),
        policies=dict(intent.policies),
        groups=dict(intent.groups),
        endpoints=dict(intent.endpoints),
        host_interfaces=dict(host_interfaces),
        routes=dict(intent.routes),
        neighbours=dict(intent.neighbours),
        bgp=intent.bgp,
        settings=intent.settings,
    )


def encode(intent: HostIntent, host_interfaces: Mapping[EndpointKey, HostInterface]) -> bytes:
    return msgspec.json.encode(as_delta(intent, host_interfaces))


def save(directory: Path, encoded: bytes) -> None:
    """Blocks for the disk: call it in a thread."""
    directory.mkdir(parents=True, exist_ok=True)
    beside = directory / f"{_NAME}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(encoded)
        file.flush()
        os.fsync(descriptor)
    beside.replace(directory / _NAME)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(directory: Path) -> Delta | None:
    """None when there is none, or one that another version wrote in words we do not know."""
    try:
        return msgspec.json.decode((directory / _NAME).read_bytes(), type=Delta)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None

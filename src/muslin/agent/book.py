"""Flows that policy has ended, on disk: a restarted agent may write its table anew, and must not let them go on.

A file that is not there, or that is torn, is an empty book: then a flow that was ended may be picked up again where
policy allows the opposite direction, as it would be without us. The clock is the wall's: it outlives the process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from muslin.net import TrackedFlow

Book = dict[TrackedFlow, float]


def load(file: Path) -> Book:
    """Those whose time is not over."""
    try:
        entries = msgspec.msgpack.decode(file.read_bytes(), type=list[tuple[TrackedFlow, float]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {flow: until for flow, until in entries if until > time.time()}


def save(file: Path, book: Mapping[TrackedFlow, float]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.msgpack.encode(list(book.items())))
    fresh.replace(file)

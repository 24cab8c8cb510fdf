"""Deltas as lines of JSON, each part encoded once.

When a set of a hundred thousand members gets one more, a thousand hosts are told so in the same words. The words are
made once: within one flush, every value that appears in several hosts' deltas is encoded the first time it is met.
"""

from __future__ import annotations

from typing import Any

import msgspec

from muslin.intent import Delta

_SHARED = ("sets", "policies", "groups")


class Frames:
    """Good for one flush: it remembers values by identity."""

    def __init__(self) -> None:
        self._encoded: dict[int, tuple[object, msgspec.Raw]] = {}

    def line(self, delta: Delta) -> bytes:
        frame: dict[str, Any] = {
            name: part for name in delta.__struct_fields__
            if (part := getattr(delta, name)) is not msgspec.UNSET and (part or name in ("bgp", "settings"))
        }
        for name in _SHARED:
            if name in frame:
                frame[name] = {key: self._raw(value) for key, value in frame[name].items()}
        return msgspec.json.encode(frame) + b"\n"

    def _raw(self, value: object) -> msgspec.Raw | None:
        if value is None:
            return None
        known = self._encoded.get(id(value))
        if known is None:
            known = self._encoded[id(value)] = (value, msgspec.Raw(msgspec.json.encode(value)))
        return known[1]

"""A stored object that does not decode.

Somebody wrote it past the API. It must not stop the rest of the cluster, and it must not open anything either: what
can still be read of it (whom it selects, where it stands) is used to deny, the rest is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muslin.model.meta import ResourceKey


@dataclass(frozen=True, slots=True)
class Illegible:
    """`reason` says what does not decode; `obj` is the object as far as it is JSON, None when not even that."""

    key: ResourceKey
    reason: str
    obj: Mapping[str, object] | None = None

    @property
    def absent(self) -> str:
        """The fault of an object that nobody can use any part of."""
        return f"{self.reason}. Until this is mended it is as if it did not exist"

    def part(self, name: str) -> Mapping[str, object]:
        """`spec` or `metadata` where it is a mapping, else an empty one."""
        found = self.obj.get(name) if self.obj else None
        return found if isinstance(found, Mapping) else {}


def texts(value: object) -> tuple[str, ...]:
    """The strings of a list, nothing for anything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def word(value: object) -> str:
    """"" for what is no string."""
    return value if isinstance(value, str) else ""


def labels(value: object) -> dict[str, str]:
    """The entries of a mapping that are labels."""
    if not isinstance(value, Mapping):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str)}

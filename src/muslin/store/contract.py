"""What every store promises (etcd's semantics, because etcd is the scale-out engine).

* One revision counter for the whole store; each successful write takes the next one.
* A write names what it expects to replace: `expect=0` the key must be absent, `expect=N` its last revision must be N,
  `expect=None` whatever is there. A lost race raises `Conflict` and writes nothing.
* Several writes may be committed as one: all or none.
* A list is a consistent picture at one revision; a watch from that revision misses nothing and repeats nothing.
* History may be compacted; a watch or a list at a revision that is gone raises `Compacted`: list again. So does one
  at a revision that has not been yet: the asker has seen another store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from muslin.errors import Transient


class Compacted(Transient):
    """The revision asked for has been compacted away, or never was; `oldest` is the first that is still there."""

    def __init__(self, asked: int, oldest: int) -> None:
        why = f"is compacted, the oldest is {oldest}" if asked < oldest else "has not been yet"
        super().__init__(f"revision {asked} {why}: list again")
        self.asked = asked
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Entry:
    """`revision` is that of the key's last write, `created` that of its creation."""

    key: str
    value: bytes
    revision: int
    created: int


@dataclass(frozen=True, slots=True)
class Event:
    """`value` None: deleted at `revision`. `previous` is the value before, None on creation, and `previous_revision`
    its revision, 0 on creation. `created` is when the key that is written or deleted here was created."""

    key: str
    revision: int
    value: bytes | None
    previous: bytes | None
    created: int
    previous_revision: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """`revision` is the store's at the time of the picture; `more` says that `limit` cut it."""

    entries: tuple[Entry, ...]
    revision: int
    more: bool


@dataclass(frozen=True, slots=True)
class Write:
    """`value` None: delete. `expect` as in `Store.put`."""

    key: str
    value: bytes | None
    expect: int | None = None


class Store(Protocol):
    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str, *, revision: int | None = None, limit: int = 0, after: str = "") -> Page:
        """Entries under `prefix` beyond key `after`, in key order, at `revision` or now. Raises Compacted."""
        ...

    async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
        """The new revision. Raises Conflict."""
        [revision] = await self.commit((Write(key, value, expect),))
        assert revision is not None
        return revision

    async def delete(self, key: str, *, expect: int | None = None) -> int | None:
        """The new revision; None when the key was absent (and expect is None). Raises Conflict."""
        [revision] = await self.commit((Write(key, None, expect),))
        return revision

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        """All of them or, with Conflict, none; each key at most once. The new revisions, in order; None as in
        `delete`."""
        ...

    def watch(self, prefix: str, *, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Batches of events with revision > `after`, in order, for ever. Raises Compacted."""
        ...

    async def revision(self) -> int: ...

    async def compact(self, revision: int) -> None:
        """Forget history before `revision`; current values stay."""
        ...

    async def close(self) -> None: ...

"""The four records of address assignment, named without saying where they lie, and the writes that change them.

There are no transactions over several records. Whoever writes names the revision that it replaces, and loses if
somebody was quicker; so every change is one `Write` of one record, and every order of writes is chosen so that a
death between two of them leaves something that the next one who looks can finish.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from muslin.errors import Invalid
from muslin.model.ipam import Block, BlockAffinity, Handle, IPAMConfig
from muslin.net import Cidr

DEFAULT_CONFIG = IPAMConfig(auto_allocate_blocks=True)
"""What holds when nobody has written a configuration."""

T = TypeVar("T")


class BlockKey(NamedTuple):
    cidr: Cidr


class AffinityKey(NamedTuple):
    host: str
    cidr: Cidr


class HandleKey(NamedTuple):
    handle: str


Key = BlockKey | AffinityKey | HandleKey


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A record as it was read, with the revision that a write must name."""

    value: T
    revision: int


@dataclass(frozen=True, slots=True)
class Write:
    """One compare-and-swap: `expect` 0 means that the record must be absent; `value` None deletes."""

    key: Key
    expect: int
    value: Block | BlockAffinity | Handle | None


class Unreadable(Invalid):
    """A record in the store that does not decode, or contradicts itself. It is never written over."""


class Taken(Invalid):
    """The address asked for belongs to somebody else. The message names the holder."""


class Exhausted(Invalid):
    """No address is left where one may be taken. The message says what is full, and the mend."""


def check_handle(handle: str) -> None:
    """Raises Invalid for a handle that cannot be a key: it would name somebody else's record."""
    if not handle or any(character in handle for character in "/\r\n\0"):
        raise Invalid(f"handle {handle!r}: write at least one character, and no '/' or line break: it becomes a key")


def stamp(now: int) -> str:
    """RFC 3339 in UTC and seconds, of nanoseconds since 1970."""
    return datetime.fromtimestamp(now // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str | None) -> int | None:
    """Nanoseconds since 1970 of RFC 3339 text; None when there is none, or none that can be read."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000 if text else None
    except ValueError:
        return None

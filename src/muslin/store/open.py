"""A store from its name: `sqlite:///FILE` or `memory:`."""

from __future__ import annotations

from pathlib import Path

from muslin.errors import Invalid
from muslin.store.contract import Store
from muslin.store.memory import MemoryStore
from muslin.store.sqlite import SqliteStore


def open_store(url: str) -> Store:
    """Raises Invalid when the name is not understood or the store cannot be had.

    `sqlite:///var/lib/x.db` is /var/lib/x.db, as in any URL; `sqlite:///x.db` lies in the current directory.
    """
    if url == "memory:":
        return MemoryStore()
    scheme, colon, rest = url.partition(":")
    if scheme == "sqlite" and rest.strip("/") and not rest.endswith("/"):
        return SqliteStore(_file(rest))
    if scheme == "etcd":
        raise Invalid(f"{url!r}: stores in etcd come in a later release, write sqlite:///FILE")
    if not colon or "/" in scheme:
        raise Invalid(f"{url!r} is not the name of a store: did you mean sqlite:///{url.lstrip('/')}?")
    raise Invalid(f"{url!r} is not the name of a store: write sqlite:///FILE (one machine) or memory: (gone at exit)")


def _file(rest: str) -> Path:
    if not rest.startswith("//"):
        return Path(rest)
    bare = rest.lstrip("/")
    return Path(bare) if "/" not in bare and not rest.startswith("////") else Path("/", bare)

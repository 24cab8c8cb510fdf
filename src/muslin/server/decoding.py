"""From stored bytes to what the calculation takes: typed structs, blocks of addresses, or `Illegible`.

The store holds JSON that anybody may have written. What does not decode goes on as `Illegible`, with whatever of it is
JSON, so that it denies what it touches instead of vanishing. The key says which object it is, whatever the value says.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from muslin.calc.illegible import Illegible
from muslin.model.ipam import Block
from muslin.model.kinds import KINDS
from muslin.model.meta import Resource, ResourceKey
from muslin.store import layout

Value = Resource | Block | Illegible | None

_DECODE: dict[str, Callable[[bytes], Any]] = {
    kind.name: msgspec.json.Decoder(kind.struct).decode for kind in KINDS
}
_DECODE[layout.BLOCK] = msgspec.json.Decoder(Block).decode


def decoded(key: ResourceKey, value: bytes | None) -> Value:
    """None stays None: it is gone."""
    if value is None:
        return None
    try:
        found: Resource | Block = _DECODE[key.kind](value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Illegible(key, str(error), _json(value))
    if isinstance(found, Resource) and found.key != key:
        metadata = msgspec.structs.replace(found.metadata, namespace=key.namespace, name=key.name)
        return msgspec.structs.replace(found, kind=key.kind, metadata=metadata)
    return found


def _json(value: bytes) -> dict[str, object] | None:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def in_bulk() -> Iterator[None]:
    """Decoding a hundred thousand objects: the collector would look at all of them again and again, four fifths of the
    time (measured). They are no garbage; it need not look at them later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

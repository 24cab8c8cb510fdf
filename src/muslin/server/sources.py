"""From the rule that decided back to the line that a person wrote.

`muslin apply` leaves two annotations on what it writes: the file and line of the object, and the line of each of its
rules. Whoever asks why is shown that line; for objects that came another way there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from muslin.intent import Origin
from muslin.model.kinds import BY_NAME
from muslin.model.meta import ResourceKey
from muslin.server.views import read
from muslin.store import Store, layout

SOURCE = "muslin.dev/source"
LINES = "muslin.dev/source-lines"


async def positions(store: Store, origins: Iterable[Origin]) -> dict[Origin, tuple[str, int]]:
    """`position` of each."""
    return {origin: await position(store, origin) for origin in origins}


async def position(store: Store, origin: Origin) -> tuple[str, int]:
    """File and line of a rule, of its object when the rule's is unknown; ("", 0) when neither is."""
    if origin.kind not in BY_NAME:
        return "", 0
    key = ResourceKey(origin.kind, origin.namespace, origin.name)
    entry = await store.get(layout.path(key))
    return position_in(read(entry, key)["metadata"].get("annotations") if entry else None, origin)


def position_in(annotations: object, origin: Origin) -> tuple[str, int]:
    """By the annotations of the object itself."""
    if not isinstance(annotations, dict):
        return "", 0
    file, _, line = str(annotations.get(SOURCE, "")).rpartition(":")
    of_rule = _line_of_rule(annotations.get(LINES), origin)
    return file, of_rule or (int(line) if line.isascii() and line.isdigit() else 0)


def _line_of_rule(annotation: object, origin: Origin) -> int:
    if origin.rule is None or not isinstance(annotation, str):
        return 0
    try:
        lines: Any = msgspec.json.decode(annotation)
        found = lines[origin.direction][origin.rule]
    except (msgspec.MsgspecError, KeyError, IndexError, TypeError):
        return 0
    return found if isinstance(found, int) else 0

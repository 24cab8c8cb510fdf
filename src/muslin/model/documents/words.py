"""`routeReflector: true` as a label: text without quotes that YAML takes for something else.

calicoctl knows the type of each field while it reads, and makes text of a truth value or number where text belongs;
files of Calico's users rely on it. (kubectl does not, so what goes to Kubernetes' groups is left as it is.) We do the
same where nothing is lost. A number that would come out in other letters (`1.10`, `007`) stays, and is refused with
its quotes: nobody means 1.1 who writes 1.10.
"""

from __future__ import annotations

from typing import Any

from muslin.model.documents.tree import Node
from muslin.model.kinds import BY_NAME, CALICO
from muslin.model.outline import Outline, Sort, outline

_WITH_A_UNIT = ("duration", "timer")
"""A number there is no text without quotes, but lacks its unit."""


def with_text(obj: Any, node: Node) -> Any:
    """The object with text where its kind has text. `node` is where it stands in the file."""
    if not isinstance(obj, dict) or obj.get("apiVersion") != CALICO:
        return obj
    kind = BY_NAME.get(obj["kind"]) if isinstance(obj.get("kind"), str) else None
    return obj if kind is None else _typed(obj, node, outline(kind.struct))


def _typed(value: Any, node: Node | None, of: Outline) -> Any:
    if node is None or not isinstance(value, bool | int | float | dict | list):
        return value
    match of.sort:
        case Sort.TEXT if of.form in _WITH_A_UNIT:
            return value
        case Sort.TEXT if isinstance(value, bool):
            return "true" if value else "false"
        case Sort.TEXT if isinstance(value, int | float) and node.spelled == str(value):
            return node.spelled
        case Sort.STRUCT if isinstance(value, dict):
            return {key: _typed(below, node.part(key), of.fields[key]) if key in of.fields else below
                    for key, below in value.items()}
        case Sort.MAP if isinstance(value, dict) and of.item is not None:
            return {key: _typed(below, node.part(key), of.item) for key, below in value.items()}
        case Sort.LIST if isinstance(value, list) and of.item is not None:
            return [_typed(below, node.part(index), of.item) for index, below in enumerate(value)]
        case _:
            return value

"""The same failure in a smaller world: whatever can be left out is left out.

First whole objects, halves before single ones; then fields and entries of what is left, until nothing more can go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]

_NEEDED = ("action", "protocol", "node", "orchestrator", "interfaceName", "ipNetworks", "workload", "endpoint",
           "applyOnForward", "stagedAction", "internalIP", "externalIP", "name", "port", "type")
"""Without these an object is another one, or none at all."""


def reduced(objects: list[Object], fails: Callable[[list[Object]], bool]) -> list[Object]:
    """`fails` says whether a world still shows the failure."""
    objects = _without_objects(objects, fails)
    number = 0
    while number < len(objects):
        whole = objects[number]
        inner = {name: value for name, value in whole.items() if name not in ("apiVersion", "kind", "metadata")}
        for other in _pruned(inner, needed=("spec", *inner)):
            candidate = [*objects[:number], whole | other, *objects[number + 1 :]]
            if fails(candidate):
                objects = candidate
                break
        else:
            number += 1
    return _without_objects(objects, fails)


def _without_objects(objects: list[Object], fails: Callable[[list[Object]], bool]) -> list[Object]:
    size = max(1, len(objects) // 2)
    while True:
        at = 0
        while at < len(objects):
            candidate = objects[:at] + objects[at + size :]
            if fails(candidate):
                objects = candidate
            else:
                at += size
        if size == 1:
            return objects
        size //= 2


def _pruned(value: Any, needed: tuple[str, ...] = _NEEDED) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in needed:
                yield {name: kept for name, kept in value.items() if name != key}
            for less in _pruned(inner):
                yield value | {key: less}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            if len(value) > 1:
                yield value[:place] + value[place + 1 :]
            for less in _pruned(inner):
                yield [*value[:place], less, *value[place + 1 :]]

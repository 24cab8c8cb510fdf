"""Changing an object by a description of the change: RFC 7386 merge patches and RFC 6902 JSON patches.

Both build a new object and leave the old one as it was. A patch that cannot be applied raises Refusal (422) and says at
which operation and why; a patch that is no patch at all raises Refusal (400).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from muslin.server.bodies import name_of
from muslin.server.refusals import Json, Refusal, bad_request, cause

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

TYPED_GROUPS = ("", "discovery.k8s.io", "networking.k8s.io")
"""Groups of Kubernetes whose kinds kubectl has built in, and patches strategically."""

MergeKeys = Mapping[tuple[str, ...], str]
MERGED_LISTS: dict[str, MergeKeys] = {"Service": {("spec", "ports"): "port"}}
"""Kind -> path of a list -> the field that tells its entries apart. All other lists are atomic."""

MOST_OPERATIONS = 10_000
"""As in Kubernetes: each operation may copy the object."""


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: objects merge by key, null removes, everything else (lists too) is replaced whole."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def strategic(target: Any, patch: Any, keys: MergeKeys | None = None, at: tuple[str, ...] = ()) -> Any:
    """A strategic merge patch: a merge patch, less its `$` directives, and lists with a merge key change by entries."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        here = (*at, name)
        if name.startswith("$"):
            continue
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, list) and (key := (keys or {}).get(here)):
            order = patch.get(f"$setElementOrder/{name}")
            merged[name] = _merged_list(merged.get(name), value, key, order if isinstance(order, list) else ())
        else:
            merged[name] = strategic(merged.get(name), value, keys, here)
    return merged


def _merged_list(target: Any, patch: list[Any], key: str, order: Sequence[Any]) -> list[Any]:
    """Entries that are equal in `key` are the same entry; `$patch` says what else than merging is meant."""
    entries = [one for one in target if isinstance(one, dict)] if isinstance(target, list) else []
    if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in patch):
        entries = []
    for one in patch:
        if not isinstance(one, dict):
            raise bad_request(f"an entry of a list that is merged by {key} must be an object")
        if one.get("$patch") == "replace":
            continue
        place = next((place for place, old in enumerate(entries) if old.get(key) == one.get(key)), None)
        if one.get("$patch") == "delete":
            entries = [old for old in entries if old.get(key) != one.get(key)]
        elif place is None:
            entries.append(strategic({}, one))
        else:
            entries[place] = strategic(entries[place], one)
    wanted = [one.get(key) for one in order if isinstance(one, dict)]
    return sorted(entries, key=lambda one: wanted.index(one.get(key)) if one.get(key) in wanted else len(wanted))


def json_patch(target: Json, operations: Any) -> Any:
    """RFC 6902. All operations or none."""
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request('a JSON patch is a list of operations such as {"op": "replace", "path": "/a", "value": 1}')
    if len(operations) > MOST_OPERATIONS:
        raise Refusal(413, "RequestEntityTooLarge", f"a JSON patch has at most {MOST_OPERATIONS} operations")
    result: Any = copy.deepcopy(target)
    for index, operation in enumerate(operations):
        try:
            result = _operate(result, operation)
        except _Mistake as mistake:
            what = f"operation {index} ({operation.get('op')} {operation.get('path')}): {mistake}"
            details = {"causes": [cause(f"[{index}]", what)]}
            raise Refusal(422, "Invalid", f"the JSON patch cannot be applied: {what}", details) from None
    return result


class _Mistake(Exception):
    pass


def _operate(document: Any, operation: Json) -> Any:
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, copy.deepcopy(_value(operation)))
        case "remove":
            return _remove(document, path)
        case "replace":
            _look(document, path)
            return _value(operation) if not path else _put(document, path, copy.deepcopy(_value(operation)))
        case "test":
            found = _look(document, path)
            if not _equal(found, _value(operation)):
                raise _Mistake("the test failed, the value there is another one")
            return document
        case "copy":
            return _add(document, path, copy.deepcopy(_look(document, _pointer(operation, "from"))))
        case "move":
            origin = _pointer(operation, "from")
            if path[: len(origin)] == origin and len(path) > len(origin):
                raise _Mistake("a value cannot be moved into itself")
            moved = _look(document, origin)
            return _add(_remove(document, origin), path, moved)
        case op:
            raise _Mistake(f"op must be add, remove, replace, move, copy or test, not {op!r}")


def _value(operation: Json) -> Any:
    if "value" not in operation:
        raise _Mistake("it has no value")
    return operation["value"]


def _pointer(operation: Json, member: str) -> list[str]:
    """RFC 6901."""
    text = operation.get(member)
    if not isinstance(text, str):
        raise _Mistake(f"it has no {member}")
    if text and not text.startswith("/"):
        raise _Mistake(f"{member} must begin with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _look(document: Any, path: Sequence[str]) -> Any:
    for depth, step in enumerate(path):
        if isinstance(document, dict):
            if step not in document:
                raise _Mistake(f"there is no /{'/'.join(path[: depth + 1])}")
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(document, step, len(document) - 1)]
        else:
            raise _Mistake(f"/{'/'.join(path[:depth])} is {name_of(document)}, nothing lies below it")
    return document


def _put(document: Any, path: Sequence[str], value: Any) -> Any:
    parent = _look(document, path[:-1])
    parent[_index(parent, path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]] = value
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _look(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(parent, path[-1], len(parent)), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _Mistake(f"/{'/'.join(path[:-1])} is {name_of(parent)}, nothing can be added to it")
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise _Mistake("the whole object cannot be removed by a patch: delete it")
    _look(document, path)
    parent = _look(document, path[:-1])
    del parent[_index(parent, path[-1], len(parent) - 1) if isinstance(parent, list) else path[-1]]
    return document


def _index(items: list[Any], step: str, last: int) -> int:
    if not (step.isascii() and step.isdigit()) or (len(step) > 1 and step[0] == "0") or len(step) > 9:
        raise _Mistake(f"{step!r} is not an index of a list")
    if int(step) > last:
        raise _Mistake(f"the list has only {len(items)} entries")
    return int(step)


def _equal(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)

"""Kubernetes' protobuf envelope, as far as kubectl sends it: objects of kinds that are compiled into it.

A body is `k8s\\0` and a message Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw object}. Only the fields that those
requests can carry are read; a field that is not in the tables below is passed over, as protobuf asks of every reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from muslin.errors import Invalid

MAGIC = b"k8s\0"

Shape = dict[int, "tuple[str, str | Shape]"]
"""Field number -> name, and `text`, `number`, `texts` (repeated), `map` (text to text), or a message's own shape."""

_META: Shape = {
    1: ("name", "text"), 2: ("generateName", "text"), 3: ("namespace", "text"), 5: ("uid", "text"),
    6: ("resourceVersion", "text"), 11: ("labels", "map"), 12: ("annotations", "map"), 14: ("finalizers", "texts"),
}
_ATTRIBUTES: Shape = {
    1: ("namespace", "text"), 2: ("verb", "text"), 3: ("group", "text"), 4: ("version", "text"),
    5: ("resource", "text"), 6: ("subresource", "text"), 7: ("name", "text"),
}
_SHAPES: dict[str, Shape] = {
    "Namespace": {1: ("metadata", _META), 2: ("spec", {1: ("finalizers", "texts")})},
    "SelfSubjectAccessReview": {
        1: ("metadata", _META),
        2: ("spec", {1: ("resourceAttributes", _ATTRIBUTES),
                     2: ("nonResourceAttributes", {1: ("path", "text"), 2: ("verb", "text")})}),
    },
    "SelfSubjectRulesReview": {1: ("metadata", _META), 2: ("spec", {1: ("namespace", "text")})},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "number"), 2: ("preconditions", {1: ("uid", "text"), 2: ("resourceVersion", "text")}),
        4: ("propagationPolicy", "text"), 5: ("dryRun", "texts"),
    },
}


def decode(body: bytes) -> dict[str, Any]:
    """The object as JSON data. Raises Invalid."""
    try:
        envelope = dict(_fields(body.removeprefix(MAGIC)))
        names = {number: _text(value) for number, value in _fields(_bytes(envelope[1]))}
        kind = names[2]
        if kind not in _SHAPES:
            raise Invalid(f"{kind} is not read from protobuf here: send JSON")
        return {"apiVersion": names[1], "kind": kind, **_message(_bytes(envelope[2]), _SHAPES[kind])}
    except (KeyError, IndexError, UnicodeDecodeError, TypeError) as error:
        raise Invalid(f"the protobuf body is damaged: {error!r}") from None


def _message(data: bytes, shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        name, sort = shape.get(number, ("", ""))
        if not name:
            continue
        if isinstance(sort, dict):
            found[name] = _message(_bytes(value), sort)
        elif sort == "number":
            found[name] = int(value)
        elif sort == "texts":
            found.setdefault(name, []).append(_text(value))
        elif sort == "map":
            pair = dict(_fields(_bytes(value)))
            found.setdefault(name, {})[_text(pair[1])] = _text(pair.get(2, b""))
        elif value:
            found[name] = _text(value)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        match tag & 7:
            case 0:
                value, at = _number(data, at)
                yield tag >> 3, value
            case 1 | 5 as wire:
                at += 8 if wire == 1 else 4
            case 2:
                length, at = _number(data, at)
                if at + length > len(data):
                    raise IndexError(f"field {tag >> 3} ends after the body")
                yield tag >> 3, data[at : at + length]
                at += length
            case wire:
                raise IndexError(f"wire type {wire}")


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise IndexError("a number of more than 64 bits")


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where a message is due")
    return value


def _text(value: bytes | int) -> str:
    return _bytes(value).decode()

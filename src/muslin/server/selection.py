"""`-l` and `--field-selector`: which objects of a list or a watch the client wants.

Kubernetes' label selectors, not Calico's: `app=web,tier in (a, b),!old`. Conditions are joined by commas, all must
hold; `!=` and `notin` hold where the label is absent. Of fields, the name and the namespace can be selected on every
kind, and a few more where they help a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from muslin.server.refusals import Json, bad_request

Predicate = Callable[[Json], bool]

_KEY = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9_.-]{0,63}"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_COMMA = re.compile(r",(?![^(]*\))")

FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "spec.node": ("spec", "node"),
    "spec.tier": ("spec", "tier"),
    "status.phase": ("status", "phase"),
}


def everything(_: Json) -> bool:
    return True


def selection(labels: str, fields: str) -> Predicate:
    """Does an object fit both? Raises Refusal (400)."""
    wanted = [*map(_label_condition, _parts(labels)), *map(_field_condition, _parts(fields))]
    if not wanted:
        return everything
    return lambda obj: all(fits(obj) for fits in wanted)


def labels_of(obj: Json) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels if isinstance(labels, dict) else {}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _COMMA.split(text) if part.strip()]


def _label_condition(text: str) -> Predicate:
    if match := _SET.fullmatch(text):
        key, word, inside = match.groups()
        values = frozenset(value.strip() for value in inside.split(","))
        if wrong := next((value for value in values if not re.fullmatch(_VALUE, value)), None):
            raise bad_request(f"unable to parse requirement: {wrong!r} in {text!r} is not a label value")
        if word == "in":
            return lambda obj: labels_of(obj).get(key) in values
        return lambda obj: labels_of(obj).get(key) not in values
    if match := _EQUAL.fullmatch(text):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda obj: labels_of(obj).get(key) != value
        return lambda obj: labels_of(obj).get(key) == value
    if match := _EXISTS.fullmatch(text):
        absent, key = bool(match[1]), match[2]
        return lambda obj: (key not in labels_of(obj)) == absent
    raise bad_request(
        f"unable to parse requirement {text!r}: write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
    )


def _field_condition(text: str) -> Predicate:
    field, operator, value = re.fullmatch(r"([^=!]*)(==|=|!=|)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if not operator:
        raise bad_request(f"invalid field selector {text!r}: write {field or 'metadata.name'}=value")
    if field not in FIELDS:
        raise bad_request(f"field label not supported: {field}")
    part, name = FIELDS[field]

    def fits(obj: Json) -> bool:
        holder = obj.get(part)
        found = holder.get(name, "") if isinstance(holder, dict) else ""
        return (found == value) != (operator == "!=")

    return fits

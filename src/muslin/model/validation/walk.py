"""One pass over a whole object, along its outline: types, unknown fields, words, bounds and forms.

The rules of a kind (ports need a protocol, a pool has one encapsulation) should not have to ask again whether a list
is a list. So the walk hands back what it found well-typed and leaves out the rest: rules read that, and may trust it.
Positions in lists are kept, so that paths stay true: what is ill-typed there becomes {} or None.

A null counts as absent, as for Go's decoder; in a list it is a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from muslin.errors import Broken
from muslin.model.fault import Path, Reason
from muslin.model.outline import Outline, Sort, outline
from muslin.model.validation import forms, hints, samples
from muslin.model.validation.findings import Findings, listed, near, quoted, shown
from muslin.model.validation.mappings import MAP_FORMS

Check = Callable[[Any, Path, Findings], Any]
_ILL: Any = object()
"""Not of the type that belongs here; the fault is written."""
_INT64 = 2**63
_LARGEST = 1e300
DEEPEST = 100
"""How many mappings and lists may stand inside each other."""


def walk(kind: type[msgspec.Struct], value: Any, findings: Findings) -> dict[str, Any]:
    """What of the object is well-typed."""
    found = _checker(kind)(value, (), findings)
    return {} if found is _ILL else found


@cache
def _checker(kind: type[msgspec.Struct]) -> Check:
    """The outline of a kind as closures, made once."""
    return _check(outline(kind), kind)


def _check(of: Outline, kind: type[msgspec.Struct]) -> Check:
    match of.sort:
        case Sort.STRUCT:
            return _struct(of, kind)
        case Sort.LIST:
            return _list(of, kind)
        case Sort.MAP:
            return _map(of, kind)
        case Sort.TEXT:
            return _text(of)
        case Sort.INTEGER:
            return _integer(of)
        case Sort.NUMBER:
            return _number(of)
        case Sort.FLAG:
            return _flag
        case Sort.INTEGER_OR_TEXT:
            return _mixed(of)
        case Sort.ANYTHING:
            return _anything


def _struct(of: Outline, kind: type[msgspec.Struct]) -> Check:
    checks = {name: _check(field, kind) for name, field in of.fields.items()}
    required = {name: field for name, field in of.fields.items() if field.required}

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return _wrong_type(value, path, findings, "a mapping", f"write its fields: {samples.example(of)}")
        found = {}
        for key, below in value.items():
            field = checks.get(key) if isinstance(key, str) else None
            if field is None:
                here = (*path, key if isinstance(key, str) else shown(key))
                findings.add(here, *hints.unknown_field(kind, of, here), Reason.UNKNOWN)
            elif below is not None:
                kept = field(below, (*path, key), findings)
                if kept is not _ILL:
                    found[key] = kept
        for name, field_of in required.items():
            if value.get(name) in (None, ""):
                mend = f"write {name}: {samples.sample(field_of)}"
                findings.add((*path, name), f"{name} is missing", "", mend, Reason.REQUIRED)
        return found

    return check


def _list(of: Outline, kind: type[msgspec.Struct]) -> Check:
    if of.item is None:
        raise Broken("a list without an item")
    item = _check(of.item, kind)
    hole: Any = {} if of.item.sort is Sort.STRUCT else None
    sample = samples.sample(of.item)

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(value, list):
            return _wrong_type(value, path, findings, "a list", samples.as_list(value))
        if of.most is not None and len(value) > of.most:
            mend = "split them over several" if of.most > 1 else "write one"
            findings.add(path, f"a list of {len(value)}", f"{of.most} is the most", mend)
        if of.least is not None and len(value) < of.least:
            findings.add(path, "an empty list", f"{of.least} is the least", f"write [{sample}]")
        found = []
        for index, below in enumerate(value):
            if below is None:
                findings.add((*path, index), "an empty entry", "", f"take it out, or write {sample}")
                found.append(hole)
                continue
            kept = item(below, (*path, index), findings)
            found.append(hole if kept is _ILL else kept)
        if of.unique:
            _no_twins(value, path, findings)
        return found

    return check


def _no_twins(values: list[Any], path: Path, findings: Findings) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if not isinstance(value, str):
            continue
        if value in seen:
            what = f"{shown(value)} stands twice in the list"
            findings.add((*path, index), what, "the second says nothing new", "take it out", Reason.DUPLICATE)
        seen.add(value)


def _map(of: Outline, kind: type[msgspec.Struct]) -> Check:
    if of.item is None:
        raise Broken("a mapping without an item")
    item, whole = _check(of.item, kind), MAP_FORMS.get(of.form)

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(value, dict):
            return _wrong_type(value, path, findings, "a mapping", "write pairs such as app: web")
        found = {}
        for key, below in value.items():
            if not isinstance(key, str):
                findings.add((*path, shown(key)), f"the key {shown(key)} is no text", "", quoted(shown(key)))
                continue
            kept = item("" if below is None else below, (*path, key), findings)
            if kept is not _ILL:
                found[key] = kept
        if whole:
            whole(found, path, findings)
        return found

    return check


def _text(of: Outline) -> Check:
    form, words, most, any_case = forms.TEXT_FORMS.get(of.form), of.enum, of.most, of.any_case
    is_selector, folded = of.form == "selector", frozenset(str(word).casefold() for word in of.enum)

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if not isinstance(value, str):
            return _wrong_type(value, path, findings, "text", samples.as_text(value, of))
        if value == "" and not isinstance(path[-1], int):
            return value
        if words:
            if value not in words and not (any_case and value.casefold() in folded):
                _unknown_word(value, path, findings, words)
        elif is_selector:
            unparsed = forms.selector(value)
            if unparsed:
                findings.add(path, *unparsed[0], offset=unparsed[1])
        elif form is not None:
            fault = form(value)
            if fault:
                findings.add(path, *fault)
        elif most is not None and len(value) > most:
            findings.add(path, f"{len(value)} characters", f"{most} is the most", "write it shorter")
        return value

    return check


def _unknown_word(value: str | int, path: Path, findings: Findings, words: tuple[str | int, ...]) -> None:
    meant = near(str(value), [str(word) for word in words])
    mend = f"write {meant}" if meant else "write that" if len(words) == 1 else "write one of them"
    why = f"it must be {listed(words)}"
    findings.add(path, f"{shown(value)} is not a word for {_named(path)}", why, mend, Reason.NOT_SUPPORTED)


def _integer(of: Outline) -> Check:
    least = -_INT64 if of.least is None else of.least
    most = _INT64 - 1 if of.most is None else of.most
    words = of.enum

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return _wrong_type(value, path, findings, "a whole number", samples.as_number(value, of))
        if words and value not in words:
            _unknown_word(value, path, findings, words)
        elif not least <= value <= most:
            bound = least if value < least else most
            findings.add(path, f"{shown(value)} is out of bounds", f"{bound} is the {_extreme(value, least)}",
                         f"write {bound}" if abs(bound) < _INT64 - 1 else "write a smaller number")
        return value

    return check


def _extreme(value: int, least: int) -> str:
    return "least" if value < least else "most"


def _number(of: Outline) -> Check:
    def check(value: Any, path: Path, findings: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _wrong_type(value, path, findings, "a number", samples.as_number(value, of))
        if not abs(value) < _LARGEST:
            return _wrong_type(value, path, findings, "a finite number", f"write {samples.sample(of)}")
        return value

    return check


def _flag(value: Any, path: Path, findings: Findings) -> Any:
    if isinstance(value, bool):
        return value
    return _wrong_type(value, path, findings, "true or false", samples.as_flag(value))


def _anything(value: Any, path: Path, findings: Findings) -> Any:
    """Foreign fields; only bottomless ones would break whoever copies them."""
    level = [value]
    for _ in range(DEEPEST):
        level = [below for one in level for below in (one.values() if isinstance(one, dict) else one)
                 if isinstance(below, dict | list)] if isinstance(value, dict | list) else []
        if not level:
            return value
    findings.add(path, f"more than {DEEPEST} mappings and lists inside each other", "", "write it flat")
    return _ILL


def _mixed(of: Outline) -> Check:
    form = forms.MIXED_FORMS.get(of.form)

    def check(value: Any, path: Path, findings: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return _wrong_type(value, path, findings, "a whole number or text", samples.as_mixed(value, of))
        if value == "" and not isinstance(path[-1], int):
            return value
        fault = form(value) if form else None
        if fault:
            findings.add(path, *fault)
        return value

    return check


def _wrong_type(value: Any, path: Path, findings: Findings, wanted: str, mend: str) -> Any:
    findings.add(path, f"{shown(value)} where {wanted} belongs", "", mend)
    return _ILL


def _named(path: Path) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "this")

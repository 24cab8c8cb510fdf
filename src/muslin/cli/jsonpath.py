"""The part of kubectl's JSONPath that people use: fields, indexes, `*`, quoted keys, `range`, text around braces."""

from __future__ import annotations

import json
import re

from muslin.cli.faults import Misused

_STEP = re.compile(r"""\.?\[(?P<index>-?\d+|\*)\]|\.?\['(?P<single>[^']+)'\]|\.?\["(?P<double>[^"]+)"\]
    |\.(?P<field>(?:[A-Za-z0-9_/-]|\\\.)+|\*)""", re.VERBOSE)
_ESCAPES = {r"\n": "\n", r"\t": "\t"}


def values(path: str, value: object) -> list[object]:
    """All values that the path leads to; none where a step leads nowhere. Raises Misused."""
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$").removeprefix("@")
    if path and path[0] not in ".[":
        path = "." + path
    found, at = [value], 0
    while at < len(path) and path != ".":
        step = _STEP.match(path, at)
        if step is None:
            raise Misused(f"path {path!r} is not understood from {path[at:]!r}: write .spec.field, [0], [*] or ['key']")
        found = [each for one in found for each in _follow(one, step)]
        at = step.end()
    return found


def expand(template: str, value: object) -> str:
    """`{.items[*].metadata.name}`, `{range .items[*]}{.metadata.name}{"\\n"}{end}`. Raises Misused."""
    pieces = re.findall(r"\{[^{}]*\}|[^{}]+", template if "{" in template else "{" + template + "}")
    text, rest = _expand(pieces, value)
    if rest:
        raise Misused("jsonpath: {end} without {range}")
    return text


def _expand(pieces: list[str], value: object, *, inside: bool = False) -> tuple[str, list[str]]:
    text, rest = "", list(pieces)
    while rest:
        piece = rest.pop(0)
        inner = piece[1:-1].strip() if piece.startswith("{") else None
        if inner is None:
            text += piece
        elif inner == "end":
            return text, rest if inside else [piece, *rest]
        elif inner.startswith("range "):
            body = rest
            for each in values(inner.removeprefix("range "), value):
                part, rest = _expand(body, each, inside=True)
                text += part
            if not values(inner.removeprefix("range "), value):
                _, rest = _expand(body, {}, inside=True)
        elif inner[:1] in "\"'" and inner:
            text += re.sub(r"\\[nt]", lambda found: _ESCAPES[found.group()], inner[1:-1])
        else:
            text += " ".join(one if isinstance(one, str) else json.dumps(one) for one in values(inner, value))
    return text, rest


def _follow(value: object, step: re.Match[str]) -> list[object]:
    index = step["index"]
    field = (step["single"] or step["double"] or step["field"] or "").replace("\\.", ".")
    if index == "*" or step["field"] == "*":
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if index is not None:
        return [value[int(index)]] if isinstance(value, list) and -len(value) <= int(index) < len(value) else []
    return [value[field]] if isinstance(value, dict) and field in value else []

"""Objects as text: json, yaml, names, chosen columns, a jsonpath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from muslin.cli import screen
from muslin.cli.faults import Misused, meant
from muslin.cli.parsing import Parser

Json = dict[str, Any]
FORMS = ("table", "wide", "json", "yaml", "name", "custom-columns", "jsonpath")


def option(parser: Parser, forms: str = "json, yaml or name") -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="table", help=forms)


def form(written: str, allowed: Sequence[str] = FORMS) -> str:
    """The name of the form. Raises Misused."""
    name = written.partition("=")[0]
    if name not in allowed:
        raise Misused(f"there is no output form {name!r}: write {', '.join(allowed)}{meant(name, allowed)}")
    if name in ("custom-columns", "jsonpath") and "=" not in written:
        raise Misused(f"-o {name} wants a path: " + ("-o custom-columns=NAME:.metadata.name"
                                                    if name == "custom-columns" else "-o jsonpath={.metadata.name}"))
    return name


def show(objects: Sequence[Json], form: str, written: str, *, one: bool, flush: bool = False) -> None:
    """`one`: a single object was asked for by name, so it is not wrapped in a list."""
    match form:
        case "name":
            text = "\n".join(name(obj) for obj in objects)
        case "custom-columns":
            text = _custom(objects, written.partition("=")[2])
        case "jsonpath":
            from muslin.cli.jsonpath import expand

            text = expand(written.partition("=")[2], _whole(objects, one=one))
        case "yaml":
            text = yaml_text(_whole([clean(obj) for obj in objects], one=one)).rstrip("\n")
            text += "\n---" if flush else ""
        case _:
            text = json.dumps(_whole([clean(obj) for obj in objects], one=one), indent=4, ensure_ascii=False)
    if text:
        print(text, flush=flush)


def name(obj: Json) -> str:
    """`globalnetworkpolicy.projectcalico.org/web`, as kubectl -o name."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return f"{str(obj.get('kind', '')).lower()}{'.' + group if group else ''}/{obj['metadata']['name']}"


def clean(obj: Json) -> Json:
    """Without the bookkeeping of field owners, which nobody reads."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def yaml_text(value: Json) -> str:
    """Keys in order of the alphabet, as kubectl prints them; long strings are not folded."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(value, Dumper=dumper, default_flow_style=False, allow_unicode=True, width=4096))


def _whole(objects: Sequence[Json], *, one: bool) -> Json:
    if one and len(objects) == 1:
        return objects[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(objects)}


def _custom(objects: Sequence[Json], specification: str) -> str:
    from muslin.cli.jsonpath import values

    heads, paths = [], []
    for part in specification.split(","):
        head, colon, path = part.partition(":")
        if not colon or not path:
            raise Misused(f"custom-columns: {part!r} is not HEAD:.path, such as NAME:.metadata.name")
        heads.append(head)
        paths.append(path)
    rows = [[_joined(values(path, obj)) for path in paths] for obj in objects]
    return "\n".join(screen.columns([heads, *rows]))


def _joined(found: list[object]) -> str:
    return ",".join(x if isinstance(x, str) else json.dumps(x) for x in found) if found else "<none>"

"""Objects as text: json, yaml, names, chosen columns, a jsonpath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from muslin.cli import screen
from muslin.cli.faults import Misused, meant
from muslin.cli.parsing import Parser

Json = dict[str, Any]
_OF_THIS_SERVER = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink",
    "kubectl.kubernetes.io/last-applied-configuration", "muslin.dev/source", "muslin.dev/source-lines",
)
FORMS = ("table", "wide", "json", "yaml", "name", "custom-columns", "jsonpath")


def option(parser: Parser, forms: str = "json, yaml or name") -> None:
    parser.add_argument("-o", "--output", metavar="FORM", default="table", help=forms)


def form(written: str, allowed: Sequence[str] = FORMS) -> str:
    """The name of the form. Raises Misused."""
    name = written.partition("=")[0]
    if name == "ps" and "table" in allowed:  # calicoctl's word for it
        return "table"
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
        print(text, end="" if form == "jsonpath" and text.endswith("\n") else "\n", flush=flush)


def name(obj: Json) -> str:
    """`globalnetworkpolicy.projectcalico.org/web`, as kubectl -o name."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return f"{str(obj.get('kind', '')).lower()}{'.' + group if group else ''}/{obj['metadata']['name']}"


def clean(obj: Json) -> Json:
    """Without the bookkeeping of field owners, which nobody reads."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def portable(obj: Json) -> Json:
    """Without what belongs to this server: `get --export`, to be applied elsewhere."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THIS_SERVER}
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key not in _OF_THIS_SERVER}
    return {**obj, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def yaml_text(value: Json) -> str:
    """Keys in order of the alphabet, as kubectl prints them; long strings are not folded."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Texts of several lines as such."""

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))
    return str(yaml.dump(value, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=4096))


def _whole(objects: Sequence[Json], *, one: bool) -> Json:
    if one and len(objects) == 1:
        return objects[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(objects)}


def _custom(objects: Sequence[Json], specification: str) -> str:
    from muslin.cli.jsonpath import values

    heads, paths = [], []
    for part in specification.split(","):
        head, colon, path = part.partition(":")
        if not colon or not path:  # all heads without a path are columns of the table, and do not come here
            raise Misused(f"custom-columns: {part!r} is not HEAD:.path, such as NAME:.metadata.name")
        heads.append(head)
        paths.append(path)
    rows = [[_joined(values(path, obj)) for path in paths] for obj in objects]
    return "\n".join(screen.columns([heads, *rows]))


def _joined(found: list[object]) -> str:
    return ",".join(x if isinstance(x, str) else json.dumps(x) for x in found) if found else "<none>"

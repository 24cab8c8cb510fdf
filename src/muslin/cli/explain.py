"""`muslin explain`: the fields of a kind, read off the structs that validation reads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from muslin.cli.faults import Misused, meant
from muslin.cli.parsing import Parser
from muslin.cli.screen import BOLD, DIM, paint
from muslin.model import kinds, translated
from muslin.model.kinds import Kind
from muslin.model.outline import Outline, Sort, outline

EXAMPLES = """
muslin explain gnp                        what a kind is for, and its fields
muslin explain gnp.spec.ingress           what a field means, and the fields below it
muslin explain ippool --recursive         the whole tree
"""
WIDTH = 100
WORDS = {
    Sort.STRUCT: "object", Sort.LIST: "list", Sort.MAP: "map", Sort.TEXT: "text", Sort.INTEGER: "integer",
    Sort.NUMBER: "number", Sort.FLAG: "true or false", Sort.INTEGER_OR_TEXT: "integer or text",
    Sort.ANYTHING: "anything",
}


def run(arguments: list[str]) -> int:
    parser = Parser("explain", "The fields of a kind. Needs no server.", usage="KIND[.FIELD...] [options]",
                    examples=EXAMPLES)
    parser.positional("words", nargs="*", metavar="KIND")
    parser.add_argument("--recursive", action="store_true", help="all fields below, as a tree")
    words = parser.read(arguments)
    if len(words.words) != 1:
        raise Misused("write a kind, and maybe a field: muslin explain gnp.spec.ingress\n  see: muslin kinds")
    first, *path = words.words[0].split(".")
    kind = kinds.find(first) or translated.find(first)
    if kind is None:
        every = {word for each in kinds.KINDS for word in (each.name.lower(), each.plural, *each.short)}
        raise Misused(f"there is no kind {first!r}{meant(first, every)}\n  see: muslin kinds")
    print("\n".join(_page(kind, path, recursive=words.recursive)))
    return 0


def _page(kind: Kind, path: list[str], *, recursive: bool) -> Iterator[str]:
    at, place = outline(kind.struct), kind.name
    summary = (kind.struct.__doc__ or "").strip()
    for step in path:
        below = _fields(at)
        if step not in below:
            raise Misused(f"{place} has no field {step!r}: it has {', '.join(below) or 'none'}{meant(step, below)}")
        at, place = below[step], f"{place}.{step}"
        summary = at.doc
    yield f"{paint(place, BOLD)}  {_sort(at) if path else kind.group_version}"
    yield from textwrap.wrap(" ".join(summary.split()), WIDTH)
    if below := _fields(at):
        yield ""
        yield from _listing(below, recursive=recursive, depth=0)


def _listing(fields: dict[str, Outline], *, recursive: bool, depth: int) -> Iterator[str]:
    indent = "  " * (depth + 1)
    for name, field in fields.items():
        yield f"{indent}{paint(name, BOLD)}  {_sort(field)}"
        if recursive:
            yield from _listing(_fields(field), recursive=True, depth=depth + 1)
            continue
        told = " ".join(filter(None, (field.doc, _bounds(field))))
        yield from (paint(line, DIM) for line in textwrap.wrap(told, WIDTH, initial_indent=indent + "    ",
                                                               subsequent_indent=indent + "    "))


def _fields(at: Outline) -> dict[str, Outline]:
    """Of an object, or of the objects in a list."""
    while at.item is not None:
        at = at.item
    return at.fields


def _sort(field: Outline) -> str:
    """`list of object`, `text`."""
    if field.item is not None:
        return f"{WORDS[field.sort]} of {_sort(field.item)}"
    return WORDS[field.sort]


def _bounds(field: Outline) -> str:
    at = field.item or field
    told = []
    if at.enum:
        told.append(f"One of {', '.join(map(str, at.enum))}.")
    if field.required:
        told.append("Required.")
    if field.most is not None:
        low = field.least if field.least is not None else 0
        what = "entries" if field.sort is Sort.LIST else "characters" if field.sort is Sort.TEXT else ""
        told.append(f"{low} to {field.most}{' ' + what if what else ''}.")
    return " ".join(told)

"""The structs of `model`, laid open: which fields, of what sort, with which words and bounds.

msgspec knows the types of a struct but checks them all or nothing: it stops at the first fault and passes over fields
it does not know. Whoever must name EVERY fault, or print a schema, walks this tree instead. It is read off the structs,
so there is no second list of fields to keep.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from muslin.errors import Broken


class Sort(Enum):
    STRUCT = auto()
    LIST = auto()
    MAP = auto()
    TEXT = auto()
    INTEGER = auto()
    NUMBER = auto()
    FLAG = auto()
    INTEGER_OR_TEXT = auto()
    ANYTHING = auto()


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """One place in an object. `fields` of a STRUCT by their JSON names, `item` of a LIST or MAP. See `shape.about`."""

    sort: Sort
    doc: str = ""
    title: str = ""
    """Name of the struct."""
    fields: dict[str, Outline] = {}
    item: Outline | None = None
    default: str | int | float | bool | None = None
    form: str = ""
    enum: tuple[str | int, ...] = ()
    any_case: bool = False
    least: int | None = None
    most: int | None = None
    unique: bool = False
    required: bool = False


@cache
def outline(struct: type[msgspec.Struct]) -> Outline:
    """The tree below a struct."""
    return _of(inspect.type_info(struct), "", {})


_SCALARS: dict[type[inspect.Type], Sort] = {
    inspect.StrType: Sort.TEXT, inspect.IntType: Sort.INTEGER, inspect.FloatType: Sort.NUMBER,
    inspect.BoolType: Sort.FLAG, inspect.AnyType: Sort.ANYTHING,
}


def _of(found: inspect.Type, doc: str, extra: dict[str, Any]) -> Outline:
    match found:
        case inspect.Metadata(type=inner):
            schema = found.extra_json_schema or {}
            return _of(inner, str(schema.get("description") or doc), {**extra, **(found.extra or {})})
        case inspect.UnionType(types=types):
            sorts = [_of(one, doc, extra) for one in types if not isinstance(one, inspect.NoneType)]
            if {one.sort for one in sorts} == {Sort.INTEGER, Sort.TEXT}:
                return Outline(sort=Sort.INTEGER_OR_TEXT, doc=doc, **extra)
            if len(sorts) == 1:
                return sorts[0]
        case inspect.StructType(cls=cls, fields=fields):
            below = {field.encode_name: _of(field.type, "", {}) for field in fields}
            return Outline(sort=Sort.STRUCT, doc=doc, title=cls.__name__, fields=below, **extra)
        case inspect.VarTupleType(item_type=item):
            return Outline(sort=Sort.LIST, doc=doc, item=_of(item, "", {}), **extra)
        case inspect.DictType(value_type=value):
            return Outline(sort=Sort.MAP, doc=doc, item=_of(value, "", {}), **extra)
        case _ if type(found) in _SCALARS:
            return Outline(sort=_SCALARS[type(found)], doc=doc, **extra)
    raise Broken(f"a resource has a field of a type that no outline knows: {found}")

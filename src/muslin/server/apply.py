"""Server-side apply: several writers, each with its own part of one object.

Who applies says "these fields are mine, with these values". What it applied before and leaves out now is removed,
unless another writer has it too. A field that another writer owns with another value is a conflict, until forced.
Ownership is kept in metadata.managedFields, as paths of leaves; maps merge, lists belong to one writer as a whole.

Objects that nobody ever applied this way carry no managedFields, and fields without an owner are anybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from muslin.server import patch
from muslin.server.bodies import an_object
from muslin.server.refusals import Json, Refusal, bad_request, cause, qualified
from muslin.server.requests import Place
from muslin.server.stamps import lean, now

Steps = tuple[str, ...]

_NOBODYS = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields",
            "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName")


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: str
    api_version: str
    time: str
    paths: frozenset[Steps]

    @property
    def entry(self) -> Json:
        return {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version,
                "time": self.time, "fieldsType": "FieldsV1", "fieldsV1": _tree(self.paths)}


def configuration(body: object) -> Json:
    """The object of an apply patch, less what says nothing. Raises Refusal (400)."""
    obj = an_object(body)
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    return cast(Json, _without_nulls(obj))


def applied(old: Json | None, config: Json, *, manager: str, force: bool, where: Place) -> Json:
    """The object after `manager` applied `config`. Raises Refusal (409)."""
    wanted = frozenset(_leaves(config))
    version = where.served.api_version
    if old is None:
        return _with_owners(config, [Owner(manager, "Apply", version, now(), wanted)])
    owners = _owners(old)
    mine = next((one for one in owners if (one.manager, one.operation) == (manager, "Apply")), None)
    others = [one for one in owners if one is not mine]
    contested = _contested(old, config, wanted, others)
    if contested and not force:
        raise _conflict(where, contested)
    lost = {path for _, path in contested}
    others = [replace(one, paths=frozenset(path for path in one.paths if not _meets(path, lost))) for one in others]
    new = cast(Json, patch.merge(old, config))
    if mine:
        elsewhere = frozenset[Steps]().union(*(one.paths for one in others))
        for path in mine.paths - wanted - elsewhere:
            if not _meets(path, wanted):
                new = _removed(new, path)
    time = mine.time if mine and mine.paths == wanted and _same(old, new) else now()
    return _with_owners(new, [*others, Owner(manager, "Apply", version, time, wanted)])


def tracked(old: Json | None, new: Json, manager: str) -> Json:
    """`new`, made from `old` by other means than applying: its managedFields say who changed what."""
    metadata = new.get("metadata")
    if old is None or not isinstance(metadata, dict):
        return new
    before, given = old["metadata"].get("managedFields"), metadata.get("managedFields")
    if given is not None and given != before and isinstance(given, list):
        return new  # the client moves ownership itself: kubectl does, from client-side to server-side apply
    if not before:
        return {**new, "metadata": {name: part for name, part in metadata.items() if name != "managedFields"}}
    new = {**new, "metadata": lean(metadata)}
    return _with_owners(new, _reassigned(old, new, manager))


def untracked(obj: Json) -> Json:
    """A new object begins without owners."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    return {**obj, "metadata": {name: part for name, part in metadata.items() if name != "managedFields"}}


def _reassigned(old: Json, new: Json, manager: str) -> list[Owner]:
    there, before = set(_leaves(new)), set(_leaves(old))
    changed = frozenset(path for path in there if path not in before or _look(old, path) != _look(new, path))
    owners = []
    found = False
    for one in _owners(old):
        updates = (one.manager, one.operation) == (manager, "Update")
        found = found or updates
        paths = (one.paths & there) - changed | (changed if updates else frozenset())
        owners.append(replace(one, paths=paths, time=now() if updates and changed - one.paths else one.time))
    if changed and not found:
        owners.append(Owner(manager, "Update", str(new.get("apiVersion", "")), now(), changed))
    return owners


def _contested(old: Json, config: Json, wanted: frozenset[Steps], others: Iterable[Owner]) -> list[tuple[Owner, Steps]]:
    return [
        (one, path) for one in others for path in sorted(wanted)
        if _meets(path, one.paths) and _look(old, path) != _look(config, path)
    ]


def _conflict(where: Place, contested: list[tuple[Owner, Steps]]) -> Refusal:
    causes = [
        cause("." + ".".join(path), f'conflict with "{one.manager}" using {one.api_version}', "FieldManagerConflict")
        for one, path in contested
    ]
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    said = ", ".join(f'{one["message"]}: {one["field"]}' for one in causes)
    resource = qualified(where.served.plural, where.served.group)
    details = {"name": where.name, "group": where.served.group, "kind": where.served.plural, "causes": causes}
    return Refusal(409, "Conflict", f'Apply failed with {count} on {resource} "{where.name}": {said}', details)


def _owners(obj: Json) -> list[Owner]:
    entries = obj["metadata"].get("managedFields")
    return [
        Owner(str(entry.get("manager", "")), str(entry.get("operation", "")), str(entry.get("apiVersion", "")),
              str(entry.get("time", "")), frozenset(_paths(entry.get("fieldsV1"))))
        for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, dict)
    ]


def _with_owners(obj: Json, owners: Iterable[Owner]) -> Json:
    metadata = {name: part for name, part in (obj.get("metadata") or {}).items() if name != "managedFields"}
    if entries := [one.entry for one in owners if one.paths]:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def _leaves(value: Any, at: Steps = ()) -> Iterator[Steps]:
    """Paths of what can be owned. A list is one leaf, so is an empty object."""
    if at == () and isinstance(value, dict):
        value = {name: part for name, part in value.items() if name not in ("apiVersion", "kind")}
    if at == ("metadata",) and isinstance(value, dict):
        value = {name: part for name, part in value.items() if name not in _NOBODYS}
        if not value:
            return
    if isinstance(value, dict) and (value or not at):
        for name, part in value.items():
            yield from _leaves(part, (*at, name))
    else:
        yield at


def _tree(paths: Iterable[Steps]) -> Json:
    tree: Json = {}
    for path in sorted(paths):
        below = tree
        for step in path:
            below = below.setdefault(f"f:{step}", {})
    return tree


def _paths(tree: Any, at: Steps = ()) -> Iterator[Steps]:
    below = [(name[2:], part) for name, part in tree.items() if name.startswith("f:")] if isinstance(tree, dict) else []
    if below:
        for step, part in below:
            yield from _paths(part, (*at, step))
    elif at:
        yield at


def _meets(path: Steps, others: Iterable[Steps]) -> bool:
    """Is one of the others the same place, above it, or below it?"""
    return any(path[: len(other)] == other[: len(path)] for other in others)


def _look(obj: Any, path: Steps) -> Any:
    for step in path:
        if not isinstance(obj, dict) or step not in obj:
            return None
        obj = obj[step]
    return obj


def _removed(obj: Json, path: Steps) -> Json:
    """Without the value at `path`, and without the objects above it that it leaves empty."""
    step, rest = path[0], path[1:]
    if not isinstance(obj, dict) or step not in obj:
        return obj
    below = _removed(obj[step], rest) if rest else None
    if not rest or below == {}:
        return {name: part for name, part in obj.items() if name != step}
    return {**obj, step: below}


def _same(one: Json, other: Json) -> bool:
    return _with_owners(one, ()) == _with_owners(other, ())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    return value

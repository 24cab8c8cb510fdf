"""Create, read, change and delete API objects: Kubernetes' rules, over any store.

Every change is a loop around one compare-and-swap: read, decide, write what was read's successor. A client that names
the resourceVersion it has seen gets a conflict when the object has moved on; one that names none has its change made on
top of whatever is there. A change that changes nothing writes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from muslin.errors import Conflict
from muslin.server import admission, builtin, pages, stamps
from muslin.server.checks import STRICT, checked
from muslin.server.lockout import Guard
from muslin.server.refusals import Json, already_exists, bad_request, cause, conflict, forbidden, invalid, not_found
from muslin.server.selection import Predicate
from muslin.server.served import Served
from muslin.server.views import View, view_of, written
from muslin.store import Entry, Store

ATTEMPTS = 50
"""So often a change without a resourceVersion is made again on top of somebody else's."""

Change = Callable[[Json | None], Json]
"""From the object as it is (None: there is none) to the object as it shall be. Must leave the old one as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a client wants its write to be done."""

    dry: bool = False
    strictness: str = STRICT
    upsert: bool = False
    """Create what is not there (server-side apply does)."""
    forced: bool = False
    """Even if it locks the cluster out of its own hosts."""


@dataclass(frozen=True, slots=True)
class Written:
    obj: Json
    created: bool = False
    warnings: tuple[str, ...] = ()
    deleted: bool = False


class Objects:
    """All kinds, one store."""

    def __init__(self, store: Store, guard: Guard | None = None) -> None:
        self.store = store
        self._guard = guard
        self._serial: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def on(self, store: Store) -> Objects:
        """The same, of another store: a draft of this one."""
        made = Objects(store, self._guard and self._guard.on(store))
        made._serial = self._serial
        return made

    async def guarded(self) -> bool:
        """Does the guard look at what is written?"""
        return self._guard is not None and await self._guard.has_hosts()

    async def exists(self, served: Served, namespace: str, name: str) -> bool:
        return await self.store.get(view_of(served).path(namespace, name)) is not None

    async def get(self, served: Served, namespace: str, name: str) -> Json:
        if _is_default_allow(served, name):
            return builtin.default_allow()
        _, obj = await self._found(served, view_of(served), namespace, name)
        return obj

    async def list(self, served: Served, namespace: str, chosen: Predicate, page: pages.Asked) -> pages.Listing:
        return await pages.listing(self.store, served, view_of(served), namespace, chosen, page)

    async def create(self, served: Served, namespace: str, obj: Json, wish: Wish) -> Written:
        _identify(served, obj, namespace, None)
        metadata = obj["metadata"]
        if _is_default_allow(served, metadata.get("name")):
            raise already_exists(served.plural, served.group, metadata["name"])
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        attempts = 1
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                message = "Required value: name or generateName is required"
                causes = [cause("metadata.name", message, "FieldValueRequired")]
                raise invalid(served.name, served.group, "", causes)
            attempts = 8
        for attempt in range(attempts):
            if attempts > 1:
                metadata["name"] = stamps.generated(str(metadata["generateName"]))
            try:
                return await self._create(served, view_of(served), namespace, obj, wish)
            except Conflict:
                if attempt == attempts - 1:
                    raise already_exists(served.plural, served.group, metadata["name"]) from None
        raise AssertionError("not reached")

    async def change(self, served: Served, namespace: str, name: str, change: Change, wish: Wish) -> Written:
        """Raises Refusal: 404, 409, 422 ..."""
        view = view_of(served)
        if _is_default_allow(served, name):
            return _unchanged_default_allow(served, change)
        for _ in range(ATTEMPTS):
            entry = await self.store.get(view.path(namespace, name))
            old = view.shown(entry) if entry else None
            if old is None and not wish.upsert:
                raise not_found(served.plural, served.group, name)
            new = change(old)
            _identify(served, new, namespace, name)
            try:
                if entry is None or old is None:
                    return await self._create(served, view, namespace, new, wish)
                return await self._replace(served, view, entry, old, new, wish)
            except Conflict:
                continue
        raise conflict(served.plural, served.group, name)

    async def delete(self, served: Served, namespace: str, name: str, options: Json, *, dry: bool,
                     forced: bool = False) -> Written:
        """The last state of the object; `deleted` False: it waits for its finalizers."""
        view = view_of(served)
        if _is_default_allow(served, name):
            await admission.admit_deletion(self.store, served, builtin.default_allow())
        for _ in range(ATTEMPTS):
            entry, obj = await self._found(served, view, namespace, name)
            _require_preconditions(served, obj, options)
            async with self._turn(served):
                await admission.admit_deletion(self.store, served, obj)
                if self._guard and not obj["metadata"].get("finalizers"):
                    await self._guard.admit(served, None, view.stored(obj), forced=forced)
                try:
                    return await self._delete(served, entry, view, obj, dry)
                except Conflict:
                    continue
        raise conflict(served.plural, served.group, name)

    async def _found(self, served: Served, view: View, namespace: str, name: str) -> tuple[Entry, Json]:
        entry = await self.store.get(view.path(namespace, name))
        obj = view.shown(entry) if entry else None
        if entry is None or obj is None:
            raise not_found(served.plural, served.group, name)
        return entry, obj

    def _turn(self, served: Served) -> Any:
        return self._serial[served.kind.name] if served.kind.name in admission.SERIAL else nullcontext()

    async def _create(self, served: Served, view: View, namespace: str, obj: Json, wish: Wish) -> Written:
        obj, warnings = checked(served, stamps.stamped(_typed(served, obj), stamps.now()), None, wish.strictness)
        name = obj["metadata"]["name"]
        path = view.path(namespace, name)
        async with self._turn(served):
            if await self.store.get(path) is not None:
                raise already_exists(served.plural, served.group, name)
            record = view.stored(obj)
            await admission.admit(self.store, served, record, None)
            if self._guard:
                await self._guard.admit(served, record, None, forced=wish.forced)
            if not wish.dry:
                revision = await self.store.put(path, written(record), expect=0)
                obj["metadata"]["resourceVersion"] = str(revision)
        return Written(obj, created=True, warnings=warnings)

    async def _replace(
        self, served: Served, view: View, entry: Entry, old: Json, new: Json, wish: Wish
    ) -> Written:
        _require_seen(served, old, new)
        new = stamps.restamped(_typed(served, new), old)
        warnings: tuple[str, ...] = ()
        leaving = "deletionTimestamp" in old["metadata"]
        if not (leaving and _only_finalizers_differ(old, new)):
            new, warnings = checked(served, new, old, wish.strictness)
            new = stamps.restamped(new, old)
        if new == old:
            return Written(old, warnings=warnings)
        record = view.stored(new)
        async with self._turn(served):
            await admission.admit(self.store, served, record, old)
            going = leaving and not new["metadata"].get("finalizers")
            if self._guard:
                await self._guard.admit(served, None if going else record, old, forced=wish.forced)
            if wish.dry:
                return Written(new, warnings=warnings)
            if leaving and not new["metadata"].get("finalizers"):
                revision = await self.store.delete(entry.key, expect=entry.revision)
                new["metadata"]["resourceVersion"] = str(revision)
                return Written(new, warnings=warnings, deleted=True)
            revision = await self.store.put(entry.key, written(record), expect=entry.revision)
        new["metadata"]["resourceVersion"] = str(revision)
        return Written(new, warnings=warnings)

    async def _delete(self, served: Served, entry: Entry, view: View, obj: Json, dry: bool) -> Written:
        metadata = obj["metadata"]
        if metadata.get("finalizers"):
            if metadata.get("deletionTimestamp") or dry:
                return Written(obj)
            metadata.update(deletionTimestamp=stamps.now(), deletionGracePeriodSeconds=0)
            revision = await self.store.put(entry.key, written(view.stored(obj)), expect=entry.revision)
            metadata["resourceVersion"] = str(revision)
            return Written(obj)
        if not dry:
            await self.store.delete(entry.key, expect=entry.revision)
        return Written(obj, deleted=True, warnings=await admission.remarks(self.store, served, obj))


def _is_default_allow(served: Served, name: object) -> bool:
    return served.kind.name == "Profile" and name == builtin.DEFAULT_ALLOW_NAME


def _unchanged_default_allow(served: Served, change: Change) -> Written:
    """It lies in no store, so the only change of it is none."""
    old = builtin.default_allow()
    new = change(old)
    if new.get("spec") != old["spec"]:
        raise forbidden(served.plural, served.group, builtin.DEFAULT_ALLOW_NAME, "this profile is built in")
    return Written(old)


def _typed(served: Served, obj: Json) -> Json:
    return {**obj, **served.type_meta}


def _identify(served: Served, obj: Json, namespace: str, name: str | None) -> None:
    """Kind, name and namespace are those of the URL. Raises Refusal (400)."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if kind not in (None, "", served.name) or version not in (None, "", served.api_version):
        raise bad_request(
            f"the object is a {kind} of {version}, this is the place of {served.name} of {served.api_version}"
        )
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for field in ("name", "namespace", "generateName", "resourceVersion", "uid"):
        if not isinstance(metadata.get(field, ""), str | None):
            raise bad_request(f"metadata.{field} must be a text")
    if namespace and metadata.get("namespace") not in (None, "", namespace):
        raise bad_request(
            f"the namespace of the provided object ({metadata['namespace']}) does not match "
            f"the namespace sent on the request ({namespace})"
        )
    if not namespace and metadata.get("namespace"):
        raise bad_request(f"{served.name} belongs to no namespace: leave metadata.namespace out")
    if name is not None and metadata.get("name") not in (None, "", name):
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    if name is not None:
        metadata["name"] = name
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def _require_seen(served: Served, old: Json, new: Json) -> None:
    before, given = old["metadata"], new["metadata"]
    if given.get("resourceVersion") and given["resourceVersion"] != before["resourceVersion"]:
        raise conflict(served.plural, served.group, before["name"])
    if given.get("uid") and given["uid"] != before.get("uid"):
        why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {before.get('uid')}"
        raise conflict(served.plural, served.group, before["name"], why)


def _require_preconditions(served: Served, obj: Json, options: Json) -> None:
    wanted = options.get("preconditions") or {}
    if not isinstance(wanted, dict):
        raise bad_request("preconditions must be an object")
    for field, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        found = obj["metadata"].get(field)
        if wanted.get(field) and wanted[field] != found:
            why = f"Precondition failed: {word} in precondition: {wanted[field]}, {word} in object meta: {found}"
            raise conflict(served.plural, served.group, obj["metadata"]["name"], why)


def _only_finalizers_differ(old: Json, new: Json) -> bool:
    def rest(obj: Json) -> Json:
        return {**obj, "metadata": {name: part for name, part in obj["metadata"].items() if name != "finalizers"}}

    return rest(old) == rest(new)

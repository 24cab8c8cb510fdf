"""Objects of any kind written or removed, many in one call: for who has thousands of them and changes them always.

    POST /muslin/v1/changes  {"items": [{"put": OBJECT} or {"delete": OBJECT, of which kind and metadata are read}]}
    200                      {"items": [{"verb": VERB, "warnings": [...]} or {"status": Status}]}, in the order asked

`put` makes the object as it is given, whether it is there or not, and `delete` is content where it is gone: VERB is
`created`, `configured`, `unchanged`, `deleted` or `absent`. Each is checked as if it came alone, after those before it,
and fails alone. `fieldValidation`, `dryRun` and `lockout` are as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from muslin.errors import Broken, MuslinError
from muslin.server import admission, apply, belongings, requests, served
from muslin.server.addresses import Addresses
from muslin.server.objects import Objects, Wish
from muslin.server.refusals import Json, Refusal, bad_request, refusal_of
from muslin.server.served import Served
from muslin.server.turnover import Step, Turnover
from muslin.store import Store

MOST_AT_ONCE = 1000


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    put: dict[str, Any] | None = None
    delete: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


class Changes:
    def __init__(self, objects: Objects, addresses: Addresses, turnover: Turnover) -> None:
        self._objects = objects
        self._addresses = addresses
        self._turnover = turnover

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/muslin/v1/changes", self.change)]

    async def change(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Asked)
        except msgspec.MsgspecError as error:
            raise bad_request(f"the body is no list of changes: {error}") from None
        if len(asked.items) > MOST_AT_ONCE:
            raise bad_request(f"{len(asked.items)} changes in one call: at most {MOST_AT_ONCE}")
        wish, manager = requests.wish(request, upsert=True), requests.manager(request)
        answers: list[Json] = []
        for alone, run in _runs(asked.items):
            steps = [partial(self._changed, item, wish, manager) for item in run]
            done = [await self._alone(steps[0])] if alone else await self._turnover.do(steps)
            answers += [{"status": refusal_of(one).status} if isinstance(one, MuslinError) else one for one in done]
        return requests.answer({"items": answers})

    async def _alone(self, step: Step[Json]) -> Json | MuslinError:
        try:
            return await step(self._objects.store)
        except Broken:
            raise
        except MuslinError as error:
            return error

    async def _changed(self, item: Item, wish: Wish, manager: str, store: Store) -> Json:
        body = item.put if item.put is not None else item.delete
        if body is None or (item.put is not None and item.delete is not None):
            raise bad_request("a change is either put or delete")
        kind, namespace, name = _named(body)
        if item.put is not None:
            return await self._put(kind, namespace, name, body, wish, manager, store)
        return await self._deleted(kind, namespace, name, wish, store)

    async def _put(self, kind: Served, namespace: str, name: str, body: Json, wish: Wish, manager: str,
                   store: Store) -> Json:
        before: list[Json | None] = []

        def wanted(old: Json | None) -> Json:
            before[:] = [old]
            obj = {**body, "metadata": {**body["metadata"]}}
            return apply.untracked(obj) if old is None else apply.tracked(old, obj, manager)

        written = await self._objects.on(store).change(kind, namespace, name, wanted, wish)
        verb = "created" if written.created else "unchanged" if written.obj is before[0] else "configured"
        return _told(verb, written.warnings)

    async def _deleted(self, kind: Served, namespace: str, name: str, wish: Wish, store: Store) -> Json:
        try:
            written = await self._objects.on(store).delete(kind, namespace, name, {}, dry=wish.dry, forced=wish.forced)
        except Refusal as refusal:
            if refusal.code != 404:
                raise
            return _told("absent", ())
        warnings = written.warnings
        if written.deleted and not wish.dry:
            warnings += await belongings.release(self._addresses.on(store), kind, written.obj)
        return _told("deleted", warnings)


def _told(verb: str, warnings: tuple[str, ...]) -> Json:
    return {"verb": verb, **({"warnings": warnings} if warnings else {})}


def _runs(items: Sequence[Item]) -> Iterator[tuple[bool, list[Item]]]:
    """In order: changes that may share a commit, and those of kinds whose writes come one after the other, alone."""
    run: list[Item] = []
    for item in items:
        if (item.put or item.delete or {}).get("kind") in admission.SERIAL:
            yield False, run
            yield True, [item]
            run = []
        else:
            run.append(item)
    yield False, run


def _named(body: Json) -> tuple[Served, str, str]:
    """Raises Refusal (400)."""
    kind, metadata = served.of_kind(body), body.get("metadata")
    if kind is None:
        raise bad_request(f"there is no kind {body.get('kind')!r} of {body.get('apiVersion')!r}")
    said = metadata if isinstance(metadata, dict) else {}
    namespace, name = said.get("namespace") or "", said.get("name") or ""
    if not isinstance(name, str) or not isinstance(namespace, str) or not name or bool(namespace) != kind.namespaced:
        where = "metadata.namespace and metadata.name" if kind.namespaced else "metadata.name, and no namespace"
        raise bad_request(f"a {kind.name} needs {where}")
    if "/" in name or "/" in namespace:
        raise bad_request("a name has no /")
    return kind, namespace, name

"""Objects of any kind written or removed, many in one call: for who has thousands of them and changes them always.

    POST /muslin/v1/changes  {"items": [{"put": OBJECT} or {"delete": OBJECT, of which kind and metadata are read}]}
    200                      {"items": [{"verb": VERB, "warnings": [...]} or {"status": Status}]}, in the order asked

`put` makes the object as it is given, whether it is there or not, and `delete` is content where it is gone: VERB is
`created`, `configured`, `unchanged`, `deleted`, `leaving` (it waits for its finalizers) or `absent`. A `uid` or
`resourceVersion` in metadata is that of the object that is meant. Each is checked as if it came alone, after those
before it, and fails alone. `fieldValidation`, `dryRun` and `lockout` are as everywhere; what is only tried is done on a
draft that nobody saves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import groupby
from typing import Any

import msgspec
import structlog
from aiohttp import web

from muslin.errors import Broken, MuslinError
from muslin.server import admission, apply, belongings, guarded, requests, served
from muslin.server.addresses import Addresses
from muslin.server.bodies import read_items
from muslin.server.objects import Objects, Wish, Written
from muslin.server.refusals import Json, Refusal, bad_request, refusal_of
from muslin.server.served import Served
from muslin.server.turnover import BETWEEN, MOST, Step, Turnover, attempt
from muslin.store import Draft, Store

MOST_AT_ONCE = 1000

log = structlog.get_logger()


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    put: dict[str, Any] | None = None
    delete: dict[str, Any] | None = None


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


class _Lane(Enum):
    """Changes of one lane that come one after another share commits, so many at most."""

    ALONE = 1
    """Their rules look at others of their kind, which no compare-and-swap of one key sees."""
    GUARDED = 4
    """Where there are host endpoints, the guard may look at each of their hosts, tens of milliseconds for a hundred."""
    SHARED = MOST


@dataclass(frozen=True, slots=True)
class _Done:
    verb: str
    warnings: tuple[str, ...] = ()
    released: belongings.Released | None = None


class Changes:
    """`workloads` is the turnover of additions and removals, which must not wait for a thousand policies. What comes
    along with endpoints is planned there: apart, these would race with additions for blocks of addresses."""

    def __init__(self, objects: Objects, addresses: Addresses, workloads: Turnover, others: Turnover) -> None:
        self._objects = objects
        self._addresses = addresses
        self._workloads = workloads
        self._others = others

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/muslin/v1/changes", self.change)]

    async def change(self, request: web.Request) -> web.Response:
        asked = await read_items(request, Asked, MOST_AT_ONCE, "changes")
        wish, manager = requests.wish(request, upsert=True), requests.manager(request)
        return requests.answer({"items": await self.all_of(asked.items, wish, manager)})

    async def all_of(self, items: Sequence[Item], wish: Wish, manager: str) -> list[Json]:
        """The answer to each."""
        if wish.dry:
            return await self._tried(items, replace(wish, dry=False), manager)
        careful = await self._objects.guarded() or any(_kind(item) == "HostEndpoint" for item in items)
        answers: list[Json] = []
        for lane, run in _runs(items, careful=careful):
            done = await self._run(lane, run, [partial(self._changed, item, wish, manager) for item in run])
            answers += map(_told, run, done)
        return answers

    async def _tried(self, items: Sequence[Item], wish: Wish, manager: str) -> list[Json]:
        draft, answers = Draft(self._objects.store), list[Json]()
        for number, item in enumerate(items, 1):
            if number % BETWEEN == 0:
                await asyncio.sleep(0)
            answers.append(_told(item, await attempt(draft, partial(self._changed, item, wish, manager)), tried=True))
        return answers

    async def _run(self, lane: _Lane, run: list[Item], steps: list[Step[_Done]]) -> list[_Done | Exception]:
        if lane is _Lane.ALONE:
            return [await self._alone(step) for step in steps]
        with_endpoints = any(_kind(item) == "WorkloadEndpoint" for item in run)
        return await (self._workloads if with_endpoints else self._others).outcomes(steps)

    async def _alone(self, step: Step[_Done]) -> _Done | Exception:
        try:
            return await step(self._objects.store)
        except Exception as error:  # noqa: BLE001 (this one's; those before it are done, and must be answered)
            return error

    async def _changed(self, item: Item, wish: Wish, manager: str, store: Store) -> _Done:
        body = item.put if item.put is not None else item.delete
        if body is None or (item.put is not None and item.delete is not None):
            raise bad_request("a change is either put or delete")
        kind, namespace, name = _named(body)
        if item.put is not None:
            return await self._put(kind, namespace, name, body, wish, manager, store)
        return await self._deleted(kind, namespace, name, body["metadata"], wish, store)

    async def _put(self, kind: Served, namespace: str, name: str, body: Json, wish: Wish, manager: str,
                   store: Store) -> _Done:
        before: list[Json | None] = []

        def wanted(old: Json | None) -> Json:
            before[:] = [old]
            obj = {**body, "metadata": {**body["metadata"]}}
            return apply.untracked(obj) if old is None else apply.tracked(old, obj, manager)

        written = await self._objects.on(store).change(kind, namespace, name, wanted, wish)
        if written.deleted:  # it was waiting for the finalizers that it has no more
            return await self._gone(kind, written, store)
        verb = "created" if written.created else "unchanged" if written.obj is before[0] else "configured"
        return _Done(verb, written.warnings)

    async def _deleted(self, kind: Served, namespace: str, name: str, meant: Json, wish: Wish, store: Store) -> _Done:
        options = {"preconditions": {field: meant.get(field) for field in ("uid", "resourceVersion")}}
        try:
            written = await self._objects.on(store).delete(kind, namespace, name, options, dry=False,
                                                           forced=wish.forced)
        except Refusal as refusal:
            if refusal.code != 404:
                raise
            return _Done("absent")
        if not written.deleted:
            return _Done("leaving", written.warnings)
        return await self._gone(kind, written, store)

    async def _gone(self, kind: Served, written: Written, store: Store) -> _Done:
        released = await belongings.release(self._addresses.on(store), kind, written.obj)
        return _Done("deleted", written.warnings + released.warnings, released)


def _told(item: Item, done: _Done | Exception, *, tried: bool = False) -> Json:
    match done:
        case _Done():
            if done.released and not tried:
                done.released.report()
            return {"verb": done.verb, **({"warnings": done.warnings} if done.warnings else {})}
        case RecursionError():
            return {"status": bad_request("the object is nested too deeply").status}
        case MuslinError() if not isinstance(done, Broken):
            return {"status": refusal_of(done).status}
        case _:
            log.error("change_failed", object=_kind(item), exc_info=done)
            return {"status": Refusal(500, "InternalError", f"{type(done).__name__}: see the server's log").status}


def _runs(items: Sequence[Item], *, careful: bool) -> Iterator[tuple[_Lane, list[Item]]]:
    """In order. Other callers' changes come in between two of them."""
    for lane, together in groupby(items, partial(_lane, careful=careful)):
        left = list(together)
        while left:
            run, left = left[:lane.value], left[lane.value:]
            yield lane, run


def _lane(item: Item, *, careful: bool) -> _Lane:
    kind = _kind(item)
    if kind in admission.SERIAL:
        return _Lane.ALONE
    return _Lane.GUARDED if careful and kind in guarded.KINDS else _Lane.SHARED


def _kind(item: Item) -> str:
    """As it is stored; "" where that cannot be told."""
    found = served.of_kind(item.put or item.delete or {})
    return found.kind.name if found else ""


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

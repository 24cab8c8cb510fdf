"""Watches over HTTP: one JSON event a line, until the client leaves or its time is up.

A watch begins where the client says it stopped: at a resourceVersion, so that nothing is missed and nothing repeated;
or, without one, with the present state as ADDED events. What the client selects by labels can begin and cease to fit
while it watches: it then sees ADDED and DELETED, as if the object came and went.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
from aiohttp import web

from muslin.errors import MuslinError
from muslin.server import pages, requests, tables
from muslin.server.metrics import Metrics
from muslin.server.objects import Objects
from muslin.server.refusals import Json, bad_request, refusal_of
from muslin.server.requests import Place
from muslin.server.selection import Predicate, selection
from muslin.server.streams import Stopping, Stream, ticking
from muslin.server.views import View, view_of
from muslin.store import Entry, Event, Store

BOOKMARK_SECONDS = 15.0
NOWHERE = "/muslin/nothing/"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """`replay`: begin with the state as ADDED. `after`: the revision to begin after, None to begin with now.
    `marked`: say where the replay ends. `bookmarks`: say now and then how far we are. `seconds` 0: no end."""

    after: int | None
    replay: bool
    marked: bool
    bookmarks: bool
    seconds: int


class Watching:
    def __init__(self, objects: Objects, stopping: Stopping, metrics: Metrics) -> None:
        self._objects = objects
        self._stopping = stopping
        self._metrics = metrics

    async def watch(self, request: web.Request, where: Place) -> web.StreamResponse:
        """Raises Refusal as long as nothing has been sent."""
        start = _start(request)
        chosen = _chosen(request, where)
        teller = _Teller(request, where, chosen)
        store = self._objects.store
        first: list[Json] = []
        after = start.after
        if after is None or start.replay:
            listing = await self._objects.list(where.served, where.namespace, chosen, pages.Asked())
            first, after = listing.items, listing.revision
        else:
            await store.list(NOWHERE, revision=after)  # while it can still be an answer with a code: is it compacted?
        async with Stream(request, requests.JSON, self._stopping) as stream:
            with self._metrics.watching(where.served.plural):
                if start.replay:
                    for obj in first:
                        await stream.write(teller.line("ADDED", obj))
                if start.marked:
                    await stream.write(teller.bookmark(after, {INITIAL_EVENTS_END: "true"}))
                await self._follow(stream, teller, store, after, start)
        return stream.response

    async def _follow(self, stream: Stream, teller: _Teller, store: Store, after: int, start: Start) -> None:
        prefix = teller.view.prefix(teller.where.namespace)
        end = asyncio.get_running_loop().time() + start.seconds if start.seconds else None
        events = store.watch(prefix, after=after)
        told = after
        try:
            async with aclosing(ticking(events, BOOKMARK_SECONDS, self._stopping, end)) as ticks:
                async for batch in ticks:
                    if stream.over:
                        return
                    if batch:
                        told = batch[-1].revision
                        await stream.write(b"".join(teller.lines(batch)))
                    elif start.bookmarks and (now := await store.revision()) > told:
                        told = now
                        await stream.write(teller.bookmark(now, {}))
        except MuslinError as error:
            await stream.write(_line("ERROR", refusal_of(error).status))


class _Teller:
    """Turns the store's events into lines for one client."""

    def __init__(self, request: web.Request, where: Place, chosen: Predicate) -> None:
        self.where = where
        self.view: View = view_of(where.served)
        self._chosen = chosen
        self._table = requests.wants_table(request)
        self._include = requests.include(request)
        self._headed = False

    def lines(self, batch: tuple[Event, ...]) -> list[bytes]:
        return [line for event in batch if (line := self._event(event))]

    def line(self, kind: str, obj: Json) -> bytes:
        if not self._table:
            return _line(kind, obj)
        version = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        row = tables.table(self.where.served, [obj], version, include=self._include, head=not self._headed)
        self._headed = True
        return _line(kind, row)

    def bookmark(self, revision: int, annotations: dict[str, str]) -> bytes:
        metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        if not self._table:
            return _line("BOOKMARK", {**self.where.served.type_meta, "metadata": metadata})
        part = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        cells = [""] * (2 + len(tables.columns_of(self.where.served)))
        return _line("BOOKMARK", {
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(revision)},
            "columnDefinitions": [], "rows": [{"cells": cells, "object": part}],
        })

    def _event(self, event: Event) -> bytes | None:
        before = self._shown(event, event.previous, event.previous_revision)
        after = self._shown(event, event.value, event.revision)
        if after is not None:
            return self.line("MODIFIED" if before is not None else "ADDED", after)
        if before is None:
            return None
        before["metadata"]["resourceVersion"] = str(event.revision)
        return self.line("DELETED", before)

    def _shown(self, event: Event, value: bytes | None, revision: int) -> Json | None:
        if value is None:
            return None
        obj = self.view.shown(Entry(event.key, value, revision, event.created))
        return obj if obj is not None and self._chosen(obj) else None


def _start(request: web.Request) -> Start:
    """Raises Refusal (400)."""
    query = request.query
    revision = requests.number(request, "resourceVersion")
    initial = query.get("sendInitialEvents", "")
    if initial and query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request("sendInitialEvents needs resourceVersionMatch=NotOlderThan")
    wanted = requests.flag(request, "sendInitialEvents")
    bookmarks = requests.flag(request, "allowWatchBookmarks")
    if wanted and not bookmarks:
        raise bad_request("sendInitialEvents needs allowWatchBookmarks=true")
    replay = wanted if initial else not revision
    return Start(after=revision or None, replay=replay, marked=wanted, bookmarks=bookmarks,
                 seconds=requests.number(request, "timeoutSeconds"))


def _chosen(request: web.Request, where: Place) -> Predicate:
    """`watch=true` on one object's own path is a watch of that name."""
    chosen = requests.chosen(request)
    if not where.name:
        return chosen
    named = selection("", f"metadata.name={where.name}")
    return lambda obj: named(obj) and chosen(obj)


def _line(kind: str, obj: Json) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"

"""The resources over HTTP: which method on which path means what, exactly as kubectl expects it.

    GET     collection: list, or watch      one: read
    POST    collection: create
    PUT     one: replace                    PATCH  one: merge, JSON, strategic or apply patch
    DELETE  one                             collection: all that are selected
"""

from __future__ import annotations

from aiohttp import web

from muslin.server import apply, belongings, patch, requests, tables
from muslin.server.addresses import Addresses
from muslin.server.bodies import from_json, from_yaml, read_object, read_options
from muslin.server.lockout import forced
from muslin.server.objects import Change, Objects, Written
from muslin.server.refusals import Json, Refusal, bad_request, not_found, unsupported_media_type
from muslin.server.requests import Place
from muslin.server.watching import Watching

_APIS = "/apis/{group}/{version}"
_CORE = "/api/{version:v1}"


class Resources:
    """Handlers of all kinds."""

    def __init__(self, objects: Objects, watching: Watching, addresses: Addresses) -> None:
        self._objects = objects
        self._addresses = addresses
        self._watching = watching

    def routes(self) -> list[web.RouteDef]:
        routes: list[web.RouteDef] = []
        for base in (_CORE, _APIS):
            for collection in (f"{base}/{{plural}}", f"{base}/namespaces/{{namespace}}/{{plural}}"):
                routes += [
                    web.get(collection, self.get_collection, allow_head=False),
                    web.post(collection, self.create),
                    web.delete(collection, self.delete_collection),
                    web.get(collection + "/{name}", self.get, allow_head=False),
                    web.put(collection + "/{name}", self.replace),
                    web.patch(collection + "/{name}", self.patch),
                    web.delete(collection + "/{name}", self.delete),
                ]
        return routes

    async def get_collection(self, request: web.Request) -> web.StreamResponse:
        where = requests.place(request)
        requests.require_json_wanted(request)
        if requests.flag(request, "watch"):
            return await self._watching.watch(request, where)
        listing = await self._objects.list(
            where.served, where.namespace, requests.chosen(request), requests.asked(request)
        )
        if requests.wants_table(request):
            include = requests.include(request)
            return requests.answer(tables.table(where.served, listing.items, listing.metadata, include=include))
        return requests.answer({
            "kind": where.served.name + "List", "apiVersion": where.served.api_version, "metadata": listing.metadata,
            "items": listing.items,
        })

    async def get(self, request: web.Request) -> web.StreamResponse:
        where = requests.place(request)
        requests.require_json_wanted(request)
        if requests.flag(request, "watch"):
            return await self._watching.watch(request, where)
        obj = await self._objects.get(where.served, where.namespace, where.name)
        return requests.answer_object(request, where, obj)

    async def create(self, request: web.Request) -> web.Response:
        where = requests.place(request)
        if where.served.namespaced and not where.namespace:
            raise bad_request(f"{where.served.name} needs a namespace: post it to its namespace's path")
        obj = apply.untracked(await read_object(request))
        written = await self._objects.create(where.served, where.namespace, obj, requests.wish(request))
        return _answer(request, where, written)

    async def replace(self, request: web.Request) -> web.Response:
        where = requests.place(request)
        body = await read_object(request)
        return await self._change(request, where, lambda _: body)

    async def patch(self, request: web.Request) -> web.Response:
        where = requests.place(request)
        body = await request.read()
        kind = request.content_type if "Content-Type" in request.headers else ""
        if kind == patch.APPLY:
            applied = apply.configuration(from_yaml(body))
            manager, force = _field_manager(request), requests.flag(request, "force")
            wish = requests.wish(request, upsert=True)

            def combined(old: Json | None) -> Json:
                return apply.applied(old, applied, manager=manager, force=force, where=where)

            return _answer(request, where, await self._objects.change(
                where.served, where.namespace, where.name, combined, wish))
        return await self._change(request, where, _patcher(where, kind, body))

    async def delete(self, request: web.Request) -> web.Response:
        where = requests.place(request)
        options = await read_options(request)
        dry = requests.dry(request.query.getall("dryRun", [])) or requests.dry(options.get("dryRun"))
        written = await self._objects.delete(where.served, where.namespace, where.name, options, dry=dry,
                                             forced=forced(request))
        warnings = await self._release(request, where, written, options, dry=dry)
        if not written.deleted and not dry:
            return requests.answer(written.obj)
        details = {"name": where.name, "group": where.served.group, "kind": where.served.plural}
        if uid := written.obj["metadata"].get("uid"):
            details["uid"] = uid
        return requests.answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                                "details": details}, warnings=warnings)

    async def delete_collection(self, request: web.Request) -> web.Response:
        """Each by itself; one that may not go stops the rest, as in Kubernetes."""
        where = requests.place(request)
        options = await read_options(request)
        dry = requests.dry(request.query.getall("dryRun", [])) or requests.dry(options.get("dryRun"))
        listing = await self._objects.list(
            where.served, where.namespace, requests.chosen(request), requests.asked(request)
        )
        for obj in listing.items:
            metadata = obj["metadata"]
            try:
                written = await self._objects.delete(
                    where.served, metadata.get("namespace", ""), metadata["name"], {}, dry=dry,
                    forced=forced(request))
                await self._release(request, where, written, options, dry=dry)
            except Refusal as refusal:
                if refusal.code != 404:
                    raise
        return requests.answer({
            "kind": where.served.name + "List", "apiVersion": where.served.api_version, "metadata": listing.metadata,
            "items": listing.items,
        })

    async def _change(self, request: web.Request, where: Place, change: Change) -> web.Response:
        manager = requests.manager(request)

        def tracked(old: Json | None) -> Json:
            return apply.tracked(old, change(old), manager)

        written = await self._objects.change(
            where.served, where.namespace, where.name, tracked, requests.wish(request)
        )
        await self._release(request, where, written, {}, dry=False)
        return _answer(request, where, written)

    async def _release(self, request: web.Request, where: Place, written: Written, options: Json, *,
                       dry: bool) -> tuple[str, ...]:
        """What went with the object, if it is gone. Returns the warnings of all that was done."""
        if dry or not written.deleted or belongings.keeps(options, request.query.get("propagationPolicy")):
            return written.warnings
        released = await belongings.release(self._addresses, where.served, written.obj)
        released.report()
        return written.warnings + released.warnings


def _patcher(where: Place, kind: str, body: bytes) -> Change:
    """Raises Refusal (400, 415)."""
    served = where.served
    accepted = [patch.JSON_PATCH, patch.MERGE, patch.APPLY]
    typed = served.group in patch.TYPED_GROUPS
    if typed:
        accepted.append(patch.STRATEGIC)
    if kind == patch.STRATEGIC and kind not in accepted:
        raise Refusal(415, "UnsupportedMediaType", "its lists have no merge keys: use --type merge (or json)")
    if kind not in accepted:
        raise unsupported_media_type(kind, accepted)
    described = from_json(body)
    if kind != patch.JSON_PATCH and not isinstance(described, dict):
        raise bad_request("a merge patch of an object is an object")

    def change(old: Json | None) -> Json:
        if old is None:
            raise not_found(served.plural, served.group, where.name)
        match kind:
            case patch.JSON_PATCH:
                new = patch.json_patch(old, described)
            case patch.MERGE:
                new = patch.merge(old, described)
            case _:
                new = patch.strategic(old, described, patch.MERGED_LISTS.get(served.name))
        if not isinstance(new, dict):
            raise bad_request("the patch leaves no object")
        return new

    return change


def _answer(request: web.Request, where: Place, written: Written) -> web.Response:
    return requests.answer_object(request, where, written.obj, 201 if written.created else 200, written.warnings)


def _field_manager(request: web.Request) -> str:
    manager = request.query.get("fieldManager", "")
    if not manager:
        raise bad_request("PatchOptions is invalid: fieldManager: Required value: is required for apply patch")
    if len(manager) > 128 or not manager.isprintable():
        raise bad_request("fieldManager must be at most 128 printable letters")
    return manager

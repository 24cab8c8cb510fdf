"""What if, who can, who is: questions about the whole cluster, reckoned by classes (`explain.cluster`).

    POST /muslin/v1/diff       {"apply": [object, ...], "patch": [object, ...], "delete": [object, ...]}
    GET  /muslin/v1/staged     what enforcing the staged policies would change
    GET  /muslin/v1/who-can?destination=shop/db&protocol=tcp&port=5432[&family=6]
    GET  /muslin/v1/whois?address=10.65.0.7[&of=hosts]    with `of` only `nodes`: agents ask for each addition of some

`apply` and `patch` hold objects as they would be written: whole, or as a merge patch of what is there; of `delete` only
the kind and the name count. Nothing is written. A change is reckoned on a graph of its own, read from the store at one
revision, so that the hosts' one never hears of what is only supposed; the reckoning is done in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from muslin.calc.cluster import Graph
from muslin.errors import Invalid
from muslin.explain import cluster, difference, examples
from muslin.explain.own_policy import concerned, own_policies
from muslin.explain.packet import EPHEMERAL
from muslin.explain.question import Reckoning, protocol_of
from muslin.model.meta import Resource, ResourceKey
from muslin.net import PROTOCOLS_WITH_PORTS
from muslin.server import ends, patch, stamps
from muslin.server.bodies import read_object
from muslin.server.checks import STRICT, checked
from muslin.server.decoding import Value, decoded
from muslin.server.hub import PAGE, Hub
from muslin.server.places import Places
from muslin.server.refusals import Json, bad_request, not_found
from muslin.server.requests import answer, number
from muslin.server.served import SERVED, Served
from muslin.server.sources import position_in, positions
from muslin.server.views import view_of, written
from muslin.store import Store, layout

_PARTS = ("apply", "patch", "delete")
_KINDS = ("Node", "IPPool", "IPReservation", "Service")
Batch = dict[ResourceKey, Value]
T = TypeVar("T")


class Foresight:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._places = Places()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/muslin/v1/diff", self.diff), web.get("/muslin/v1/staged", self.staged),
            web.get("/muslin/v1/who-can", self.who_can), web.get("/muslin/v1/whois", self.whois),
        ]

    async def diff(self, request: web.Request) -> web.Response:
        changes = await self._changes(await read_object(request))
        graph = await self._copy()
        before, own = await _in_thread(lambda: (cluster.census(graph), own_policies(graph)))
        graph.update(changes)
        found = await _in_thread(lambda: cluster.diff(before, cluster.census(graph)))
        return answer({**difference.told(found), "hosts": concerned(own, own_policies(graph)),
                       "examples": await self._examples(found, graph, changes)})

    async def _examples(self, found: cluster.Diff, supposed: Graph, changes: Batch) -> list[Json]:
        """By which rules, before and after."""
        graph = await self._now()
        before, after = (Reckoning(one, self._places.hosts(one)) for one in (graph, supposed))
        made = list(examples.examples(found, before, after))
        origins = {one.decided_by for each in made for some in each.deciding for one in some}
        old = await positions(self._store, origins)
        new = old | {origin: position_in(value.metadata.annotations, origin) for origin in origins
                     if isinstance(value := changes.get(ResourceKey(origin.kind, origin.namespace, origin.name)),
                                   Resource)}
        return [examples.told(one, old.__getitem__, new.__getitem__) for one in made]

    async def staged(self, _: web.Request) -> web.Response:
        graph = await self._now()
        before, after = cluster.census(graph), cluster.census(graph, enacted=True)
        found = await _in_thread(lambda: cluster.diff(before, after))
        each = await _in_thread(lambda: cluster.staged_each(before))
        return answer({**difference.told(found), "each": [
            {"policy": name, **difference.told(one)} for name, one in each.items()]})

    async def who_can(self, request: web.Request) -> web.Response:
        graph = await self._now()
        end = ends.resolve(request.query.get("destination", ""), graph, self._places.hosts(graph))
        if end.sort == ends.HOST:
            raise bad_request(f"{end.name} is a host, and its policy is asked packet by packet: muslin why WHO "
                              f"host/{end.name} tcp/22. Name a workload or an address outside")
        family = number(request, "family")
        if family not in (0, 4, 6):
            raise bad_request("family is 4 or 6")
        protocol, port = _port(request)
        source_port = number(request, "source_port")
        if source_port > 65535:
            raise bad_request(f"source port {source_port} is outside 1..65535")
        known = cluster.census(graph)
        whom = [end.key] if end.key else list(end.addresses)
        found = await _in_thread(lambda: cluster.who_can(
            known, whom, protocol, port, source_port=source_port or EPHEMERAL,
            families=(family,) if family else cluster.FAMILIES))
        return answer({"destination": end.shown(end.addresses[0] if end.addresses else ""),
                       **msgspec.to_builtins(found)})

    async def whois(self, request: web.Request) -> web.Response:
        graph = await self._now()
        if request.query.get("of") == "hosts":
            address = request.query.get("address", "")
            hosts = self._places.hosts(graph)
            return answer({"address": address, "nodes": sorted(name for name in hosts if address in hosts[name])})
        resources = [found for kind in _KINDS for found in await self._all(layout.prefix(kind))]
        resources += [found for version in (4, 6) for found in await self._all(layout.blocks(version))]
        try:
            found = cluster.whois(graph, request.query.get("address", ""), resources)
        except Invalid as error:
            raise bad_request(str(error)) from None
        return answer({**msgspec.to_builtins(found), "text": found.text})

    async def _now(self) -> Graph:
        """The hub's graph, with all that was written before this was asked."""
        await self._hub.wait_revision(await self._store.revision())
        return self._hub.graph

    async def _copy(self) -> Graph:
        """A graph of one's own."""
        graph, after, more = Graph(), "", True
        revision: int | None = None
        while more:
            page = await self._store.list("/", revision=revision, limit=PAGE, after=after)
            revision, more = page.revision, page.more
            batch = {key: entry.value for entry in page.entries if (key := layout.parse(entry.key)) is not None}
            after = page.entries[-1].key if page.entries else after
            await asyncio.to_thread(_take, graph, batch)
        return graph

    async def _all(self, prefix: str) -> list[Any]:
        entries = (await self._store.list(prefix)).entries
        keyed = [(layout.parse(entry.key), entry.value) for entry in entries]
        return [decoded(key, value) for key, value in keyed if key is not None]

    # --- what is supposed -------------------------------------------------------------------------------------------

    async def _changes(self, body: Json) -> Batch:
        """Raises Refusal: 400 for what is no object, 404 for what is to be deleted and is not there, 422."""
        if strangers := sorted(set(body) - set(_PARTS)):
            raise bad_request(f"{strangers[0]!r} is none of {', '.join(_PARTS)}")
        changes: Batch = {}
        for part in _PARTS:
            given = body.get(part, [])
            if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
                raise bad_request(f"{part} must be a list of objects")
            for index, one in enumerate(given):
                key, value = await self._change(part, one, f"{part}[{index}]")
                changes[key] = value
        if not changes:
            raise bad_request(f"say what would change: a list of objects under {', '.join(_PARTS)}")
        return changes

    async def _change(self, part: str, obj: Json, where: str) -> tuple[ResourceKey, Value]:
        served, namespace, name = _identity(obj, where)
        view = view_of(served)
        path = view.path(namespace, name)
        key = layout.parse(path)
        if key is None:
            raise bad_request(f"{where}: {name!r} cannot be a name")
        entry = await self._store.get(path)
        old = view.shown(entry) if entry else None
        if part != "apply" and old is None:
            raise not_found(served.plural, served.group, name)
        if part == "delete":
            return key, None
        wanted = patch.merge(old, obj) if part == "patch" else {**obj, "metadata": {**obj["metadata"]}}
        if served.namespaced:
            wanted["metadata"]["namespace"] = namespace
        new, _ = checked(served, stamps.stamped({**wanted, **served.type_meta}, stamps.now()), old, STRICT)
        return key, decoded(key, written(view.stored(new)))


def _take(graph: Graph, batch: dict[ResourceKey, bytes]) -> None:
    graph.update({key: decoded(key, value) for key, value in batch.items()})


def _identity(obj: Json, where: str) -> tuple[Served, str, str]:
    """(kind, namespace, name). Raises Refusal (400)."""
    version, kind, metadata = obj.get("apiVersion"), obj.get("kind"), obj.get("metadata")
    served = next((one for one in SERVED if (one.api_version, one.name) == (version, kind)), None)
    if served is None:
        raise bad_request(f"{where}: there is no kind {kind!r} of {version!r}: see muslin kinds")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise bad_request(f"{where}: metadata.name must say which {kind}")
    namespace = metadata.get("namespace") or ("default" if served.namespaced else "")
    if not isinstance(namespace, str):
        raise bad_request(f"{where}: metadata.namespace must be a text")
    return served, namespace if served.namespaced else "", metadata["name"]


def _port(request: web.Request) -> tuple[int, int]:
    """Raises Refusal (400)."""
    word = request.query.get("protocol", "") or "tcp"
    try:
        protocol = protocol_of(word, 6 if request.query.get("family") == "6" else 4)
    except ValueError as error:
        raise bad_request(str(error)) from None
    port = number(request, "port")
    if protocol not in PROTOCOLS_WITH_PORTS:
        return protocol, 0
    if not 1 <= port <= 65535:
        raise bad_request(f"port {port} is outside 1..65535: say to which, such as tcp/80" if port
                          else "say to which port, 1 to 65535, such as tcp/80")
    return protocol, port


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)

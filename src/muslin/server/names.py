"""Names of workloads, realm by realm: GET /muslin/v1/names/REALM, for as long as the asker stays.

An endpoint whose annotations say so has names in a realm (Docker's: a network). A host asks only for the realms that
its own workloads are in, and hears of a change when it happens: nothing is copied to hosts that do not need it, and no
question of a container comes to the server. One JSON object a line: the first is the whole realm, then changes; an
empty line every 5 s, so that each side notices when the other is gone.

    {"whole": {ENDPOINT: [[NAME, ...], [ADDRESS, ...]], ...}}
    {"endpoint": ENDPOINT, "names": [[NAME, ...], [ADDRESS, ...]] or null}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from aiohttp import web

from muslin.model.endpoint import WorkloadEndpoint
from muslin.model.meta import ResourceKey
from muslin.model.names import NAMES_IN, NAMES_OF
from muslin.server.decoding import Value
from muslin.server.hub import Hub, Subscriber
from muslin.server.streams import Stopping, Stream

KEEP_ALIVE_SECONDS = 5.0
Held: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""(names, addresses)."""


class Names:
    def __init__(self, hub: Hub, stopping: Stopping) -> None:
        self._hub = hub
        self._stopping = stopping
        self._realms: dict[str, dict[str, Held]] = {}
        self._realm_of: dict[ResourceKey, str] = {}
        self._subscribers: dict[str, list[Subscriber]] = {}
        hub.listeners.append(self)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/names/{realm}", self.names, allow_head=False)]

    # ---- from the hub

    def begin(self) -> None:
        """What is known is read again."""
        self._realms.clear()
        self._realm_of.clear()

    def learn(self, batch: Mapping[ResourceKey, Value]) -> None:
        for key, value in batch.items():
            if key.kind == "WorkloadEndpoint":
                self._put(key, value if isinstance(value, WorkloadEndpoint) else None)

    def loaded(self) -> None:
        for realm in self._subscribers:
            self._send(realm, {"whole": self._realms.get(realm, {})})

    def _put(self, key: ResourceKey, endpoint: WorkloadEndpoint | None) -> None:
        about = (endpoint.metadata.annotations if endpoint else None) or {}
        realm = about.get(NAMES_IN, "")
        held: Held | None = None
        if endpoint is not None and realm:
            addresses = tuple(network.partition("/")[0] for network in endpoint.spec.ip_networks)
            held = tuple(about.get(NAMES_OF, "").split()), addresses
        before = self._realm_of.get(key, "")
        named = f"{key.namespace}/{key.name}"
        if before and before != realm:
            self._drop(before, named)
            del self._realm_of[key]
        if held is None:
            return
        self._realm_of[key] = realm
        known = self._realms.setdefault(realm, {})
        if known.get(named) != held:
            known[named] = held
            self._send(realm, {"endpoint": named, "names": held})

    def _drop(self, realm: str, named: str) -> None:
        known = self._realms[realm]
        del known[named]
        if not known:
            del self._realms[realm]
        self._send(realm, {"endpoint": named, "names": None})

    def _send(self, realm: str, what: object) -> None:
        subscribers = self._subscribers.get(realm)
        if subscribers:
            line = msgspec.json.encode(what) + b"\n"
            for subscriber in subscribers:
                subscriber.push(line)

    # ---- to the hosts

    def wake_all(self) -> None:
        """Every connection looks now whether it should go on."""
        for some in self._subscribers.values():
            for subscriber in some:
                subscriber.wake()

    async def names(self, request: web.Request) -> web.StreamResponse:
        realm = request.match_info["realm"]
        await self._hub.wait_ready()
        async with Stream(request, "application/x-ndjson", self._stopping) as stream:
            subscriber = Subscriber(realm, stream.hang_up)
            subscriber.push(msgspec.json.encode({"whole": self._realms.get(realm, {})}) + b"\n")
            listening = self._subscribers.setdefault(realm, [])
            listening.append(subscriber)
            try:
                while not stream.over and not subscriber.dropped:
                    await stream.write(await subscriber.take(KEEP_ALIVE_SECONDS) or b"\n")
            finally:
                listening.remove(subscriber)
                if not listening and self._subscribers.get(realm) is listening:
                    del self._subscribers[realm]
        return stream.response

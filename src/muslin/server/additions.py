"""Workloads added by their host, many in one call: for each its namespace, its addresses, and its endpoint.

    POST /muslin/v1/workloads  {"items": [{"endpoint": WorkloadEndpoint, "addresses": request for addresses, or none}]}
    200                        {"items": [{"addresses": [...]} or {"status": Status}]}, in the order of what was asked

Whatever a host needs for one container it could ask for in four calls, one after another; fifty containers at once
then cost more in HTTP than in anything else. An endpoint that is there already is refused (AlreadyExists) untouched;
of one that cannot be written nothing is. Items do not know of each other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from muslin.errors import MuslinError
from muslin.server.address_routes import refusal_of_addresses
from muslin.server.addresses import Addresses, Wanted
from muslin.server.bodies import read_items
from muslin.server.objects import Objects, Wish
from muslin.server.refusals import Json, already_exists, bad_request
from muslin.server.requests import answer
from muslin.server.served import find
from muslin.server.turnover import Turnover
from muslin.store import Store

MOST_AT_ONCE = 256
_ENDPOINTS = find("projectcalico.org", "v3", "workloadendpoints")
_NAMESPACES = find("", "v1", "namespaces")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: dict[str, Any]
    addresses: Wanted | None = None


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


class Additions:
    def __init__(self, objects: Objects, addresses: Addresses, turnover: Turnover) -> None:
        self._objects = objects
        self._addresses = addresses
        self._turnover = turnover

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/muslin/v1/workloads", self.add)]

    async def add(self, request: web.Request) -> web.Response:
        asked = await read_items(request, Asked, MOST_AT_ONCE, "workloads")
        added = await self._turnover.do(partial(self._add, item) for item in asked.items)
        return answer({"items": [{"status": refusal_of_addresses(one).status} if isinstance(one, MuslinError)
                                 else {"addresses": one} for one in added]})

    async def _add(self, item: Item, store: Store) -> tuple[str, ...]:
        objects, endpoint = self._objects.on(store), item.endpoint
        namespace, name = _names(endpoint)
        if await objects.exists(_ENDPOINTS, namespace, name):
            raise already_exists(_ENDPOINTS.plural, _ENDPOINTS.group, name)
        if not await objects.exists(_NAMESPACES, "", namespace):  # where the profile `kns.<namespace>` comes from
            await objects.create(_NAMESPACES, "", {**_NAMESPACES.type_meta, "metadata": {"name": namespace}}, Wish())
        if item.addresses is not None:
            assigned = await self._addresses.on(store).assign(item.addresses)
            endpoint = {**endpoint, "spec": {**endpoint["spec"], "ipNetworks": list(assigned)}}
        await objects.create(_ENDPOINTS, namespace, endpoint, Wish())
        return tuple(endpoint["spec"].get("ipNetworks") or ())


def _names(endpoint: Json) -> tuple[str, str]:
    """Raises Refusal (400)."""
    metadata, spec = endpoint.get("metadata"), endpoint.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise bad_request("an endpoint needs metadata and spec")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str) or not namespace or not name:
        raise bad_request("an endpoint needs metadata.namespace and metadata.name")
    return namespace, name

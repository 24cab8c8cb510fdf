"""Workloads added by their host, many in one call: for each its namespace, its addresses, and its endpoint.

    POST /muslin/v1/workloads  {"items": [{"endpoint": WorkloadEndpoint, "addresses": request for addresses, or none}]}
    200                        {"items": [{"addresses": [...]} or {"status": Status}]}, in the order of what was asked

Whatever a host needs for one container it could ask for in four calls, one after another; fifty containers at once
then cost more in HTTP than in anything else. An endpoint that is there already is refused (AlreadyExists) untouched;
one that cannot be written gives its addresses back. Items do not know of each other.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from muslin.errors import Broken, MuslinError
from muslin.server.address_routes import refusal_of_addresses
from muslin.server.addresses import Addresses, Unwanted, Wanted
from muslin.server.objects import Objects, Wish
from muslin.server.refusals import Json, Refusal, already_exists, bad_request
from muslin.server.requests import answer
from muslin.server.served import find

MOST_AT_ONCE = 256
_ENDPOINTS = find("projectcalico.org", "v3", "workloadendpoints")
_NAMESPACES = find("", "v1", "namespaces")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: dict[str, Any]
    addresses: Wanted | None = None


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


class Additions:
    def __init__(self, objects: Objects, addresses: Addresses) -> None:
        self._objects = objects
        self._addresses = addresses

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/muslin/v1/workloads", self.add)]

    async def add(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Asked)
        except msgspec.MsgspecError as error:
            raise bad_request(f"the body is no list of workloads: {error}") from None
        if len(asked.items) > MOST_AT_ONCE:
            raise bad_request(f"{len(asked.items)} workloads in one call: at most {MOST_AT_ONCE}")
        return answer({"items": await asyncio.gather(*map(self._answered, asked.items))})

    async def _answered(self, item: Item) -> Json:
        try:
            return {"addresses": await self._added(item)}
        except Broken:
            raise
        except MuslinError as error:
            return {"status": refusal_of_addresses(error).status}

    async def _added(self, item: Item) -> tuple[str, ...]:
        namespace, name = _names(item.endpoint)
        if await self._is_there(namespace, name):
            raise already_exists(_ENDPOINTS.plural, _ENDPOINTS.group, name)
        await self._ensure_namespace(namespace)
        if item.addresses is None:
            await self._objects.create(_ENDPOINTS, namespace, item.endpoint, Wish())
            return tuple(item.endpoint["spec"].get("ipNetworks") or ())
        assigned = await self._addresses.assign(item.addresses)
        try:
            item.endpoint["spec"]["ipNetworks"] = list(assigned)
            await self._objects.create(_ENDPOINTS, namespace, item.endpoint, Wish())
        except MuslinError:
            await self._addresses.release(Unwanted(handle=item.addresses.handle))
            raise
        return assigned

    async def _is_there(self, namespace: str, name: str) -> bool:
        try:
            await self._objects.get(_ENDPOINTS, namespace, name)
        except Refusal as refusal:
            if refusal.code == 404:
                return False
            raise
        return True

    async def _ensure_namespace(self, name: str) -> None:
        """A workload's profile `kns.<namespace>` exists only with the Namespace."""
        try:
            await self._objects.get(_NAMESPACES, "", name)
        except Refusal as absent:
            if absent.code != 404:
                raise
            wanted = {**_NAMESPACES.type_meta, "metadata": {"name": name}}
            try:
                await self._objects.create(_NAMESPACES, "", wanted, Wish())
            except Refusal as refusal:
                if refusal.code != 409:
                    raise


def _names(endpoint: Json) -> tuple[str, str]:
    """Raises Refusal (400)."""
    metadata, spec = endpoint.get("metadata"), endpoint.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise bad_request("an endpoint needs metadata and spec")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str) or not namespace or not name:
        raise bad_request("an endpoint needs metadata.namespace and metadata.name")
    return namespace, name

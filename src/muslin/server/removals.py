"""Workloads that leave their host, many in one call: the way back of `additions`, in its two steps.

    DELETE /muslin/v1/workloads  {"items": [{"namespace": NAMESPACE, "name": NAME} or {"handle": HANDLE}]}
    200                          {"items": [{} or {"status": Status}]}, in the order of what was asked

The first form removes an endpoint; its addresses stay held, because its host has yet to let go of them. The second
gives back all that a handle holds, once the host has. Steps of different workloads come in one call. What is gone
already is no failure. Items do not know of each other.
"""

from __future__ import annotations

from functools import partial

import msgspec
from aiohttp import web

from muslin.errors import MuslinError
from muslin.server.address_routes import refusal_of_addresses
from muslin.server.addresses import Addresses, Unwanted
from muslin.server.bodies import read_items
from muslin.server.objects import Objects
from muslin.server.refusals import bad_request
from muslin.server.requests import answer
from muslin.server.served import find
from muslin.server.turnover import Turnover
from muslin.store import Store

MOST_AT_ONCE = 256
_ENDPOINTS = find("projectcalico.org", "v3", "workloadendpoints")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    namespace: str = ""
    name: str = ""
    handle: str = ""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: tuple[Item, ...]


class Removals:
    def __init__(self, objects: Objects, addresses: Addresses, turnover: Turnover) -> None:
        self._objects = objects
        self._addresses = addresses
        self._turnover = turnover

    def routes(self) -> list[web.RouteDef]:
        return [web.delete("/muslin/v1/workloads", self.remove)]

    async def remove(self, request: web.Request) -> web.Response:
        asked = await read_items(request, Asked, MOST_AT_ONCE, "removals")
        removed = await self._turnover.do(partial(self._remove, item) for item in asked.items)
        return answer({"items": [{"status": refusal_of_addresses(one).status} if isinstance(one, MuslinError)
                                 else {} for one in removed]})

    async def _remove(self, item: Item, store: Store) -> None:
        match item:
            case Item(namespace="", name="", handle=str(handle)) if handle:
                await self._addresses.on(store).release(Unwanted(handle=handle))
            case Item(namespace=str(namespace), name=str(name), handle="") if namespace and name:
                objects = self._objects.on(store)
                if await objects.exists(_ENDPOINTS, namespace, name):
                    await objects.delete(_ENDPOINTS, namespace, name, {}, dry=False)
            case _:
                raise bad_request("a removal names either an endpoint, by namespace and name, or a handle")

"""Who reaches whom: every workload against every other.

    GET /muslin/v1/matrix[?ports=tcp/80,udp/53,icmp][&namespace=shop]      no ports: those that policies speak of
    GET /muslin/v1/matrix?by=class&ports=...[&namespace=shop][&outside=true]

The same opinion as `why`, for each pair, family and port; a large cluster is asked by classes, or for one namespace at
a time.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from muslin.explain import cluster, verdicts
from muslin.intent import EndpointKey, HostIntent
from muslin.net import PROTOCOLS_WITH_PORTS, protocol_name, protocol_number
from muslin.server import ends
from muslin.server.hub import Hub
from muslin.server.refusals import Refusal, bad_request
from muslin.server.requests import answer, flag
from muslin.store import Store

MOST_CELLS = 2_000_000


class Matrix:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/matrix", self.matrix)]

    async def matrix(self, request: web.Request) -> web.Response:
        await self._hub.wait_revision(await self._store.revision())
        given = request.query.get("ports")
        ports = _ports(given) if given is not None else cluster.mentioned(self._hub.graph)
        namespace, by = request.query.get("namespace", ""), request.query.get("by", "workload")
        if by not in ("workload", "class"):
            raise bad_request(f"by={by[:40]!r}: write by=workload or by=class")
        if by == "class":
            return await self._by_class(ports, namespace, outside=flag(request, "outside"))
        workloads = [ends.workload(known) for known in self._hub.graph.endpoints()
                     if not namespace or known.key.namespace == namespace]
        if 2 * len(workloads) ** 2 * len(ports) > MOST_CELLS:
            message = f"{len(workloads)} workloads are too many for one matrix: add namespace=NAME, or by=class"
            raise Refusal(422, "Invalid", message)
        keys = {one.key for one in workloads}
        intents = [_only(self._hub.intent(host), keys) for host in sorted({one.host for one in workloads})]
        return answer({
            "workloads": [{**one.shown(one.address(4) or one.address(6)), "addresses": one.addresses}
                          for one in workloads],
            "cells": [
                {"source": cell.source, "destination": cell.destination, "family": cell.family,
                 "protocol": protocol_name(cell.protocol).lower(), "port": cell.port, "verdict": str(cell.verdict)}
                for cell in verdicts(intents, ports)
            ],
        })


    async def _by_class(self, ports: list[tuple[int, int]], namespace: str, *, outside: bool) -> web.Response:
        found = cluster.census(self._hub.graph)
        among = None if not namespace else {
            key for key in found.residents if key.startswith(f"WorkloadEndpoint/{namespace}/")}
        return answer(await asyncio.to_thread(lambda: cluster.matrix(found, ports, among=among, outside=outside)))


def _ports(text: str) -> list[tuple[int, int]]:
    """`tcp/80,udp/53,icmp`. Raises Refusal (400)."""
    found: dict[tuple[int, int], None] = {}
    for word in (part.strip() for part in text.split(",")):
        protocol, slash, port = word.partition("/")
        try:
            code = protocol_number({"ping": "icmp"}.get(protocol.lower(), protocol))
        except ValueError:
            raise bad_request(f"{word!r} is no protocol and port: write ports=tcp/80,udp/53,icmp") from None
        if code in PROTOCOLS_WITH_PORTS:
            if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
                raise bad_request(f"{word!r} has no port: write {protocol}/80")
            found[code, int(port)] = None
        elif slash:
            raise bad_request(f"{protocol} has no ports: write {protocol}")
        else:
            found[code, 0] = None
    return list(found)


def _only(intent: HostIntent, keys: set[EndpointKey | None]) -> HostIntent:
    endpoints = {key: endpoint for key, endpoint in intent.endpoints.items() if key in keys}
    return msgspec.structs.replace(intent, endpoints=endpoints)

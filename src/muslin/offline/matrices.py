"""Who reaches whom in a world, in the two forms in which a server answers: by workload and by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from muslin.explain import cluster, verdicts
from muslin.explain.cluster import Port
from muslin.intent import EndpointKey, HostIntent
from muslin.net import protocol_name
from muslin.offline.world import World

Json = dict[str, Any]


def by_class(world: World, ports: Sequence[Port], namespace: str, *, outside: bool) -> Json:
    counted = cluster.census(world.graph)
    asked = list(ports) or cluster.mentioned(counted)
    among = None if not namespace else {key for key in counted.residents if _inside(key, namespace)}
    found: Json = msgspec.to_builtins(cluster.matrix(counted, asked, among=among, outside=outside))
    return found


def by_workload(world: World, ports: Sequence[Port], namespace: str) -> Json:
    asked = list(ports) or cluster.mentioned(world.graph)
    workloads = [end for end in world.directory.workloads if namespace in ("", end.namespace)]
    keys = {end.key for end in workloads}
    intents = [_only(world.intent(host), keys) for host in sorted({end.host for end in workloads})]
    return {
        "workloads": [{**end.shown(end.address(4) or end.address(6)), "addresses": end.addresses}
                      for end in workloads],
        "cells": [
            {"source": cell.source, "destination": cell.destination, "family": cell.family,
             "protocol": protocol_name(cell.protocol).lower(), "port": cell.port, "verdict": str(cell.verdict)}
            for cell in verdicts(intents, asked)
        ],
    }


def _inside(key: EndpointKey, namespace: str) -> bool:
    return key.startswith(f"WorkloadEndpoint/{namespace}/")


def _only(intent: HostIntent, keys: set[EndpointKey | None]) -> HostIntent:
    endpoints = {key: endpoint for key, endpoint in intent.endpoints.items() if key in keys}
    return msgspec.structs.replace(intent, endpoints=endpoints)

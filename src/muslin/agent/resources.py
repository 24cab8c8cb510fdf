"""The agent's words to the server about resources: its Node, a workload's endpoint, its namespace, its addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from muslin.agent.upstream import MERGE_PATCH, Upstream
from muslin.client.refusal import ApiError
from muslin.client.workload import Request
from muslin.net import Cidr

_CALICO = "/apis/projectcalico.org/v3"
Object = dict[str, Any]


def endpoint_path(namespace: str, name: str = "") -> str:
    return f"{_CALICO}/namespaces/{namespace}/workloadendpoints" + (f"/{name}" if name else "")


async def find(upstream: Upstream, path: str) -> Object | None:
    """The object, None when there is none."""
    try:
        found: Object = await upstream.call("GET", path)
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise
    return found


async def remove(upstream: Upstream, path: str) -> bool:
    """False: it was gone already. Its addresses stay ours: they are released once this host's kernel has let go."""
    try:
        await upstream.call("DELETE", path, {"propagationPolicy": "Orphan"})
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True


async def set_ports(upstream: Upstream, path: str, ports: Sequence[Object]) -> bool:
    """Of an endpoint, these and no others. False: there is no such endpoint."""
    try:
        await upstream.call("PATCH", path, {"spec": {"ports": list(ports) or None}}, content=MERGE_PATCH)
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True


def wanted_addresses(node: str, handle: str, request: Request) -> Object:
    """Those that it asks for, or one of each family that has a pool."""
    return {"host": node, "handle": handle, "namespace": request.namespace, "addresses": list(request.addresses),
            "v4": request.v4, "v6": request.v6, "pools": list(request.pools),
            "attributes": {"namespace": request.namespace}}


async def assign(upstream: Upstream, node: str, handle: str, request: Request) -> tuple[Cidr, ...]:
    wanted = wanted_addresses(node, handle, request)
    answer = await upstream.call("POST", "/muslin/v1/addresses/assign", wanted)
    return tuple(Cidr(address) for address in answer["addresses"])


async def release(upstream: Upstream, handle: str) -> None:
    await upstream.call("POST", "/muslin/v1/addresses/release", {"handle": handle})


async def put_endpoint(upstream: Upstream, wanted: Object, existing: Object) -> None:
    """Make the one that is there like it."""
    labels = _replacing(existing["metadata"].get("labels") or {}, wanted["metadata"]["labels"])
    change = {
        "metadata": {"labels": labels, "annotations": wanted["metadata"]["annotations"]},
        "spec": {key: wanted["spec"].get(key) for key in existing["spec"].keys() | wanted["spec"].keys()},
    }
    path = endpoint_path(wanted["metadata"]["namespace"], wanted["metadata"]["name"])
    await upstream.call("PATCH", path, change, content=MERGE_PATCH)


def _replacing(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str | None]:
    """A merge patch by which `new` takes the place of `old`, apart from the labels that the server gives itself."""
    gone = {key: None for key in old if key not in new and not key.startswith("projectcalico.org/")}
    return {**gone, **new}


async def put_node(upstream: Upstream, name: str, labels: Mapping[str, str], bgp: Mapping[str, str],
                   found: Mapping[str, str]) -> None:
    """`bgp` is what the user said, `found` what was detected: it fills only what nobody has said yet."""
    existing = await find(upstream, f"{_CALICO}/nodes/{name}")
    said = dict((existing or {}).get("spec", {}).get("bgp") or {})
    wanted = {**found, **said, **bgp}
    if existing is None:
        node: Object = {"apiVersion": "projectcalico.org/v3", "kind": "Node",
                        "metadata": {"name": name, "labels": dict(labels)}, "spec": {"bgp": wanted} if wanted else {}}
        await upstream.call("POST", f"{_CALICO}/nodes", node)
        return
    has = existing["metadata"].get("labels") or {}
    if wanted == said and all(has.get(key) == value for key, value in labels.items()):
        return
    change: Object = {"metadata": {"labels": dict(labels)}}
    if wanted:
        change["spec"] = {"bgp": wanted}
    await upstream.call("PATCH", f"{_CALICO}/nodes/{name}", change, content=MERGE_PATCH)

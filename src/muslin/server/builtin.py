"""What is there from the start: Calico's tiers, its profile that allows all, ClusterInformation, and a first namespace.

The tiers, ClusterInformation and the namespace are written into an empty store. The profile is in no store: it is
shown wherever profiles are listed and cannot be changed, as in Calico.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

import muslin
from muslin.errors import Conflict
from muslin.model.labels import DEFAULT_ALLOW
from muslin.model.meta import ResourceKey
from muslin.server.checks import NAMESPACE_NAME
from muslin.server.refusals import Json
from muslin.server.stamps import now, stamped
from muslin.server.views import read, written
from muslin.store import Store, layout

CALICO = "projectcalico.org/v3"
DEFAULT_ALLOW_NAME = DEFAULT_ALLOW.metadata.name

PERMANENT = frozenset({
    ("Tier", "default"), ("Tier", "kube-admin"), ("Tier", "kube-baseline"), ("Profile", DEFAULT_ALLOW_NAME),
    ("ClusterInformation", "default"), ("Namespace", "default"),
})


def default_allow() -> Json:
    """The profile as it is shown."""
    shown: Json = msgspec.json.decode(msgspec.json.encode(DEFAULT_ALLOW))
    metadata = {**shown["metadata"], "resourceVersion": "1", "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, CALICO))}
    return {"apiVersion": CALICO, "kind": "Profile", "metadata": metadata, "spec": shown["spec"]}


async def ensure(store: Store) -> None:
    """Write what is missing; never change what is there, but for a `datastoreReady` that nobody has set."""
    for key, body in _first_objects().items():
        if await store.get(layout.path(key)) is None:
            await _create(store, key, body)
    await _make_ready(store)


def _first_objects() -> dict[ResourceKey, Json]:
    tiers: dict[str, dict[str, Any]] = {
        "default": {"order": 1_000_000, "defaultAction": "Deny"},
        "kube-admin": {"order": 1_000, "defaultAction": "Pass"},
        "kube-baseline": {"order": 10_000_000, "defaultAction": "Pass"},
    }
    objects: dict[ResourceKey, Json] = {ResourceKey("Tier", "", name): {"spec": spec} for name, spec in tiers.items()}
    objects[ResourceKey("ClusterInformation", "", "default")] = {"spec": {
        "clusterGUID": uuid.uuid4().hex, "clusterType": "muslin", "calicoVersion": f"muslin-{muslin.__version__}",
        "datastoreReady": True,
    }}
    objects[ResourceKey("Namespace", "", "default")] = {"status": {"phase": "Active"}}
    return objects


async def _create(store: Store, key: ResourceKey, body: Json) -> None:
    metadata: Json = {"name": key.name}
    if key.kind == "Namespace":
        metadata["labels"] = {NAMESPACE_NAME: key.name}
    version = "v1" if key.kind == "Namespace" else CALICO
    obj = stamped({"kind": key.kind, "apiVersion": version, "metadata": metadata, **body}, now())
    try:
        await store.put(layout.path(key), written(obj), expect=0)
    except Conflict:
        return  # another server of this store was first: it wrote the same


async def _make_ready(store: Store) -> None:
    key = ResourceKey("ClusterInformation", "", "default")
    entry = await store.get(layout.path(key))
    if entry is None:
        return
    obj = read(entry, key)
    spec = obj.get("spec")
    if isinstance(spec, dict) and spec.get("datastoreReady") is None:
        spec["datastoreReady"] = True
        await store.put(entry.key, written(obj), expect=entry.revision)

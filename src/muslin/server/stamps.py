"""The part of an object's metadata that is the server's: who it is, when it was made, how often it changed."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime

from muslin.server.refusals import Json

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes': no vowels, so that no generated name is a word."""

_EMPTY: Json = {"labels": {}, "annotations": {}, "finalizers": [], "ownerReferences": [], "managedFields": []}
OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def now() -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generated(prefix: str) -> str:
    """A name that begins with `prefix`."""
    return prefix[:248] + "".join(random.choices(_LETTERS, k=5))


def stamped(obj: Json, time: str) -> Json:
    """A new object: whatever the client said of these fields does not count."""
    metadata = _of_the_client(obj)
    metadata.update(uid=str(uuid.uuid4()), creationTimestamp=time, generation=1)
    return {**obj, "metadata": metadata}


def restamped(obj: Json, old: Json) -> Json:
    """A changed object keeps what its predecessor was stamped with; a change beyond metadata and status is counted."""
    before = old["metadata"]
    metadata = _of_the_client(obj)
    metadata.update({name: before[name] for name in (*OWNED, "resourceVersion") if name in before})
    if _substance(obj) != _substance(old):
        generation = before.get("generation")
        metadata["generation"] = generation + 1 if isinstance(generation, int) else 1
    return {**obj, "metadata": metadata}


def lean(metadata: Json) -> Json:
    """Without what says nothing: `annotations: {}` would show in every diff."""
    return {name: value for name, value in metadata.items() if value != _EMPTY.get(name, ...)}


def _of_the_client(obj: Json) -> Json:
    """Without what is the server's."""
    return {name: value for name, value in lean(obj["metadata"]).items() if name not in (*OWNED, "resourceVersion")}


def _substance(obj: Json) -> Json:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "kind", "apiVersion")}

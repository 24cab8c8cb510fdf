"""Between what is stored and what is shown.

Stored: the bytes under Calico's key. Shown: an API object with the resourceVersion that its entry has. For most kinds
the two are one object. A policy of Kubernetes is stored as the Calico policy that it means, and carries its original in
an annotation, so that what was applied can be read back, compared and patched.

A stored value may be anything, somebody may have written it past this API. What cannot be read is still shown, by its
name and with the reason, so that it can be seen, replaced and deleted.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from muslin.errors import Invalid
from muslin.model import validation
from muslin.model.meta import ResourceKey
from muslin.model.translated import TRANSLATIONS, Translation
from muslin.server.refusals import Json, cause, causes_of, invalid
from muslin.server.served import Served
from muslin.store import Entry, layout

ORIGINALS = tuple(one.original for one in TRANSLATIONS)
"""Annotations in which stored policies carry what they were made from."""
ILLEGIBLE = "muslin.dev/illegible"
KEPT = ("labels", "annotations", "ownerReferences", "generateName")
"""What of a Kubernetes policy's metadata only its original knows."""
CARRIED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "finalizers",
           "managedFields", "resourceVersion", "namespace")
"""What the stored policy and the shown one have in common."""


class View(Protocol):
    """How the objects of one served resource lie in the store."""

    def path(self, namespace: str, name: str) -> str: ...

    def prefix(self, namespace: str) -> str: ...

    def shown(self, entry: Entry) -> Json | None:
        """The API object; None when the entry is none of this resource."""
        ...

    def stored(self, obj: Json) -> Json:
        """What is to be stored for an API object, still as JSON data. Raises Refusal (422)."""
        ...


def view_of(served: Served) -> View:
    return Translated(served, served.translation) if served.translation else Plain(served)


class Plain:
    """Stored as shown."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def path(self, namespace: str, name: str) -> str:
        return layout.path(ResourceKey(self._served.kind.name, namespace, name))

    def prefix(self, namespace: str) -> str:
        return layout.prefix(self._served.kind.name, namespace)

    def shown(self, entry: Entry) -> Json | None:
        key = layout.parse(entry.key)
        if key is None:
            return None
        obj = read(entry, key)
        obj.update(self._served.type_meta)
        return obj

    def stored(self, obj: Json) -> Json:
        return obj


class Translated:
    """A policy of Kubernetes, as a way to look at Calico's."""

    def __init__(self, served: Served, translation: Translation) -> None:
        self._served = served
        self._translation = translation

    def path(self, namespace: str, name: str) -> str:
        return layout.path(ResourceKey(self._translation.stored, namespace, self._translation.prefix + name))

    def prefix(self, namespace: str) -> str:
        return layout.prefix(self._translation.stored, namespace)

    def shown(self, entry: Entry) -> Json | None:
        key = layout.parse(entry.key)
        if key is None or not key.name.startswith(self._translation.prefix):
            return None
        metadata = read(entry, key)["metadata"]
        original = original_of(metadata, self._translation.original)
        if original is None:
            return None
        kept = original.get("metadata")
        spoken = dict(kept) if isinstance(kept, dict) else {}
        spoken.update({name: metadata[name] for name in CARRIED if name in metadata})
        spoken["name"] = key.name.removeprefix(self._translation.prefix)
        if key.namespace:
            spoken["namespace"] = key.namespace
        return {**original, **self._served.type_meta, "metadata": spoken}

    def stored(self, obj: Json) -> Json:
        metadata = obj["metadata"]
        name = str(metadata.get("name", ""))
        try:
            converted = validation.normal(self._translation.to_calico(obj))
        except Invalid as error:
            raise invalid(self._served.name, self._served.group, name, [cause("spec", str(error))]) from None
        if faults := validation.faults(converted):
            raise invalid(self._served.name, self._served.group, name, causes_of(faults))
        original = {**obj, "metadata": {part: metadata[part] for part in KEPT if metadata.get(part)}}
        given = converted["metadata"]
        text = msgspec.json.encode(original, order="sorted").decode()
        annotations = {**(given.get("annotations") or {}), self._translation.original: text}
        carried = {part: metadata[part] for part in CARRIED if part in metadata}
        return {**converted, "metadata": {**given, **carried, "annotations": annotations}}


def original_of(metadata: Json, annotation: str) -> Json | None:
    """The Kubernetes policy that a Calico policy was made from."""
    annotations = metadata.get("annotations")
    text = annotations.get(annotation) if isinstance(annotations, dict) else None
    if not isinstance(text, str):
        return None
    try:
        original = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return original if isinstance(original, dict) else None


def read(entry: Entry, key: ResourceKey) -> Json:
    """The stored object; name, namespace and resourceVersion are the entry's, whatever the value says."""
    obj, wrong = _decoded(entry.value)
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
        wrong = wrong or "it has no metadata"
    if wrong:
        metadata["annotations"] = {ILLEGIBLE: wrong}
    metadata["name"] = key.name
    if key.namespace:
        metadata["namespace"] = key.namespace
    metadata["resourceVersion"] = str(entry.revision)
    obj["metadata"] = metadata
    return obj


def written(obj: Json) -> bytes:
    """The value to store: an API object less its resourceVersion, which is the entry's revision."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in ("resourceVersion", "selfLink")}
    return msgspec.json.encode({**obj, "metadata": metadata})


def _decoded(value: bytes) -> tuple[Json, str]:
    try:
        obj: Any = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return {}, f"the stored value is not JSON: {error}"
    return (obj, "") if isinstance(obj, dict) else ({}, "the stored value is not an object")

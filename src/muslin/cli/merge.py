"""What `apply` changes: three versions of an object in, one merge patch out.

The file says what a user wants; the live object carries, in the annotation that kubectl invented, what was applied
last. A field that is in the file is set. A field that was applied last time and is gone from the file is removed. A
field that is in neither belongs to somebody else (a default, a label that was set by hand) and stays. The annotation
is kubectl's own, so that `kubectl apply` and `muslin apply` of one file may take turns.
"""

from __future__ import annotations

import json
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SOURCE = "muslin.dev/source"
SOURCE_LINES = "muslin.dev/source-lines"
OF_THE_SERVER = frozenset({"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"})
Json = dict[str, Any]


def with_last_applied(wanted: Json) -> Json:
    """The object with the annotation that remembers it."""
    annotations = dict(annotations_of(wanted))
    annotations.pop(LAST_APPLIED, None)
    bare = _with_annotations(wanted, annotations)
    text = json.dumps(bare, sort_keys=True, separators=(",", ":")) + "\n"
    return _with_annotations(wanted, {**annotations, LAST_APPLIED: text})


def without_bookkeeping(wanted: Json) -> Json:
    """An object that was taken out with `get -o yaml` can be applied: what the server keeps for itself is left out."""
    metadata = {key: value for key, value in (wanted.get("metadata") or {}).items() if key not in OF_THE_SERVER}
    return {**wanted, "metadata": metadata}


def last_applied(live: Json) -> Json:
    """{} where nobody has applied it, or the annotation is garbled."""
    try:
        found = json.loads(annotations_of(live).get(LAST_APPLIED) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def annotations_of(obj: Json) -> Json:
    """Empty where there are none."""
    return (obj.get("metadata") or {}).get("annotations") or {}


def change(last: Json, live: Json, wanted: Json) -> Json:
    """The merge patch (RFC 7386) that brings `live` to `wanted`; {} when nothing is to be done."""
    patch: Json = {}
    for key, value in wanted.items():
        there = live.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            before = last.get(key)
            if below := change(before if isinstance(before, dict) else {}, there, value):
                patch[key] = below
        elif key not in live or there != value:
            patch[key] = value
    patch.update({key: None for key in last if key not in wanted and key in live})
    return patch


def only_bookkeeping(patch: Json) -> bool:
    """Does it change nothing but where the object was applied from?"""
    annotations = (patch.get("metadata") or {}).get("annotations") or {}
    return (
        patch.keys() <= {"metadata"}
        and (patch.get("metadata") or {}).keys() <= {"annotations"}
        and annotations.keys() <= {LAST_APPLIED, SOURCE, SOURCE_LINES}
    )


def _with_annotations(obj: Json, annotations: Json) -> Json:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "annotations"}
    return {**obj, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}

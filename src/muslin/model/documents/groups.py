"""Other forms in which people have resources: lists of them, and those of Calico's own custom resources.

With Kubernetes as its store, Calico keeps each v3 object as a custom resource of `crd.projectcalico.org/v1`. The spec
is the same; the metadata of the v3 object is packed as JSON into an annotation, and the name of a policy of the tier
default begins with `default.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from muslin.model.fault import Fault, Path, Reason
from muslin.model.kinds import BY_NAME, CALICO
from muslin.model.kubernetes import NAME_PREFIX
from muslin.model.validation.findings import listed, near, shown

CUSTOM = "crd.projectcalico.org/v1"
PACKED_METADATA = "projectcalico.org/metadata"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LIST_FIELDS = ("apiVersion", "kind", "metadata", "items")
_CARRIED = ("labels", "annotations")
_TIER_PREFIX = "default."
_TIERED = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")

Object = dict[str, Any]


def objects(value: Any, base: Path, faults: list[Fault]) -> Iterator[tuple[Path, Any]]:
    """The objects of a document and where they stand in it."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or not kind.endswith("List") or kind in BY_NAME:
        yield base, value
        return
    for name in value:
        if name not in _LIST_FIELDS:
            meant = near(name, _LIST_FIELDS)
            faults.append(Fault(path=(*base, name), what=f"there is no field {shown(name)} in a list",
                                why=f"the fields are {listed(_LIST_FIELDS, 'and')}", reason=Reason.UNKNOWN,
                                mend=f"did you mean {meant}?" if meant else "take it out"))
    items = value.get("items")
    if not isinstance(items, list):
        what = "items is missing" if items is None else f"{shown(items)} where a list belongs"
        faults.append(Fault(path=(*base, "items"), what=what, why="", mend="write items: [...]",
                            reason=Reason.REQUIRED if items is None else Reason.INVALID))
        return
    for index, item in enumerate(items):
        if isinstance(item, dict) and kind != "List":
            item = {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List"), **item}
        yield from objects(item, (*base, "items", index), faults)


def as_v3(obj: Any, faults: list[Fault]) -> Any:
    """The v3 object that a custom resource stands for; anything else unchanged."""
    if not isinstance(obj, dict) or obj.get("apiVersion") != CUSTOM:
        return obj
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return {**obj, "apiVersion": CALICO}
    annotations = metadata.get("annotations")
    packed = annotations.get(PACKED_METADATA) if isinstance(annotations, dict) else None
    unpacked = _unpacked(packed, faults)
    made = {**metadata, **{name: unpacked[name] for name in _CARRIED if unpacked.get(name)}}
    if isinstance(annotations, dict):
        own = {name: text for name, text in annotations.items() if name not in (PACKED_METADATA, _LAST_APPLIED)}
        made["annotations"] = {**own, **(unpacked.get("annotations") or {})}
    if "name" in made:
        made["name"] = unpacked.get("name") or _v3_name(obj, made["name"])
    return {**obj, "apiVersion": CALICO, "metadata": made}


def _unpacked(packed: Any, faults: list[Fault]) -> Object:
    if not packed:
        return {}
    try:
        unpacked = msgspec.json.decode(packed if isinstance(packed, str) else "")
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        unpacked = None
    if isinstance(unpacked, dict) and all(isinstance(unpacked.get(name) or {}, dict) for name in _CARRIED):
        return unpacked
    path = ("metadata", "annotations", PACKED_METADATA)
    faults.append(Fault(path=path, what=f"{PACKED_METADATA} is not the JSON of an object's metadata",
                        why="Calico keeps the labels and annotations of the v3 object there",
                        mend="take it out, and write apiVersion: projectcalico.org/v3"))
    return {}


def _v3_name(obj: Object, name: Any) -> Any:
    """Without the tier default in front."""
    spec = obj.get("spec")
    tier = spec.get("tier") if isinstance(spec, dict) else None
    is_policy = obj.get("kind") in _TIERED
    if is_policy and isinstance(name, str) and tier in (None, "", "default") and not name.startswith(NAME_PREFIX):
        return name.removeprefix(_TIER_PREFIX)
    return name

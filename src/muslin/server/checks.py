"""Is an object fit to be stored? The verdicts are `model.validation`'s; here they become Kubernetes' answers.

A field that nobody knows is an error unless the client says otherwise (`fieldValidation`): `Strict` refuses, `Warn`
drops the field and says so, `Ignore` drops it. Fields that were already unknown in the stored object (a newer writer
put them there) stay, and are no reason to refuse a change of something else.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

from muslin.model import validation
from muslin.model.fault import Path, Reason
from muslin.model.translated import NETWORK_POLICY
from muslin.server.refusals import Json, causes_of, invalid
from muslin.server.served import Served

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Every Namespace has its own name as a label, and policies of Kubernetes select by it."""
STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"


def checked(served: Served, obj: Json, old: Json | None, strictness: str) -> tuple[Json, tuple[str, ...]]:
    """The object as it is to be stored, with defaults, and the warnings. Raises Refusal (422) with every fault."""
    found = validation.faults(obj)
    unknown = [fault for fault in found if fault.reason is Reason.UNKNOWN]
    if unknown and old:
        known = {fault.path for fault in validation.faults(old) if fault.reason is Reason.UNKNOWN}
        unknown = [fault for fault in unknown if fault.path not in known]
    faults = [fault for fault in found if fault.reason is not Reason.UNKNOWN]
    if strictness == STRICT:
        faults = [*unknown, *faults]
    if not faults:
        obj = _completed(served, validation.normal(_without(obj, [fault.path for fault in unknown])))
        if old is not None:
            faults = list(validation.immutable_faults(old, obj))
    if faults:
        raise invalid(served.name, served.group, str(obj["metadata"].get("name", "")), causes_of(faults))
    return obj, tuple(f'unknown field "{fault.field}", {fault.mend}' for fault in unknown) if strictness == WARN else ()


def _completed(served: Served, obj: Json) -> Json:
    """What Kubernetes itself adds to its own kinds."""
    if served.translation is NETWORK_POLICY:
        spec = obj.get("spec") or {}
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        return {**obj, "spec": {**spec, "policyTypes": types}}
    if served.kind.name == "Namespace":
        metadata = obj["metadata"]
        labels = {**(metadata.get("labels") or {}), NAMESPACE_NAME: metadata["name"]}
        return {**obj, "metadata": {**metadata, "labels": labels}, "status": {"phase": "Active"}}
    return obj


def _without(obj: Json, paths: Sequence[Path]) -> Json:
    if not paths:
        return obj
    pruned: Any = copy.deepcopy(obj)
    for path in paths:
        holder = pruned
        for step in path[:-1]:
            holder = holder[step]
        holder.pop(path[-1], None)
    return cast(Json, pruned)

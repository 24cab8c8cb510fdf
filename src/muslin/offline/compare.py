"""Two worlds: who gains and who loses what, as `muslin diff` of a server says it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from muslin.errors import Invalid
from muslin.explain import cluster, difference, examples, lockout, own_policy
from muslin.explain.scene import scene
from muslin.model.kubernetes import NAME_PREFIX
from muslin.model.meta import ResourceKey
from muslin.offline.world import World


def compare(before: World, after: World) -> dict[str, Any]:
    """The same data as POST /muslin/v1/diff answers; and `cuts`: BGP sessions that would end, in words."""
    found = cluster.diff(cluster.census(before.graph), cluster.census(after.graph))
    told = [examples.told(one, before.where, after.where) for one in examples.examples(found, before, after)]
    cuts = lockout.new_cuts(*(lockout.cuts(scene(world.resources)) for world in (before, after)))
    hosts = own_policy.concerned(*(own_policy.own_policies(world.graph) for world in (before, after)))
    return {**difference.told(found), "examples": told, "hosts": hosts, "cuts": [cut.text for cut in cuts]}


def staged(world: World) -> dict[str, Any]:
    """What enforcing the staged policies would change."""
    counted = cluster.census(world.graph)
    found = difference.told(cluster.staged_effect(world.graph))
    each = cluster.staged_each(counted)
    return {**found, "each": [{"policy": name, **difference.told(one)} for name, one in each.items()]}


def without(world: World, gone: Iterable[tuple[str, str, str]]) -> World:
    """The world less some objects, by (kind, namespace, name). Raises Invalid for one that is not there."""
    left = dict(world.resources)
    for kind, namespace, name in gone:
        written = (ResourceKey(kind, namespace, name), ResourceKey(kind, namespace, NAME_PREFIX + name))
        key = next((one for one in written if one in left), None)
        if key is None:
            raise Invalid(_not_there(world, kind, namespace, name))
        del left[key]
    return dataclasses.replace(world, resources=left) if len(left) < len(world.resources) else world


def _not_there(world: World, kind: str, namespace: str, name: str) -> str:
    known = [(key.namespace, key.name.removeprefix(NAME_PREFIX)) for key in world.resources if key.kind == kind]
    where = f" in namespace {namespace}" if namespace else ""
    elsewhere = [of for of, other in known if other == name]
    near = difflib.get_close_matches(name, [other for _, other in known], n=1)
    mend = (f"it is in namespace {elsewhere[0]}: write -n {elsewhere[0]}" if elsewhere else
            f"did you mean {near[0]}?" if near else "look at the files")
    return f"there is no {kind} {name}{where} in these files: {mend}"

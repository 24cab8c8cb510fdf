"""Rules between objects, which no look at one object alone can check.

* A policy lies in a tier that exists; a tier that still holds policies cannot be deleted.
* The three tiers, the profile and the ClusterInformation that Calico always has cannot be deleted.
* Address pools do not overlap.
* What was made from a policy of Kubernetes is changed through that.
"""

from __future__ import annotations

from muslin.model.ipam import Block
from muslin.model.kinds import BY_NAME, KINDS
from muslin.model.translated import TRANSLATIONS
from muslin.net import Cidr, contains, parse_cidr, version_of
from muslin.server import builtin
from muslin.server.decoding import decoded
from muslin.server.refusals import Json, cause, conflict, forbidden, invalid
from muslin.server.served import Served
from muslin.server.views import original_of, read
from muslin.store import Store, layout

POLICIES = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")
SERIAL = frozenset({"Tier", "IPPool"})
"""Kinds whose rules look at the others of the kind: their writes come one after the other."""
DEFAULT_TIER = "default"


async def admit(store: Store, served: Served, obj: Json, old: Json | None) -> None:
    """May `obj` (as stored) be written? Raises Refusal."""
    kind = served.kind.name
    if kind in POLICIES:
        await _tier_exists(store, served, obj)
    if kind == "IPPool" and (old is None or spec(old).get("cidr") != spec(obj).get("cidr")):
        await _pools_apart(store, served, obj)
    if served.translation is None and old is not None:
        _as_it_was_made(served, obj, old)


def _as_it_was_made(served: Served, obj: Json, old: Json) -> None:
    for one in TRANSLATIONS:
        if one.stored != served.kind.name or original_of(old["metadata"], one.original) is None:
            continue
        kept = (obj["metadata"].get("annotations") or {}).get(one.original)
        if spec(obj) != spec(old) or kept != old["metadata"]["annotations"][one.original]:
            raise forbidden(served.plural, served.group, _name(obj),
                            f"it was made from a {one.kind.name} of {one.kind.group}: change that one")


async def admit_deletion(store: Store, served: Served, obj: Json) -> None:
    """May it go? Raises Refusal."""
    kind, name = served.kind.name, _name(obj)
    if (kind, name) in builtin.PERMANENT:
        raise forbidden(served.plural, served.group, name, f"this {kind} is built in and cannot be deleted")
    if kind == "Tier" and (policies := await _policies_of(store, name)):
        some = ", ".join(policies[:3]) + (", ..." if len(policies) > 3 else "")
        raise conflict(served.plural, served.group, name,
                       f"the tier still holds {len(policies)} policies ({some}): delete them or move them first")


async def remarks(store: Store, served: Served, obj: Json) -> tuple[str, ...]:
    """What somebody who deletes this should know."""
    name = _name(obj)
    if served.kind.name == "Namespace":
        left = [kind.plural for kind in KINDS
                if kind.namespaced and (await store.list(layout.prefix(kind.name, name), limit=1)).entries]
        if left:
            return (f"namespace {name} still holds {', '.join(left)}: they stay, and so do their rules",)
    if served.kind.name == "Node" and (blocks := await _blocks_of(store, name)):
        return (f"node {name} still owns {blocks} address blocks: gone for good? muslin ipam release --host {name}",)
    if served.kind.name == "IPPool" and (used := await _addresses_of(store, obj)):
        return (f"{used} addresses of pool {name} are in use: they stay with their workloads",)
    return ()


async def _blocks_of(store: Store, node: str) -> int:
    return sum([len((await store.list(layout.affinities(node, version))).entries) for version in (4, 6)])


async def _addresses_of(store: Store, pool: Json) -> int:
    cidr = _cidr(pool)
    used = 0
    for entry in (await store.list(layout.blocks(version_of(cidr)))).entries if cidr else ():
        key = layout.parse(entry.key)
        block = decoded(key, entry.value) if key else None
        if isinstance(block, Block) and cidr and contains(cidr, parse_cidr(block.cidr)):
            used += sum(index is not None for index in block.allocations)
    return used


async def _tier_exists(store: Store, served: Served, obj: Json) -> None:
    tier = spec(obj).get("tier") or DEFAULT_TIER
    if await store.get(layout.prefix("Tier") + str(tier)) is None:
        message = f'there is no tier "{tier}": create it first, or leave spec.tier out for the tier {DEFAULT_TIER}'
        raise invalid(served.name, served.group, _name(obj), [cause("spec.tier", message, "FieldValueNotFound")])


async def _pools_apart(store: Store, served: Served, obj: Json) -> None:
    mine = parse_cidr(str(spec(obj)["cidr"]))
    for entry in (await store.list(layout.prefix("IPPool"))).entries:
        key = layout.parse(entry.key)
        if key is None or key.name == _name(obj):
            continue
        other = _cidr(read(entry, key))
        if other and (contains(mine, other) or contains(other, mine)):
            message = f"{mine} overlaps {other} of the pool {key.name}: an address would belong to both, choose another"
            raise invalid(served.name, served.group, _name(obj), [cause("spec.cidr", message)])


async def _policies_of(store: Store, tier: str) -> list[str]:
    found = []
    for kind in POLICIES:
        for entry in (await store.list(layout.prefix(kind))).entries:
            key = layout.parse(entry.key)
            if key and (spec(read(entry, key)).get("tier") or DEFAULT_TIER) == tier:
                found.append(f"{key.namespace}/{key.name}" if BY_NAME[kind].namespaced else key.name)
    return found


def spec(obj: Json) -> Json:
    found = obj.get("spec")
    return found if isinstance(found, dict) else {}


def _cidr(pool: Json) -> Cidr | None:
    try:
        return parse_cidr(str(spec(pool).get("cidr", "")))
    except ValueError:
        return None


def _name(obj: Json) -> str:
    return str(obj["metadata"].get("name", ""))

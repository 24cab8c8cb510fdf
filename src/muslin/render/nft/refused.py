"""What stands for an object that the kernel refuses, so that the rest can be in force: something that denies.

    policy           denies everything that it is asked about
    set              is not there: the rules that name it deny
    group            is not there: what leads to it is dropped
    endpoint         has no addresses, and policy lists that are not there: its interface is shut
    host interface   has policy lists that are not there: only failsafes and established flows pass

A key is the field of the intent, and the key in it. While the culprit is being looked for, an intent is put together
from what is in force, what is wanted, and such stand-ins; which of them, is the caller's business. Settings are never
suspected: with others than the wanted ones, interfaces might be taken for somebody else's, and stand open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any

import msgspec

from muslin.intent import (
    Action,
    Delta,
    Direction,
    Endpoint,
    GroupId,
    HostIntent,
    HostInterface,
    Origin,
    Policy,
    PolicyId,
    Rule,
)

Key = tuple[str, str]

FIELDS = ("sets", "policies", "groups", "endpoints", "host_interfaces")
"""In this order nothing refers to what comes later."""
_NOWHERE = GroupId("refused")


def copied(intent: HostIntent) -> HostIntent:
    """One that does not change with the other."""
    return msgspec.structs.replace(intent, **{field: dict(getattr(intent, field)) for field in FIELDS})


def follow(held: HostIntent, wanted: HostIntent, keys: Iterable[Key]) -> None:
    """These objects, and the settings, are as wanted now."""
    held.settings = wanted.settings
    for field, key in keys:
        _put(getattr(held, field), key, getattr(wanted, field).get(key))


def named_by(delta: Delta) -> Iterator[Key]:
    """The objects that a delta speaks of."""
    for field in FIELDS:
        yield from ((field, key) for key in getattr(delta, field))


def differing(one: HostIntent, other: HostIntent) -> tuple[Key, ...]:
    """The objects that are not the same in both."""
    found: list[Key] = []
    for field in FIELDS:
        left, right = getattr(one, field), getattr(other, field)
        found += [(field, key) for key in sorted(left.keys() | right.keys()) if left.get(key) != right.get(key)]
    return tuple(found)


def mixed(held: HostIntent, wanted: HostIntent, new: Set[Key], refused: Iterable[Key]) -> HostIntent:
    """What is held, with the new objects as wanted, and the refused ones replaced by what denies. An interface that is
    not there yet is shut as well: else it might be taken for one that is none of our business."""
    found = copied(held)
    follow(found, wanted, new)
    absent = [(field, key) for field in ("endpoints", "host_interfaces")
              for key in getattr(wanted, field).keys() - getattr(found, field).keys()]
    return with_stand_ins(found, wanted, (*refused, *absent))


def with_stand_ins(intent: HostIntent, wanted: HostIntent, refused: Iterable[Key]) -> HostIntent:
    """The intent, in which something that denies stands for these of the wanted objects."""
    keys = tuple(refused)
    if not keys:
        return intent
    found = copied(intent)
    for field, key in keys:
        _put(getattr(found, field), key, _stand_in(getattr(wanted, field).get(key)))
    return found


def telling(keys: Iterable[Key], intent: HostIntent) -> Delta:
    """Of these objects, how they are in the intent."""
    delta = Delta()
    for field, key in keys:
        getattr(delta, field)[key] = getattr(intent, field).get(key)
    return delta


def describe(key: Key, intent: HostIntent) -> str:
    """The object, in words that a user knows."""
    field, name = key
    match field:
        case "sets":
            users = sorted(each.id for each in intent.policies.values() if name in _sets_of(each))
            return f"the addresses that {', '.join(users[:3]) or 'a policy'} selects"
        case "groups":
            asking = [each.key for each in intent.endpoints.values() if name in (each.ingress, each.egress)]
            return f"the policy list of {', '.join(sorted(asking)[:3]) or 'nobody'}"
        case _:
            return name


def _stand_in(wanted: Any) -> Any:
    match wanted:
        case Policy(id=policy_id):
            return Policy(id=policy_id, ingress=(_deny(policy_id, Direction.INGRESS),),
                          egress=(_deny(policy_id, Direction.EGRESS),))
        case Endpoint(key=key, interface=interface):
            return Endpoint(key=key, interface=interface, ingress=_NOWHERE, egress=_NOWHERE)
        case HostInterface():
            lists = [name for name in HostInterface.__struct_fields__ if name not in ("key", "interface", "addresses")]
            return msgspec.structs.replace(wanted, **{name: _NOWHERE for name in lists if getattr(wanted, name)})
        case _:
            return None


def _deny(policy_id: PolicyId, direction: Direction) -> Rule:
    kind, _, name = policy_id.partition("/")
    origin = Origin(kind=kind, name=name, direction=direction, note="the kernel refuses it")
    return Rule(action=Action.DENY, origin=origin)


def _sets_of(policy: Policy) -> set[str]:
    return {
        name for rule in (*policy.ingress, *policy.egress) for side in (rule.source, rule.destination)
        for name in (*side.sets, *side.not_sets, *side.named_ports, *side.not_named_ports)
    }


def _put(found: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        found.pop(key, None)
    else:
        found[key] = value

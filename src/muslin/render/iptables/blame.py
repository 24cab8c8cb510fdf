"""Whose line was refused? iptables and ipset name the line, and a line names a chain or a set, which one object made.

What is said at COMMIT is said of a whole table; then nobody is to blame by his line, and the agent looks for him.
"""

from __future__ import annotations

from itertools import pairwise

from muslin.intent import Direction, HostIntent
from muslin.render.iptables import names
from muslin.render.nft.refused import Key


def culprit(line: str, intent: HostIntent) -> Key | None:
    """`line`: of `iptables-restore` or `ipset restore`."""
    words = line.split()
    if len(words) < 2 or words[0] not in ("-A", "add", "create", "del"):
        return None
    return _by_name(intent).get(words[1]) or _by_interface(words, intent)


def _by_name(intent: HostIntent) -> dict[str, Key]:
    """Every chain and set that one object makes."""
    found: dict[str, Key] = {}
    for policy in intent.policies:
        found |= {names.policy_chain(policy, direction): ("policies", policy) for direction in Direction}
    for group, content in intent.groups.items():
        found[names.group_chain(group, content.direction)] = "groups", group
        for stage in range(len(content.stages)):
            found[names.stage_chain(group, content.direction, stage)] = "groups", group
    for key in intent.host_interfaces:
        found |= {names.host_chain(role, key): ("host_interfaces", key) for role in names.ROLES}
    for set_id in intent.sets:
        for family in (4, 6):
            found |= {name(set_id, family): ("sets", set_id) for name in (names.host_set, names.port_set)}
    return found


def _by_interface(words: list[str], intent: HostIntent) -> Key | None:
    """Rules of the base chains that are there for one endpoint name its interface, and so do elements of its sets."""
    if words[0] == "-A":
        named = {after for word, after in pairwise(words) if word in ("-i", "-o")}
    else:
        named = {words[2].rpartition(",")[2]} if len(words) > 2 else set()
    return next(
        (("endpoints", key) for key, one in sorted(intent.endpoints.items()) if one.interface in named),
        None,
    )

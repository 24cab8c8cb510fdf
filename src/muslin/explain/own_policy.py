"""Which host endpoints would be asked something else of what their hosts themselves send and get.

Hosts are no classes: `diff` compares workloads and the outside. That a host itself opens or shuts must not pass in
silence all the same, so the lists of rules that its endpoints are asked are compared as they stand.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from muslin.calc.cluster import Graph
from muslin.calc.identity import resource_key
from muslin.calc.members import Sort

Own = Mapping[str, tuple[str, Hashable]]
"""Host endpoint -> (its host, all that it is asked)"""


def own_policies(graph: Graph) -> Own:
    found: dict[str, tuple[str, Hashable]] = {}
    for one in graph.label_classes():
        if one.sort is Sort.HOST:
            lists = [(field, group) for field, group in graph.groups(one).items()]
            asked: Hashable = (*lists, *(
                graph.compiled(policy).policy for _, group in lists
                for policy in (*(name for stage in group.stages for name in stage.policies), *group.profiles)))
            for member in one.members.values():
                found[resource_key(member.key).name] = member.host, (member.interface, member.held, asked)
    return found


def concerned(before: Own, after: Own) -> list[dict[str, str]]:
    """As JSON: those that came, went, or are asked something else."""
    return [{"name": name, "host": (after.get(name) or before[name])[0]}
            for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]

"""What the files say, as a server would have it, and where each line of it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from muslin.calc import host as one_host
from muslin.calc.cluster import Graph
from muslin.explain.ends import Directory, Hosts
from muslin.explain.whois import node_addresses
from muslin.intent import HostIntent, Origin
from muslin.model.documents import Located
from muslin.model.meta import Resource, ResourceKey
from muslin.model.network import Node


@dataclass(frozen=True, kw_only=True)
class World:
    """`resources` by key, `lines` for those that stand in a file. `made_up`: addresses that no file names."""

    resources: Mapping[ResourceKey, Resource]
    lines: Mapping[ResourceKey, Located] = field(default_factory=dict)
    made_up: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    @cached_property
    def graph(self) -> Graph:
        graph = Graph()
        graph.update(self.resources)
        graph.flush()
        return graph

    @cached_property
    def directory(self) -> Directory:
        return Directory(self.graph, self.hosts)

    @cached_property
    def hosts(self) -> Hosts:
        """Every host that the files speak of, with the addresses of its Node."""
        found: dict[str, tuple[str, ...]] = {}
        for known in self.graph.endpoints():
            found.setdefault(known.host, ())
        for key, resource in self.resources.items():
            if isinstance(resource, Node):
                found[key.name] = node_addresses(resource)
        return found

    @cached_property
    def _intents(self) -> dict[str, HostIntent]:
        return {}

    def intent(self, host: str) -> HostIntent:
        """What the host would do."""
        if host not in self._intents:
            one = one_host.Graph()
            one.update(self.graph.snapshot(host))
            one.flush()
            self._intents[host] = one.intent
        return self._intents[host]

    @property
    def faults(self) -> dict[ResourceKey, str]:
        """What the calculation finds wrong: it denies."""
        return self.graph.faults()

    def where(self, origin: Origin) -> tuple[str, int]:
        """File and line of a rule, of its object when it is no rule's; ("", 0) when neither stands in a file."""
        located = self.lines.get(ResourceKey(origin.kind, origin.namespace, origin.name))
        if located is None:
            return "", 0
        if origin.rule is None:
            return located.file, located.line
        return located.file, located.position(("spec", str(origin.direction), origin.rule))[0]

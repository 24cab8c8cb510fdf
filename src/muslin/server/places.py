"""The hosts that there are, by the addresses of their Nodes. Asked every time; only what changed is read anew."""

from __future__ import annotations

from muslin.calc.cluster import Graph
from muslin.explain.ends import Hosts
from muslin.explain.whois import node_addresses
from muslin.model.network import Node


class Places:
    def __init__(self) -> None:
        self._known: dict[str, tuple[Node, tuple[str, ...]]] = {}

    def hosts(self, graph: Graph) -> Hosts:
        known, self._known = self._known, {}
        for name, node in graph.nodes.items():
            old = known.get(name)
            self._known[name] = old if old is not None and old[0] is node else (node, node_addresses(node))
        return {name: addresses for name, (_, addresses) in self._known.items()}

"""An answer speaks of selectors as they were written, not of the numbers of sets."""

from __future__ import annotations

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.host import Graph as Host
from muslin.explain import Packet, text, why
from muslin.explain.question import in_words
from muslin.intent import Direction, EndpointKey
from muslin.model.endpoint import WorkloadEndpoint
from muslin.model.meta import ResourceKey
from muslin.model.policy import NetworkPolicy, Tier

POLICY = {
    "kind": "NetworkPolicy", "metadata": {"name": "default.db", "namespace": "shop"},
    "spec": {"ingress": [{"action": "Allow", "protocol": "TCP",
                          "source": {"selector": "role=='web'"}, "destination": {"ports": ["pg"]}}]},
}
WORKLOAD = {
    "kind": "WorkloadEndpoint", "metadata": {"name": "h1-muslin-db-eth0", "namespace": "shop"},
    "spec": {"node": "h1", "orchestrator": "muslin", "workload": "db", "interfaceName": "mus1",
             "ipNetworks": ["10.0.0.2/32"]},
}


def test_sets_are_called_by_their_selectors() -> None:
    """`set 1f0c...` would send people into the kernel to find out whom they meant."""
    graph, host = Graph(), Host()
    graph.update({
        ResourceKey("NetworkPolicy", "shop", "default.db"): msgspec.convert(POLICY, NetworkPolicy),
        ResourceKey("WorkloadEndpoint", "shop", "h1-muslin-db-eth0"): msgspec.convert(WORKLOAD, WorkloadEndpoint),
        ResourceKey("Tier", "", "default"): Tier(),
    })
    host.update(graph.snapshot("h1"))
    host.flush()
    endpoint = EndpointKey("WorkloadEndpoint/shop/h1-muslin-db-eth0")
    decision = why(host.intent, endpoint, Direction.INGRESS, Packet("10.0.0.1", "10.0.0.2", 6, 5432))

    lines = text(in_words(decision, graph))

    web = '(projectcalico.org/namespace == "shop" && role == "web")'
    assert lines[3] == (
        f"      rule 0 Allow: no, source.selector is {web}, the packet has 10.0.0.1;"
        ' destination.ports is pg of projectcalico.org/namespace == "shop", the packet has 5432'
    )

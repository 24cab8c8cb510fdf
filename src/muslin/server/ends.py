"""`explain.ends`, in the words of HTTP: a name that nobody has is 404, one that could mean several is 400."""

from __future__ import annotations

from muslin.calc.cluster import Graph
from muslin.explain import ends
from muslin.explain.ends import HOST, OUTSIDE, WORKLOAD, End, Hosts, short_name, workload
from muslin.server.refusals import Refusal, bad_request

__all__ = ["HOST", "OUTSIDE", "WORKLOAD", "End", "Hosts", "resolve", "short_name", "workload"]


def resolve(text: str, graph: Graph, hosts: Hosts) -> End:
    """Raises Refusal: 404 with suggestions, 400 when the name could mean several."""
    try:
        return ends.resolve(text, graph, hosts)
    except ends.Unknown as error:
        raise Refusal(404, "NotFound", str(error), {"name": text.strip(), "kind": "workloadendpoints"}) from None
    except ends.Ambiguous as error:
        raise bad_request(str(error)) from None

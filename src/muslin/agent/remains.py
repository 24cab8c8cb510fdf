"""Addresses and links of endpoints that nobody has: what is left of an addition of which even the journal is lost.

    handle of a name that is this host's, no endpoint of that name on the server  -> its addresses are given back
    link that we made, for such a name, no endpoint                               -> it goes

Only those of orchestrators that say what they still have (CNI's GC); each is looked at in its turn, so that an addition
that is under way is waited for, and then has its endpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import quote

from muslin.agent.upstream import Upstream
from muslin.client.workload import endpoint_key
from muslin.errors import Invalid
from muslin.intent import EndpointKey
from muslin.model.names import HANDLE_PREFIX, parse_workload_endpoint_name


async def of_addresses(upstream: Upstream) -> tuple[EndpointKey, ...]:
    """For whom addresses are held, on any host."""
    found = await upstream.call("GET", f"/muslin/v1/addresses?handlePrefix={quote(HANDLE_PREFIX)}")
    parts = [handle.removeprefix(HANDLE_PREFIX).partition(".") for handle in found["handles"]]
    return tuple(endpoint_key(namespace, name) for namespace, _, name in parts)


def made_here(keys: Iterable[EndpointKey], node: str, orchestrators: Collection[str]) -> tuple[EndpointKey, ...]:
    """Those whose names say that they are this host's and theirs."""
    found = []
    for key in keys:
        try:
            host, orchestrator, _, _ = parse_workload_endpoint_name(key.rpartition("/")[2])
        except Invalid:
            continue  # named by hand
        if host == node and orchestrator in orchestrators:
            found.append(key)
    return tuple(found)

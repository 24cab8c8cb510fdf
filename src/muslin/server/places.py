"""The hosts that there are, by the addresses of their Nodes."""

from __future__ import annotations

from muslin.explain.ends import Hosts
from muslin.explain.whois import node_addresses
from muslin.model.network import Node
from muslin.server.decoding import decoded
from muslin.store import Store, layout


async def hosts_of(store: Store) -> Hosts:
    found = {}
    for entry in (await store.list(layout.prefix("Node"))).entries:
        key = layout.parse(entry.key)
        if key is not None:
            node = decoded(key, entry.value)
            found[key.name] = node_addresses(node) if isinstance(node, Node) else ()
    return found

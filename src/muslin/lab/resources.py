"""What an operator of this data centre would write: a BGPPeer for each rack's router. Agents register their Nodes.

The node-to-node mesh is off: between racks the fabric carries the routes, inside a rack its router reflects them.
"""

from __future__ import annotations

from typing import Any

from muslin.lab.topology import Topology

API = "projectcalico.org/v3"


def bgp(topology: Topology) -> list[dict[str, Any]]:
    peers = [
        {
            "apiVersion": API, "kind": "BGPPeer", "metadata": {"name": f"{router.name}-v{version}"},
            "spec": {
                "nodeSelector": f"rack == '{router.rack}'", "peerIP": address.partition("/")[0],
                "asNumber": router.local_as,
            },
        }
        for router in topology.routers if router.rack for version, address in zip((4, 6), router.addresses, strict=True)
    ]
    mesh = {
        "apiVersion": API, "kind": "BGPConfiguration", "metadata": {"name": "default"},
        "spec": {"nodeToNodeMeshEnabled": False},
    }
    return [mesh, *peers]

"""Keys of intent items. Each can be followed by grep from the store to the kernel and back."""

from __future__ import annotations

from typing import NewType

EndpointKey = NewType("EndpointKey", str)
"""`WorkloadEndpoint/<namespace>/<name>` or `HostEndpoint/<name>`: the resource the endpoint comes from."""

PolicyId = NewType("PolicyId", str)
"""`NetworkPolicy/<namespace>/<name>`, `GlobalNetworkPolicy/<name>` or `Profile/<name>`; of staged ones
`StagedNetworkPolicy/<namespace>/<name>`, `StagedGlobalNetworkPolicy/<name>` or
`StagedKubernetesNetworkPolicy/<namespace>/<name>`."""

GroupId = NewType("GroupId", str)
"""Short hash (16 hex digits) of a group's content, so that equal policy lists get equal ids on every host."""

SetId = NewType("SetId", str)
"""Short hash (16 hex digits) of the canonical selector (and named port) whose members the set holds."""

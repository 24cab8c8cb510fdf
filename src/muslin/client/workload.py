"""The words of the agent's API about workloads: what is asked of it, and what it answers.

Here, below agent and plugins, because both speak them: plugins translate an orchestrator's call into a `Request`, the
agent carries it out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from muslin.errors import Invalid
from muslin.intent import EndpointKey
from muslin.model.names import (
    DEFAULT_NAMESPACE,
    ENDPOINT,
    ORCHESTRATOR,
    address_handle,
    workload_endpoint_name,
)
from muslin.net import Cidr

_WORKLOAD_FIELDS = {"k8s": "pod", "cni": "containerID"}
"""The field of WorkloadEndpoint.spec that names the workload, by orchestrator; `workload` for all others."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """POST /v1/workloads. Exactly one of `netns` (name or path), `tap` (an interface that is there), and `loose`: the
    name, on the host, of the link's other end, which the caller takes away, names and configures.

    `name`: the workload; `interface`: its side of the link. No `addresses`: one of each family that has a pool, or
    `v4` and `v6` of each family, from `pools` (names or prefixes) if given. With `foreign_addresses` they come from
    somebody else's address management, and none is assigned or released. No `profiles`: its namespace's.
    `floating`: addresses that lead to its own of the same family. `gateway_v6`: what a caller that configures the
    other end tells it as its IPv6 gateway, if not fe80::1. `forwards`: its namespace is made to route between
    its interfaces. The fields that are not spoken of here go into the WorkloadEndpoint as they are.
    """

    name: str
    namespace: str = DEFAULT_NAMESPACE
    netns: str = ""
    tap: str = ""
    loose: str = ""
    interface: str = "eth0"
    labels: dict[str, str] = {}
    addresses: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ports: tuple[dict[str, Any], ...] = ()
    mac: str = ""
    mtu: int = 0
    forwards: bool = False
    orchestrator: str = ORCHESTRATOR
    endpoint: str = ENDPOINT
    container_id: str = msgspec.field(default="", name="containerID")
    pod: str = ""
    service_account_name: str = ""
    v4: int | None = None
    v6: int | None = None
    pools: tuple[str, ...] = ()
    foreign_addresses: bool = False
    floating: tuple[str, ...] = ()
    gateway_v6: str = ""
    spoofable: tuple[str, ...] = ()
    qos_controls: dict[str, Any] = {}
    annotations: dict[str, str] = {}

    def endpoint_name(self, node: str) -> str:
        """The WorkloadEndpoint's name. Raises Invalid."""
        return workload_endpoint_name(node, self.orchestrator, self.workload, self.endpoint)

    @property
    def workload(self) -> str:
        """Which of its names the WorkloadEndpoint is called by."""
        by_field = {"pod": self.pod, "containerID": self.container_id}
        named = by_field.get(_WORKLOAD_FIELDS.get(self.orchestrator, ""), self.name)
        if not named:
            raise Invalid(f"a workload of orchestrator {self.orchestrator} needs "
                          f"{_WORKLOAD_FIELDS[self.orchestrator]}")
        return "libnetwork" if self.orchestrator == "libnetwork" else named

    def handle(self, node: str) -> str:
        """Under which its addresses are assigned, "" when they are somebody else's."""
        return "" if self.foreign_addresses else address_handle(self.namespace, self.endpoint_name(node))


class Workload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer. `interface` is the host's side, `mac` the workload's, `mtu` of the link (0: unknown)."""

    key: EndpointKey
    name: str
    namespace: str
    interface: str
    addresses: tuple[Cidr, ...]
    state: str = ""
    message: str = ""
    mac: str = ""
    mtu: int = 0


def endpoint_key(namespace: str, name: str) -> EndpointKey:
    """Of a WorkloadEndpoint."""
    return EndpointKey(f"WorkloadEndpoint/{namespace}/{name}")

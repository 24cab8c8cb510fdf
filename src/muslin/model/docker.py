"""Docker networks that every host has: one object, and each host's dockerd is given the network.

A network that somebody makes by hand on one host needs none of this.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.cluster_configuration import GROUP_VERSION
from muslin.model.meta import Resource
from muslin.model.policy import Spec
from muslin.model.shape import Labels, about

POLICIES = ("same-network", "open", "deny")
LEAST_MTU, MOST_MTU = 1280, 65535
"""IPv6 wants the former, and every link speaks it."""


class DockerNetworkSpec(Spec, frozen=True, kw_only=True):
    """What `docker network create` is told. Cannot change: hosts have made their networks of it."""

    subnets: Annotated[tuple[Annotated[str, about(form="pool_cidr")], ...], about(
        "Where its addresses come from: one of IPv4, and one of IPv6 if it has both. None: any pool.", most=2,
        unique=True)] = ()
    policy: Annotated[str, about(
        "Who reaches its containers while no policy selects them. same-network (the default): those of the same "
        "network. open: everybody. deny: nobody.", enum=POLICIES)] = ""
    internal: Annotated[bool, about("Its containers do not reach the world either.")] = False
    mtu: Annotated[int, about("Of its containers' interfaces. Default: the host's.", least=0, most=MOST_MTU)] = 0
    labels: Annotated[Labels, about("Labels that its containers inherit.")] = msgspec.field(default_factory=dict)


class DockerNetwork(Resource, frozen=True, kw_only=True):
    """A Docker network on every host."""

    api_version: str = GROUP_VERSION
    spec: Annotated[DockerNetworkSpec, about("The network.")] = DockerNetworkSpec()

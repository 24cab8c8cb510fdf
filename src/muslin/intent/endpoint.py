"""The interfaces at which a host enforces policy."""

from __future__ import annotations

import msgspec

from muslin.intent.keys import EndpointKey, GroupId
from muslin.net import Cidr


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A local workload's interface. Addresses are /32 and /128. `mac` is the workload's ("" when unknown).

    `spoofable`: further source prefixes that the workload may send from.
    `nat`: (external, internal) floating addresses.
    """

    key: EndpointKey
    interface: str
    ingress: GroupId
    egress: GroupId
    mac: str = ""
    addresses: tuple[Cidr, ...] = ()
    spoofable: tuple[Cidr, ...] = ()
    nat: tuple[tuple[str, str], ...] = ()


class HostInterface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host endpoint: an interface of the host itself, or `*`. Empty GroupId: no policy of that sort selects it."""

    key: EndpointKey
    interface: str
    addresses: tuple[Cidr, ...] = ()
    ingress: GroupId = GroupId("")
    egress: GroupId = GroupId("")
    forward_ingress: GroupId = GroupId("")
    forward_egress: GroupId = GroupId("")
    untracked_ingress: GroupId = GroupId("")
    untracked_egress: GroupId = GroupId("")
    pre_dnat: GroupId = GroupId("")

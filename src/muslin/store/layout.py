"""Which resource lies under which key: exactly where Calico v3 puts it, so that each understands the other's data.

    /calico/resources/v3/projectcalico.org/<plural>/<name>                global kinds
    /calico/resources/v3/projectcalico.org/<plural>/<namespace>/<name>    namespaced kinds
    /calico/ipam/v2/assignment/ipv4/block/10.9.0.64-26                    blocks of addresses (IPAMBlock 10.9.0.64/26)
    /calico/ipam/v2/host/<host>/ipv4/block/10.9.0.64-26                   who owns a block
    /calico/ipam/v2/handle/<handle>                                       what one owner holds
    /calico/ipam/v2/config                                                settings of address assignment
    /muslin/v1/namespaces/<name>                                          kinds that Calico keeps no record of:
    /muslin/v1/services/<namespace>/<name>                                Namespace, Service, EndpointSlice and so on

Prefixes end in a slash always: `networkpolicies/` and `networksets/` are neighbours.
"""

from __future__ import annotations

from muslin.model.kinds import BY_NAME, CALICO, KINDS
from muslin.model.meta import ResourceKey
from muslin.net import version_of

RESOURCES = f"/calico/resources/v3/{CALICO.partition('/')[0]}/"
OURS = "/muslin/v1/"
IPAM = "/calico/ipam/v2/"
BLOCKS = f"{IPAM}assignment/"
HANDLES = f"{IPAM}handle/"
IPAM_CONFIG = f"{IPAM}config"
BLOCK = "IPAMBlock"
"""The kind in the ResourceKey of a block; its name is the prefix: ResourceKey("IPAMBlock", "", "10.9.0.64/26")."""

_PREFIX = {kind.name: f"{RESOURCES if kind.group_version == CALICO else OURS}{kind.plural}/" for kind in KINDS}
_KIND = {prefix: kind for kind, prefix in _PREFIX.items()}


def path(key: ResourceKey) -> str:
    """The store's key of a resource, or of a block."""
    if key.kind == BLOCK:
        return block(key.name)
    return f"{prefix(key.kind, key.namespace)}{key.name}"


def prefix(kind: str, namespace: str = "") -> str:
    """What all keys of a kind begin with, or those of one namespace."""
    return f"{_PREFIX[kind]}{namespace}/" if namespace else _PREFIX[kind]


def parse(text: str) -> ResourceKey | None:
    """The resource (or block) that lies under a key; None for keys that hold no such thing."""
    if text.startswith(BLOCKS):
        family, _, name = text.removeprefix(BLOCKS).partition("/block/")
        return ResourceKey(BLOCK, "", _undashed(name)) if family in ("ipv4", "ipv6") and name else None
    head, _, name = text.rpartition("/")
    if kind := _KIND.get(head + "/"):
        return ResourceKey(kind, "", name) if name and not BY_NAME[kind].namespaced else None
    head, _, namespace = head.rpartition("/")
    kind = _KIND.get(head + "/")
    if kind and name and namespace and BY_NAME[kind].namespaced:
        return ResourceKey(kind, namespace, name)
    return None


def block(cidr: str) -> str:
    return f"{BLOCKS}ipv{version_of(cidr)}/block/{_dashed(cidr)}"


def blocks(version: int) -> str:
    """What the keys of all blocks of one family begin with."""
    return f"{BLOCKS}ipv{version}/block/"


def affinity(host: str, cidr: str) -> str:
    return f"{affinities(host, version_of(cidr))}{_dashed(cidr)}"


def affinities(host: str, version: int) -> str:
    """What the keys of one host's claims on blocks of one family begin with."""
    return f"{IPAM}host/{host}/ipv{version}/block/"


def affinity_block(text: str) -> str:
    """The prefix of the block that an affinity's key speaks of."""
    return _undashed(text.rpartition("/")[2])


def handle(name: str) -> str:
    return f"{HANDLES}{name}"


def _dashed(cidr: str) -> str:
    return cidr.replace("/", "-", 1)


def _undashed(text: str) -> str:
    return "/".join(text.rsplit("-", 1))

"""Names that are computed, so that equal things get equal names on every host and in every run.

Keys come from resources and can be followed by grep. Groups and sets have no resource of their own: they are named
by a hash of what they say, so that two policies that ask the same question share one set.
"""

from __future__ import annotations

import hashlib

from muslin.intent import EndpointKey, PolicyId
from muslin.model.meta import ResourceKey


def endpoint_key(key: ResourceKey) -> EndpointKey:
    """`WorkloadEndpoint/shop/h1-muslin-web-eth0`, `HostEndpoint/h1-eth0`."""
    return EndpointKey(path(key))


def policy_id(key: ResourceKey) -> PolicyId:
    """`NetworkPolicy/shop/db`, `GlobalNetworkPolicy/floor`, `Profile/kns.shop`."""
    return PolicyId(path(key))


def profile_id(name: str) -> PolicyId:
    return PolicyId(f"Profile/{name}")


def path(key: ResourceKey) -> str:
    return f"{key.kind}/{key.namespace}/{key.name}" if key.namespace else f"{key.kind}/{key.name}"


def resource_key(path: str) -> ResourceKey:
    """The key whose path this is."""
    kind, _, rest = path.partition("/")
    namespace, slash, name = rest.partition("/")
    return ResourceKey(kind, namespace, name) if slash else ResourceKey(kind, "", rest)


def short_hash(text: str) -> str:
    """16 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

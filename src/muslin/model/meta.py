"""The envelope every resource shares: Kubernetes ObjectMeta, and the key that names a resource everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class ResourceKey(NamedTuple):
    """Names one resource in every room. `kind` is in CamelCase; `namespace` is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Kubernetes ObjectMeta, as far as anybody here reads it. Times are RFC 3339 text in UTC."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()
    managed_fields: tuple[dict[str, Any], ...] = ()
    self_link: str = ""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all kinds: subclasses add `spec` (and `status`), and nothing else. Depth of inheritance stays one."""

    api_version: str = "projectcalico.org/v3"
    kind: str = ""
    metadata: Meta = Meta()

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.kind, self.metadata.namespace, self.metadata.name)

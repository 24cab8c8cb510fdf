"""The envelope every resource shares: Kubernetes ObjectMeta, and the key that names a resource everywhere."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec

from muslin.model.shape import Annotations, Labels, about


class ResourceKey(NamedTuple):
    """Names one resource in every room. `kind` is in CamelCase; `namespace` is "" for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Kubernetes ObjectMeta, as far as anybody here reads it. Times are RFC 3339 text in UTC."""

    name: Annotated[str, about("Unique among its kind (and namespace). Cannot change.")] = ""
    generate_name: Annotated[str, about("Beginning of a name that the server completes.")] = ""
    namespace: Annotated[str, about("The namespace it lives in; empty for kinds that live in none.")] = ""
    uid: Annotated[str, about("Set by the server. Tells a re-created object from the old one.")] = ""
    resource_version: Annotated[str, about("Set by the server on every write. Send it back to write only if nobody "
                                           "else wrote since.")] = ""
    generation: Annotated[int, about("Set by the server: counts changes of the spec.")] = 0
    creation_timestamp: Annotated[str | None, about("Set by the server.")] = None
    deletion_timestamp: Annotated[str | None, about("Set by the server: finalizers still hold the object.")] = None
    deletion_grace_period_seconds: int | None = None
    labels: Annotated[Labels, about("What selectors see.")] = {}
    annotations: Annotated[Annotations, about("Notes that selectors do not see, 256 KiB at most.")] = {}
    finalizers: Annotated[tuple[str, ...], about("Who must let go before the object is deleted.")] = ()
    owner_references: Annotated[tuple[dict[str, Any], ...], about("Objects this one belongs to.")] = ()
    managed_fields: Annotated[tuple[dict[str, Any], ...], about("Which client set which field.")] = ()
    self_link: str = ""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that a controller has found out about an object (metav1.Condition)."""

    type: str = ""
    status: Annotated[str, about(enum=("True", "False", "Unknown"))] = ""
    observed_generation: int = 0
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all kinds: subclasses add `spec` (and `status`), and nothing else. Depth of inheritance stays one."""

    api_version: Annotated[str, about("Group and version, such as projectcalico.org/v3.")] = "projectcalico.org/v3"
    kind: Annotated[str, about("What sort of object this is.")] = ""
    metadata: Annotated[Meta, about("Name, namespace, labels.")] = Meta()

    @property
    def key(self) -> ResourceKey:
        return ResourceKey(self.kind, self.metadata.namespace, self.metadata.name)

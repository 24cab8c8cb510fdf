"""What the API offers: each kind under the group, version and names by which clients ask for it.

Two things differ from the table of kinds. `networking.k8s.io/v1` NetworkPolicy is offered although nothing of that kind
is stored: it is another view of Calico's NetworkPolicy. And names that two kinds share belong to Calico's: clients take
the first group that offers a name, so projectcalico.org is named first.
"""

from __future__ import annotations

from dataclasses import dataclass

from muslin.model import kubernetes
from muslin.model.kinds import BY_NAME, KINDS, Kind
from muslin.model.meta import Resource
from muslin.server.refusals import Json, unknown_path

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One resource of the API. `kind` is what is stored for it, `struct` what is shown."""

    group: str
    version: str
    plural: str
    name: str
    kind: Kind
    struct: type[Resource]
    namespaced: bool
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def base(self) -> str:
        """`/apis/projectcalico.org/v3`, `/api/v1`."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    @property
    def type_meta(self) -> Json:
        return {"apiVersion": self.api_version, "kind": self.name}


def _served(kind: Kind) -> Served:
    categories = ("calico",) if kind.group else ()
    return Served(group=kind.group, version=kind.version, plural=kind.plural, name=kind.name, kind=kind,
                  struct=kind.struct, namespaced=kind.namespaced, short=kind.short, categories=categories)


KUBERNETES_POLICY = Served(
    group=kubernetes.KIND.group, version=kubernetes.KIND.version, plural=kubernetes.KIND.plural,
    name=kubernetes.KIND.name, kind=BY_NAME["NetworkPolicy"], struct=kubernetes.KIND.struct, namespaced=True,
)

SERVED: tuple[Served, ...] = (*(_served(kind) for kind in KINDS), KUBERNETES_POLICY)

_BY_PATH = {(one.group, one.version, one.plural): one for one in SERVED}


def group_versions() -> list[tuple[str, str]]:
    """Groups and versions in the order in which clients prefer them, the core group ("") first."""
    order = dict.fromkeys((one.group, one.version) for one in SERVED)
    return sorted(order, key=lambda pair: pair[0] != "")


def find(group: str, version: str, plural: str) -> Served:
    """Raises Refusal (404)."""
    try:
        return _BY_PATH[group, version, plural]
    except KeyError:
        raise unknown_path() from None


def of(group: str, version: str) -> list[Served]:
    return [one for one in SERVED if (one.group, one.version) == (group, version)]

"""What the API offers: each kind under the group, version and names by which clients ask for it.

Two things differ from the table of kinds. Policies of Kubernetes are offered although nothing of their kinds is stored:
they are other views of Calico's policies, see `model.translated`. And names that two kinds share belong to Calico's:
clients take the first group that offers a name, so projectcalico.org is named first.
"""

from __future__ import annotations

from dataclasses import dataclass

from muslin.model.kinds import BY_NAME, KINDS, Kind
from muslin.model.meta import Resource
from muslin.model.translated import TRANSLATIONS, Translation
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
    translation: Translation | None = None
    """How it becomes what is stored; None: it is stored as it is shown."""

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


def _translated(one: Translation) -> Served:
    return Served(group=one.kind.group, version=one.kind.version, plural=one.kind.plural, name=one.kind.name,
                  kind=BY_NAME[one.stored], struct=one.kind.struct, namespaced=one.kind.namespaced,
                  short=one.kind.short, translation=one)


SERVED: tuple[Served, ...] = (*map(_served, KINDS), *map(_translated, TRANSLATIONS))

_BY_PATH = {(one.group, one.version, one.plural): one for one in SERVED}
_BY_KIND = {(one.api_version, one.name): one for one in SERVED}


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


def of_kind(obj: Json) -> Served | None:
    """What an object says that it is."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    return _BY_KIND.get((api_version, name)) if isinstance(api_version, str) and isinstance(name, str) else None


def of(group: str, version: str) -> list[Served]:
    return [one for one in SERVED if (one.group, one.version) == (group, version)]

"""The kinds a server has, as it says itself: a new server's kinds work with an older client.

Two small requests on a connection that is open anyway cost 2 ms; importing the table of `model.kinds`, with every
field of every kind behind it, costs 40.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from muslin.client.blocking import Client, segment

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""All groups in one answer."""


class Served(NamedTuple):
    """A kind and the words for it."""

    kind: str
    plural: str
    group_version: str
    namespaced: bool
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def words(self) -> tuple[str, ...]:
        """All that a user may write for it, in lower case."""
        group = self.group_version.rpartition("/")[0]
        long = (self.singular, self.plural)
        return (*long, *self.short, *(f"{word}.{group}" for word in long if group))

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of the collection, or of one object. Without a namespace: all namespaces."""
        root = "/api/v1" if self.group_version == "v1" else f"/apis/{self.group_version}"
        inside = f"/namespaces/{segment(namespace)}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{segment(name)}" if name else "")


def served(client: Client) -> list[Served]:
    """The core group comes last: where two groups share a word, it means Calico's. Raises ApiError, Unreachable."""
    groups = [group for root in ("/apis", "/api") for group in client.get(root, accept=DISCOVERY).get("items") or []]
    return [
        _served(group["metadata"]["name"], version["version"], resource)
        for group in groups for version in group["versions"] for resource in version["resources"]
    ]


def _served(group: str, version: str, resource: dict[str, Any]) -> Served:
    return Served(
        resource["responseKind"]["kind"], resource["resource"], f"{group}/{version}" if group else version,
        resource["scope"] == "Namespaced", tuple(resource.get("shortNames") or ()),
        tuple(resource.get("categories") or ()),
    )

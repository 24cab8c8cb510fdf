"""The kinds a server has, as it says itself: a new server's kinds work with an older client.

Two small requests on a connection that is open anyway cost 2 ms; importing the table of `model.kinds`, with every
field of every kind behind it, costs 40.
"""

from __future__ import annotations

from typing import NamedTuple

from muslin.client.blocking import Client, segment

CALICO = "projectcalico.org/v3"


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


def served(client: Client, group_versions: tuple[str, ...] = (CALICO, "v1")) -> list[Served]:
    """Subresources (`nodes/status`) are left out. Raises ApiError, Unreachable."""
    found = []
    for group_version in group_versions:
        root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
        for each in client.get(root).get("resources", ()):
            if "/" not in each["name"]:
                found.append(Served(each["kind"], each["name"], group_version, bool(each["namespaced"]),
                                    tuple(each.get("shortNames") or ()), tuple(each.get("categories") or ())))
    return found

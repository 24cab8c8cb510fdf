"""The Profile of a Docker network: what its containers allow, and the labels that they inherit from it.

One for all hosts that have a network of this name. Who makes the first of them makes it; it goes with the last.
"""

from __future__ import annotations

from muslin.client.refusal import ApiError
from muslin.plugins.docker import words
from muslin.plugins.docker.addresses import CALICO
from muslin.plugins.docker.book import Book, Network
from muslin.plugins.docker.naming import Api

_MERGE = "application/merge-patch+json"


class Profiles:
    def __init__(self, api: Api, book: Book) -> None:
        self._api = api
        self._book = book

    async def ensure(self, net: str, network: Network, labels: dict[str, str]) -> None:
        """One for all hosts. Labels of a network are known only once it is made: they come with its first container."""
        wanted = words.profile(net, network, words.labels(labels))
        path = f"{CALICO}/profiles"
        try:
            await self._api.call("POST", path, wanted)
        except ApiError as error:
            if error.code != 409:
                raise
            if labels:
                await self._api.call("PATCH", f"{path}/{words.profile_name(net)}",
                                     {"spec": {"labelsToApply": words.labels(labels)}}, content=_MERGE)

    async def drop(self, net: str, key: str) -> None:
        """If we made it, and no container of any host is under it, nor another network of this one."""
        if any(each.net == net and each.id != key for each in self._book.pages.networks.values()):
            return
        users = await self._api.call(
            "GET", f"{CALICO}/workloadendpoints?labelSelector={words.NETWORK_LABEL}%3D{net}&limit=1")
        if users["items"]:
            return
        path = f"{CALICO}/profiles/{words.profile_name(net)}"
        try:
            found = await self._api.call("GET", path)
            if words.MADE_FOR in (found["metadata"].get("annotations") or {}):
                await self._api.call("DELETE", path)
        except ApiError as error:
            if error.code != 404:
                raise

"""What the resolver must know: the containers' namespaces of this host, and the names in the networks that they are in.

    server --names of a network, as long as this host has containers in it--> here --> resolver

Everything is kept here, too, so that a resolver that comes anew is told all of it at once. While no server answers,
what is known stays.

A container's aliases are known to dockerd only once it runs: they are asked for then, and written to its endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import structlog

from muslin.errors import MuslinError
from muslin.intent import Problem
from muslin.model.names import NAMES_IN, NAMES_OF
from muslin.plugins.docker import inside, words
from muslin.plugins.docker.addresses import CALICO
from muslin.plugins.docker.book import Book, Endpoint
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.keeper import Keeper
from muslin.plugins.docker.leftovers import identity

Object = dict[str, Any]
CONTAINER = "DockerContainer"
_AGAIN = 1.0
_LEARN_WITHIN = 120.0
_MERGE = "application/merge-patch+json"

log = structlog.get_logger()


class Api(Protocol):
    """The server."""

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any: ...

    def lines(self, path: str, silence: float = ...) -> AsyncIterator[bytes]: ...


class Report(Protocol):
    """Where this host says how far it is with objects that it follows."""

    def follow(self, kind: str, states: dict[str, Problem | None] | None) -> None: ...


class Naming:
    def __init__(self, api: Api, book: Book, keeper: Keeper, node: str, report: Report) -> None:
        self._api = api
        self._book = book
        self._keeper = keeper
        self._node = node
        self._realms: dict[str, dict[str, Any]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._learning: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, bytes] = {}
        self._report = report
        self._complained: dict[str, Problem] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A container came or went."""
        self._changed.set()

    async def run(self) -> None:
        """The resolver runs while Docker uses us, and knows what is so."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                enabled = self._book.pages.enabled
                if enabled and self._writer is None:
                    await self._connect(tasks)
                for endpoint in self._book.pages.endpoints.values() if enabled else ():
                    if endpoint.sandbox and not endpoint.named and endpoint.id not in self._learning:
                        self._learning[endpoint.id] = tasks.create_task(self._learn(endpoint.id))
                self._follow(tasks)
                self._tell_sandboxes()
                self._complain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _AGAIN if self._writer is None else None)

    def _complain(self) -> None:
        """Of containers that dockerd gave an address which it told us of too late to refuse it."""
        found = {one.container: inside.problem(one) for one in self._book.pages.endpoints.values()
                 if one.sandbox and one.link_local}
        if found != self._complained:
            self._complained = found
            self._report.follow(CONTAINER, dict(found) or None)

    # ---- the resolver

    async def _connect(self, tasks: asyncio.TaskGroup) -> None:
        try:
            await self._keeper.open()
            reader, self._writer = await asyncio.open_unix_connection(self._keeper.listen)
        except (TimeoutError, OSError) as error:
            log.error("docker_resolver_not_there", socket=str(self._keeper.listen), why=str(error))
            return
        self._told.clear()
        self._tell_sandboxes()
        for realm, known in self._realms.items():
            self._say("realm", realm, known)
        self._say("ready")
        tasks.create_task(self._hear(reader))

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                _, key, why = msgspec.json.decode(line)
                log.warning("docker_names", sandbox=key, why=why)
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self.changed()

    def _say(self, *what: object) -> None:
        if self._writer is not None:
            self._writer.write(msgspec.json.encode(what) + b"\n")

    def _tell_sandboxes(self) -> None:
        """Each container's namespace once, with all the networks that it is in."""
        if self._writer is None:
            return
        networks: dict[str, list[tuple[str, str]]] = {}
        for endpoint in self._book.pages.endpoints.values():
            network = self._book.pages.networks.get(endpoint.network)
            if endpoint.sandbox and network is not None and network.net and self._book.pages.enabled:
                networks.setdefault(endpoint.sandbox, []).append((network.net, network.name or network.net))
        for sandbox in self._told.keys() - networks.keys():
            self._say("gone", sandbox)
            del self._told[sandbox]
        for sandbox, joined in networks.items():
            encoded = msgspec.json.encode(joined)
            if self._told.get(sandbox) != encoded:
                self._told[sandbox] = encoded
                self._say("sandbox", sandbox, inside.paths(self._book.pages.docker, sandbox), joined)

    # ---- names

    def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """The networks in use here, and no others."""
        used = {network.net for endpoint in self._book.pages.endpoints.values() if endpoint.sandbox
                and (network := self._book.pages.networks.get(endpoint.network)) is not None and network.net}
        used = used if self._book.pages.enabled else set()
        for realm in used - self._following.keys():
            self._following[realm] = tasks.create_task(self._hear_of(realm))
        for realm in self._following.keys() - used:
            self._following.pop(realm).cancel()
            self._realms.pop(realm, None)
            self._say("forget", realm)

    async def _hear_of(self, realm: str) -> None:
        while True:
            try:
                async for line in self._api.lines(f"/muslin/v1/names/{realm}"):
                    if line:
                        self._take(realm, msgspec.json.decode(line))
            except MuslinError as error:
                log.warning("docker_names_not_heard", network=realm, why=str(error))
            await asyncio.sleep(_AGAIN)

    def _take(self, realm: str, said: Object) -> None:
        known = self._realms.setdefault(realm, {})
        if "whole" in said:
            if known != said["whole"]:
                self._realms[realm] = said["whole"]
                self._say("realm", realm, said["whole"])
            return
        if said["names"] is None:
            known.pop(said["endpoint"], None)
        else:
            known[said["endpoint"]] = said["names"]
        self._say("name", realm, said["endpoint"], said["names"])

    # ---- aliases

    async def _learn(self, key: str) -> None:
        """dockerd answers once the container's start is over; what it is called by then is written down."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LEARN_WITHIN
        try:
            while (endpoint := self._book.pages.endpoints.get(key)) is not None and loop.time() < until:
                try:
                    found = await Daemon(self._book.pages.docker).whole_container(endpoint.container_id)
                    if found is None:
                        return
                    await self._write(endpoint, words.names(found, key, endpoint.names),
                                      words.link_local(found, key))
                    return
                except MuslinError as error:
                    log.info("docker_aliases_not_known_yet", container=endpoint.container, why=str(error))
                    await asyncio.sleep(_AGAIN)
        finally:
            self._learning.pop(key, None)

    async def _write(self, endpoint: Endpoint, names: tuple[str, ...], link_local: str) -> None:
        if names != endpoint.names:
            name = identity(endpoint.id).endpoint_name(self._node)
            await self._api.call("PATCH", f"{CALICO}/namespaces/{words.NAMESPACE}/workloadendpoints/{name}",
                                 {"metadata": {"annotations": {NAMES_OF: " ".join(names)}}}, content=_MERGE)
        current = self._book.pages.endpoints.get(endpoint.id)
        if current is not None:
            self._book.put(msgspec.structs.replace(current, names=names, named=True, link_local=link_local))
            if link_local:
                self.changed()


def about(net: str, names: Iterable[str]) -> dict[str, str]:
    return {NAMES_IN: net, NAMES_OF: " ".join(names)}

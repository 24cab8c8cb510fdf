"""The server makes host endpoints for hosts, where KubeControllersConfiguration says so, and keeps them in step.

    read Nodes, HostEndpoints, KubeControllersConfiguration --> calc.auto_host_endpoints.plan --> write, remove
         ^                                                                                            |
         +------- as soon as one of these changes (our own writes too: then there is nothing to do) --+

Each write says which state it was decided on, so that several servers of one store may do this at once: the loser
reads again. What cannot be written is told in `problems`, and tried again with the next change, or after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import msgspec
import structlog

from muslin.calc.auto_host_endpoints import Draft, Plan, is_ours, plan
from muslin.calc.illegible import Illegible
from muslin.errors import Conflict, Transient
from muslin.intent import Problem
from muslin.model.controllers import KubeControllersConfiguration
from muslin.model.endpoint import HostEndpoint
from muslin.model.ipam import Block
from muslin.model.kinds import BY_NAME
from muslin.model.meta import Resource
from muslin.model.network import Node
from muslin.server import served
from muslin.server.decoding import decoded
from muslin.server.objects import Objects, Wish
from muslin.server.refusals import Json, Refusal
from muslin.store import layout

_KINDS = ("Node", "HostEndpoint", "KubeControllersConfiguration")
_AGAIN = 30.0
_AFTER_FAULT = 1.0
_AT_MOST_EVERY = 0.1
_GONE, _CONFLICT = 404, 409

log = structlog.get_logger()


class AutoHostEndpoints:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        kind = BY_NAME["HostEndpoint"]
        self._served = served.find(kind.group, kind.version, kind.plural)
        self.problems: tuple[Problem, ...] = ()
        """What stands in the way."""

    async def run(self) -> None:
        """Until cancelled, or the store is closed."""
        while True:
            try:
                revision = await self.settle()
                async with asyncio.timeout(_AGAIN if self.problems else None):
                    if not await self._wait_changed(revision):
                        return
            except TimeoutError:
                continue
            except Transient as error:
                log.warning("host_endpoints_wait", why=str(error))
                await asyncio.sleep(_AFTER_FAULT)
            await asyncio.sleep(_AT_MOST_EVERY)  # a rack of hosts that start together is one turn

    async def settle(self) -> int:
        """Once. Returns the revision of the store that it was decided on."""
        revision = await self._objects.store.revision()
        todo, seen = await self._plan()
        problems = [
            Problem(what=f"HostEndpoint {name} is not one that is made by itself, so that its host has none of these",
                    mend=f"give it another name, or the label that the others have; see "
                         f"`muslin get hostendpoint {name} -o yaml`", key=f"HostEndpoint/{name}")
            for name in todo.taken
        ]
        for draft in todo.write:
            problems += await self._try(f"HostEndpoint/{draft.name}", self._write(draft, draft.name in seen))
        for name in todo.remove:
            problems += await self._try(f"HostEndpoint/{name}", self._remove(name, seen[name]))
        self.problems = tuple(problems)
        return revision

    async def _wait_changed(self, revision: int) -> bool:
        """False: the store is closed."""
        prefixes = tuple(map(layout.prefix, _KINDS))
        async for batch in self._objects.store.watch(layout.RESOURCES, after=revision):
            if any(event.key.startswith(prefixes) for event in batch):
                return True
        return False

    async def _plan(self) -> tuple[Plan, dict[str, HostEndpoint]]:
        """What to do, and what there is."""
        found = {kind: await self._read(kind) for kind in _KINDS}
        configuration = found["KubeControllersConfiguration"].get("default")
        existing = {name: one for name, one in found["HostEndpoint"].items() if isinstance(one, HostEndpoint)}
        if isinstance(configuration, Illegible):
            return Plan(), existing
        nodes = {name: node for name, node in found["Node"].items() if isinstance(node, Node)}
        unreadable = found["Node"].keys() - nodes.keys()
        wanted = configuration if isinstance(configuration, KubeControllersConfiguration) else None
        return plan(wanted, nodes, existing, unreadable), existing

    async def _read(self, kind: str) -> dict[str, Resource | Illegible]:
        page = await self._objects.store.list(layout.prefix(kind))
        found: dict[str, Resource | Illegible] = {}
        for entry in page.entries:
            key = layout.parse(entry.key)
            value = decoded(key, entry.value) if key is not None else None
            if key is None or value is None or isinstance(value, Block):
                continue
            if isinstance(value, Resource):
                seen = msgspec.structs.replace(value.metadata, resource_version=str(entry.revision))
                value = msgspec.structs.replace(value, metadata=seen)
            found[key.name] = value
        return found

    async def _try(self, key: str, doing: Coroutine[None, None, None]) -> tuple[Problem, ...]:
        try:
            await doing
        except Conflict:
            return ()  # somebody else wrote it: the next turn sees what
        except Refusal as refusal:
            if refusal.code in (_GONE, _CONFLICT):
                return ()
            log.warning("host_endpoint_refused", key=key, why=str(refusal))
            return (Problem(what=f"{key} cannot be made: {refusal}", mend="correct the Node that it is for", key=key),)
        return ()

    async def _write(self, draft: Draft, exists: bool) -> None:
        wanted = {"metadata": {"name": draft.name, "labels": dict(draft.labels)},
                  "spec": msgspec.json.decode(msgspec.json.encode(draft.spec))}
        if not exists:
            await self._objects.create(self._served, "", wanted, Wish())
        else:
            await self._objects.change(self._served, "", draft.name, lambda old: _renewed(old, wanted), Wish())
        log.info("host_endpoint", key=f"HostEndpoint/{draft.name}", made=not exists)

    async def _remove(self, name: str, seen: HostEndpoint) -> None:
        options = {"preconditions": {"resourceVersion": seen.metadata.resource_version}}
        await self._objects.delete(self._served, "", name, options, dry=False)
        log.info("host_endpoint_removed", key=f"HostEndpoint/{name}")


def _renewed(old: Json | None, wanted: Json) -> Json:
    """Nothing is changed of what somebody has made his own meanwhile."""
    if old is None:
        raise Conflict(wanted["metadata"]["name"])
    if not is_ours(msgspec.convert(old, HostEndpoint)):
        return old
    return {**old, "metadata": {**old["metadata"], "labels": wanted["metadata"]["labels"]}, "spec": wanted["spec"]}

"""What the lock-out guard looks at, kept in step with the store, and the cluster as it would be after a change.

Read whole once, and again only where the store has forgotten what came since. A change is tried on what is kept and
taken back. What a draft has written lies on it as long as the draft goes on asking, so that the last of a thousand
changes of one call costs as little as the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice

from muslin.explain import lockout
from muslin.explain.lockout import Cut
from muslin.explain.scene import Connection, Scenery
from muslin.model.meta import ResourceKey
from muslin.server.decoding import decoded
from muslin.store import Compacted, Store, layout

KINDS = ("HostEndpoint", "GlobalNetworkPolicy", "Tier", "Profile", "FelixConfiguration", "GlobalNetworkSet",
         "NetworkSet")
"""A write of one of these may cut something."""
_BESIDE = ("Namespace", "Node", "BGPConfiguration", "BGPPeer", "IPPool")
_WHOLE = frozenset((*KINDS, *_BESIDE))
_WORKLOAD = "WorkloadEndpoint"
MOST = 10_000
"""Cuts that are looked at. A change of which the first so many are old cuts is let through."""

Changes = Mapping[ResourceKey, bytes | None]
"""Objects as they are stored; None: gone."""


class Guarded:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: _Kept | None = None
        self._turn = asyncio.Lock()

    async def cuts(self, change: Changes, drafted: Mapping[str, bytes | None],
                   connections: tuple[Connection, ...]) -> list[Cut]:
        """What the change would cut. `drafted`: what only a draft knows yet, by the store's keys."""
        async with self._turn:
            kept, self._kept = self._kept, None
            kept = await self._followed(kept, frozenset(one.server for one in connections))
            found = await asyncio.to_thread(kept.cuts, change, drafted, connections)
            self._kept = kept  # only now: who was interrupted may have left it between two changes
            return found

    async def _followed(self, kept: _Kept | None, servers: frozenset[str]) -> _Kept:
        """In step with the store. `servers`: addresses of servers, which may run in workloads."""
        revision = await self._store.revision()
        if kept is not None and servers <= kept.servers:
            try:
                if revision > kept.revision:
                    await asyncio.to_thread(kept.learn, await self._since(kept, revision), revision)
                return kept
            except Compacted:
                pass
        return await self._read(servers, revision)

    async def _since(self, kept: _Kept, revision: int) -> dict[ResourceKey, bytes | None]:
        changed: dict[ResourceKey, bytes | None] = {}
        async with aclosing(self._store.watch("/", after=kept.revision)) as batches:
            async for batch in batches:
                keyed = ((layout.parse(event.key), event.value) for event in batch)
                changed.update((key, value) for key, value in keyed if key is not None and kept.concerns(key, value))
                if batch[-1].revision >= revision:
                    break
        return changed

    async def _read(self, servers: frozenset[str], revision: int) -> _Kept:
        """What was written since `revision` may be in it, and is learned again."""
        kept, found = _Kept(servers), dict[ResourceKey, bytes | None]()
        for kind in (*KINDS, *_BESIDE, *([_WORKLOAD] if servers else [])):
            entries = (await self._store.list(layout.prefix(kind))).entries
            keyed = ((layout.parse(one.key), one.value) for one in entries)
            found.update((key, value) for key, value in keyed if key is not None and kept.concerns(key, value))
        await asyncio.to_thread(kept.learn, found, revision)
        return kept


class _Kept:
    """One thread at a time."""

    def __init__(self, servers: frozenset[str]) -> None:
        self.servers = servers
        self.revision = 0
        self._marks = [f'"{server}/'.encode() for server in servers]
        self._scenery = Scenery()
        self._stored: dict[ResourceKey, bytes] = {}
        self._laid: dict[ResourceKey, bytes | None] = {}
        """What lies on what is stored."""

    def concerns(self, key: ResourceKey, value: bytes | None) -> bool:
        """Of workloads only those in which a server runs: rules may mean them by their labels."""
        if key.kind != _WORKLOAD:
            return key.kind in _WHOLE
        return key in self._stored or (value is not None and any(mark in value for mark in self._marks))

    def learn(self, changed: Changes, revision: int) -> None:
        """What the store says, in step with it up to a revision."""
        for key, value in changed.items():
            if value is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = value
        self._update({key: value for key, value in changed.items() if key not in self._laid})
        self.revision = revision

    def cuts(self, change: Changes, drafted: Mapping[str, bytes | None],
             connections: tuple[Connection, ...]) -> list[Cut]:
        keyed = ((layout.parse(path), value) for path, value in drafted.items())
        before = {key: value for key, value in keyed if key is not None and self.concerns(key, value)}
        self._lay(before)
        touched = self._lay({**before, **change})
        scene = self._scenery.scene(connections)
        if not touched or not lockout.stopping(scene, touched):
            return []
        after = list(islice(lockout.cuts(scene, touched), MOST))
        self._lay(before)
        return lockout.new_cuts(lockout.cuts(self._scenery.scene(connections), touched), after)

    def _lay(self, changes: dict[ResourceKey, bytes | None]) -> AbstractSet[str]:
        """These alone lie on what is stored now. The hosts with host endpoints that do anything else than before."""
        stored, laid, self._laid = self._stored, self._laid, changes
        batch = {key: stored.get(key) for key in laid.keys() - changes.keys() if laid[key] != stored.get(key)}
        for key, value in changes.items():
            if value != (laid[key] if key in laid else stored.get(key)):
                batch[key] = value
        return self._update(batch)

    def _update(self, batch: Changes) -> AbstractSet[str]:
        return self._scenery.update({key: decoded(key, value) for key, value in batch.items()}) if batch else set()

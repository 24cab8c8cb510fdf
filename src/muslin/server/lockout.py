"""A write that would cut off the server, an agent or BGP is refused, unless it is forced.

The cluster as it would be is made of the few kinds that host endpoints depend on (`server.guarded`), and asked by
`explain.lockout`. Where nobody has host endpoints nothing can be cut, and nothing is read.

Forced is a write whose object says so (annotation `muslin.dev/force: lockout`, which kubectl can write too; for a
deletion, the object that is deleted), or whose request does (`?lockout=force`). ClusterConfiguration can switch the
guard off (`spec.lockoutGuard: Disabled`).

What connects agents and servers is known from the agents' own connections: an agent that this server has never heard of
is not looked after. Agents at a unix socket or the loopback cannot be cut.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import web

from muslin.errors import Invalid
from muslin.explain.lockout import Cut
from muslin.explain.scene import Connection
from muslin.model.kinds import BY_NAME
from muslin.model.meta import ResourceKey
from muslin.server.decoding import decoded
from muslin.server.guarded import KINDS, Guarded
from muslin.server.refusals import Json, Refusal, cause
from muslin.server.served import Served
from muslin.server.views import written
from muslin.store import Draft, Store, layout

FORCE, LOCKOUT = "muslin.dev/force", "lockout"
_GUARD = "ClusterConfiguration"
_MOST_TOLD = 3


class Guard:
    def __init__(self, store: Store, guarded: Guarded | None = None) -> None:
        self.connections: dict[str, Connection] = {}
        """Host -> how its agent reached this server last."""
        self._store = store
        self._guarded = guarded or Guarded(store)

    def on(self, store: Store) -> Guard:
        """The same, of another store: a draft of this one."""
        made = Guard(store, self._guarded)
        made.connections = self.connections
        return made

    def connected(self, host: str, request: web.Request) -> None:
        """An agent has called."""
        transport = request.transport
        peer, own = (transport.get_extra_info(end) if transport else None for end in ("peername", "sockname"))
        if not isinstance(peer, tuple) or not isinstance(own, tuple):
            self.connections.pop(host, None)
            return
        agent, server = (_plain(str(end[0])) for end in (peer, own))
        if ipaddress.ip_address(server).is_loopback:
            self.connections.pop(host, None)
        else:
            self.connections[host] = Connection(host, agent, server, int(own[1]))

    async def admit(self, served: Served, obj: Json | None, old: Json | None, *, forced: bool) -> None:
        """`obj` as it is to be stored, None: it is to be deleted. Raises Refusal."""
        kind = served.kind.name
        held = obj if obj is not None else old
        if kind not in KINDS or held is None or forced or _says_force(held) or _same(obj, old):
            return
        if kind != "HostEndpoint" and not await self.has_hosts():
            return
        if await self._switched_off():
            return
        metadata = held["metadata"]
        key = ResourceKey(kind, metadata.get("namespace") or "", metadata["name"])
        change = {key: written(obj) if obj is not None else None}
        drafted = self._store.changes() if isinstance(self._store, Draft) else {}
        cuts = await self._guarded.cuts(change, drafted, tuple(self.connections.values()))
        if cuts:
            raise _refusal(served, metadata["name"], cuts)

    async def has_hosts(self) -> bool:
        """Is there a host endpoint? Without one nothing can be cut."""
        return bool((await self._store.list(layout.prefix("HostEndpoint"), limit=1)).entries)

    async def _switched_off(self) -> bool:
        if _GUARD not in BY_NAME:
            return False
        entry = await self._store.get(layout.path(ResourceKey(_GUARD, "", "default")))
        spec = getattr(decoded(ResourceKey(_GUARD, "", "default"), entry.value), "spec", None) if entry else None
        return getattr(spec, "lockout_guard", "") == "Disabled"


def forced(request: web.Request) -> bool:
    """Does the request ask for it? Raises Invalid."""
    word = request.query.get("lockout", "")
    if word not in ("", "force"):
        raise Invalid(f"lockout={word[:40]!r}: write lockout=force, or leave it out")
    return word == "force"


def _refusal(served: Served, name: str, cuts: list[Cut]) -> Refusal:
    told = [cause("", cut.text, "LockOut") for cut in cuts[:_MOST_TOLD]]
    more = f" ({len(cuts) - _MOST_TOLD} more connections would be cut too)" if len(cuts) > _MOST_TOLD else ""
    message = (f"{served.name} {name} would lock the cluster out of its own hosts: {cuts[0].text}{more}. If it is "
               f"meant, write the annotation {FORCE}: {LOCKOUT}, or give --force")
    details: dict[str, Any] = {"name": name, "group": served.group, "kind": served.plural, "causes": told}
    return Refusal(403, "Forbidden", message, details)


def _says_force(obj: Json) -> bool:
    annotations = obj["metadata"].get("annotations")
    return isinstance(annotations, dict) and annotations.get(FORCE) == LOCKOUT


def _same(obj: Json | None, old: Json | None) -> bool:
    """Only what nobody enforces is different."""
    if obj is None or old is None:
        return False
    return (obj.get("spec"), obj["metadata"].get("labels")) == (old.get("spec"), old["metadata"].get("labels"))


def _plain(address: str) -> str:
    """An IPv4 address as such, also at a socket of both families."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)

"""The address of a container that was stopped, kept for its next start.

dockerd gives an address back when a container stops and asks for any when it starts, and does not say for whom. But it
answers no question about a container that it is just starting, and any other at once. So an address is kept for a while
as long as its container is there and does not run, and is given to the one container of those that cannot be asked.
Where several start at once nobody can tell, and they get others, as they do when all is needed.

    DeleteEndpoint   whose it is        ReleaseAddress   kept      RequestAddress   whoever is locked has it again

One that its container asks for by name is not kept: it needs no guess, and may be asked for on another host next. One
that was to be given back, where the server's answer was lost, may be anybody's by now: it can only be given back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from muslin.errors import MuslinError, Transient
from muslin.net import Cidr
from muslin.plugins.docker.book import Endpoint

KEPT_FOR = 60.0
_LOOK_AFTER = 0.3
"""By then `docker rm` has removed the container that it stopped first."""
_AGAIN = 2.0
_MOST_ASKED, _MOST_LEAVING = 16, 256
_STOPPED = ("exited", "restarting", "created")

log = structlog.get_logger()


class Containers(Protocol):
    """What dockerd says of containers."""

    async def locked(self, containers: Iterable[str]) -> set[str]: ...

    async def state(self, container: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """`handle`: under which this host holds it. `ran`: dockerd said so once, as it does of one that is just stopping.
    `goes`: it is being given back, or was and nobody knows whether it is; nobody has it again."""

    pool: str
    container: str
    handle: str
    until: float
    due: float
    ran: bool = False
    goes: bool = False


class Kept:
    """`give_back`: to the server, if it is still held under that handle."""

    def __init__(self, containers: Callable[[], Containers], give_back: Callable[[Cidr, str], Awaitable[None]],
                 look_after: float = _LOOK_AFTER, again: float = _AGAIN) -> None:
        self._containers = containers
        self._give_back = give_back
        self._look_after = look_after
        self._again = again
        self._leaving: dict[Cidr, str] = {}
        self._named: set[Cidr] = set()
        self._entries: dict[Cidr, Entry] = {}
        self._changed = asyncio.Event()

    def __contains__(self, address: object) -> bool:
        return address in self._entries

    def leave(self, endpoint: Endpoint) -> None:
        """It is deleted: its addresses are about to be released."""
        self._leaving |= dict.fromkeys(map(Cidr, endpoint.addresses), endpoint.container_id)
        for forgotten in list(self._leaving)[:-_MOST_LEAVING]:  # dockerd died before it released them
            del self._leaving[forgotten]

    def keep(self, address: Cidr, pool: str, handle: str) -> bool:
        """False: nobody knows whose it was, or its container asks for it by name."""
        container = self._leaving.pop(address, "")
        if address in self._named:
            self._named.discard(address)
            return False
        if container:
            now = asyncio.get_running_loop().time()
            self._entries[address] = Entry(pool, container, handle, now + KEPT_FOR, now + self._look_after)
            self._changed.set()
        return bool(container)

    def asked(self, address: Cidr, by_name: bool) -> None:
        """A container has it, and asked for it by name or for any."""
        (self._named.add if by_name else self._named.discard)(address)

    def assigned(self, address: Cidr) -> None:
        """Anew, by the server: what was held before is free."""
        self._entries.pop(address, None)

    async def again(self, pool: str) -> Cidr | None:
        """The address of the container that asks, if that can be told."""
        ours = {entry.container: address for address, entry in self._entries.items()
                if entry.pool == pool and not entry.goes}
        if not ours or len(ours) > _MOST_ASKED:
            return None
        try:
            locked = await self._containers().locked(ours)
        except Transient as error:
            log.info("docker_address_not_recognized", pool=pool, why=str(error))  # the container gets another
            return None
        asking = [ours[container] for container in locked]
        return asking[0] if len(asking) == 1 and self.take(asking[0]) else None

    def take(self, address: Cidr) -> bool:
        """Somebody has it now. False: it was not kept."""
        entry = self._entries.get(address)
        if entry is None or entry.goes:
            return False
        del self._entries[address]
        return True

    async def give_up(self, pool: str = "", address: Cidr | None = None) -> bool:
        """All of a pool, or one, or all. False: there was none. Raises ApiError, Transient."""
        doomed = {each: entry for each, entry in self._entries.items()
                  if (not pool or entry.pool == pool) and address in (None, each) and entry.due < math.inf}
        for each, entry in doomed.items():
            if self._entries.get(each) is entry:  # nobody was faster while the one before was given back
                await self._let_go(each, entry)
        return bool(doomed)

    async def _let_go(self, address: Cidr, entry: Entry) -> None:
        """If that fails, it is tried again until it is gone or somebody's."""
        going = self._entries[address] = replace(entry, goes=True, due=math.inf)
        is_gone = False
        try:
            await self._give_back(address, entry.handle)
            is_gone = True
        finally:
            if self._entries.get(address) is going:
                del self._entries[address]
                if not is_gone:
                    self._entries[address] = replace(going, due=asyncio.get_running_loop().time() + self._again)
                    self._changed.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            self._changed.clear()
            now = asyncio.get_running_loop().time()
            for address, entry in list(self._entries.items()):
                if entry.due <= now:
                    await self._look(address, entry, now)
            due = min((entry.due for entry in self._entries.values()), default=None)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if due is None else max(0.01, due - now))

    async def _look(self, address: Cidr, entry: Entry, now: float) -> None:
        ran = entry.ran
        try:
            is_asked = now < entry.until and not entry.goes
            state = await self._containers().state(entry.container) if is_asked else ""
            ran = state == "running"
            if state not in _STOPPED and (entry.ran or not ran):
                if self._entries.get(address) is entry:
                    await self._let_go(address, entry)
                return
        except MuslinError as error:
            log.info("docker_address_kept_longer", address=address, why=str(error))
        if self._entries.get(address) is entry:
            self._entries[address] = replace(entry, due=now + self._again, ran=ran)

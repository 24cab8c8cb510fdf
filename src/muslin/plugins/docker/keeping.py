"""The address of a container that was stopped, kept for its next start.

dockerd gives an address back when a container stops and asks for any when it starts, and does not say for whom. But it
answers no question about a container that it is just starting, and any other at once. So an address is kept for a while
as long as its container is there and does not run, and is given to the one container of those that cannot be asked.
Where several start at once nobody can tell, and they get others, as they do when all is needed.

    DeleteEndpoint   whose it is        ReleaseAddress   kept      RequestAddress   whoever is locked has it again
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from muslin.errors import MuslinError
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
    """`ran`: dockerd said so once, as it does of one that is just stopping."""

    pool: str
    container: str
    until: float
    due: float
    ran: bool = False


class Kept:
    """`give_back`: to the server."""

    def __init__(self, containers: Callable[[], Containers], give_back: Callable[[Cidr], Awaitable[None]],
                 look_after: float = _LOOK_AFTER, again: float = _AGAIN) -> None:
        self._containers = containers
        self._give_back = give_back
        self._look_after = look_after
        self._again = again
        self._leaving: dict[Cidr, str] = {}
        self._entries: dict[Cidr, Entry] = {}
        self._changed = asyncio.Event()

    def __contains__(self, address: object) -> bool:
        return address in self._entries

    def leave(self, endpoint: Endpoint) -> None:
        """It is deleted: its addresses are about to be released."""
        self._leaving |= dict.fromkeys(map(Cidr, endpoint.addresses), endpoint.container_id)
        for forgotten in list(self._leaving)[:-_MOST_LEAVING]:  # dockerd died before it released them
            del self._leaving[forgotten]

    def keep(self, address: Cidr, pool: str) -> bool:
        """False: nobody knows whose it was."""
        container = self._leaving.pop(address, "")
        if container:
            now = asyncio.get_running_loop().time()
            self._entries[address] = Entry(pool, container, now + KEPT_FOR, now + self._look_after)
            self._changed.set()
        return bool(container)

    async def again(self, pool: str) -> Cidr | None:
        """The address of the container that asks, if that can be told."""
        ours = {entry.container: address for address, entry in self._entries.items() if entry.pool == pool}
        if not ours or len(ours) > _MOST_ASKED:
            return None
        asking = [ours[container] for container in await self._containers().locked(ours)]
        return asking[0] if len(asking) == 1 and self.take(asking[0]) else None

    def take(self, address: Cidr) -> bool:
        """Somebody has it now. False: it was not kept."""
        return self._entries.pop(address, None) is not None

    async def give_up(self, pool: str = "", address: Cidr | None = None) -> bool:
        """All of a pool, or one, or all. False: there was none. Raises ApiError, Transient."""
        doomed = {each: entry for each, entry in self._entries.items()
                  if (not pool or entry.pool == pool) and address in (None, each)}
        for each, entry in doomed.items():
            if not self.take(each):
                continue  # somebody was faster while the one before was given back
            try:
                await self._give_back(each)
            except MuslinError:
                self._entries[each] = entry
                raise
        return bool(doomed)

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
            state = await self._containers().state(entry.container) if now < entry.until else ""
            ran = state == "running"
            if state not in _STOPPED and (entry.ran or not ran):
                await self.give_up(address=address)
                return
        except MuslinError as error:
            log.info("docker_address_kept_longer", address=address, why=str(error))
        if address in self._entries:
            self._entries[address] = replace(entry, due=now + self._again, ran=ran)

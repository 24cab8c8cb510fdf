"""Two threads for workloads' links: one lays and connects them, one after another; the other takes them away.

Links are changed under one lock of the kernel. Threads that want it at once spin for it, and hand Python's own lock to
and fro at every system call: fifty links laid by six threads cost 7 ms of system time each, by one thread 2 ms. So
nothing here happens at the same time.

A veth's removal waits 16 ms for the kernel, and as long for a hundred at once: whoever comes during a removal is taken
by the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from muslin.drivers import plug
from muslin.drivers.netlink import Netlink
from muslin.drivers.plug import Doomed
from muslin.errors import Broken, MuslinError

A = TypeVar("A")


class _Asked(NamedTuple):
    doomed: Doomed
    done: Future[None]


class _Socket:
    """One that stays open between uses, unless a use of it fails. For one thread."""

    def __init__(self) -> None:
        self._netlink: Netlink | None = None

    def __enter__(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._netlink is not None:
            self._netlink.close()  # answers may be under way that the next use should not meet
            self._netlink = None


class Fitter:
    """Works in the namespace of the process."""

    def __init__(self) -> None:
        self._laying = ThreadPoolExecutor(1, "links")
        self._removing = ThreadPoolExecutor(1, "links-gone")
        self._socket, self._other_socket = _Socket(), _Socket()
        self._waiting: deque[_Asked] = deque()

    async def do(self, work: Callable[[Netlink], A]) -> A:
        """After what was asked for before; with a socket that nobody else has meanwhile."""

        def run() -> A:
            with self._socket as host:
                return work(host)

        return await asyncio.get_running_loop().run_in_executor(self._laying, run)

    async def unplug(self, doomed: Doomed) -> None:
        """It is gone, both ends, also if it was before. A stranger's is left alone."""
        done: Future[None] = Future()
        self._waiting.append(_Asked(doomed, done))
        self._removing.submit(self._unplug_waiting)  # which tells `done`, whatever comes of it
        await asyncio.wrap_future(done)

    def _unplug_waiting(self) -> None:
        """All that wait. Only the one thread takes from them."""
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        wanted = [one for one in asked if one.done.set_running_or_notify_cancel()]
        if not wanted:
            return
        failure: Exception | None = Broken("the removal of links broke off")
        try:
            with self._other_socket as host:
                plug.unplug(host, [one.doomed for one in wanted])
            failure = None
        except (MuslinError, OSError) as error:
            failure = error
        finally:
            for one in wanted:
                if failure is None:
                    one.done.set_result(None)
                else:
                    one.done.set_exception(failure)

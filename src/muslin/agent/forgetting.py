"""Conntrack forgets the flows of addresses that come, go or lead elsewhere: many by one walk, beside the turns.

A walk costs milliseconds however little it finds (`drivers.conntrack`), and every address that comes or goes needs one.
So addresses gather while a walk is under way, and the next walk takes them all; after each it rests for three times as
long as it took, so that churn costs a quarter of a processor at most. Whoever must not go on before an address is
forgotten waits for the walk that began after it asked.

    assigned to a workload here  --ask early--> walk --+
    its route is due             ------------ wait ----+--> route
    a route has gone             --ask--> walk --> the address may be given to others

The walk for an address that comes may begin as soon as the address is this host's (decision 0076): nobody else answers
for it from then on, and a flow that nobody answers is asked of policy packet by packet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable

import structlog

from muslin.drivers import conntrack
from muslin.errors import Transient

_REST = 3.0
"""Times the walk before."""
_AGAIN = 0.5
_EARLY_IS_GOOD_FOR = 10.0
"""Seconds: whoever asked early gives up by then."""

log = structlog.get_logger()
Forget = Callable[[Collection[str], Collection[str]], None]


class Forgetting:
    """Of the namespace of the process. `forget` is called in a thread with workloads' addresses and floating ones."""

    def __init__(self, forget: Forget = conntrack.forget) -> None:
        self._forget = forget
        self._due: tuple[set[str], set[str]] = (set(), set())
        """Workloads' and floating ones, for the next walk."""
        self._next: asyncio.Future[None] | None = None
        """That walk, when it has ended."""
        self._walking: asyncio.Task[None] | None = None
        self._open: dict[str, asyncio.Future[None]] = {}
        """Workloads' addresses that were asked for and are not forgotten yet."""
        self._early: dict[str, tuple[asyncio.Future[None], float]] = {}
        """Asked for before the route was due; and until when that counts."""
        self.walks = 0
        """So far."""
        self.fault = ""
        """Why the last walk failed; it is done again."""

    @property
    def pending(self) -> bool:
        """Is anything asked for and not forgotten yet?"""
        return bool(self._open) or any(self._due)

    def ask(self, addresses: Iterable[str], floating: Iterable[str] = ()) -> asyncio.Future[None]:
        """Done once all flows of these, as they are now, are forgotten. Fails as Transient; it is tried again."""
        walk = self._next = self._next or asyncio.get_running_loop().create_future()
        for address in addresses:
            self._due[0].add(address)
            self._open[address] = walk
            self._early.pop(address, None)
        self._due[1].update(floating)
        if self._walking is None or self._walking.done():
            self._walking = asyncio.create_task(self._walk_all())
        return walk

    def ask_early(self, addresses: Iterable[str]) -> None:
        """They are this host's from now on, and nobody's yet; their routes will be due in a moment."""
        now = time.monotonic()
        self._early = {address: early for address, early in self._early.items() if early[1] > now}
        if fresh := [address for address in addresses if address not in self._early]:
            walk = self.ask(fresh)
            self._early.update(dict.fromkeys(fresh, (walk, now + _EARLY_IS_GOOD_FOR)))

    def not_coming(self, addresses: Iterable[str]) -> None:
        """What was asked early does not count any more."""
        for address in addresses:
            self._early.pop(address, None)

    async def wait_for_way(self, addresses: Iterable[str]) -> None:
        """Until there may be a way to these. Raises Transient."""
        now, walks, rest = time.monotonic(), set(), []
        for address in addresses:
            walk, until = self._early.pop(address, (None, 0.0))
            if walk is None or until < now or (walk.done() and walk.exception()):
                rest.append(address)
            else:
                walks.add(walk)
        if rest:
            walks.add(self.ask(rest))
        for each in walks:
            await asyncio.shield(each)

    async def wait(self) -> None:
        """Until all that was asked for by now is forgotten. Raises Transient."""
        for walk in {*self._open.values()}:
            await asyncio.shield(walk)

    async def _walk_all(self) -> None:
        while self._next is not None:
            walk, self._next = self._next, None
            (plain, floating), self._due = self._due, (set(), set())
            try:
                took = await asyncio.to_thread(self._timed, plain, floating)
            except Transient as error:
                self.fault = str(error)
                log.warning("flows_not_forgotten", why=self.fault)
                _fail(walk, error)
                self.ask(plain, floating)
                await asyncio.sleep(_AGAIN)
                continue
            except BaseException as error:
                _fail(walk, error)  # whoever waits is told before the task ends
                raise
            self.fault = ""
            self.walks += 1
            walk.set_result(None)
            for address in plain:
                if self._open.get(address) is walk:
                    del self._open[address]
            await asyncio.sleep(took * _REST)

    def _timed(self, addresses: Collection[str], floating: Collection[str]) -> float:
        """Seconds of processor: waiting is no reason to rest."""
        began = time.thread_time()
        self._forget(addresses, floating)
        return time.thread_time() - began


def _fail(walk: asyncio.Future[None], error: BaseException) -> None:
    walk.set_exception(error if isinstance(error, Exception) else Transient("the agent ends"))
    walk.exception()  # nobody need wait for it

"""The one writer of a host's kernel: takes what the feed brings, turn by turn.

    feed, snapshot --receive--> calc.host graph (merges) --+
    kernel's own news ------------ what to read again -----+--> bell --> turn --> kernel --> turned --> waiters, report
    clock ------- retries, scan every 4 s, all now and then +

Nothing queues: whatever comes while a turn runs is merged in the graph or in one `Noticed`, and the next turn does all
of it. So a burst of a thousand changes costs a few turns, and memory is bounded by what there is, not by churn. Only
where changes come all the time, one that takes endpoints away and does nothing else may wait for the next, 20 ms.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog

from muslin.agent.forgetting import Forgetting
from muslin.agent.kernel import Kernel
from muslin.agent.speaker import Speaker
from muslin.calc.host import Graph
from muslin.drivers.links import Link
from muslin.drivers.monitor import Monitor, Noticed
from muslin.errors import Transient
from muslin.explain.touched import Changed
from muslin.intent import Delta, EndpointKey, EndpointState, HostIntent, Problem, Repair

SCAN_EVERY = 4.0
"""Drift that the kernel does not announce is mended within 10 s."""
_READ_FOR = 0.003
"""Of a processor, at most, for reading again what it does announce: a thousand endpoints are 30 ms."""
_READ_AT_LEAST_EVERY = 60.0
_AFTER_FAULT = 0.5
_BUSY = 0.05
"""Seconds after one change was taken in which the next shows that they come all the time."""
_GATHERS = 0.02
"""Seconds for which what the kernel tells gathers: of a veth that comes or goes it tells ten times."""
_RIDES_WITHIN = 0.02
"""Seconds for which, then, what only goes waits for somebody who comes: a turn costs the same for both."""
_REPAIRS_KEPT = 50
_LEFT_OVER_AFTER = 3.0
"""Longer than a link comes before its endpoint, or stays after it, while somebody is at work on it."""
_PIECES = 20
"""Of a stream that is full, at most, before the next turn: 5 MB. A piece is what a socket gives at once."""

log = structlog.get_logger()


class Worker:
    """`intent` is what the kernel was last told; `states` says of each endpoint how far it is."""

    def __init__(self, graph: Graph, kernel: Kernel, monitor: Monitor, speaker: Speaker | None) -> None:
        self._graph = graph
        self._kernel = kernel
        self._monitor = monitor
        self._speaker = speaker
        self._noticed = Noticed()
        self._gathering: asyncio.TimerHandle | None = None
        self._bell = asyncio.Event()
        self._turned = asyncio.Event()
        """Of the turn that is under way or comes next."""
        self._revision: int | None = None
        self._received = self._received_now = False
        self._interfaces_read = self._rebound = False
        """Other interfaces are there than when host endpoints were bound to them."""
        self._whole_is_due = True
        self._scan_at = self._read_at = 0.0
        """When to look for what the kernel announces to nobody; when to read all else as well."""
        self._read_now = False
        self._read_began = self._taken_at = -math.inf
        """The last reading of everything, the last change that was taken."""
        self._turning = False
        self._unused: dict[int, float] = {}
        """Links without an endpoint, by index, and since when: as seen by whoever asked for problems."""
        self.writing = asyncio.Lock()
        """Held by whoever has the kernel written to."""
        self.unfollowed = Changed()
        """What flows that are under way were not judged by yet; its taker leaves an empty one."""
        self.fault = ""
        """Why the last turn could not be ended; it is tried again."""
        self.server = ""
        self.why_disconnected = "no server has answered yet"
        self.applied = -1
        self.taken = 0
        """How often the kernel was brought to something new. Revisions do not tell: another server counts anew."""
        self.intent = HostIntent()
        self.states: dict[EndpointKey, EndpointState] = {}
        self._usual: EndpointState | None = None
        self._touched, self._unusual = set[EndpointKey](), set[EndpointKey]()
        """Whose state may be another than it was said to be; whose is not the usual one."""
        self.repairs: list[Repair] = []
        self.changes = 0
        """How often anything above became different."""

    # ---- feed

    def receive(self, delta: Delta) -> None:
        self._graph.update(delta)
        self._revision = delta.revision
        self._received = self._received_now = True
        if time.monotonic() - self._taken_at < _BUSY and delta.only_departs:
            asyncio.get_running_loop().call_later(_RIDES_WITHIN, self._ride_alone)
        else:
            self._bell.set()

    def _ride_alone(self) -> None:
        """Nobody came, or it was taken along."""
        if self._received:
            self._bell.set()

    def connected(self, server: str) -> None:
        self.server, self.why_disconnected = server, ""
        log.info("feed", server=server)
        self._bell.set()

    def report_changed(self) -> None:
        """Something of the report that others know."""
        self.changes += 1
        self._bell.set()

    def disconnected(self, why: str) -> None:
        self.server, self.why_disconnected = "", why
        self.changes += 1

    @property
    def told(self) -> bool:
        """Has anything come, taken or not?"""
        return self._revision is not None

    @property
    def has_intent(self) -> bool:
        """Was there a first word, from a server or from the snapshot?"""
        return self.applied >= 0

    @property
    def in_sync(self) -> bool:
        return bool(self.server) and self.applied == self._revision and self.has_intent

    @property
    def at_rest(self) -> bool:
        """Does the kernel agree with `intent` and `states`? In the middle of a turn `intent` runs ahead."""
        return not self._turning and not self.fault

    async def wait_turn(self) -> None:
        """Until the next turn has ended."""
        await self._turned.wait()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until it holds at the end of a turn, or holds already."""
        while not condition():
            await self.wait_turn()

    async def look_again(self) -> None:
        """Everything in the kernel is read now, and what had been changed there is mended."""
        asked, self._read_now = time.monotonic(), True
        self._bell.set()
        await self.wait_until(lambda: self._read_began >= asked)

    async def wait_changed(self, since: int) -> None:
        """Until `changes` is not `since` any more."""
        await self.wait_until(lambda: self.changes != since)

    @property
    def given(self) -> Delta:
        """All that was received, as one: host endpoints as they were given, for they are bound anew after a restart."""
        return self._graph.given

    # ---- turns

    async def run(self) -> None:
        """Never returns."""
        self._listen()
        try:
            while True:
                await self._wait_for_bell()
                self._turning = True
                try:
                    await self._turn()
                finally:
                    self._turning = False
                await asyncio.sleep(0)  # who waits for the end of a turn looks now, even if the next one is due
                await self._take_in()
        finally:
            self._stop_listening()
            if self._gathering is not None:
                self._gathering.cancel()

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._gather)

    def _stop_listening(self) -> None:
        asyncio.get_running_loop().remove_reader(self._monitor.fileno())

    def _gather(self) -> None:
        """Something is told; more will follow."""
        self._stop_listening()
        self._gathering = asyncio.get_running_loop().call_later(_GATHERS, self._hear)

    async def _take_in(self) -> None:
        """What came during the turn is one turn, not one for each piece that the stream is read in."""
        for _ in range(_PIECES):
            self._received_now = False
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not self._received_now:
                return

    def _hear(self) -> None:
        self._listen()
        heard = self._monitor.drain(self._kernel.port)
        if heard:
            self._noticed.add(heard)
            if self._kernel.concerns(heard):
                self._bell.set()

    async def _wait_for_bell(self) -> None:
        now = time.monotonic()
        due = self._kernel.next_due(now)
        until = self._scan_at if due is None else min(due, self._scan_at)
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()

    async def _turn(self) -> None:
        """One look at everything that is new. A kernel that is busy is asked again in the next turn."""
        began = time.monotonic()
        noticed, self._noticed = self._noticed, Noticed()
        try:
            async with self.writing:
                self._look_at_interfaces(noticed)
                mended = await self._do(noticed, began)
        except Transient as error:
            log.warning("kernel_busy", why=str(error))
            # What was under way is not known any more: everything is told and read again.
            self._whole_is_due = self._received = self._noticed.lost = self._read_now = True
            self.fault = str(error)
            self.changes += 1
            await asyncio.sleep(_AFTER_FAULT)
            self._bell.set()
            return
        self.fault = ""
        self._tell(mended)
        ended, self._turned = self._turned, asyncio.Event()
        ended.set()

    def _look_at_interfaces(self, noticed: Noticed) -> None:
        """Which of them is which host endpoint may have changed. The kernel tells of each change, or that it lost some:
        reading all of a thousand links takes 100 ms, so that it is not done with every scan."""
        if not self._graph.guards_host:
            self._interfaces_read = False
            return
        hosts_own = noticed.strangers or not all(map(self._graph.workloads(), noticed.links))
        due = not self._interfaces_read or hosts_own or noticed.lost
        if due and self._graph.update_interfaces(self._kernel.interfaces()):
            self._rebound = True
        self._interfaces_read = True

    async def _do(self, noticed: Noticed, began: float) -> tuple[str, ...]:
        mended = await self._take_news(began)
        if self._read_now or began >= max(self._scan_at, self._read_at):
            return mended + await self._read(began)
        if began >= self._scan_at:
            self._scan_at = began + SCAN_EVERY
            return mended + await self._kernel.scan_unannounced(noticed, began)
        if noticed:
            return mended + await self._kernel.scan(noticed, began)
        return mended + await self._kernel.work(began)

    async def _read(self, began: float) -> tuple[str, ...]:
        """Everything; and not again before that was a small part of what the host has to do."""
        self._read_now, self._scan_at, used = False, began + SCAN_EVERY, time.thread_time()
        mended = await self._kernel.scan_all(began)
        sparing = (time.thread_time() - used) / _READ_FOR
        self._read_began, self._read_at = began, began + min(max(SCAN_EVERY, sparing), _READ_AT_LEAST_EVERY)
        return mended

    async def _take_news(self, began: float) -> tuple[str, ...]:
        if self._revision is None or not (self._received or self._rebound):
            return ()
        self._received = self._rebound = False
        revision = self._revision
        delta = self._graph.flush()
        delta.snapshot |= self._whole_is_due
        mended: tuple[str, ...] = ()
        if delta:
            intent = self._graph.intent
            mended = await self._kernel.take(delta, intent, began)
            self.intent = intent
            self.unfollowed.add(delta, self.states.keys())
            self._touched |= delta.endpoints.keys() | delta.host_interfaces.keys()
            if delta.snapshot:
                self._usual = None
            self.changes += 1
            if self._speaker is not None:
                self._speaker.want(intent.bgp)
            log.info(
                "applied", revision=revision, endpoints=len(delta.endpoints), policies=len(delta.policies),
                sets=len(delta.sets), routes=len(delta.routes), ms=round((time.monotonic() - began) * 1e3, 1),
            )
        if not self.has_intent:
            gc.collect()
            gc.freeze()  # the intent lives as long as we do: leave it out of every later collection
        self._whole_is_due = False
        self.applied = revision
        self.taken += 1
        self._taken_at = time.monotonic()
        return mended

    def _tell(self, mended: tuple[str, ...]) -> None:
        self.changes += len(mended)
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for what in mended:
            log.warning("repaired", what=what)
            self.repairs.append(Repair(what=what, at=at))
        del self.repairs[:-_REPAIRS_KEPT]
        self._tell_states()

    def _tell_states(self) -> None:
        """Looked at are those that may have become different, for there may be thousands that did not."""
        usual, troubles = self._kernel.usual, self._graph.troubles
        among = self._touched | self._unusual | troubles.keys() if usual == self._usual else None
        states = self._kernel.states(self.intent, among)
        states |= {key: trouble for key, trouble in troubles.items() if key not in states or states[key].state == "up"}
        for key in states.keys() | (self.states.keys() if among is None else among):
            self._tell_state(key, states.get(key))
        self._usual, self._touched = usual, set()
        self._unusual = {key for key, state in states.items() if state != usual}

    def _tell_state(self, key: EndpointKey, state: EndpointState | None) -> None:
        if state is None:
            self.states.pop(key, None)
        elif self.states.get(key) != state:
            self.states[key] = state
            self.changes += 1
            log.info("endpoint", key=key, state=state.state, why=state.message)

    def is_up(self, key: EndpointKey, link: Link) -> bool:
        """Are policy and routes in the kernel, and is this the link that they are for?"""
        state = self.states.get(key)
        return state is not None and state.state == "up" and self._kernel.is_open(link)

    def made(self, link: Link) -> None:
        """By `plug.lay`."""
        self._kernel.made(link)

    def number_of(self, interface: str, owner: EndpointKey) -> int:
        """Of a link that was made for that owner, as far as the kernel has told; 0 if it has told of none."""
        return self._kernel.number_of(interface, owner)

    @contextmanager
    def removal_of(self, interface: str) -> Iterator[None]:
        """Whoever enters removes it, once its endpoint is gone. If he does not, what stands on it is looked for."""
        leaving, is_done = self._kernel.leaving, False
        leaving.add(interface)
        try:
            yield
            is_done = True
        finally:
            leaving.discard(interface)
            if not is_done:
                self._read_now = True
                self._bell.set()

    @property
    def forgetting(self) -> Forgetting:
        """For whoever gives an address to somebody, or takes it away."""
        return self._kernel.forgetting

    @property
    def mtu(self) -> int:
        """Of workloads' links."""
        return self._kernel.mtu

    @property
    def orphans(self) -> tuple[EndpointKey, ...]:
        """For whom there are links that nobody uses any more."""
        return tuple(EndpointKey(link.owner) for link in self._kernel.orphans())

    def problems(self, now: float) -> tuple[Problem, ...]:
        """Of the kernel, and of links that nobody uses any more."""
        orphans = tuple(
            Problem(what=f"interface {link.name} is left over from {link.owner}", key=link.owner,
                    mend=f"`ip link del {link.name}` when its namespace does not need it any more")
            for link in self._left_over(now)
        )
        fault = (Problem(what=self.fault),) if self.fault else ()
        return (*fault, *self._kernel.problems(), *orphans)

    def _left_over(self, now: float) -> list[Link]:
        """Not those that are only just coming, before their endpoint, or going, after it: the kernel's word of a link
        that is gone comes later than the end of its removal."""
        unused = [link for link in self._kernel.orphans() if link.name not in self._kernel.leaving]
        self._unused = {link.index: self._unused.get(link.index, now) for link in unused}
        return [link for link in unused if now - self._unused[link.index] >= _LEFT_OVER_AFTER]

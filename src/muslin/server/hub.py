"""From the store to the hosts: every change goes into the calculation once, and out to the hosts that it concerns.

    store.watch --> mailbox: key -> newest value --> calc.cluster.Graph --> one line for each host that must act

The mailbox coalesces: while one flush is computed, what changes meanwhile gathers, and an object that changed ten times
is looked at once. A host's lines wait until its connection takes them; a host that does not take them is dropped, and
begins again with a snapshot when it comes back. So memory is bounded by the number of objects and of hosts.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from muslin.calc import host as one_host
from muslin.calc.cluster import Graph
from muslin.intent import Delta, HostIntent
from muslin.model.meta import ResourceKey
from muslin.server.decoding import Value, decoded, in_bulk
from muslin.server.frames import Frames
from muslin.server.metrics import Metrics
from muslin.store import Compacted, Store, layout

PAGE = 2000
MOST_WAITING = 64 << 20
"""Bytes that may wait for one host before it is dropped. A snapshot with a set of a million addresses is 30 MB."""

log = structlog.get_logger()


class Subscriber:
    """One connection of one host: the lines that it has not taken yet. `hang_up` ends the connection."""

    def __init__(self, host: str, hang_up: Callable[[], None]) -> None:
        self.host = host
        self.dropped = False
        self._hang_up = hang_up
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._more = asyncio.Event()

    def push(self, line: bytes) -> None:
        if self._lines and self._waiting + len(line) > MOST_WAITING:
            self.drop()
        if self.dropped:
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._more.set()

    def drop(self) -> None:
        """Its connection waits for the host to take what it was sent: only hanging up ends that."""
        self.dropped = True
        self._lines.clear()
        self._more.set()
        self._hang_up()

    def wake(self) -> None:
        """Takes what there is, be it nothing: the server ends."""
        self._more.set()

    async def take(self, seconds: float) -> bytes:
        """All that waits, as one piece; nothing when nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):  # no task for each, as with `wait_for`
                await self._more.wait()
        except TimeoutError:
            return b""
        self._more.clear()
        lines = b"".join(self._lines)
        self._lines.clear()
        self._waiting = 0
        return lines


class Listener(Protocol):
    """Who else wants to know every object: `begin`, `learn` page by page, `loaded`; then `learn` at each change."""

    def begin(self) -> None: ...

    def learn(self, batch: Mapping[ResourceKey, Value]) -> None: ...

    def loaded(self) -> None: ...


class Hub:
    """Owns the graph: nobody else changes it. `graph` may be asked at any time between two awaits."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.graph = Graph()
        self.revision = 0
        self.faults: dict[ResourceKey, str] = {}
        self.told: dict[str, int] = {}
        """Host -> revision of the last line that was made for it."""
        self.counts: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self._store = store
        self._metrics = metrics
        self._shown: dict[str, int] = {}
        """What the metrics say of `counts`."""
        self._ready = asyncio.Event()
        self._mailbox: dict[ResourceKey, bytes | None] = {}
        self._seen = 0
        self._mail = asyncio.Event()
        self._moved = asyncio.Event()
        self._subscribers: dict[str, list[Subscriber]] = {}

    @property
    def connected(self) -> set[str]:
        return set(self._subscribers)

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Until the whole store is in the calculation."""
        await self._ready.wait()

    async def wait_revision(self, revision: int) -> None:
        """Until what was written at `revision` is in the calculation."""
        await self._ready.wait()
        while self.revision < revision:
            await self._moved.wait()

    async def run(self) -> None:
        """Until cancelled, or the store is closed."""
        while True:
            after = await self._load()
            behind = False
            try:
                async with asyncio.TaskGroup() as tasks:
                    flushing = tasks.create_task(self._flush_mail())
                    await self._collect(after)
                    flushing.cancel()
            except* Compacted as gone:
                log.warning("calculation_behind", why=str(gone.exceptions[0]), then="everything is read again")
                behind = True
            if not behind:
                return

    async def subscribe(self, host: str, hang_up: Callable[[], None]) -> Subscriber:
        """What the subscriber takes first is a snapshot."""
        await self._ready.wait()
        subscriber = Subscriber(host, hang_up)
        snapshot = self.graph.subscribe(host)
        self._subscribers.setdefault(host, []).append(subscriber)
        self._send(host, [subscriber], snapshot, Frames())
        self._metrics.feeds.set(len(self._subscribers))
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        others = [one for one in self._subscribers.get(subscriber.host, []) if one is not subscriber]
        if others:
            self._subscribers[subscriber.host] = others
        else:
            self._subscribers.pop(subscriber.host, None)
            self.graph.unsubscribe(subscriber.host)
        self._metrics.feeds.set(len(self._subscribers))

    def wake_all(self) -> None:
        """Every connection looks now whether it should go on."""
        for some in self._subscribers.values():
            for subscriber in some:
                subscriber.wake()

    def intent(self, host: str) -> HostIntent:
        """What the host does when it has done all that it is told. Treat as read-only."""
        graph = one_host.Graph()
        graph.update(self.graph.snapshot(host))
        graph.flush()
        return graph.intent

    # -- in

    async def _load(self) -> int:
        """The whole store into a new graph; who is subscribed gets a new snapshot."""
        graph, counts = Graph(), Counter[str]()
        revision: int | None = None
        after, more = "", True
        for listener in self.listeners:
            listener.begin()
        with in_bulk():
            while more:
                page = await self._store.list("/", revision=revision, limit=PAGE, after=after)
                revision, more = page.revision, page.more
                keyed = [(layout.parse(entry.key), entry.value) for entry in page.entries]
                batch = {key: decoded(key, value) for key, value in keyed if key is not None}
                graph.update(batch)
                for listener in self.listeners:
                    listener.learn(batch)
                counts.update(key.kind for key in batch)
                after = page.entries[-1].key if page.entries else after
            faults = graph.flush().faults
        assert revision is not None
        self.graph, self.counts, self.revision, self._seen = graph, counts, revision, revision
        self.faults = {key: fault for key, fault in faults.items() if fault is not None}
        self._mailbox.clear()
        for host, subscribers in self._subscribers.items():
            self._send(host, subscribers, graph.subscribe(host), Frames())
        for listener in self.listeners:
            listener.loaded()
        self._moved_on()
        self._ready.set()
        log.info("loaded", revision=revision, objects=sum(counts.values()), faults=len(self.faults))
        return revision

    async def _collect(self, after: int) -> None:
        async for batch in self._store.watch("/", after=after):
            for event in batch:
                key = layout.parse(event.key)
                if key is not None:
                    self._mailbox[key] = event.value
                    self.counts[key.kind] += (event.value is not None) - (event.previous is not None)
            self._seen = batch[-1].revision
            self._mail.set()

    # -- out

    async def _flush_mail(self) -> None:
        while True:
            await self._mail.wait()
            self._mail.clear()
            mail, self._mailbox = self._mailbox, {}
            with self._metrics.timed(self._metrics.flush):
                self._flush({key: decoded(key, value) for key, value in mail.items()}, self._seen)
            await asyncio.sleep(0)

    def _flush(self, batch: dict[ResourceKey, Value], revision: int) -> None:
        self.graph.update(batch)
        for listener in self.listeners:
            listener.learn(batch)
        delta = self.graph.flush()
        self.revision = revision
        for key, fault in delta.faults.items():
            if fault is None:
                self.faults.pop(key, None)
            else:
                self.faults[key] = fault
                log.warning("object_wrong", key=str(key), why=fault)
        frames = Frames()
        for host, change in delta.hosts.items():
            self._send(host, self._subscribers.get(host, ()), change, frames)
        self._moved_on()

    def _send(self, host: str, subscribers: list[Subscriber] | tuple[()], delta: Delta, frames: Frames) -> None:
        delta.revision = self.told[host] = self.revision
        line = frames.line(delta)
        for subscriber in subscribers:
            subscriber.push(line)
            if subscriber.dropped:
                self._metrics.dropped.inc()
                log.warning("feed_dropped", host=host, why="it does not take what it is sent")
            self._metrics.frames.inc()
            self._metrics.frame_bytes.inc(len(line))

    def _moved_on(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        self._metrics.revision.set(self.revision)
        self._metrics.faults.set(len(self.faults))
        for kind, count in self.counts.items():
            if self._shown.get(kind) != count:  # few change, and this is done for every write
                self._shown[kind] = count
                self._metrics.objects.labels(kind).set(count)

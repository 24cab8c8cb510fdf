"""A policy that denies a flow today ends it today, though it allowed it once.

    turn ends, policy is in force --changed--> whose verdict may be another?   --> conntrack's list, only of these
      --> judge, in a thread --> cut (the table lets neither end open it again) --> conntrack forgets it

Cut comes before forgotten: between the two a packet is still let through, the other way round it would open the flow
again. What was cut is kept in a book, on disk too, and judged again with every change: what policy allows again is let
go, so that a TCP connection that is still trying goes on. An entry ends by itself once the ends must have given up
(decision 0050).

While one look is under way, changes gather; the next look takes them all. A look costs what has changed: a member that
joined a set asks for the flows of one address, a new policy for those of its endpoints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from muslin.agent import book
from muslin.agent.kernel import Kernel
from muslin.agent.worker import Worker
from muslin.drivers import conntrack
from muslin.drivers.netlink import Netlink
from muslin.drivers.uplink import Ways, own_addresses
from muslin.errors import Transient
from muslin.explain.flow_classes import Denial, Lengths, text
from muslin.explain.flows import Judge
from muslin.explain.touched import Changed, SetNames
from muslin.intent import HostIntent
from muslin.net import TrackedFlow
from muslin.render.nft import Flow

CUT_FOR = 1200
"""Seconds: longer than a TCP sender tries in vain (tcp_retries2: 924)."""
_AGAIN = 0.5
_GATHERING = 0.05
"""Seconds in which changes gather: a look walks all of conntrack, and who comes just now should not wait for that."""
_AT_A_TIME = 2000
_TOLD = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Look:
    """What a thread is asked: of one intent, these flows (None: all) and those that were cut."""

    intent: HostIntent
    addresses: set[bytes] | None
    cut: tuple[TrackedFlow, ...]


@dataclass(slots=True)
class Found:
    looked_at: int = 0
    denied: dict[TrackedFlow, Denial] = field(default_factory=dict)
    allowed: list[TrackedFlow] = field(default_factory=list)
    """Of those that were cut."""
    stale: list[TrackedFlow] = field(default_factory=list)
    """To a floating address or a published port, and translated to somebody who has it no more."""


class Follower:
    """The one that ends flows. `worker` tells what changed, `kernel` does it."""

    def __init__(self, worker: Worker, kernel: Kernel, directory: Path) -> None:
        self._worker = worker
        self._kernel = kernel
        self._names = SetNames()
        self._lengths: Lengths = {}
        self._file = directory / "ended-flows"
        self._book = book.load(self._file)
        """Flows that are cut, and until when (`time.time`)."""
        self._inherited = set(self._book)
        """Those of a predecessor, of which this kernel was not told yet: its table may be a new one."""
        kernel.remember(map(ends_of, self._inherited), CUT_FOR)

    @property
    def ended(self) -> int:
        """How many flows are cut."""
        return len(self._book)

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self._worker.wait_until(lambda: bool(self._worker.unfollowed) and self._kernel.in_force)
            await asyncio.sleep(_GATHERING)
            changed, self._worker.unfollowed = self._worker.unfollowed, Changed()
            try:
                await self._follow(changed)
            except Transient as error:
                log.warning("flows_not_followed", why=str(error))
                self._worker.unfollowed.merge(changed)
                await asyncio.sleep(_AGAIN)

    async def _follow(self, changed: Changed) -> None:
        intent, now = self._worker.intent, time.time()
        self._book = {flow: until for flow, until in self._book.items() if until > now}
        if not intent.settings.follow_established:
            await self._let_go(list(self._book))
            return
        addresses = changed.addresses(intent, self._names)
        if addresses == set() and not self._book:
            return  # a workload that came or went, and nobody else: as a rule
        look = Look(still(intent), addresses, tuple(self._book))
        found = await asyncio.to_thread(look_at, look, self._lengths)
        if found.denied and self._worker.unfollowed:  # may be allowed again already
            again = Look(still(self._worker.intent), set(), tuple(found.denied))
            for flow in (await asyncio.to_thread(look_at, again, self._lengths)).allowed:
                del found.denied[flow]
        if found.stale:
            await asyncio.to_thread(conntrack.drop, found.stale)
        await self._let_go(found.allowed)
        ended = found.denied.keys() | (self._inherited & self._book.keys())
        if not ended:
            return
        self._book.update(dict.fromkeys(found.denied, now + CUT_FOR))
        for some in batched(ended):
            async with self._worker.writing:
                await self._kernel.cut(map(ends_of, some), CUT_FOR)
            await asyncio.to_thread(conntrack.drop, [flow for flow in some if flow in found.denied])
        self._inherited.clear()
        await self._keep()
        log.info("flows_ended", flows=len(found.denied), looked_at=found.looked_at,
                 ms=round((time.time() - now) * 1e3, 1), some="; ".join(_told(found.denied)))

    async def _let_go(self, flows: list[TrackedFlow]) -> None:
        if not flows:
            return
        for some in batched(flows):
            async with self._worker.writing:
                await self._kernel.uncut(map(ends_of, some))
        for flow in flows:
            self._book.pop(flow, None)
        await self._keep()
        log.info("flows_let_go", flows=len(flows))

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(book.save, self._file, dict(self._book))
        except OSError as error:
            log.error("ended_flows_not_kept", why=str(error))


def still(intent: HostIntent) -> HostIntent:
    """One that the next turn does not change under a thread's hands."""
    return HostIntent(
        revision=intent.revision, sets=dict(intent.sets), policies=dict(intent.policies), groups=dict(intent.groups),
        endpoints=dict(intent.endpoints), host_interfaces=dict(intent.host_interfaces), settings=intent.settings,
    )


def look_at(look: Look, lengths: Lengths) -> Found:
    """In a thread: 100,000 flows take half a second."""
    found, addresses = Found(), look.addresses
    asked = addresses is None or addresses
    flows = conntrack.read(addresses, few=tuple(addresses or ())) if asked else []
    found.looked_at = len(flows)
    if not flows and not look.cut:
        return found  # a judge must know the host, which costs more than looking
    with Netlink() as netlink:
        judge = judge_of(look.intent, netlink, lengths)
        for flow in flows:
            if judge.is_misled(flow):
                found.stale.append(flow)
            elif (denial := judge.denial(flow)) is not None:
                found.denied[flow] = denial
        found.allowed = [flow for flow in look.cut if judge.denial(flow) is None]
    return found


def judge_of(intent: HostIntent, netlink: Netlink, lengths: Lengths | None = None) -> Judge:
    """With what only the host knows. The intent must not change, the socket not be closed, while it judges."""
    return Judge(intent, own_addresses(netlink), Ways(netlink), lengths)


def batched(flows: Iterable[TrackedFlow]) -> Iterator[list[TrackedFlow]]:
    """Few enough for one transaction: policy of others must not wait for the end of ten thousand flows."""
    whole = list(flows)
    for start in range(0, len(whole), _AT_A_TIME):
        yield whole[start : start + _AT_A_TIME]


def ends_of(flow: TrackedFlow) -> Flow:
    """As policy sees them."""
    return Flow(text(flow.source), text(flow.receiver), flow.protocol, flow.source_port, flow.receiver_port)


def _told(denied: Mapping[TrackedFlow, Denial]) -> Iterator[str]:
    for flow, denial in list(denied.items())[:_TOLD]:
        origin = denial.origin
        rule = f" rule {origin.rule}" if origin.rule is not None else f" {origin.note}" if origin.note else ""
        yield f"{ends_of(flow)} by {denial.endpoint} {denial.direction}: {origin.kind}/{origin.name}{rule}"

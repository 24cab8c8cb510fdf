"""Streams: a packet every millisecond from workload to workload, each with its number.

What is sent, what arrives at the far end and what comes back are counted one by one. An allowed flow that loses none
while a daemon is killed, and a denied one of which none arrives, are the product's promise in two numbers.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Any

from muslin.lab.crowd import RATE
from muslin.lab.townsfolk import BUFFER, SO_RCVBUFFORCE, STAMP, Townsfolk, inside

_BURST = 20
_SILENCE = 0.5
_PATIENCE = 3.0
"""Seconds that a fresh port is kept open for its answer."""
_PORTS = 3500
"""Fresh ports of one flow that are open at a time: what was missed on a busy machine is made good in no hurry."""


class Stream:
    """A packet each millisecond on each flow. `fresh`: each from a port of its own, so each meets policy anew."""

    _last = 0

    def __init__(self, townsfolk: Townsfolk, flows: list[tuple[str, str, int]], *, fresh: bool) -> None:
        Stream._last += 1
        self._id = Stream._last
        self._townsfolk = townsfolk
        self._flows = flows
        self._fresh = fresh
        self._sent = [0] * len(flows)
        self._answered: list[set[int]] = [set() for _ in flows]
        self._open: list[deque[tuple[float, socket.socket]]] = [deque() for _ in flows]
        self._loop = asyncio.get_running_loop()

    async def run(self, stop: asyncio.Event) -> None:
        """On a busy machine the beat may stumble; what was missed is made good little by little, with ears open."""
        began = self._loop.time()
        try:
            while not stop.is_set():
                due = int((self._loop.time() - began) * RATE)
                for flow, sent in enumerate(self._sent):
                    for _ in range(min(due - sent, _BURST)):
                        self._send(flow)
                await asyncio.sleep(0.0005)
            await self._answers_in()
        finally:
            for flow in range(len(self._flows)):
                self._close(flow, before=float("inf"))

    async def _answers_in(self) -> None:
        """What is still under way counts: until nothing has come for half a second."""
        before, since = -1, self._loop.time()
        while self._loop.time() - since < _SILENCE:
            now = self._heard()
            if now != before:
                before, since = now, self._loop.time()
            await asyncio.sleep(0.02)

    def report(self) -> list[dict[str, Any]]:
        """Of each flow. `missing`: the numbers of the first few that were never answered."""
        return [
            {"sent": sent, "answered": len(answered), "arrived": self._townsfolk.arrived[self._id, flow],
             "missing": list(islice((number for number in range(sent) if number not in answered), 10))}
            for flow, (sent, answered) in enumerate(zip(self._sent, self._answered, strict=True))
        ]

    def _heard(self) -> int:
        return sum(len(answered) + self._townsfolk.arrived[self._id, flow]
                   for flow, answered in enumerate(self._answered))

    def _send(self, flow: int) -> None:
        network, address, port = self._flows[flow]
        now = self._loop.time()
        if self._fresh:
            self._close(flow, before=now - _PATIENCE)
            if len(self._open[flow]) >= _PORTS:
                return
        if self._fresh or not self._open[flow]:
            self._open[flow].append((now, self._opened(flow, network, address)))
        stamp = STAMP.pack(b"mu", self._id, flow, self._sent[flow])
        self._sent[flow] += 1
        with suppress(OSError):  # a packet that cannot even leave is a packet lost
            self._open[flow][-1][1].sendto(stamp, (address, port))

    def _opened(self, flow: int, network: str, address: str) -> socket.socket:
        with inside(network):
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        if not self._fresh:
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._loop.add_reader(made, self._hear, flow, made)
        return made

    def _hear(self, flow: int, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                packet = listener.recv(2048)
                if len(packet) == STAMP.size:
                    self._answered[flow].add(STAMP.unpack(packet)[3])

    def _close(self, flow: int, *, before: float) -> None:
        """Ports that had their time. What lies unread in them has arrived all the same."""
        while self._open[flow] and self._open[flow][0][0] <= before:
            _, done = self._open[flow].popleft()
            self._hear(flow, done)
            self._loop.remove_reader(done)
            done.close()

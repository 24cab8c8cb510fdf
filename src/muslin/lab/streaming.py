"""Streams: a packet every millisecond from workload to workload, each with its number.

What is sent, what arrives at the far end and what comes back are counted one by one. An allowed flow that loses none
while a daemon is killed, and a denied one of which none arrives, are the product's promise in two numbers.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from muslin.lab.crowd import RATE
from muslin.lab.townsfolk import BUFFER, SO_RCVBUFFORCE, STAMP, Townsfolk, inside


class Stream:
    """A packet each millisecond on each flow. `fresh`: each from a port of its own, so each meets policy anew."""

    _KEPT = 400
    _last = 0

    def __init__(self, townsfolk: Townsfolk, flows: list[tuple[str, str, int]], *, fresh: bool) -> None:
        Stream._last += 1
        self._id = Stream._last
        self._townsfolk = townsfolk
        self._flows = flows
        self._fresh = fresh
        self._sent = [0] * len(flows)
        self._answered: list[set[int]] = [set() for _ in flows]
        self._sockets: list[list[socket.socket]] = [[] for _ in flows]
        self._loop = asyncio.get_running_loop()

    async def run(self, stop: asyncio.Event) -> None:
        began = self._loop.time()
        try:
            while not stop.is_set():
                due = int((self._loop.time() - began) * RATE)
                for flow in range(len(self._flows)):
                    while self._sent[flow] < due:
                        self._send(flow)
                await asyncio.sleep(0.0005)
            await self._answers_in()
        finally:
            for flow in range(len(self._flows)):
                self._drop(flow, keep=0)

    async def _answers_in(self) -> None:
        """What is still under way counts: until nothing has come for half a second."""
        before, since = -1, self._loop.time()
        while self._loop.time() - since < 0.5:
            now = sum(len(answered) for answered in self._answered) + sum(self._townsfolk.arrived.values())
            if now != before:
                before, since = now, self._loop.time()
            await asyncio.sleep(0.02)

    def counts(self) -> list[dict[str, int]]:
        return [
            {"sent": self._sent[flow], "answered": len(self._answered[flow]),
             "arrived": self._townsfolk.arrived[self._id, flow]}
            for flow in range(len(self._flows))
        ]

    def _send(self, flow: int) -> None:
        network, address, port = self._flows[flow]
        if self._fresh or not self._sockets[flow]:
            self._sockets[flow].append(self._opened(flow, network, address))
            self._drop(flow, keep=self._KEPT)
        stamp = STAMP.pack(b"mu", self._id, flow, self._sent[flow])
        self._sent[flow] += 1
        with suppress(OSError):  # a packet that cannot even leave is a packet lost
            self._sockets[flow][-1].sendto(stamp, (address, port))

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

    def _drop(self, flow: int, *, keep: int) -> None:
        while len(self._sockets[flow]) > keep:
            done = self._sockets[flow].pop(0)
            self._loop.remove_reader(done)
            done.close()

"""Many probes at once: who reaches whom, now?

TCP reaches when the far end's kernel answers, be it to accept or to refuse; UDP when the far end echoes; ICMP when it
replies. What is dropped on the way never answers. So the length of a round is that of the silence one is ready to
wait for, once for all probes together.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import struct
from collections import defaultdict
from contextlib import suppress

from muslin.lab.townsfolk import inside

QUIET = 1.3
"""Seconds without any news after which what has not answered counts as unreachable: longer than TCP's first retry."""
REPEATS = (0.15, 0.5)
"""When an unanswered datagram is sent again."""
_ECHO = {4: 8, 6: 128}
_ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}


class Round:
    """Many probes at once. Ends when all have answered, or when nothing new has been heard for a while."""

    def __init__(self, probes: list[tuple[str, str, str, int]]) -> None:
        self._probes = probes
        self.reached = [False] * len(probes)
        self._waiting: dict[int, socket.socket] = {}
        self._loop = asyncio.get_running_loop()
        self._news = self._loop.time()

    async def run(self) -> list[bool]:
        room = max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 256)
        for begin in range(0, len(self._probes), room):
            await self._some(range(begin, min(begin + room, len(self._probes))))
        return self.reached

    async def _some(self, indexes: range) -> None:
        by_network: dict[str, list[int]] = defaultdict(list)
        for index in indexes:
            by_network[self._probes[index][0]].append(index)
        try:
            for network, some in by_network.items():
                with inside(network):
                    for index in some:
                        self._waiting[index] = self._open(index)
                for index in some:
                    self._begin(index)
                await asyncio.sleep(0)
            began = self._news = self._loop.time()
            repeats = list(REPEATS)
            while self._waiting and self._loop.time() - self._news < QUIET:
                if repeats and self._loop.time() - began > repeats[0]:
                    del repeats[0]
                    self._repeat()
                await asyncio.sleep(0.01)
        finally:
            for index in list(self._waiting):
                self._close(index)

    def _open(self, index: int) -> socket.socket:
        _, address, protocol, _ = self._probes[index]
        version = 6 if ":" in address else 4
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        sort = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        made = socket.socket(family, sort, _ICMP[version] if protocol == "icmp" else 0)
        made.setblocking(False)
        return made

    def _begin(self, index: int) -> None:
        _, address, protocol, port = self._probes[index]
        asking = self._waiting[index]
        code = asking.connect_ex((address, port or 1))
        if code not in (0, errno.EINPROGRESS):
            self._close(index)  # no way there, or forbidden: not reached
        elif protocol == "tcp":
            self._loop.add_writer(asking, self._connected, index)
        else:
            self._loop.add_reader(asking, self._answered, index)
            self._send(index)

    def _send(self, index: int) -> None:
        _, address, protocol, _ = self._probes[index]
        packet = b"probe"
        if protocol == "icmp":
            packet = struct.pack("!BBHHH", _ECHO[6 if ":" in address else 4], 0, 0, 0, 1) + packet
        with suppress(OSError):
            self._waiting[index].send(packet)

    def _repeat(self) -> None:
        for index in list(self._waiting):
            if self._probes[index][2] != "tcp":
                self._send(index)

    def _connected(self, index: int) -> None:
        code = self._waiting[index].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._end(index, reached=code in (0, errno.ECONNREFUSED))

    def _answered(self, index: int) -> None:
        try:
            self._waiting[index].recv(2048)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(index, reached=error.errno == errno.ECONNREFUSED)
        else:
            self._end(index, reached=True)

    def _end(self, index: int, *, reached: bool) -> None:
        """A refusal is an answer of the far end's own kernel: the packet went there and back."""
        self.reached[index] = reached
        self._news = self._loop.time()
        self._close(index)

    def _close(self, index: int) -> None:
        done = self._waiting.pop(index)
        self._loop.remove_reader(done)
        self._loop.remove_writer(done)
        done.close()

"""Who lives in the workloads: listeners that answer, and the book of packets that arrived.

A socket belongs to the namespace in which it was made, wherever its process is. So one process steps into each
workload's namespace for a moment and opens there what the workload would have open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from muslin.drivers import netns

BUFFER = 1 << 23
SO_RCVBUFFORCE = 33
STAMP = struct.Struct("!2sIHI")
"""`mu`, stream, flow, number."""


@contextmanager
def inside(network: str) -> Iterator[None]:
    """Stand in a namespace; no await in between."""
    with netns.opened(network) as descriptor, netns.inside(descriptor):
        yield


class Townsfolk:
    """Everybody who listens, and the book of stamped packets that arrived anywhere."""

    def __init__(self) -> None:
        self._open: dict[str, list[socket.socket]] = defaultdict(list)
        self.arrived: dict[tuple[int, int], int] = defaultdict(int)

    def serve(self, network: str, tcp: Iterable[int], udp: Iterable[int]) -> None:
        with inside(network):
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
            wanted = [(socket.SOCK_STREAM, port, self._greet) for port in tcp]
            wanted += [(socket.SOCK_DGRAM, port, self._echo) for port in udp]
            for sort, port, answer in wanted:
                listener = socket.socket(socket.AF_INET6, sort)
                listener.setblocking(False)
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if sort == socket.SOCK_DGRAM:
                    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
                listener.bind(("::", port))
                if sort == socket.SOCK_STREAM:
                    listener.listen(512)
                self._open[network].append(listener)
                asyncio.get_running_loop().add_reader(listener, answer, listener)

    def forget(self, network: str) -> None:
        for listener in self._open.pop(network, ()):
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()

    def _greet(self, listener: socket.socket) -> None:
        """A word in HTTP, so that curl shows something."""
        with suppress(BlockingIOError):
            while True:
                caller, _ = listener.accept()
                with suppress(OSError):
                    caller.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello from this workload\n")
                caller.close()

    def _echo(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                packet, sender = listener.recvfrom(2048)
                if len(packet) == STAMP.size and packet.startswith(b"mu"):
                    _, stream, flow, _ = STAMP.unpack(packet)
                    self.arrived[stream, flow] += 1
                with suppress(OSError):
                    listener.sendto(packet, sender)

"""Conversations that go on while policy changes under them: who heard the other last, and when."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from netrig import wait_for
from nftrig import own_socket

_BEAT = 0.001
_GONE = (errno.EAGAIN, errno.ECONNREFUSED, errno.EPERM, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET,
         errno.EPIPE, errno.ETIMEDOUT, errno.ENOBUFS)


class End(Protocol):
    """A workload, or somebody in its place."""

    @property
    def network(self) -> str:
        """Its namespace."""

    def address(self, version: int) -> str:
        """One of its addresses."""


class Conversation:
    """Two connected sockets; each end says something every millisecond, and counts what it hears."""

    def __init__(self, name: str, one: socket.socket, two: socket.socket) -> None:
        self.name = name
        self._ends = (one, two)
        self.said = [0, 0]
        self.heard = [0, 0]
        self.last = [0.0, 0.0]
        """When each end heard something last."""
        self.stalled = 0.0
        """The longest time for which the machine kept us from our millisecond: it kept others from theirs as well."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        for end in self._ends:
            end.setblocking(False)

    def begin(self) -> None:
        self._thread.start()
        wait_for(f"{self.name}: both ends hear each other", lambda: min(self.heard) > 20)

    def end(self) -> None:
        self._over.set()
        self._thread.join(10)
        for end in self._ends:
            end.close()

    def _talk(self) -> None:
        following = time.monotonic()
        while not self._over.is_set():
            for number, end in enumerate(self._ends):
                self.said[number] += self._say(end)
                while count := self._hear(end):
                    self.heard[number] += count
                    self.last[number] = time.monotonic()
            self.stalled = max(self.stalled, time.monotonic() - following)
            following = max(following + _BEAT, time.monotonic() - 0.02)
            time.sleep(max(0.0, following - time.monotonic()))

    @staticmethod
    def _say(end: socket.socket) -> int:
        try:
            return end.send(b"x")
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return 0

    @staticmethod
    def _hear(end: socket.socket) -> int:
        """Bytes of one reading."""
        try:
            return len(end.recv(1 << 16))
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return 0

    def settled_loss(self) -> list[int]:
        """What was said and is not heard, once all that is under way has arrived. Ends it."""
        self._over.set()
        self._thread.join(10)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and [self.said[1], self.said[0]] != self.heard:
            for number, end in enumerate(self._ends):
                self.heard[number] += self._hear(end)
        return [self.said[1] - self.heard[0], self.said[0] - self.heard[1]]


def connection(client: End, server: End, port: int, *, version: int = 4) -> Conversation:
    """TCP."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    door, caller = own_socket(server.network, family, socket.SOCK_STREAM), None
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((server.address(version), port))
        door.listen()
        caller = own_socket(client.network, family, socket.SOCK_STREAM)
        caller.settimeout(5)
        caller.connect((server.address(version), port))
        answerer, _ = door.accept()
    finally:
        door.close()
    for end in (caller, answerer):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Conversation(f"tcp{version}", caller, answerer)


def datagrams(client: End, server: End, port: int, *, version: int = 4) -> Conversation:
    """UDP, begun by the client."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    one, two = (own_socket(each.network, family, socket.SOCK_DGRAM) for each in (client, server))
    one.bind((client.address(version), 0))
    two.bind((server.address(version), port))
    one.connect((server.address(version), port))
    two.connect(one.getsockname()[:2])
    one.send(b"!")
    two.settimeout(5)
    assert two.recv(10) == b"!"
    return Conversation(f"udp{version}", one, two)


@contextmanager
def talking(*conversations: Conversation) -> Iterator[tuple[Conversation, ...]]:
    with ExitStack() as stack:
        for each in conversations:
            stack.callback(each.end)
        for each in conversations:
            each.begin()
        yield conversations


def silent_after(conversations: tuple[Conversation, ...], since: float, seconds: float = 1.0) -> float:
    """How long after `since` the last word was heard by anybody; fails unless all are silent from `seconds` on, and
    for a second more, in which both ends go on trying. What this machine had no time for is granted on top, up to
    three seconds: a test may run beside others."""
    seconds += min(3.0, 4 * max(each.stalled for each in conversations))
    while time.monotonic() < since + seconds + 1.0:
        time.sleep(0.01)
    late = {each.name: [round(last - since, 3) for last in each.last] for each in conversations
            if max(each.last) > since + seconds}
    assert not late, f"heard this many seconds after the change: {late}"
    return max(max(each.last) for each in conversations) - since

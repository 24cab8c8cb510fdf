"""One netlink socket: messages out in batches, every answer read.

The kernel works through the messages of one send in order and answers each that fails; one that succeeds is
answered only when it asks (NLM_F_ACK). So only the last message of a batch asks, and when its answer has come every
message before it either failed by name or is done. That is as sure as an ack for each and costs a third of the time
(100,000 routes: 0.17 s instead of 0.5 s). A batch is no longer than all possible errors fit into the receive buffer, so
that no answer can be lost: 128 messages with the default buffer.

Rule: whoever sends names what each message is about; a `Refusal` carries its position, errno and the kernel's own words
(extended ack), never only a number.
"""

from __future__ import annotations

import errno as errno_names
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from muslin.errors import Broken, Transient

HEADER = struct.Struct("=IHHII")
"""length, type, flags, sequence, port."""
ATTRIBUTE = struct.Struct("=HH")

REQUEST, MULTI, ACK = 0x1, 0x2, 0x4
DUMP = 0x300
DUMP_INTERRUPTED = 0x10
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NESTED = 0x8000

_ERROR, _DONE, _OVERRUN = 2, 3, 4
_ACK_HAS_ATTRIBUTES = 0x200
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _GET_STRICT_CHECK = 10, 11, 12
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_ATTACH_FILTER = 32, 33, 26
_ERROR_SIZE = 1664
"""What an error takes of the receive buffer, at most."""
_BATCH = 1024
_LONGEST = 1 << 18
"""Bytes of an answer. Room for it is made once a thread: for a short answer, it would take longer than the answer."""
_DUMP_ATTEMPTS = 8


Message = tuple[int, int, bytes]
"""Type, flags (REQUEST is added) and everything behind the netlink header. A plain tuple: there may be 100,000."""


class Refusal(NamedTuple):
    """The message at `position` was refused. `errno` is positive, `words` is the kernel's explanation, `offset` the
    byte of the message that it does not take, 0 when it does not say."""

    position: int
    errno: int
    words: str
    offset: int = 0

    def __str__(self) -> str:
        name = errno_names.errorcode.get(self.errno, str(self.errno))
        return f"{self.words or os.strerror(self.errno)} ({name})"


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(body: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on; flag bits of the kinds are cleared."""
    found: dict[int, bytes] = {}
    end = len(body)
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class _Scratch(threading.local):
    """Each thread's own, because sockets come and go with workloads."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(_LONGEST))


_scratch = _Scratch()


class Netlink:
    """A socket in the network namespace of the thread that makes it. One caller at a time."""

    def __init__(self, protocol: int = 0, *, groups: int = 0, receive_buffer: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHECK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            if receive_buffer:
                self._enlarge(receive_buffer)
            if groups:
                self._socket.bind((0, groups))  # else the kernel does so with what is sent first
        except OSError:
            self._socket.close()
            raise
        room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._batch = max(1, min(room // _ERROR_SIZE, _BATCH))

    @property
    def port(self) -> int:
        """The kernel puts it into every notification of a change that this socket asked for."""
        if not (number := self._number()):
            self._socket.bind((0, 0))
            number = self._number()
        return number

    def _number(self) -> int:
        return int(self._socket.getsockname()[0])

    def _enlarge(self, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:  # in a user namespace; the ordinary limit applies
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def enlarge_sending(self, size: int) -> None:
        """So that one `transact` may be that long."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
        except PermissionError:  # likewise
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def attach_filter(self, program: bytes) -> None:
        """A `struct sock_fprog`: what the kernel does not put into the socket's buffer at all."""
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, messages: Iterable[Message]) -> list[Refusal]:
        """Have the kernel do them all, in order; a refused one does not stop the next. Returns the refused. Messages
        are taken as they are sent, so that not all of them need be in memory."""
        refused: list[Refusal] = []
        left, start = iter(messages), 0
        while batch := list(islice(left, self._batch)):
            self._send_batch(batch, start, refused)
            start += len(batch)
        return refused

    def _send_batch(self, batch: Sequence[Message], start: int, refused: list[Refusal]) -> None:
        first = self._sequence + 1
        self._sequence += len(batch)
        pack = HEADER.pack
        parts = [pack(16 + len(body), kind, flags | REQUEST, sequence, 0) + body
                 for sequence, (kind, flags, body) in enumerate(batch, first)]
        kind, flags, body = batch[-1]
        parts[-1] = pack(16 + len(body), kind, flags | REQUEST | ACK, self._sequence, 0) + body
        self._socket.send(b"".join(parts))
        answered = False
        while not answered:
            for kind, flags, sequence, answer in self._receive():
                if kind != _ERROR or not first <= sequence <= self._sequence:
                    continue
                answered |= sequence == self._sequence
                (code,) = struct.unpack_from("=i", answer)
                if code:
                    refused.append(Refusal(start + sequence - first, -code, _words(flags, answer)))

    def transact(self, data: Sequence[bytes], barrier: int, question: Message) -> tuple[list[Refusal], bytes]:
        """Has the kernel do one transaction: messages that are whole and numbered, below `barrier`, in one or more
        pieces. It answers only those that it refuses, so the question of that number follows, and its answer is the
        last: returned beside the refusals, whose positions are the messages' numbers. Raises Transient when it cannot
        be sent."""
        try:
            self._socket.sendmsg(data)
        except OSError as error:
            size = sum(map(len, data))
            raise Transient(f"netlink: {size} bytes cannot be sent at once: {error.strerror}") from None
        kind, flags, body = question
        self._socket.send(HEADER.pack(16 + len(body), kind, flags | REQUEST, barrier, 0) + body)
        refused: list[Refusal] = []
        while True:
            for answer_kind, answer_flags, sequence, answer in self._receive():
                if sequence == barrier:
                    return refused, answer
                if answer_kind == _ERROR and (code := struct.unpack_from("=i", answer)[0]):
                    offset = _offset(answer_flags, answer)
                    refused.append(Refusal(sequence, -code, _words(answer_flags, answer), offset))

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """Everything the kernel lists: (type, body) each. Starts again when the list changed while it was read."""
        for _ in range(_DUMP_ATTEMPTS):
            listed = self._dump_once(kind, body)
            if listed is not None:
                return listed
        raise Transient(f"netlink dump {kind}: the kernel's list changed during each of {_DUMP_ATTEMPTS} readings")

    def _dump_once(self, kind: int, body: bytes) -> list[tuple[int, bytes]] | None:
        self._sequence += 1
        self._socket.send(HEADER.pack(16 + len(body), kind, REQUEST | DUMP, self._sequence, 0) + body)
        listed: list[tuple[int, bytes]] = []
        whole = True
        while True:
            for answer_kind, flags, sequence, answer in self._receive():
                if sequence != self._sequence:
                    continue
                whole &= not flags & DUMP_INTERRUPTED
                if answer_kind in (_ERROR, _DONE):
                    _raise_dump_failure(kind, answer)
                    return listed if whole else None
                listed.append((answer_kind, answer))

    def dump_raw(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Everything the kernel lists, in the pieces in which it comes: for lists that are too long for `dump`, of
        kinds that the kernel does not number (so that a change meanwhile is not told). Read it to its end."""
        self._sequence += 1
        self._socket.send(HEADER.pack(16 + len(body), kind, REQUEST | DUMP, self._sequence, 0) + body)
        while True:
            data = self._read()
            _, first, _, sequence, _port = HEADER.unpack_from(data)
            if sequence != self._sequence:
                continue
            if first in (_ERROR, _DONE):
                return _raise_dump_failure(kind, data[16:])
            yield data
            if HEADER.unpack_from(data, len(data) - 20)[:2] == (20, _DONE):  # behind the last piece, in the same one
                return None

    def get(self, kind: int, body: bytes) -> bytes | Refusal:
        """One object's body, or why not."""
        self._sequence += 1
        self._socket.send(HEADER.pack(16 + len(body), kind, REQUEST, self._sequence, 0) + body)
        while True:
            for answer_kind, flags, sequence, answer in self._receive():
                if sequence != self._sequence:
                    continue
                if answer_kind == _ERROR:
                    (code,) = struct.unpack_from("=i", answer)
                    return Refusal(0, -code, _words(flags, answer))
                return answer

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        for kind, flags, sequence, _port, body in split(self._read()):
            yield kind, flags, sequence, body

    def _read(self) -> bytes:
        try:
            return bytes(_scratch.room[: self._socket.recv_into(_scratch.room)])
        except OSError as error:
            if error.errno == errno_names.ENOBUFS:
                raise Transient("netlink: the receive buffer overflowed, answers were lost") from None
            raise


def split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """(type, flags, sequence, port, body) of each message in one datagram."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < 16 or kind == _OVERRUN:
            raise Broken(f"netlink: a message of type {kind} and length {length}")
        yield kind, flags, sequence, port, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _raise_dump_failure(kind: int, answer: bytes) -> None:
    code = struct.unpack_from("=i", answer)[0] if len(answer) >= 4 else 0
    if code:
        raise Transient(f"netlink dump {kind}: {os.strerror(-code)}")


def _offset(flags: int, answer: bytes) -> int:
    """The byte of the message that the kernel points at, 0 when it points at none."""
    told = attributes(answer, 20).get(2) if flags & _ACK_HAS_ATTRIBUTES else None
    return int(struct.unpack("=I", told)[0]) if told else 0


def _words(flags: int, answer: bytes) -> str:
    """The kernel's explanation from the extended ack, "" when it gives none."""
    if not flags & _ACK_HAS_ATTRIBUTES:
        return ""
    return attributes(answer, 20).get(1, b"").rstrip(b"\0").decode("utf-8", "replace")

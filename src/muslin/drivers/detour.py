"""Questions that a namespace sends to one local address come to a socket of ours first, for as long as we live.

Docker gives its containers a name server at 127.0.0.11, in their own namespace. We want to be asked before it, to send
on to it what we do not know, and never to be in its way: when we are dead, all must be as if we had never been there.

So the table that turns the questions round belongs to a netlink socket of ours (NFT_TABLE_F_OWNER, Linux 5.12): it
vanishes with its owner, however that dies, and nobody else can change it. Our own questions come from another local
address, which the table leaves alone.

    resolver --> 127.0.0.11:53 -- table --> our sockets, 127.0.0.11:any
    ours, from 127.0.0.12 --> 127.0.0.11:53 --> Docker's own rules --> its name server
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from muslin.drivers import netns
from muslin.drivers.netlink import ACK, CREATE, HEADER, NESTED, REQUEST, attribute
from muslin.errors import Invalid, Transient

SERVER, OURS = "127.0.0.11", "127.0.0.12"
PORT = 53
_TABLE = "muslin-names"
_NETFILTER = 12
_BEGIN, _END, _SUBSYSTEM = 16, 17, 10
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | number for number in (0, 3, 6))
_OWNER, _LOCAL_OUT, _BEFORE_DOCKER, _ACCEPT = 2, 3, -110, 1
_UDP, _TCP = 17, 6
_REGISTERS = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_SOURCE, _DESTINATION, _DESTINATION_PORT = 12, 16, 2
_ERROR = 2
_PATIENCE = 5.0


class Unsupported(Invalid):
    """The kernel cannot do it."""


@dataclass(frozen=True, slots=True)
class Detour:
    """Closing it ends it."""

    datagrams: socket.socket
    connections: socket.socket
    upstream: socket.socket
    """Asks the server itself."""
    _owner: socket.socket
    _namespace: int

    def connect(self) -> socket.socket:
        """A TCP socket of that namespace that may ask the server itself; not connected yet."""
        with netns.inside(self._namespace):
            return _bound(socket.SOCK_STREAM, OURS)

    def close(self) -> None:
        for each in (self._owner, self.datagrams, self.connections, self.upstream):
            each.close()


def make(namespace: int) -> Detour:
    """`namespace`: a descriptor, to be kept open until the detour is closed. Raises OSError, Unsupported, Transient."""
    made: list[socket.socket] = []
    try:
        with netns.inside(namespace):
            for kind, address in ((socket.SOCK_DGRAM, SERVER), (socket.SOCK_STREAM, SERVER), (socket.SOCK_DGRAM, OURS)):
                made.append(_bound(kind, address))
            made.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER))
        datagrams, connections, upstream, owner = made
        connections.listen(64)
        upstream.connect((SERVER, PORT))
        owner.bind((0, 0))
        _program(owner, datagrams.getsockname()[1], connections.getsockname()[1])
    except BaseException:
        for each in made:
            each.close()
        raise
    return Detour(datagrams, connections, upstream, owner, namespace)


def _bound(kind: int, address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.bind((address, 0))
    except OSError:
        made.close()
        raise
    return made


# ---- the table


def _program(owner: socket.socket, udp: int, tcp: int) -> None:
    table = attribute(1, _text(_TABLE))
    hook = attribute(1, _number(_LOCAL_OUT)) + attribute(2, struct.pack(">i", _BEFORE_DOCKER))
    messages = [
        (_NEW_TABLE, attribute(1, _text(_TABLE)) + attribute(2, _number(_OWNER))),
        (_NEW_CHAIN, table + attribute(3, _text("out")) + attribute(4 | NESTED, hook) + attribute(7, _text("nat"))
         + attribute(5, _number(_ACCEPT))),
        *((_NEW_RULE, table + attribute(2, _text("out")) + attribute(4 | NESTED, _round(protocol, port)))
          for protocol, port in ((_UDP, udp), (_TCP, tcp))),
    ]
    last = len(messages)
    batch = _message(_BEGIN, 0, 0, struct.pack(">BBH", 0, 0, _SUBSYSTEM))
    for number, (kind, body) in enumerate(messages, 1):
        flags = CREATE | (ACK if number == last else 0)
        batch += _message(kind, flags, number, struct.pack(">BBH", socket.AF_INET, 0, 0) + body)
    batch += _message(_END, 0, last + 1, struct.pack(">BBH", 0, 0, _SUBSYSTEM))
    owner.settimeout(_PATIENCE)
    owner.send(batch)
    try:
        _heed(owner.recv(65536))
    except TimeoutError:
        raise Transient(f"nf_tables did not answer within {_PATIENCE:.0f} s") from None


def _heed(answer: bytes) -> None:
    """The first error of a batch says why none of it was done. Raises Unsupported."""
    at = 0
    while at + HEADER.size <= len(answer):
        length, kind, *_ = HEADER.unpack_from(answer, at)
        if kind == _ERROR:
            (code,) = struct.unpack_from("=i", answer, at + HEADER.size)
            if code:
                name = errno.errorcode.get(-code, str(-code))
                raise Unsupported(f"nf_tables refuses a table that goes with its owner ({name}): it takes Linux 5.12")
        at += (length + 3) & ~3


def _round(protocol: int, port: int) -> bytes:
    """`ip daddr SERVER ip saddr != OURS PROTOCOL dport 53 dnat to SERVER:port`, as the kernel's expressions."""
    first, second = _REGISTERS
    return b"".join((
        _load(_NETWORK_HEADER, _DESTINATION, 4), _compare(_EQUAL, _packed(SERVER)),
        _load(_NETWORK_HEADER, _SOURCE, 4), _compare(_NOT_EQUAL, _packed(OURS)),
        _expression("meta", attribute(2, _number(16)) + attribute(1, _number(first))),
        _compare(_EQUAL, bytes([protocol])),
        _load(_TRANSPORT_HEADER, _DESTINATION_PORT, 2), _compare(_EQUAL, struct.pack(">H", PORT)),
        _value(first, _packed(SERVER)), _value(second, struct.pack(">H", port)),
        _expression("nat", attribute(1, _number(1)) + attribute(2, _number(socket.AF_INET))
                    + attribute(3, _number(first)) + attribute(5, _number(second))),
    ))


def _load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", attribute(1, _number(_REGISTERS[0])) + attribute(2, _number(base))
                       + attribute(3, _number(offset)) + attribute(4, _number(length)))


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", attribute(1, _number(_REGISTERS[0])) + attribute(2, _number(how))
                       + attribute(3 | NESTED, attribute(1, value)))


def _value(register: int, value: bytes) -> bytes:
    return _expression("immediate", attribute(1, _number(register)) + attribute(2 | NESTED, attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return attribute(1 | NESTED, attribute(1, _text(name)) + attribute(2 | NESTED, data))


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, sequence, 0) + body


def _number(value: int) -> bytes:
    return struct.pack(">I", value)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _packed(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed

"""The kernel tells what somebody else changed, so that drift is repaired at once and not at the next scan.

The socket hears every change of links, addresses, neighbours and routes, also the hundred thousand routes that BIRD
brings. What we did ourselves carries our own socket's port and is left out; of the rest only that which bears our
protocol number, or any link, matters. Of routes the kernel itself looks at that before it tells (a filter on the
socket): half of what it has to say of a veth that comes or goes, and all of BIRD's, never wakes us.

What is told of routes, and of what came, says only that it must be looked at again: the reader then reads the kernel's
present state, so events may be lost (ENOBUFS), doubled or out of order without harm. A link's event brings the link as
it was then: one that is as it should be need not be read again, for a later change brings a later event. And the kernel
tells of addresses and neighbours that we removed as if nobody had: so it is said which went, and the reader knows
whether it misses them.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import AF_BRIDGE, AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from muslin.drivers.links import Link, decode
from muslin.drivers.netlink import ATTRIBUTE, REPLACE, Netlink, attributes, split
from muslin.drivers.rtnetlink import DEL_ROUTE, NEW_ROUTE, PROTOCOL

_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 9, 11))  # link, neigh, ifaddr and route of v4, of v6
_BUFFER = 8 << 20
_BIRD = 12
_NEW_LINK, _DEL_LINK = _LINKS = (16, 17)
_IFNAME = 3
_NOBODY = -1
"""No socket has that number."""


class Went(NamedTuple):
    """An address of ours, or a neighbour (without length), is no longer on the interface of that number."""

    interface: int
    address: str


@dataclass(slots=True)
class Noticed:
    """What must be read again. `links`: as they were told last, None: gone. `strangers`: the host's own addresses.
    `lost`: events were lost, so everything."""

    links: dict[str, Link | None] = field(default_factory=dict)
    went: set[Went] = field(default_factory=set)
    strangers: bool = False
    neighbours: bool = False
    routes: bool = False
    lost: bool = False

    def add(self, more: Noticed) -> None:
        self.links |= more.links
        self.went |= more.went
        self.strangers |= more.strangers
        self.neighbours |= more.neighbours
        self.routes |= more.routes
        self.lost |= more.lost

    def __bool__(self) -> bool:
        return bool(self.links or self.went) or any((self.strangers, self.neighbours, self.routes, self.lost))


class Monitor:
    """Listens in the namespace of the thread that makes it. What is done by the socket of `own_port` is not heard."""

    def __init__(self, own_port: int = _NOBODY) -> None:
        self._netlink = Netlink(groups=_GROUPS, receive_buffer=_BUFFER)
        _tell_less(self._netlink, own_port)
        self._socket = socket.socket(fileno=socket.dup(self._netlink.fileno()))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._netlink.close()

    def drain(self, own_port: int) -> Noticed:
        """Everything heard since the last call, without waiting."""
        noticed, told = Noticed(), dict[bytes, tuple[int, bytes]]()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                _note_links(noticed, told)
                return noticed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                noticed.lost = True
                continue
            for kind, flags, _sequence, port, body in split(data):
                if port == own_port:
                    continue
                if kind not in _LINKS:
                    _note(noticed, kind, flags, body)
                elif body[0] != AF_BRIDGE:  # a bridge tells of its ports by the same words
                    told[_name(body)] = kind, body


def _tell_less(netlink: Netlink, own_port: int) -> None:
    """A program of the kernel's oldest filter (linux/filter.h); it reads the netlink header, then `rtm_protocol`. It
    leaves out only what `drain` would."""
    word, half, byte, is_equal, has_bits, result = 0x20, 0x28, 0x30, 0x15, 0x45, 0x06
    program = (
        (word, 0, 0, 12),
        (is_equal, 9, 0, _in_filter(own_port & 0xFFFFFFFF, 4)),
        (half, 0, 0, 4),
        (is_equal, 1, 0, _in_filter(NEW_ROUTE, 2)),
        (is_equal, 0, 5, _in_filter(DEL_ROUTE, 2)),
        (byte, 0, 0, 16 + 5),
        (is_equal, 3, 0, PROTOCOL),
        (is_equal, 3, 0, _BIRD),
        (half, 0, 0, 6),
        (has_bits, 0, 1, _in_filter(REPLACE, 2)),
        (result, 0, 0, 0xFFFFFFFF),  # all of it
        (result, 0, 0, 0),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    netlink.attach_filter(struct.pack("@HP", len(program), ctypes.addressof(code)))


def _in_filter(number: int, size: int) -> int:
    """A field of a netlink header as a filter reads it: as if it were in network order."""
    return int.from_bytes(number.to_bytes(size, sys.byteorder), "big")


def _note_links(noticed: Noticed, told: Mapping[bytes, tuple[int, bytes]]) -> None:
    """By name, what was told last. A veth that comes is told of some ten times: so only the last is taken apart."""
    for kind, body in told.values():
        link = decode(body)
        if link.name:
            noticed.links[link.name] = link if kind == _NEW_LINK else None


def _name(body: bytes) -> bytes:
    """The kernel writes the name (IFLA_IFNAME) before all else."""
    length, kind = ATTRIBUTE.unpack_from(body, 16)
    return body[20 : 16 + length] if kind == _IFNAME else attributes(body, 16).get(_IFNAME, b"")


def _note(noticed: Noticed, kind: int, flags: int, body: bytes) -> None:
    match kind:
        case 24 | 25:  # RTM_NEWROUTE, RTM_DELROUTE: protocol is byte 5; a stranger's replacement may have taken ours
            noticed.routes |= body[5] == PROTOCOL or (bool(flags & REPLACE) and body[5] != _BIRD)
        case 28 | 29:  # RTM_NEWNEIGH, RTM_DELNEIGH: NDA_DST, NDA_PROTOCOL
            found = attributes(body, 12)
            if found.get(12, b"\0")[0] == PROTOCOL and kind == 29:
                noticed.went.add(Went(int.from_bytes(body[4:8], sys.byteorder), inet_ntop(_family(body), found[1])))
            else:
                noticed.neighbours |= found.get(12, b"\0")[0] == PROTOCOL
        case 20 | 21:  # RTM_NEWADDR, RTM_DELADDR: IFA_PROTO. New ones of ours are told late, after they were made
            found = attributes(body, 8)
            ours = found.get(11, b"\0")[0] == PROTOCOL
            if ours and kind == 21:
                packed = found.get(2) or found[1]
                address = f"{inet_ntop(_family(body), packed)}/{body[1]}"
                noticed.went.add(Went(int.from_bytes(body[4:8], sys.byteorder), address))
            noticed.strangers |= not ours


def _family(body: bytes) -> int:
    return AF_INET6 if body[0] == AF_INET6 else AF_INET

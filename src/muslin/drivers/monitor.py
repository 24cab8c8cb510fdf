"""The kernel tells what somebody else changed, so that drift is repaired at once and not at the next scan.

The socket hears every change of links, addresses, neighbours and routes, also the hundred thousand routes that BIRD
brings. What we did ourselves carries our own socket's port and is left out; of the rest only that which bears our
protocol number, or any link, matters. The answer says only WHAT to look at again (of links, which): the reader then
reads the kernel's present state, so events may be lost (ENOBUFS), doubled or out of order without harm.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field

from muslin.drivers.netlink import REPLACE, Netlink, attributes, split
from muslin.drivers.rtnetlink import PROTOCOL

_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 9, 11))  # link, neigh, ifaddr and route of v4, of v6
_BUFFER = 8 << 20
_BIRD = 12


@dataclass(slots=True)
class Noticed:
    """What must be read again. `addresses`: ours. `strangers`: the host's own addresses. `lost`: events were lost, so
    everything."""

    links: set[str] = field(default_factory=set)
    addresses: bool = False
    strangers: bool = False
    neighbours: bool = False
    routes: bool = False
    lost: bool = False

    def add(self, more: Noticed) -> None:
        self.links |= more.links
        self.addresses |= more.addresses
        self.strangers |= more.strangers
        self.neighbours |= more.neighbours
        self.routes |= more.routes
        self.lost |= more.lost

    def __bool__(self) -> bool:
        return bool(self.links) or any((self.addresses, self.strangers, self.neighbours, self.routes, self.lost))


class Monitor:
    """Listens in the namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._netlink = Netlink(groups=_GROUPS, receive_buffer=_BUFFER)
        self._socket = socket.socket(fileno=socket.dup(self._netlink.fileno()))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._netlink.close()

    def drain(self, own_port: int) -> Noticed:
        """Everything heard since the last call, without waiting."""
        noticed = Noticed()
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return noticed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                noticed.lost = True
                continue
            for kind, flags, _sequence, port, body in split(data):
                if port != own_port:
                    _note(noticed, kind, flags, body)


def _note(noticed: Noticed, kind: int, flags: int, body: bytes) -> None:
    match kind:
        case 24 | 25:  # RTM_NEWROUTE, RTM_DELROUTE: protocol is byte 5; a stranger's replacement may have taken ours
            noticed.routes |= body[5] == PROTOCOL or (bool(flags & REPLACE) and body[5] != _BIRD)
        case 28 | 29:  # RTM_NEWNEIGH, RTM_DELNEIGH: NDA_PROTOCOL
            noticed.neighbours |= attributes(body, 12).get(12, b"\0")[0] == PROTOCOL
        case 16 | 17:  # RTM_NEWLINK, RTM_DELLINK: IFLA_IFNAME
            noticed.links.add(attributes(body, 16).get(3, b"").rstrip(b"\0").decode("utf-8", "replace"))
        case 20 | 21:  # RTM_NEWADDR, RTM_DELADDR: IFA_PROTO. New ones of ours are told late, after they were made
            ours = attributes(body, 8).get(11, b"\0")[0] == PROTOCOL
            noticed.addresses |= ours and kind == 21
            noticed.strangers |= not ours

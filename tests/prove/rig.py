"""One host in a namespace, and everybody else in another: raw sockets at both ends, so that any packet can be sent.

         far:   musw1 ... musw4  up0  up1      a raw socket each: writes frames with any source, hears what comes out
                  |                |    |
        host:   musw1 ... musw4  up0  up1      the table under test; raw IP sockets tell what reached the host itself

Everything runs on one processor, whose queue of received frames is first in, first out. A frame that is no IP, sent
after the packets, comes to the host after them; one more, sent back from there, comes out after all that was forwarded.
Then every packet that has not come out never will: no test waits to see that nothing happens.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import netrig
from muslin.drivers.netns import inside, opened
from prove import site
from prove.flight import Flight
from prove.frames import FAR_MAC, HOST_MAC, destination_of, frames, number_in, packets

PROTOCOLS = (1, 4, 6, 17, 58, 97, 103, 132, 136)
SO_RCVBUFFORCE, PACKET_IGNORE_OUTGOING, SOL_PACKET = 33, 23, 263
ETH_P_ALL = 3
MARKER = HOST_MAC + FAR_MAC + b"\x88\xb5"
_BUFFER = 16 << 20
LINKS = (*site.WORKLOADS, *site.INTERFACES)


class Rig:
    """A host that forwards. `space`: its namespace."""

    def __init__(self, space: str, far: str, stack: ExitStack) -> None:
        self.space = space
        self._far = {name: stack.enter_context(_wire(far, name)) for name in LINKS}
        self._near = stack.enter_context(_wire(space, "up0", MARKER[12:14]))
        self._ears = [stack.enter_context(_ear(space, family, protocol))
                      for family, protocol in _heard()]
        self._mouths = {family: stack.enter_context(_socket(space, family, socket.SOCK_RAW, socket.IPPROTO_RAW))
                        for family in (socket.AF_INET, socket.AF_INET6)}
        self._flush = stack.enter_context(_socket(space, socket.AF_NETLINK, socket.SOCK_RAW, 12))
        self._markers = 0
        self._kept: dict[str, list[bytes]] = {}
        """Frames that were heard while waiting for a marker."""

    def forget_flows(self) -> None:
        """Empties conntrack's table: message 2 of subsystem 1 that names no flow."""
        self._flush.send(struct.pack("=IHHII4B", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0, 0))
        answer = self._flush.recv(4096)
        error = struct.unpack_from("=i", answer, 16)[0]
        assert error == 0, f"conntrack did not forget its flows: {os.strerror(-error)}"

    def arrivals(self, flights: Sequence[Flight], goals: Sequence[Iterable[str]]) -> dict[int, str]:
        """Index of a flight -> where it came out: an interface, or HOST. `goals`: the addresses that it may have as
        its destination there."""
        for number, flight in enumerate(flights):
            self._send(flight, number)
        self._drain()
        found: dict[int, str] = {}
        for name, wire in self._far.items():
            for frame in (*self._kept.pop(name, ()), *_all_of(wire)):
                number = number_in(frame)
                if number is not None and number < len(flights) and destination_of(frame) in goals[number]:
                    found[number] = name
        for ear in self._ears:
            for data in _all_of(ear):
                number = number_in(data)
                if number is not None and number < len(flights) and _is_itself(ear, data, flights[number]):
                    found[number] = site.HOST
        return found

    def _send(self, flight: Flight, number: int) -> None:
        if flight.arrives != site.HOST:
            for frame in frames(flight, number):
                self._far[flight.arrives].send(frame)
            return
        six = flight.packet.version == 6
        mouth = self._mouths[socket.AF_INET6 if six else socket.AF_INET]
        for data in packets(flight, number):
            with suppress(PermissionError):  # so the kernel says that a packet of the host's own was dropped
                mouth.sendto(data, (flight.packet.destination, 0))

    def _drain(self) -> None:
        """Until all that was sent has come out, or never will."""
        self._markers += 1
        mark = self._markers.to_bytes(8)
        inwards, outwards = MARKER + mark, FAR_MAC + HOST_MAC + MARKER[12:14] + mark
        _hear(self._near, mark, lambda: self._far["up0"].send(inwards))
        self._kept["up0"] = _hear(self._far["up0"], mark, lambda: self._near.send(outwards))


def _is_itself(ear: socket.socket, data: bytes, flight: Flight) -> bool:
    """An ICMP error quotes the packet that it is about."""
    if ear.family == socket.AF_INET:
        return data[9] == flight.packet.protocol and (data[9] != 1 or data[20] == flight.packet.icmp_type)
    return ear.proto == flight.packet.protocol and (ear.proto != 58 or data[0] == flight.packet.icmp_type)


def _hear(wire: socket.socket, mark: bytes, send: Callable[[], int]) -> list[bytes]:
    """What came before a frame with this mark, which is sent again where a busy machine had no room for it."""
    before: list[bytes] = []
    deadline = time.monotonic() + 10
    send()
    while True:
        assert time.monotonic() < deadline, "a frame that no policy sees did not come through"
        if not select.select([wire], [], [], 0.5)[0]:
            send()
            continue
        frame = wire.recv(4096)
        if frame[12:14] != MARKER[12:14]:
            before.append(frame)
        elif mark in frame:
            return before


def _all_of(wire: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield wire.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def _heard() -> Iterator[tuple[int, int]]:
    for protocol in PROTOCOLS:
        if protocol != 58:
            yield socket.AF_INET, protocol
        if protocol != 1:
            yield socket.AF_INET6, protocol


@contextmanager
def _socket(space: str, family: int, kind: int, protocol: int) -> Iterator[socket.socket]:
    with opened(space) as descriptor, inside(descriptor):
        made = socket.socket(family, kind, protocol)
    with made:
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER)
        yield made


@contextmanager
def _wire(space: str, interface: str, ethertype: bytes = b"\0\3") -> Iterator[socket.socket]:
    with _socket(space, socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        wire.bind((interface, int.from_bytes(ethertype)))
        yield wire


@contextmanager
def _ear(space: str, family: int, protocol: int) -> Iterator[socket.socket]:
    with _socket(space, family, socket.SOCK_RAW, protocol) as made:
        yield made


@contextmanager
def rig(word: str = "p") -> Iterator[Rig]:
    """Call within `one_processor`."""
    with ExitStack() as stack:
        space = stack.enter_context(netrig.namespace(f"{word}h"))
        far = stack.enter_context(netrig.namespace(f"{word}f"))
        for name in (space, far):
            netrig.in_ns(name, "sysctl", "-qw", *(_HOST_SYSCTLS if name == space else _FAR_SYSCTLS))
        netrig.run("ip", "-n", space, "-batch", "-", stdin="\n".join(_links(space, far)))
        netrig.run("ip", "-n", far, "-batch", "-", stdin="\n".join(f"link set {name} up" for name in LINKS))
        netrig.in_ns(space, "sysctl", "-qw", *(f"net.ipv4.conf.{name}.send_redirects=0" for name in LINKS))
        yield Rig(space, far, stack)


_HOST_SYSCTLS = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.send_redirects=0", "net.ipv6.conf.default.accept_dad=0",
    "net.ipv4.icmp_ratelimit=0", "net.netfilter.nf_conntrack_checksum=0",
)
_FAR_SYSCTLS = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")


def _links(space: str, far: str) -> Iterator[str]:
    """Lines for `ip -batch`, in the host's namespace."""
    mac = ":".join(f"{byte:02x}" for byte in FAR_MAC)
    own_mac = ":".join(f"{byte:02x}" for byte in HOST_MAC)
    for name in LINKS:
        yield f"link add {name} address {own_mac} type veth peer name {name} address {mac} netns {far}"
        yield f"addr add fe80::1/64 dev {name} nodad"
        yield f"link set {name} up"
    for name, both in site.INTERFACES.items():
        for address in both:
            length = "128" if ":" in address else "32"
            yield f"addr add {address}/{length} dev {name}{' nodad' if ':' in address else ''}"
            gateway = _gateway(name, address)
            yield f"neigh add {gateway} lladdr {mac} dev {name} nud permanent"
    for name, both in site.WORKLOADS.items():
        for address in both:
            yield f"route add {address} dev {name}"
            yield f"neigh add {address} lladdr {mac} dev {name} nud permanent"
    for prefix, name in site.ROUTES:
        if name in site.INTERFACES:
            yield f"route add {prefix} via {_gateway(name, prefix)} dev {name} onlink"


def _gateway(name: str, like: str) -> str:
    """Somebody on that link, in the family of an address."""
    return {"up0": ("10.66.0.254", "fd66::fe"), "up1": ("10.66.1.254", "fd66:0:1::fe")}[name][":" in like]


@contextmanager
def one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

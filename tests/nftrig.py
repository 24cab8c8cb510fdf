"""One host with workloads on it, and packets of any sort between them: what arrives is the only truth.

The sockets live in the namespaces, the test in its own: a packet is written to the workload's wire byte by byte (so
that it can lie about its source) and looked for on the other workload's wire. Every packet carries a token of its own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import netrig
from muslin.drivers.netns import inside, opened
from muslin.drivers.nft import Nft
from muslin.intent import Delta, HostIntent
from muslin.render.nft import Changes, Flow, NftState, render
from muslin.render.nft.listing import differences, listing_of

HOST_MAC = "ee:ee:ee:ee:ee:ee"
TCP, UDP, ICMP, ICMP6, SCTP, UDPLITE = 6, 17, 1, 58, 132, 136
DEADLINE = 0.15
"""Seconds after which a packet counts as dropped; one that passes takes well under a millisecond."""
_ETHER_IP = {4: 0x0800, 6: 0x86DD}
_fresh = itertools.count(20000)


def own_socket(space: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in that namespace."""
    with opened(space) as descriptor, inside(descriptor):
        return socket.socket(family, kind, protocol)


@dataclass(frozen=True)
class Packet:
    """`port` and `source_port` are type and code for ICMP; for protocols without ports they stay unused."""

    source: str
    destination: str
    protocol: int = UDP
    port: int = 0
    source_port: int = 0
    flags: int = 2
    fragment: int = 0

    @property
    def version(self) -> int:
        return 6 if ":" in self.source else 4

    def bytes(self, token: bytes) -> bytes:
        source, destination = (ipaddress.ip_address(text).packed for text in (self.source, self.destination))
        body = self._transport(token)
        pseudo = source + destination + struct.pack(">II", len(body), self.protocol)
        at = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2, UDPLITE: 6}.get(self.protocol)
        if at is not None:
            check = _checksum(body if self.protocol == ICMP else pseudo + body)
            body = body[:at] + struct.pack(">H", check) + body[at + 2 :]
        if self.version == 6:
            return struct.pack(">IHBB", 6 << 28, len(body), self.protocol, 64) + source + destination + body
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, self.fragment, 64, self.protocol, 0)
        header += source + destination
        return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + body

    def _transport(self, token: bytes) -> bytes:
        ports = self.source_port or next(_fresh), self.port
        match self.protocol:
            case 6:
                return struct.pack(">HHIIBBHHH", *ports, 1, 0, 5 << 4, self.flags, 64240, 0, 0) + token
            case 17:
                return struct.pack(">HHHH", *ports, 8 + len(token), 0) + token
            case 136:
                return struct.pack(">HHHH", *ports, 0, 0) + token
            case 1 | 58:
                return struct.pack(">BBHHH", self.port, self.source_port, 0, next(_fresh) & 0xFFFF, 1) + token
            case 132:
                init = struct.pack(">BBHIIHHI", 1, 0, 20 + len(token), 1, 65535, 1, 1, 1)
                return _with_crc32c(struct.pack(">HHII", *ports, 0, 0) + init + token)
            case _:
                return token


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2 + len(data) % 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _with_crc32c(packet: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in packet:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return packet[:8] + struct.pack("<I", crc ^ 0xFFFFFFFF) + packet[12:]


@dataclass(frozen=True)
class Station:
    """A workload, or the world outside: a namespace with one interface, at the end of the host's `interface`."""

    space: str
    interface: str
    v4: str
    v6: str
    wire: socket.socket

    def send(self, packet: Packet) -> bytes:
        """Writes it to the wire, whatever source it claims. The token that it carries."""
        token = os.urandom(8)
        mac = bytes.fromhex(HOST_MAC.replace(":", "")) + b"\x02\0\0\0\0\1"
        frame = mac + struct.pack(">H", _ETHER_IP[packet.version]) + packet.bytes(token)
        self.wire.send(frame)
        return token

    def hears(self, token: bytes, seconds: float) -> bool:
        """Does a frame with that token come in?"""
        return self.frame(token, seconds) is not None

    def drain(self) -> None:
        """Forget what has come in: a probe's frames fill the wire's buffer, and then nothing is heard."""
        while select.select([self.wire], [], [], 0)[0]:
            self.wire.recv(2048)

    def frame(self, token: bytes, seconds: float) -> bytes | None:
        """The frame with that token, if it comes in."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.wire], [], [], left)[0]:
                return None
            frame, address = self.wire.recvfrom(2048)
            if token in frame and address[2] != socket.PACKET_OUTGOING:
                return frame
        return None


class Host:
    """A host that routes between its stations, and the table under test in its namespace."""

    def __init__(self, space: str, *, program: bool | None = None) -> None:
        self.space = space
        self.nft = Nft(space, program=program)
        self.state = NftState()
        self.steps = 0
        """Transactions of the last change."""

    def apply(self, intent: HostIntent, delta: Delta | None = None) -> Changes:
        """The intent, in the kernel, when this returns."""
        changes = self.state.update(delta or Delta(snapshot=True), intent)
        self.steps = asyncio.run(self.nft.apply(changes))
        return changes

    def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        asyncio.run(self.nft.cut(flows, seconds))

    def uncut(self, flows: Iterable[Flow]) -> None:
        asyncio.run(self.nft.uncut(flows))

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment of a rule -> its packets and bytes."""
        return await self.nft.counters()

    def drift(self, intent: HostIntent) -> tuple[str, ...]:
        """How the kernel differs from a table that is written from scratch."""
        return differences(listing_of(render(intent)), asyncio.run(self.nft.read()))

    def passes(self, source: Station, destination: Station, packet: Packet | None = None, **what: int) -> bool:
        """Does the packet arrive? By default one between the stations' own addresses."""
        packet = packet or between(source, destination, **what)
        return destination.hears(source.send(packet), DEADLINE)


def between(source: Station, destination: Station, version: int = 4, **what: int) -> Packet:
    if version == 6:
        return Packet(source.v6, destination.v6, **what)
    return Packet(source.v4, destination.v4, **what)


@contextmanager
def host(*, program: bool | None = None) -> Iterator[Host]:
    """`program`: see `drivers.nft`."""
    with netrig.namespace("nft") as space:
        netrig.in_ns(space, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                     "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                     "net.netfilter.nf_conntrack_checksum=0")
        made = Host(space, program=program)
        yield made
        made.nft.close()


@contextmanager
def station(host: Host, number: int, interface: str = "") -> Iterator[Station]:
    """A workload with 10.65.0.N and fd65::N behind the host's interface musN."""
    interface = interface or f"mus{number:011x}"
    v4, v6 = f"10.65.0.{number}", f"fd65::{number:x}"
    with ExitStack() as stack:
        space = stack.enter_context(netrig.namespace(f"w{number}"))
        _wire(host.space, space, interface, v4, v6)
        wire = own_socket(space, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        stack.callback(wire.close)
        wire.bind(("eth0", 3))
        yield Station(space, interface, v4, v6, wire)


def _wire(host: str, space: str, interface: str, v4: str, v6: str) -> None:
    mac = "02:00:00:00:00:01"
    commands = f"""
        -n {host} link add {interface} address {HOST_MAC} type veth peer name eth0 netns {space}
        -n {host} addr add fe80::1/64 dev {interface} nodad
        -n {host} link set {interface} up
        -n {space} link set eth0 address {mac} up
        -n {space} addr add {v4}/32 dev eth0
        -n {space} addr add {v6}/128 dev eth0 nodad
        -n {space} neigh add 169.254.1.1 lladdr {HOST_MAC} dev eth0 nud permanent
        -n {space} neigh add fe80::1 lladdr {HOST_MAC} dev eth0 nud permanent
        -n {space} route add 169.254.1.1 dev eth0
        -n {space} route add default via 169.254.1.1
        -6 -n {space} route add default via fe80::1 dev eth0
        -n {host} route add {v4} dev {interface}
        -n {host} route add {v6} dev {interface}
        -n {host} neigh add {v4} lladdr {mac} dev {interface} nud permanent
        -n {host} neigh add {v6} lladdr {mac} dev {interface} nud permanent
    """
    for line in commands.strip().splitlines():
        netrig.run("ip", *line.split())
    netrig.in_ns(space, "sysctl", "-qw", "net.ipv6.conf.eth0.router_solicitations=0")  # they would count as packets


class Probe:
    """One-way datagrams, each of which conntrack calls new: the whole policy decides on every one."""

    def __init__(self, mouth: socket.socket, ear: socket.socket) -> None:
        self.mouth, self.ear = mouth, ear
        self.sent = self.heard = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.001):
            self.mouth.send(b"probe")
            self.sent += 1

    def count(self) -> None:
        """What came in waits in the socket; the last datagram may still be on its way."""
        try:
            while self.heard < self.sent:
                self.ear.recv(64)
                self.heard += 1
        except TimeoutError:
            return


@contextmanager
def probe(source: str, destination: str, address: str, port: int) -> Iterator[Probe]:
    """A thousand datagrams a second, from the one namespace to that address in the other."""
    with (
        closing(own_socket(source, socket.AF_INET, socket.SOCK_DGRAM)) as mouth,
        closing(own_socket(destination, socket.AF_INET, socket.SOCK_DGRAM)) as ear,
    ):
        ear.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
        ear.bind(("", port))
        ear.settimeout(0.3)
        mouth.connect((address, port))
        made = Probe(mouth, ear)
        thread = threading.Thread(target=made.run)
        thread.start()
        try:
            yield made
        finally:
            made.stop.set()
            thread.join()
        made.count()


def rounds(least: int, probes: tuple[Probe, Probe]) -> Iterator[int]:
    """Of a change and its opposite: so many, and on until more than two hundred packets have met them. A change may
    take less time than passes between two packets."""
    deadline = time.monotonic() + 60
    for number in itertools.count():
        if number >= least and (min(probe.sent for probe in probes) > 220 or time.monotonic() > deadline):
            return
        yield number

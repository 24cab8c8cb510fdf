"""Sends packets through one layout and says what each cost, in processor time of the sending thread.

    established   a UDP flow that conntrack knows
    new           one-way UDP, which stays new: every packet walks the whole policy
    connect       TCP: connect, accept, close at both ends, by one thread, so that no scheduler is measured

Processor time holds all of forwarding, because frames are injected, and veth delivers, on the calling thread. A figure
counts only if every packet that should arrive has arrived and none that should not: `Wrong` otherwise.
"""

from __future__ import annotations

import socket
import statistics
import struct
import time
from contextlib import ExitStack
from typing import NamedTuple

from bench import inject, rig, world
from muslin.drivers.netns import inside, opened

_FLOW, _PORT, _LISTEN = 7001, 7001, 7000
_PATIENCE = struct.pack("ll", 5, 0)
_SINK = f"""table netdev bench {{
    chain sink {{
        type filter hook ingress device "eth0" priority 0
        udp dport {_PORT} counter drop
        udp dport {world.DENIED} counter drop
    }}
}}
"""


class Wrong(Exception):
    """A layout lets through what it must not, or loses what it must not."""


class Costs(NamedTuple):
    established: float
    """ns a packet."""
    new: float
    connect: float
    """us of processor a connection."""
    waited: float
    """us on the clock of one connect(), p50."""


class Load(NamedTuple):
    """How many of each in one round."""

    packets: int
    new: int
    connects: int


class Path:
    """Workloads A and B of one rig, with what is needed to send between them; the layout is loaded already."""

    def __init__(self, spaces: rig.Rig, stack: ExitStack) -> None:
        self._spaces = spaces
        self._host, self._a, b = (stack.enter_context(opened(name)) for name in (spaces.host, spaces.a, spaces.b))
        for space in (spaces.a, spaces.b):
            rig.load(space, _SINK)
        with inside(b):
            self._listener = stack.enter_context(socket.create_server(("0.0.0.0", _LISTEN), backlog=512))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        a, b_address = rig.ADDRESSES["a"], rig.ADDRESSES["b"]
        self._known = _frame("a", a, b_address, (_FLOW, _PORT))
        self._reply = _frame("b", b_address, a, (_PORT, _FLOW))
        self._fresh = _frame("a", a, b_address, (_FLOW + 1, _PORT))
        self._denied = _frame("a", a, b_address, (_FLOW, world.DENIED))
        self._programs = {frame: inject.load_program(frame)
                          for frame in (self._known, self._reply, self._fresh, self._denied)}
        for program in self._programs.values():
            stack.callback(inject.unload, program)
        with inside(self._host):
            self._indexes = {side: socket.if_nametoindex(rig.INTERFACES[side]) for side in "ab"}

    def check(self, *, guarded: bool) -> None:
        """One packet of each kind. `guarded`: there is policy, which must drop the one that nothing allows. Without
        policy it must arrive, or this check could not fail."""
        with inside(self._host):
            self._establish()
            for frame in (self._known, self._fresh, self._denied):
                self._send(frame, "a", 1)
        allowed, denied = self._arrived()
        if (allowed, denied) != (3, 0 if guarded else 1):
            raise Wrong(f"{allowed} of 3 allowed packets arrived, and {denied} of those to a port that "
                        f"{'nothing allows' if guarded else 'nobody guards'}")

    def measure(self, load: Load) -> Costs:
        before = self._arrived()[0]
        with inside(self._host):
            self._establish()
            established = self._send(self._known, "a", load.packets)
            new = self._send(self._fresh, "a", load.new)
        arrived, sent = self._arrived()[0] - before, load.packets + load.new + 1
        if arrived < sent:
            raise Wrong(f"only {arrived} of {sent} packets arrived, the figures would be void")
        return Costs(established, new, *self._connects(load.connects))

    def _establish(self) -> None:
        self._send(self._known, "a", 1)
        self._send(self._reply, "b", 1)

    def _send(self, frame: bytes, side: str, count: int) -> float:
        return inject.inject(self._programs[frame], frame, self._indexes[side], count)

    def _connects(self, count: int) -> tuple[float, float]:
        waited = []
        with inside(self._a):
            begun = time.thread_time_ns()
            for _ in range(count):
                with socket.socket() as near:
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
                    before = time.perf_counter_ns()
                    near.connect((rig.ADDRESSES["b"], _LISTEN))
                    waited.append(time.perf_counter_ns() - before)
                    self._listener.accept()[0].close()
            spent = time.thread_time_ns() - begun
        return spent / count / 1000, statistics.median(waited) / 1000

    def _arrived(self) -> tuple[int, int]:
        listed = rig.run("ip", "netns", "exec", self._spaces.b, "nft", "list", "table", "netdev", "bench")
        allowed, denied = (int(part.split()[0]) for part in listed.split("counter packets ")[1:])
        return allowed, denied


def _frame(side: str, source: str, destination: str, ports: tuple[int, int]) -> bytes:
    return inject.udp_frame(rig.MACS[side], rig.HOST_MAC, source, destination, ports)


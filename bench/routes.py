"""100,000 routes into the kernel: by our encoder, by `ip -batch`, and the kernel's own part, finished bytes only."""

from __future__ import annotations

import socket
import struct
from functools import partial

from bench import cost, rig
from bench.cost import Cost
from bench.figures import Side
from muslin.drivers import rtnetlink
from muslin.drivers.netlink import ACK, CREATE, EXCLUSIVE, HEADER, REQUEST, Netlink
from muslin.drivers.netns import inside, opened
from muslin.intent import Route, RouteKind
from muslin.net import Cidr

_AT_ONCE = 1000


def _wanted(count: int) -> list[Route]:
    device = rig.INTERFACES["a"]
    return [Route(destination=Cidr(f"20.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/32"),
                  kind=RouteKind.DEVICE, interface=device) for number in range(count)]


def measure(count: int, word: str) -> dict[tuple[str, Side], Cost]:
    """Once each, each in an empty namespace."""
    ways = {("muslin", Side.OURS): _ours, ("ip -batch", Side.PEER): _ip,
            ("the kernel's own part", Side.LIMIT): _bytes}
    found = {}
    for number, (name, way) in enumerate(ways.items()):
        with rig.rig(f"{word}{number}") as spaces, opened(spaces.host) as descriptor, inside(descriptor):
            found[name] = way(count)
            there = len(rig.run("ip", "route", "show", "proto", str(rtnetlink.PROTOCOL)).splitlines())
            if there != count:
                raise SystemExit(f"routes by {name[0]}: {there} of {count} are in the kernel")
    return found


def _ours(count: int) -> Cost:
    changes = [rtnetlink.Change(new=route) for route in _wanted(count)]
    indexes = {name: index for index, name in socket.if_nameindex()}
    with Netlink(receive_buffer=rtnetlink.RECEIVE_BUFFER) as netlink:
        return cost.of(partial(rtnetlink.apply, netlink, changes, indexes))


def _ip(count: int) -> Cost:
    text = "".join(f"route add {route.destination} dev {route.interface} proto {rtnetlink.PROTOCOL}\n"
                   for route in _wanted(count))
    return cost.of(partial(rig.run, "ip", "-batch", "-", text=text), programs_only=True)


def _bytes(count: int) -> Cost:
    index = socket.if_nametoindex(rig.INTERFACES["a"])
    bodies = [rtnetlink.encode_route(route, index) for route in _wanted(count)]
    batches = []
    for start in range(0, count, _AT_ONCE):
        some = bodies[start : start + _AT_ONCE]
        flags = [REQUEST | CREATE | EXCLUSIVE] * (len(some) - 1) + [REQUEST | CREATE | EXCLUSIVE | ACK]
        batches.append(b"".join(HEADER.pack(16 + len(body), rtnetlink.NEW_ROUTE, flag, 1, 0) + body
                                for body, flag in zip(some, flags, strict=True)))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return cost.of(partial(_send, raw, batches))


def _send(raw: socket.socket, batches: list[bytes]) -> None:
    for batch in batches:
        raw.send(batch)
        answer = raw.recv(1 << 16)
        (code,) = struct.unpack_from("=i", answer, HEADER.size)
        if code:
            raise SystemExit(f"the kernel refused a route: error {-code}")

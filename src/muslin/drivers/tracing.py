"""One packet put on its way, and the kernel's own words of what became of it.

A workload's packet must come in by its interface, but a packet socket only sends out. So what it sends is turned round
on the spot: for as long as it takes, a filter on that interface redirects this one packet (its source is the workload's
own, so nothing else that is sent to the workload is like it) back in. That works for a veth and for a tap, and needs
nothing inside the workload. What is added (a table of nftables, a filter, a clsact if there was none) is taken away
again; what a killed predecessor left is taken away first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from muslin.drivers.program import Program, environment
from muslin.errors import Transient
from muslin.net import version_of
from muslin.net.frame import ETHERTYPE, headers
from muslin.render.nft import tracing
from muslin.render.nft.tracing import Event

MOST_SECONDS = 2.0
_QUIET = 0.4
"""So long after the last word nothing more is expected."""
_PREFERENCE = "47"
_PROTOCOL = {4: ("ip", "ip"), 6: ("ipv6", "ip6")}
_STRANGER = bytes.fromhex("020000000001")


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A packet to be followed. `arrives_by`: put in there, as if the other end had sent it; "": sent by this host."""

    source: str
    destination: str
    protocol: int
    port: int = 0
    source_port: int = 0
    icmp: tuple[int, int] = (8, 0)
    arrives_by: str = ""


async def follow(probe: Probe, *, send: bool) -> list[Event]:
    """What the kernel tells of it. `send` False: only listen, for a packet that somebody else sends. At most two
    seconds. Raises Transient where this host cannot trace."""
    program = Program()
    async with _marked(program, probe), _listening() as lines:
        if send:
            async with _turned_round(program, probe):
                _send(probe)
                return tracing.events(await _heard(lines))
        return tracing.events(await _heard(lines))


async def handles(family: str, table: str, chain: str) -> list[int]:
    """Of a chain's rules, in their order. A chain that is gone has none."""
    code, output, _ = await Program().run("nft", "-a", "-j", "list", "chain", family, table, chain)
    if code:
        return []
    listed = msgspec.json.decode(output)["nftables"]
    return [item["rule"]["handle"] for item in listed if "rule" in item]


@asynccontextmanager
async def _marked(program: Program, probe: Probe) -> AsyncIterator[None]:
    await _nft(program, tracing.trace_table(
        probe.source, probe.destination, probe.protocol, probe.port, probe.source_port))
    try:
        yield
    finally:
        await _nft(program, tracing.gone())


@asynccontextmanager
async def _listening() -> AsyncIterator[asyncio.StreamReader]:
    """`nft monitor trace`, once it listens: its socket has joined a group then."""
    process = await asyncio.create_subprocess_exec(
        "stdbuf", "-oL", "nft", "-a", "monitor", "trace", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL, env=environment())
    try:
        async with asyncio.timeout(MOST_SECONDS):
            while not _listens(process.pid):
                await asyncio.sleep(0.01)
        assert process.stdout is not None
        yield process.stdout
    except TimeoutError:
        raise Transient("nft monitor does not listen: is nftables installed?") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _listens(pid: int) -> bool:
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == "12" and words[2] == str(pid) and int(words[3], 16):
            return True
    return False


async def _heard(lines: asyncio.StreamReader) -> list[str]:
    """Until nothing more comes."""
    found: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOST_SECONDS):
            while True:
                patience = _QUIET if found else MOST_SECONDS
                line = await asyncio.wait_for(lines.readline(), patience)
                if not line:
                    break
                found.append(line.decode(errors="replace"))
    return found


@asynccontextmanager
async def _turned_round(program: Program, probe: Probe) -> AsyncIterator[None]:
    if not probe.arrives_by:
        yield
        return
    interface = probe.arrives_by
    code, listed, _ = await program.run("tc", "qdisc", "show", "dev", interface)
    was_there = "clsact" in listed
    if code:
        raise Transient(f"tc cannot read {interface}: is iproute2 installed, and the interface there?")
    await _tc_maybe(program, "filter", "del", "dev", interface, "egress", "pref", _PREFERENCE)
    if not was_there:
        await _tc(program, "qdisc", "add", "dev", interface, "clsact")
    kind, word = _PROTOCOL[version_of(probe.source)]
    length = "32" if kind == "ip" else "128"
    try:
        await _tc(
            program, "filter", "add", "dev", interface, "egress", "pref", _PREFERENCE, "protocol", kind, "u32",
            "match", word, "src", f"{probe.source}/{length}", "match", word, "dst", f"{probe.destination}/{length}",
            "action", "mirred", "ingress", "redirect", "dev", interface)
        yield
    finally:
        await _tc_maybe(program, "filter", "del", "dev", interface, "egress", "pref", _PREFERENCE)
        if not was_there:
            await _tc_maybe(program, "qdisc", "del", "dev", interface, "clsact")


def _send(probe: Probe) -> None:
    version = version_of(probe.source)
    packet = headers(probe.source, probe.destination, probe.protocol, probe.port, probe.source_port, probe.icmp)
    if probe.arrives_by:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind((probe.arrives_by, ETHERTYPE[version]))
            own = link.getsockname()[4][:6]
            link.send(own + _STRANGER + ETHERTYPE[version].to_bytes(2, "big") + packet)
        return
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet, (probe.destination, 0))


async def _nft(program: Program, script: str) -> None:
    code, _, errors = await program.run("nft", "-f", "-", given=script)
    if code:
        raise Transient(f"nft does not take the table that traces: {errors.strip()}")


async def _tc(program: Program, *words: str) -> None:
    code, _, errors = await program.run("tc", *words)
    if code:
        raise Transient(f"this kernel cannot turn a packet round at an interface (tc {' '.join(words[:4])}): "
                        f"{errors.strip()}")


async def _tc_maybe(program: Program, *words: str) -> None:
    """What is not there need not go."""
    await program.run("tc", *words)

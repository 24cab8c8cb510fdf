"""Talks with the process that lives in the workloads (`traffic`): who answers, who reaches whom, what gets lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muslin.errors import Transient
from muslin.lab.record import Workload

_LONGEST = 1 << 26
RATE = 1000
"""Packets a second on each flow of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question: does `source` reach `destination` there? `protocol`: tcp, udp or icmp (port 0)."""

    source: Workload
    destination: Workload
    version: int
    protocol: str
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What became of one flow's packets. `arrived` at the far end; `answered`: came all the way back. `missing`: the
    numbers of the first few that did not, which are milliseconds since the stream began."""

    sent: int
    arrived: int
    answered: int
    missing: tuple[int, ...] = ()

    @property
    def lost(self) -> int:
        return self.sent - self.answered


@dataclass(slots=True)
class Flow:
    """A stream from one workload to another's UDP port. `count` is there when it has ended."""

    source: Workload
    destination: Workload
    port: int
    version: int = 4
    count: Count = Count(sent=0, arrived=0, answered=0)


class Running:
    """A stream under way."""

    async def packets(self, number: int) -> None:
        """As long as it takes to send so many more on each flow."""
        await asyncio.sleep(number / RATE)


class Crowd:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def serve(self, network: str, *, tcp: Iterable[int] = (), udp: Iterable[int] = ()) -> None:
        """Listen in that namespace on these ports, on both families. What listened there before does no more."""
        await self._ask({"do": "serve", "network": network, "tcp": list(tcp), "udp": list(udp)})

    async def forget(self, network: str) -> None:
        await self._ask({"do": "forget", "network": network})

    async def probe(self, probes: Sequence[Probe]) -> list[bool]:
        """For each probe: was it reached?"""
        questions = [
            [probe.source.network, probe.destination.address(probe.version), probe.protocol, probe.port]
            for probe in probes
        ]
        answer = await self._ask({"do": "probe", "probes": questions})
        return list(answer["reached"])

    @asynccontextmanager
    async def stream(self, flows: Sequence[Flow], *, fresh: bool = False) -> AsyncIterator[Running]:
        """A packet each millisecond on each flow while inside. `fresh`: each from a port of its own."""
        wish = {
            "do": "stream", "fresh": fresh,
            "flows": [[f.source.network, f.destination.address(f.version), f.port] for f in flows],
        }
        reader, writer = await self._connected()
        try:
            await _tell(writer, wish)
            yield Running()
            await _tell(writer, {"do": "stop"})
            answer = await _told(reader)
        finally:
            writer.close()
        for flow, count in zip(flows, answer["flows"], strict=True):
            flow.count = Count(**count | {"missing": tuple(count["missing"])})

    async def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await self._connected()
        try:
            await _tell(writer, wish)
            return await _told(reader)
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(str(self._socket), limit=_LONGEST)
        except OSError as error:
            raise Transient(f"nobody lives in the lab's workloads: {self._socket}: {error}") from None


async def _tell(writer: asyncio.StreamWriter, wish: dict[str, Any]) -> None:
    writer.write(json.dumps(wish).encode() + b"\n")
    await writer.drain()


async def _told(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "it went away"}
    if "error" in answer:
        raise Transient(f"traffic in the lab's workloads: {answer['error']}")
    return answer

"""The life inside the workloads: one process that answers, and asks, from every one of them.

The packets are real and take the whole way through the kernels; only the processes are saved. It is asked over a unix
socket, one JSON object a line, answered by one line:

    {"do": "serve", "network": NS, "tcp": [80], "udp": [53]}      listen there, on both families
    {"do": "forget", "network": NS}
    {"do": "probe", "probes": [[NS, ADDRESS, "tcp", 80], ...]}    -> {"reached": [true, ...]}
    {"do": "stream", "flows": [[NS, ADDRESS, PORT], ...], "fresh": false}
                                                                  runs until the line {"do": "stop"} on this connection
                                                                  -> {"flows": [{"sent", "answered", "arrived",
                                                                      "missing": [numbers]}, ...]}
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from muslin.drivers import netns
from muslin.lab.probing import Round
from muslin.lab.streaming import Stream
from muslin.lab.townsfolk import Townsfolk


class Door:
    def __init__(self) -> None:
        self._townsfolk = Townsfolk()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                wish = json.loads(line)
                answer = await self._do(wish, reader)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has gone
        finally:
            writer.close()

    async def _do(self, wish: dict[str, Any], reader: asyncio.StreamReader) -> dict[str, Any]:
        deeds: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "serve": lambda: self._serve(wish), "forget": lambda: self._forget(wish),
            "probe": lambda: self._probe(wish), "stream": lambda: self._stream(wish, reader),
        }
        try:
            return await deeds[wish["do"]]()
        except (netns.NoSuchNamespace, OSError) as error:
            return {"error": str(error)}

    async def _serve(self, wish: dict[str, Any]) -> dict[str, Any]:
        self._townsfolk.forget(wish["network"])
        self._townsfolk.serve(wish["network"], wish["tcp"], wish["udp"])
        return {}

    async def _forget(self, wish: dict[str, Any]) -> dict[str, Any]:
        self._townsfolk.forget(wish["network"])
        return {}

    async def _probe(self, wish: dict[str, Any]) -> dict[str, Any]:
        return {"reached": await Round([(n, a, p, port) for n, a, p, port in wish["probes"]]).run()}

    async def _stream(self, wish: dict[str, Any], reader: asyncio.StreamReader) -> dict[str, Any]:
        stream = Stream(self._townsfolk, [(n, a, p) for n, a, p in wish["flows"]], fresh=bool(wish["fresh"]))
        stop = asyncio.Event()
        running = asyncio.create_task(stream.run(stop))
        await reader.readline()  # "stop", or the end of the connection
        stop.set()
        await running
        return {"flows": stream.report()}


async def serve(path: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(0o077)
    door = Door()
    server = await asyncio.start_unix_server(door.attend, f"{path}.new", limit=1 << 26)
    Path(f"{path}.new").rename(path)  # a socket is there before it is listened on: who sees this one may connect
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

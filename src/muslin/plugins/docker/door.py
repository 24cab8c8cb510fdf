"""The socket that dockerd knows: always there, also while the agent is not.

dockerd waits a quarter of a minute for a plugin that does not answer, with its locks held, and then says "connection
refused". So a small process holds the socket and hands each call to the agent. Where there is none it waits a moment
(an agent that is being restarted), and then answers what is wrong and what mends it; the calls after that get this
answer at once, until an agent is there again.

    python -IS door.py LISTEN AGENT PIDFILE
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path

PATIENCE = 3.0
_RETRY = 0.05
_LONGEST_HEAD = 65536


async def serve(listen: Path, agent: Path) -> None:
    """Until SIGTERM. A socket that a dead predecessor left is taken over."""
    listen.parent.mkdir(parents=True, exist_ok=True)
    listen.unlink(missing_ok=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    before = os.umask(0o177)
    behind = Agent(agent)
    server = await asyncio.start_unix_server(lambda reader, writer: _call(reader, writer, behind), listen,
                                             limit=_LONGEST_HEAD)
    os.umask(before)
    async with server:
        await ended.wait()
    listen.unlink(missing_ok=True)


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, agent: Agent) -> None:
    """One call a connection: dockerd opens another for the next."""
    try:
        name, body = await _read(reader)
        writer.write(await agent.ask(name, body))
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass  # dockerd has gone, or it was not dockerd: nobody is there to be told
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """(call, body) of `POST /NetworkDriver.Join HTTP/1.1`."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    name = first.split(" ")[1].lstrip("/")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return name, await _chunks(reader)
    return name, await reader.readexactly(int(fields.get("content-length") or 0))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(body)


class Agent:
    """`_patient_until`: None while it answers, or nobody has asked it since it went away."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._patient_until: float | None = None

    async def ask(self, name: str, body: bytes) -> bytes:
        """Every call has a name of its own, and says when it comes again: its first half may have been done."""
        mark = f"Muslin-Call: {uuid.uuid4().hex}\r\n"
        while True:
            try:
                answer = await _forward(self._socket, name, body, mark)
                self._patient_until = None
                return answer
            except (ConnectionError, FileNotFoundError) as error:
                if isinstance(error, Interrupted) and "Again" not in mark:
                    mark += "Muslin-Again: 1\r\n"
            now = asyncio.get_running_loop().time()
            self._patient_until = self._patient_until or now + PATIENCE
            if now > self._patient_until:
                return _refusal(self._socket)
            await asyncio.sleep(_RETRY)


class Interrupted(ConnectionResetError):
    """The agent had the call, and went away in its middle."""


async def _forward(agent: Path, name: str, body: bytes, mark: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(agent)
    try:
        head = (f"POST /docker/{name} HTTP/1.1\r\nHost: muslin\r\nConnection: close\r\n{mark}"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
        writer.write(head.encode("latin-1") + body)
        await writer.drain()
        answer = await reader.read()
    except ConnectionError:
        raise Interrupted(name) from None
    finally:
        writer.close()
    if not _whole(answer):
        raise Interrupted(name)
    return answer


def _whole(answer: bytes) -> bool:
    """With as many bytes as its head promises."""
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = (line.partition(b":") for line in head.split(b"\r\n"))
    lengths = [int(value) for name, _, value in fields if name.strip().lower() == b"content-length"]
    return bool(lengths) and len(body) >= lengths[0]


def _refusal(agent: Path) -> bytes:
    body = json.dumps({"Err": f"muslin: the agent of this host does not answer at {agent}: start it with `muslin agent`"
                              " or `muslin up`; containers that run go on running"}).encode()
    return (f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def main() -> None:
    listen, agent, pid = map(Path, sys.argv[1:4])
    pid.write_text(str(os.getpid()))
    try:
        asyncio.run(serve(listen, agent))
    finally:
        pid.unlink(missing_ok=True)


if __name__ == "__main__":
    main()

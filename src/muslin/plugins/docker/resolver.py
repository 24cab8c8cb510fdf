"""A process beside the agent that answers containers' questions for names of other hosts' containers.

It stands before Docker's own name server in each container's namespace (`drivers.detour`): what it knows it answers,
all else it hands on as it is, so that Docker's settings, and policy for questions to the world, hold as without it.
The agent tells it the names and the containers' namespaces; while no agent runs it answers from what it was told.
When it is killed, Docker's name server stands there alone at once, and the agent starts another.

What the agent says, one JSON array a line; the first connection that says anything ends the one before:

    ["sandbox", KEY, [PATH, ...], [[REALM, LOCAL NAME], ...]]   a container's namespace, at the first path that is one
    ["realm", REALM, {KEY: [[NAME, ...], [ADDRESS, ...]], ...}]    all names of a network
    ["name", REALM, KEY, [[NAME, ...], [ADDRESS, ...]] or null]    a change of them
    ["ready"]                                                      all has been said: what is older goes
    ["gone", KEY]   ["forget", REALM]

and what it is answered: ["trouble", KEY, TEXT], where questions of a namespace cannot be heard.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from muslin.drivers import detour
from muslin.errors import MuslinError
from muslin.net import dns
from muslin.plugins.docker.names import Names, Network

SECONDS = 5
"""How long an answer may be kept: a container that moves is found again after that."""
_LONGEST_LINE = 256 << 20
_OPEN_WITHIN = 60.0
_QUICK, _SLOW = 0.005, 0.1
_MOST_WAITING = 512
_ANSWER_WITHIN = 10.0
_MOST_CONNECTIONS = 64


class Sandbox:
    """One container's namespace."""

    def __init__(self, names: Names, networks: list[Network]) -> None:
        self.names = names
        self.networks = networks
        self._detour: detour.Detour | None = None
        self._server: asyncio.Server | None = None
        self._namespace = -1
        self._asked: dict[int, tuple[int, Any, float]] = {}
        self._next = random.randrange(65536)
        self._connections = 0

    async def open(self, paths: list[str]) -> None:
        """Until its namespace is there: Docker makes it a moment after it told us of it. Raises Unsupported, Transient,
        TimeoutError."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self._enter(paths):
            waited = loop.time() - begun
            if waited > _OPEN_WITHIN:
                raise TimeoutError(f"none of {', '.join(paths)} has become a network namespace")
            await asyncio.sleep(_QUICK if waited < 2 else _SLOW)
        assert self._detour is not None
        loop.add_reader(self._detour.datagrams, self._hear)
        loop.add_reader(self._detour.upstream, self._hear_upstream)
        self._server = await asyncio.start_server(self._connected, sock=self._detour.connections)

    def _enter(self, paths: list[str]) -> bool:
        """The file is there before it is a namespace."""
        for path in paths:
            namespace = -1
            try:
                namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._detour, self._namespace = detour.make(namespace), namespace
                return True
            except OSError:
                _shut(namespace)
            except MuslinError:
                _shut(namespace)
                raise
        return False

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        if self._server is not None:
            self._server.close()
        if self._detour is not None:
            for each in (self._detour.datagrams, self._detour.upstream):
                loop.remove_reader(each)
            self._detour.close()
            os.close(self._namespace)

    # ---- UDP

    def _hear(self) -> None:
        assert self._detour is not None
        with suppress(OSError):
            packet, asker = self._detour.datagrams.recvfrom(dns.LARGEST)
            answer = self.answer(packet)
            if answer is not None:
                self._detour.datagrams.sendto(answer, asker)
            else:
                self._hand_on(self._detour.upstream, packet, asker)

    def _hand_on(self, upstream: socket.socket, packet: bytes, asker: Any) -> None:
        """Under a number of our own, which is free: two askers may have taken the same."""
        now = asyncio.get_running_loop().time()
        if len(self._asked) >= _MOST_WAITING:
            self._asked = {number: each for number, each in self._asked.items() if each[2] > now}
        if len(packet) < 2 or len(self._asked) >= _MOST_WAITING:
            return
        while self._next in self._asked:
            self._next = (self._next + 1) % 65536
        self._asked[self._next] = int.from_bytes(packet[:2]), asker, now + _ANSWER_WITHIN
        upstream.send(self._next.to_bytes(2) + packet[2:])
        self._next = (self._next + 1) % 65536

    def _hear_upstream(self) -> None:
        assert self._detour is not None
        with suppress(OSError):  # refused: Docker's name server is not there yet; who asked asks again
            packet = self._detour.upstream.recv(dns.LARGEST)
            waiting = self._asked.pop(int.from_bytes(packet[:2]), None)
            if waiting is not None:
                number, asker, _ = waiting
                self._detour.datagrams.sendto(number.to_bytes(2) + packet[2:], asker)

    # ---- TCP

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        beyond: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while self._connections <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    packet = await _read(reader)
                    answer = self.answer(packet, dns.LARGEST)
                    if answer is None:
                        beyond = beyond or await self._beyond()
                        _write(beyond[1], packet)
                        answer = await _read(beyond[0])
                    _write(writer, answer)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # who asked has gone, or waits in vain for who does not answer
        finally:
            self._connections -= 1
            for each in (writer, beyond[1] if beyond else None):
                if each is not None:
                    each.close()

    async def _beyond(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert self._detour is not None
        made = self._detour.connect()
        try:
            await asyncio.get_running_loop().sock_connect(made, (detour.SERVER, detour.PORT))
        except BaseException:
            made.close()
            raise
        return await asyncio.open_connection(sock=made)

    # ---- answers

    def answer(self, packet: bytes, size: int = 0) -> bytes | None:
        """None: not ours to answer."""
        asked = dns.question(packet)
        if asked is None:
            return None
        data: list[bytes]
        if asked.kind == dns.PTR:
            address = dns.reverse(asked.name)
            name = self.names.name(self.networks, address) if address else ""
            if not name:
                return None
            data = [dns.name_data(name)]
        else:
            found = self.names.addresses(self.networks, asked.name)
            if not found:
                return None
            data = [packed for kind, packed in map(dns.address_data, found) if kind == asked.kind]
            random.shuffle(data)
        return dns.answer(packet, asked, data, SECONDS, size or asked.size)


class Resolver:
    def __init__(self) -> None:
        self.names = Names()
        self._sandboxes: dict[str, Sandbox] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._speaker: asyncio.StreamWriter | None = None

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One agent's. Its end changes nothing."""
        fresh: Names | None = Names()
        mentioned: set[str] = set()
        try:
            while line := await reader.readline():
                if self._speaker is not writer:
                    if self._speaker is not None:
                        self._speaker.close()
                    self._speaker = writer
                what, *rest = json.loads(line)
                if what == "ready" and fresh is not None:
                    self._begin(fresh, mentioned)
                    fresh = None
                elif what == "sandbox":
                    mentioned.add(rest[0])
                    self._sandbox(*rest)
                elif what == "gone":
                    self._close(rest[0])
                else:
                    _learn(self.names if fresh is None else fresh, what, *rest)
        except (ConnectionError, ValueError) as error:
            writer.write(_trouble("", f"what the agent says is not understood: {error}"))
        finally:
            writer.close()

    def _begin(self, fresh: Names, mentioned: set[str]) -> None:
        self.names = fresh
        for key in [key for key in self._sandboxes if key not in mentioned]:
            self._close(key)
        for sandbox in self._sandboxes.values():
            sandbox.names = fresh

    def _sandbox(self, key: str, paths: list[str], networks: list[list[str]]) -> None:
        joined = [(realm, local) for realm, local in networks]
        if key in self._sandboxes:
            self._sandboxes[key].networks = joined
            return
        sandbox = self._sandboxes[key] = Sandbox(self.names, joined)
        self._opening[key] = asyncio.create_task(self._open(key, sandbox, paths))

    async def _open(self, key: str, sandbox: Sandbox, paths: list[str]) -> None:
        try:
            await sandbox.open(paths)
        except (MuslinError, TimeoutError) as error:
            if self._speaker is not None:
                self._speaker.write(_trouble(key, str(error)))

    def _close(self, key: str) -> None:
        opening = self._opening.pop(key, None)
        if opening is not None:
            opening.cancel()
        sandbox = self._sandboxes.pop(key, None)
        if sandbox is not None:
            sandbox.close()


def _trouble(key: str, why: str) -> bytes:
    return json.dumps(["trouble", key, why]).encode() + b"\n"


def _learn(names: Names, what: str, realm: str, *rest: Any) -> None:
    if what == "forget":
        names.realms.pop(realm, None)
    elif what == "realm":
        names.realms.pop(realm, None)
        for key, held in rest[0].items():
            names.realm(realm).put(key, *held)
    elif what == "name" and rest[1] is None:
        names.realm(realm).drop(rest[0])
    elif what == "name":
        names.realm(realm).put(rest[0], *rest[1])


def _shut(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


def _write(writer: asyncio.StreamWriter, packet: bytes) -> None:
    writer.write(len(packet).to_bytes(2) + packet)


async def serve(listen: Path) -> None:
    """Until SIGTERM. A socket that a dead predecessor left is taken over."""
    listen.unlink(missing_ok=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    before = os.umask(0o177)
    server = await asyncio.start_unix_server(Resolver().session, listen, limit=_LONGEST_LINE)
    os.umask(before)
    async with server:
        await ended.wait()
    listen.unlink(missing_ok=True)


def main(listen: str, pid: str) -> None:
    Path(pid).write_text(str(os.getpid()))
    try:
        asyncio.run(serve(Path(listen)))
    finally:
        Path(pid).unlink(missing_ok=True)

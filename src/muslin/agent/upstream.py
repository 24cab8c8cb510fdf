"""The agent's door to the servers: one of several answers, and when it stops, the next is asked.

Every call goes to the server that answered last. A connection that fails moves on to the next of the list for the next
call; the call itself fails as `Unreachable`, which is `Transient`: who asked decides whether to wait.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from muslin.client.address import Address, Identity, parse
from muslin.client.refusal import ApiError, Unreachable, reason
from muslin.errors import Invalid

_CALL = aiohttp.ClientTimeout(total=10, sock_connect=3)
_SILENCE = 15.0
"""The server sends at least an empty line every 5 s: 15 s of silence is a dead connection."""

_AT_ONCE = 1 << 20
"""Bytes of a stream that are taken in before they are looked at: what came during one turn is merged for the next."""

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
"""Whoever answers in anything but HTTP is as good as nobody."""

MERGE_PATCH = "application/merge-patch+json"


class Upstream:
    def __init__(self, servers: Sequence[str], identity: Identity) -> None:
        self._addresses = [parse(server) for server in servers]
        https = any(address.scheme == "https" for address in self._addresses)
        self._tls = _tls(identity) if https else None
        self._current = 0
        self._sessions: dict[int, aiohttp.ClientSession] = {}

    @property
    def address(self) -> str:
        return str(self._addresses[self._current])

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def next(self) -> None:
        """Ask the next one from now on. Calls that are under way stay where they are."""
        self._current = (self._current + 1) % len(self._addresses)

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any:
        """The decoded answer. Raises ApiError (the server says no) and Unreachable."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content} if data is not None else {}
        session, asked = self._ready(), self._current
        try:
            async with session.request(method, self._url(path), data=data, headers=headers, timeout=_CALL) as answer:
                text = await answer.read()
                decoded = _decoded(text)
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    raise ApiError(decoded if isinstance(decoded, dict) else {}, answer.status)
                return decoded
        except _FAILURES as error:
            unreachable = self._unreachable(error)
            if asked == self._current:
                self.next()
            raise unreachable from None

    async def lines(self, path: str, silence: float = _SILENCE) -> AsyncIterator[bytes]:
        """The lines of an endless answer, without their ends; keep-alives are empty. Raises as `pieces` does."""
        async for piece in self.pieces(path, silence):
            for line in piece.split(b"\n")[:-1]:
                yield line

    async def pieces(self, path: str, silence: float = _SILENCE) -> AsyncIterator[bytes]:
        """The same, as many whole lines at a time as came at once. Raises as `call` does, and where nothing comes for
        so many seconds.

        Put together here, because a snapshot's line may have many megabytes and aiohttp's readline refuses long lines.
        """
        session = self._ready()
        rest = bytearray()
        patience = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=silence)
        try:
            async with session.get(self._url(path), timeout=patience, read_bufsize=_AT_ONCE) as answer:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    decoded = _decoded(await answer.read())
                    raise ApiError(decoded if isinstance(decoded, dict) else {}, answer.status)
                async for chunk in answer.content.iter_any():
                    rest += chunk
                    if b"\n" in chunk:
                        end = rest.rindex(b"\n") + 1
                        piece, rest = bytes(rest[:end]), rest[end:]
                        yield piece
        except _FAILURES as error:
            raise self._unreachable(error) from None
        raise self._unreachable(None)

    def _ready(self) -> aiohttp.ClientSession:
        session = self._sessions.get(self._current)
        if session is None:
            address = self._addresses[self._current]
            connector: aiohttp.BaseConnector
            if address.scheme == "unix":
                connector = aiohttp.UnixConnector(address.path)
            else:
                connector = aiohttp.TCPConnector(ssl=self._tls or True)
            session = self._sessions[self._current] = aiohttp.ClientSession(connector=connector)
        return session

    def _url(self, path: str) -> str:
        address: Address = self._addresses[self._current]
        return f"http://muslin{path}" if address.scheme == "unix" else f"{address}{path}"

    def _unreachable(self, error: BaseException | None) -> Unreachable:
        why = reason(error) if error is not None else "the answer ended"
        return Unreachable(self.address, why, "is `muslin server` running?")


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": text[:200].decode("utf-8", "replace")}


def _tls(identity: Identity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=identity.authority or None)
        if identity.certificate:
            context.load_cert_chain(identity.certificate, identity.key or None)
    except OSError as error:  # ssl.SSLError among them
        files = ", ".join(file for file in (identity.certificate, identity.key, identity.authority) if file)
        raise Invalid(f"certificates {files}: {error}: name PEM files that exist and belong together") from None
    return context

"""Answers without an end: a line whenever there is something to say, and now and then a look whether anybody listens.

aiohttp tells nobody that a silent client has gone. So whoever streams looks at every tick, and at every write waits
until the client has taken what was sent: a slow client slows its own stream, nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

Item = TypeVar("Item")


class Stopping:
    """Set once, when the server ends: all streams end then."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def stop(self) -> None:
        self._event.set()

    @property
    def stopped(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


class Stream:
    """A chunked answer. The headers leave at once; a client that goes away ends the block quietly."""

    def __init__(self, request: web.Request, content_type: str, stopping: Stopping) -> None:
        self._request = request
        self._stopping = stopping
        self.response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache, private"})

    async def __aenter__(self) -> Stream:
        self.response.enable_chunked_encoding()
        writer = await self.response.prepare(self._request)
        if writer is not None:
            writer.send_headers()
            await writer.drain()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if isinstance(error, ConnectionError):
            return True
        if error is None:
            with suppress(ConnectionError):
                await self.response.write_eof()
        return False

    def hang_up(self) -> None:
        """End the connection at once, also under a write that waits."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when the client has gone."""
        if data:
            await self.response.write(data)

    @property
    def over(self) -> bool:
        """Has the client gone, or does the server end?"""
        transport = self._request.transport
        return self._stopping.stopped or transport is None or transport.is_closing()


async def ticking(
    source: AsyncIterator[Item], seconds: float, stopping: Stopping, end: float | None = None
) -> AsyncGenerator[Item | None, None]:
    """The items of `source`, None whenever `seconds` pass without one; over at loop time `end`, and when stopped."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = asyncio.ensure_future(stopping.wait())
    following: asyncio.Future[Item] | None = None
    try:
        while not stopping.stopped and (end is None or loop.time() < end):
            if following is None:
                following = asyncio.ensure_future(anext(source))
            left = seconds if end is None else min(seconds, max(0.0, end - loop.time()))
            both: list[asyncio.Future[Any]] = [following, stop]
            await asyncio.wait(both, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                yield None
                continue
            done, following = following, None
            try:
                item = done.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        for pending in (stop, following):
            if pending is not None and not pending.done():
                pending.cancel()
                with suppress(asyncio.CancelledError):
                    await pending

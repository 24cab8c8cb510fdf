"""The stream of intent from a server: snapshot, then changes, for ever, from whichever server answers.

The kernel stays as it is while nobody answers. Each connection begins with a snapshot, which replaces everything; so
nothing is lost or doubled by a reconnect, whatever happened meanwhile. Reconnects wait up to twice as long each time,
with jitter, so that a thousand agents do not fall upon a server that comes back.
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import msgspec
import structlog

from muslin.agent.upstream import Upstream
from muslin.client.refusal import ApiError, Unreachable
from muslin.intent import Delta

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 5.0

log = structlog.get_logger()


class Receiver(Protocol):
    """Takes what the feed brings. Must not wait: what comes faster than it is used is merged, not queued."""

    def receive(self, delta: Delta) -> None: ...

    def connected(self, server: str) -> None: ...

    def disconnected(self, why: str) -> None: ...


async def follow(upstream: Upstream, node: str, receiver: Receiver) -> None:
    """Never returns."""
    delay = _FIRST_DELAY
    while True:
        try:
            async for line in upstream.lines(f"/muslin/v1/hosts/{node}/feed"):
                if line:
                    delta = msgspec.json.decode(line, type=Delta)
                    if delta.snapshot:
                        delay = _FIRST_DELAY
                        receiver.connected(upstream.address)
                    receiver.receive(delta)
        except (Unreachable, ApiError, msgspec.DecodeError, UnicodeDecodeError) as error:
            receiver.disconnected(str(error))
            log.info("feed_lost", server=upstream.address, why=str(error), again_in=round(delay, 2))
        upstream.next()
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(delay * 2, _LONGEST_DELAY)

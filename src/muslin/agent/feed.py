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
_DELTAS = msgspec.json.Decoder(Delta)

log = structlog.get_logger()


class Receiver(Protocol):
    """Takes what the feed brings. Must not wait: what comes faster than it is used is merged, not queued."""

    def receive(self, delta: Delta) -> None: ...

    def connected(self, server: str) -> None: ...

    def disconnected(self, why: str) -> None: ...


class Keeper(Protocol):
    """Keeps whole lines of what the feed brings, for a start without it. `anew`: the first line is a whole."""

    def append(self, lines: bytes, *, anew: bool) -> None: ...


async def follow(upstream: Upstream, node: str, receiver: Receiver, keeper: Keeper) -> None:
    """Never returns. What is received has been kept before: nobody may do what the next start would not know of."""
    delay = _FIRST_DELAY
    while True:
        try:
            async for lines in upstream.pieces(f"/muslin/v1/hosts/{node}/feed"):
                deltas = _DELTAS.decode_lines(lines)
                if deltas:
                    keeper.append(lines, anew=deltas[0].snapshot)
                for delta in deltas:  # no await between: what is kept is what is received
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

"""BIRD kept as the intent says: configured when that changes, started again when it dies, asked how its sessions are.

BIRD is slow beside the kernel (a reconfiguration, a session that comes up), so it has a task of its own; only the last
intent counts, what lay between is skipped. The agent's end is not BIRD's end: it goes on announcing.
"""

from __future__ import annotations

import asyncio

import structlog

from muslin.drivers.bird import Bird, BirdState, Refused
from muslin.errors import Transient
from muslin.intent import BgpSpeaker, Problem
from muslin.render.bird import conf

_LOOK_EVERY = 5.0
_LOOK_WHILE_CHANGING = 1.0
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0

log = structlog.get_logger()


class Speaker:
    """`state` and `problems` are what the last look found."""

    def __init__(self, bird: Bird) -> None:
        self._bird = bird
        self._wanted: BgpSpeaker | None = None
        self._told = False
        self._due = False
        self._bell = asyncio.Event()
        self._delay = _FIRST_DELAY
        self.state = BirdState(running=False)
        self.problems: tuple[Problem, ...] = ()

    @property
    def word(self) -> str:
        """For the report: running, down, or "" when the host speaks no BGP."""
        if self._wanted is None:
            return ""
        return "running" if self.state.running else "down"

    @property
    def settled(self) -> bool:
        """Is every session established?"""
        return all(session.state == "Established" for session in self.state.sessions)

    def want(self, speaker: BgpSpeaker | None) -> None:
        """None: this host speaks no BGP. BIRD is not touched before the first call."""
        if not self._told or speaker != self._wanted:
            self._told, self._wanted, self._due, self._delay = True, speaker, True, _FIRST_DELAY
            self._bell.set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            wait = await self._turn() if self._told else _LOOK_EVERY
            await self._wait(wait)

    async def _turn(self) -> float:
        """Do what is due, look how it is. Returns when to look again."""
        if self._wanted is not None and not self._due and self._bird.pid is None:
            log.warning("bird_gone")
            self._due = True
        try:
            if self._due:
                self._due = False
                await self._apply()
            self.state = await self._bird.read()
        except Transient as error:
            self._due, self.problems = True, (Problem(what=f"BIRD: {error}", mend=f"see {self._bird.log}"),)
            self._delay = min(self._delay * 2, _LONGEST_DELAY)
            return self._delay
        except Refused as error:
            log.error("bird_refuses", why=str(error))
            self.problems = (Problem(what=f"BIRD refuses its configuration: {error}",
                                     mend="mend the BGPPeer, BGPFilter or BGPConfiguration that it comes from"),)
            self.state = await self._bird.read()
        return _LOOK_EVERY if self.settled else _LOOK_WHILE_CHANGING

    async def _apply(self) -> None:
        if self._wanted is None:
            await self._bird.stop()
        elif await self._bird.apply(conf(self._wanted, log=str(self._bird.log))):
            log.info("bird_configured", sessions=len(self._wanted.sessions), originate=len(self._wanted.originate))
        self.problems, self._delay = (), _FIRST_DELAY

    async def _wait(self, seconds: float) -> None:
        """Until something else is wanted, BIRD dies, or so long."""
        waiting: list[asyncio.Task[object]] = [asyncio.create_task(self._bell.wait())]
        if self._wanted is not None and self.state.running:
            waiting.append(asyncio.create_task(self._bird.wait_dead()))
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._bell.clear()

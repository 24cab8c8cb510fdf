"""Workloads come and go in one place: steps of many calls are planned one after the other, and committed as one.

Each step reads and writes a dozen records: its endpoint, its addresses' block and handle. Alone, that is three commits,
and steps of one host at once lose races for its block to each other. So whatever comes while a commit is under way
waits, is then planned on one draft, each step as a part that may fail alone, and all are answered after one
commit. Other writers of the same records are met by the store's compare-and-swap: then all is planned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from muslin.errors import Broken, Conflict, MuslinError, Transient
from muslin.server.address_tries import ATTEMPTS
from muslin.store import Draft, Store

MOST = 128
"""Steps that share a commit: the first does not wait for the last of a thousand."""
BETWEEN = 16

Result = TypeVar("Result")
Step = Callable[[Store], Awaitable[Result]]
"""All that it reads and writes is of the store that it is given; it may be called again, with another."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    step: Step[Any]
    outcome: asyncio.Future[Any]
    """What the step returned, or the error that it raised."""


class Turnover:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def do(self, steps: Iterable[Step[Result]]) -> list[Result | MuslinError]:
        """Of each step what it returns, once all that it wrote is in the store; or its error: then it wrote nothing.

        They are planned in their order. Raises a step's error that is a bug of ours.
        """
        outcomes = await self.outcomes(steps)
        await asyncio.sleep(0)  # hosts are told before whoever asked: it waits for its host
        for outcome in outcomes:
            if isinstance(outcome, Exception) and (isinstance(outcome, Broken) or not isinstance(outcome, MuslinError)):
                raise outcome
        return cast(list[Result | MuslinError], outcomes)

    async def outcomes(self, steps: Iterable[Step[Result]]) -> list[Result | Exception]:
        """The same, for who answers for each step alone: a bug is the outcome of its step."""
        loop = asyncio.get_running_loop()
        asked = [_Waiting(step, loop.create_future()) for step in steps]
        self._waiting += asked
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())
        return [await one.outcome for one in asked]

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            for one, outcome in zip(batch, await self._outcomes(batch), strict=True):
                if not one.outcome.done():  # else whoever asked is gone
                    one.outcome.set_result(outcome)

    async def _outcomes(self, batch: list[_Waiting]) -> list[Any]:
        for _ in range(ATTEMPTS):
            draft, outcomes = Draft(self._store), list[Any]()
            for number, one in enumerate(batch):
                if number % BETWEEN == BETWEEN - 1:
                    await asyncio.sleep(0)  # others of the server
                outcomes.append(await attempt(draft, one.step))
            try:
                await draft.save()
            except Conflict:
                continue
            except Exception as error:  # noqa: BLE001 (theirs, all of them; as below)
                return [error] * len(batch)
            return outcomes
        return [Transient(f"lost {ATTEMPTS} races against other writers, try again in a moment")] * len(batch)


async def attempt(draft: Draft, step: Step[Result]) -> Result | Exception:
    """A step on a draft: what it returns, or its error, and then the draft is as it was."""
    try:
        return await draft.attempt(step)
    except Exception as error:  # noqa: BLE001 (its asker's; the others of the batch must not wait for ever)
        return error

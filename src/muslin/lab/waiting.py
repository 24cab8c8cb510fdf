"""Waiting for what a kernel or a daemon will do in its own time, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from muslin.errors import Transient

PATIENCE = 20.0
"""Seconds that anything in a lab may take before it counts as broken."""
_LOOK_EVERY = 0.02

T = TypeVar("T")


async def wait_for(what: str, condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Until the condition holds. Raises Transient with `what` after a while."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if loop.time() > deadline:
            raise Transient(f"not within {PATIENCE:g} s: {what}")
        await asyncio.sleep(_LOOK_EVERY)


async def together(*jobs: Coroutine[Any, Any, T]) -> list[T]:
    """All at once. The first that fails ends the others, and its error is raised as it is: a person will read it."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job) for job in jobs]
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return [task.result() for task in running]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

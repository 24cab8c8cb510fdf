"""What a piece of work costs: processor time of this process and of the programs that it ran, and time on the clock."""

from __future__ import annotations

import resource
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Cost(NamedTuple):
    """Milliseconds."""

    processor: float
    clock: float


def of(work: Callable[[], object], *, programs_only: bool = False) -> Cost:
    """`programs_only`: without what it costs Python to start them, which is not theirs."""
    meter = Meter()
    work()
    return meter.read(programs_only=programs_only)


async def awaited(work: Awaitable[object]) -> Cost:
    meter = Meter()
    await work
    return meter.read()


class Meter:
    def __init__(self) -> None:
        self._own, self._programs, self._clock = time.process_time(), _programs(), time.perf_counter()

    def read(self, *, programs_only: bool = False) -> Cost:
        own = 0.0 if programs_only else time.process_time() - self._own
        return Cost((own + _programs() - self._programs) * 1e3, (time.perf_counter() - self._clock) * 1e3)


def _programs() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

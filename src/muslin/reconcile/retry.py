"""When to try again what failed: a value, not a sleep."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
"""Drift must be mended within 10 s, so no longer."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed `failures` times, last because of `why`; not before `at`."""

    failures: int
    at: float
    why: str


def after_failure(before: Retry | None, now: float, why: str, longest: float = LONGEST_DELAY) -> Retry:
    """The delay doubles from 0.1 s up to 10 s, or to what is said."""
    failures = (before.failures if before else 0) + 1
    return Retry(failures, now + min(FIRST_DELAY * 2 ** min(failures - 1, 30), longest), why)

"""The next steps towards what is wanted, over several kinds of things that depend on each other.

Kinds are named in the order in which they depend: a route needs its interface, so `link` comes before `route`.

    put:   first kind ... last kind        nothing is made before what it needs
    drop:  last kind ... first kind        nothing is removed before what needs it; after all puts, so that a way
                                           is there until the new way is

The caller does the steps and records each outcome. `Done` makes it so in the ledger; `TryAgain` comes due again after
a delay that doubles; `Refused` never, until something else is wanted or found there. Nothing here waits: `plan(now)`
gives what is due, `next_due` says when to ask again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from muslin.reconcile.ledger import Ledger
from muslin.reconcile.retry import Retry, after_failure

_NEVER = float("inf")

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Step:
    """Put `new` (in place of `old` when there is one), or drop `old` when `new` is None."""

    kind: str
    key: Hashable
    new: object | None
    old: object | None


@dataclass(frozen=True, slots=True)
class Done:
    """It is so now."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not now; it may work in a moment."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work, however often it is tried."""

    why: str


Outcome = Done | TryAgain | Refused


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Not as wanted; `why` is "" while it was not tried yet."""

    step: Step
    why: str
    refused: bool


class Reconciler:
    """Ledgers by kind, and what failed. `kinds` in the order in which they depend on each other."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._ledgers: dict[str, Ledger[Hashable, object]] = {kind: Ledger() for kind in kinds}
        self._retries: dict[tuple[str, Hashable], Retry] = {}

    def want(self, kind: str, key: Hashable, value: object | None) -> None:
        ledger = self._ledgers[kind]
        if ledger.wanted(key) != value:
            self._retries.pop((kind, key), None)
            ledger.want(key, value)

    def want_all(self, kind: str, wanted: Mapping[K, object]) -> None:
        """Exactly these of this kind."""
        ledger, whole = self._ledgers[kind], dict[Hashable, object](wanted.items())
        for failed_kind, key in list(self._retries):
            if failed_kind == kind and ledger.wanted(key) != whole.get(key):
                del self._retries[kind, key]
        ledger.want_all(whole)

    def found_all(self, kind: str, actual: Mapping[K, object]) -> tuple[Hashable, ...]:
        """All of ours of this kind was read. Returns the keys that had been settled and are no more: drift."""
        ledger, whole = self._ledgers[kind], dict[Hashable, object](actual.items())
        for failed_kind, key in list(self._retries):
            if failed_kind == kind and ledger.actual(key) != whole.get(key):
                del self._retries[kind, key]
        return ledger.found_all(whole)

    def wanted(self, kind: str, key: Hashable) -> object | None:
        return self._ledgers[kind].wanted(key)

    def found(self, kind: str, key: Hashable, value: object | None) -> None:
        self._retries.pop((kind, key), None)
        self._ledgers[kind].found(key, value)

    def plan(self, now: float) -> tuple[Step, ...]:
        """All that is due, in a safe order."""
        return (*self._puts(now), *self._drops(now))

    def _puts(self, now: float) -> Iterator[Step]:
        for kind in self._ledgers:
            yield from (step for step in self._due(kind, now) if step.new is not None)

    def _drops(self, now: float) -> Iterator[Step]:
        for kind in reversed(self._ledgers):
            yield from (step for step in self._due(kind, now) if step.new is None)

    def _due(self, kind: str, now: float) -> Iterator[Step]:
        for key in self._ledgers[kind].differing:
            retry = self._retries.get((kind, key))
            if retry is None or retry.at <= now:
                yield self._step(kind, key)

    def _step(self, kind: str, key: Hashable) -> Step:
        ledger = self._ledgers[kind]
        return Step(kind, key, ledger.wanted(key), ledger.actual(key))

    def record(self, step: Step, outcome: Outcome, now: float) -> None:
        """What came of a step that `plan` gave."""
        mark = (step.kind, step.key)
        match outcome:
            case Done():
                self._retries.pop(mark, None)
                self._ledgers[step.kind].found(step.key, step.new)
            case TryAgain(why):
                self._retries[mark] = after_failure(self._retries.get(mark), now, why)
            case Refused(why):
                self._retries[mark] = Retry(1, _NEVER, why)

    def hurry(self, now: float) -> None:
        """Something changed that may help: what failed for a passing reason is due at once, its count stays."""
        for mark, retry in self._retries.items():
            if now < retry.at < _NEVER:
                self._retries[mark] = Retry(retry.failures, now, retry.why)

    def next_due(self, now: float) -> float | None:
        """When `plan` will have something, None when never: all is settled, or refused."""
        times = [
            max(now, retry.at if (retry := self._retries.get((kind, key))) else now)
            for kind, ledger in self._ledgers.items()
            for key in ledger.differing
        ]
        return min((time for time in times if time < _NEVER), default=None)

    def unsettled(self) -> tuple[Unsettled, ...]:
        """Everything that is not as wanted, with the reason where it was tried."""
        return tuple(
            Unsettled(self._step(kind, key), retry.why if retry else "", retry is not None and retry.at == _NEVER)
            for kind, ledger in self._ledgers.items()
            for key in ledger.differing
            for retry in (self._retries.get((kind, key)),)
        )

"""How long a bar is. Linear from zero while the figures lie within a factor of 30; beyond that the small ones would
be invisible, and the scale is by factors of ten, from somewhat below the least. Terminal and picture agree."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

WIDEST = 30.0


@dataclass(frozen=True, slots=True)
class Scale:
    low: float
    high: float
    by_tens: bool

    def part(self, value: float) -> float:
        """From 0 to 1."""
        if self.by_tens:
            low, high = math.log10(self.low), math.log10(self.high)
            at = (math.log10(max(value, self.low)) - low) / (high - low)
        else:
            at = value / self.high
        return min(1.0, max(0.0, at))

    def ticks(self) -> list[float]:
        if self.by_tens:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step(self.high / 4)
        return [step * number for number in range(int(self.high / step + 1e-9) + 1)]


def scale_of(values: Iterable[float]) -> Scale:
    some = [value for value in values if value > 0]
    if not some:
        return Scale(0.0, 1.0, by_tens=False)
    low, high = min(some), max(some)
    if high / low <= WIDEST:
        return Scale(0.0, high, by_tens=False)
    return Scale(_round_below(low * 0.7), high, by_tens=True)


def _round_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (5, 2, 1) if power * step <= value)


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= about * 0.99)

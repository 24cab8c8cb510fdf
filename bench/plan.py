"""How a measurement is to be made. `tiny` is for tests, so that nothing here rots; `long` is for figures to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.progress import Progress

Size = Literal["tiny", "quick", "long"]


@dataclass(frozen=True, slots=True)
class Plan:
    size: Size
    progress: Progress

    def times(self, tiny: int, quick: int, long: int) -> int:
        return {"tiny": tiny, "quick": quick, "long": long}[self.size]

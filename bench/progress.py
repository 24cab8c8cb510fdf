"""How far it is: one bar that stays at the bottom of a terminal, or a line for each measurement elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_BAR = 24


class Progress:
    """Of one measurement after another; `step` before each piece of work."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._what, self._steps, self._done, self._begun = "", 0, 0, 0.0

    def begin(self, what: str, steps: int) -> None:
        self._what, self._steps, self._done, self._begun = what, max(1, steps), 0, time.monotonic()
        if self._live:
            self._draw("")
        else:
            print(f"measuring {what}", file=self._stream, flush=True)

    def step(self, what: str = "") -> None:
        """The next of `steps` begins."""
        if self._live:
            self._draw(what)
        self._done += 1

    def end(self) -> None:
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _draw(self, what: str) -> None:
        full = min(_BAR, self._done * _BAR // self._steps)
        took = time.monotonic() - self._begun
        line = f"{self._what} {'█' * full}{'░' * (_BAR - full)} {took:4.0f} s  {what}"
        self._stream.write(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}")
        self._stream.flush()

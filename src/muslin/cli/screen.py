"""Tables and colour for a terminal; plain text for everything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

GREEN, RED, YELLOW, BOLD, DIM = "32", "31", "33", "1", "2"


def paint(text: str, colour: str) -> str:
    """Coloured on a terminal. NO_COLOR turns it off (no-color.org)."""
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def columns(rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    """Lines with aligned columns, three spaces apart, as kubectl prints them. The last column is not padded."""
    wide = widths or widths_of(rows)
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=False)).rstrip() for row in rows]


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=False)]


def cell(value: object) -> str:
    """One value of a table as kubectl prints it."""
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def note(text: str) -> None:
    """For the person, not for the pipe."""
    print(text, file=sys.stderr)

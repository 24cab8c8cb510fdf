"""Prints rows as a table, and keeps them as JSON for the results page."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """One table on standard output; figures to the right."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    print(f"\n{title}")
    print("  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)))
    for line in cells:
        print("  ".join(
            cell.rjust(width) if _figure(cell) else cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ))
    sys.stdout.flush()


def keep(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]], directory: Path) -> None:
    """Writes `<directory>/<name>.json`: machine, date, columns, rows."""
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "name": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }
    (directory / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def _text(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) and abs(cell) < 1000 else f"{cell:.0f}" if isinstance(
        cell, float) else str(cell)


def _figure(cell: str) -> bool:
    return cell[:1].isdigit()

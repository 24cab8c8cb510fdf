"""`./dev bench [NAME ...] [--keep DIR]`: runs the measurements named, or all, and prints tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import calc, cni, cold, command, control, dataplane, explain, flows, programming, table

MEASUREMENTS = {"calc": calc, "cni": cni, "cold": cold, "command": command, "control": control, "dataplane": dataplane,
                "explain": explain, "flows": flows, "programming": programming}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure; print tables. Ratios are of one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MEASUREMENTS)}; all when none")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="also write DIR/NAME.json")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown measurement {unknown[0]!r}: choose from {', '.join(MEASUREMENTS)}")
    for name in options.names or MEASUREMENTS:
        rows = MEASUREMENTS[name].main()
        if options.keep:
            table.keep(name, MEASUREMENTS[name].COLUMNS, rows, options.keep)


if __name__ == "__main__":
    main()

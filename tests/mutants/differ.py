"""Does the proof notice? A few worlds on some backends, and a look at what changes have left in the kernel."""

from __future__ import annotations

import argparse
import sys

from prove import run
from prove.run import Progress

FLIGHTS = 150


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--drift", action="store_true", help="compare with a table from scratch after every world")
    parser.add_argument("--backend", action="append", default=[])
    options = parser.parse_args()

    def goes_on(progress: Progress) -> bool:
        return progress.worlds < options.worlds

    with run.site_with(options.backend) as site:
        every = 1 if options.drift else run.DRIFT_EVERY
        for found in run.proof(site, options.seed, FLIGHTS, goes_on, drift_every=every):
            print(f"world {found.world}: {found.said} of {found.flight}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

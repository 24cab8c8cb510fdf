"""`./dev prove`: the proof for as long as you like, with other dice each time.

Exit code 0: all opinions agreed. 1: they did not, and each disagreement lies in a file. 2: it could not run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from muslin.errors import MuslinError
from prove import run, scenario
from prove.kernels import BACKENDS
from prove.run import Progress

FLIGHTS = 250
MOST = 5
"""Disagreements after which a run ends: one mistake is found over and over."""


def main() -> int:
    options = _options()
    if os.geteuid() != 0:
        print("prove needs root: it makes network namespaces", file=sys.stderr)
        return 2
    try:
        return _scenario(options) if options.scenario else _prove(options)
    except KeyboardInterrupt:
        print("\nended by hand", file=sys.stderr)
        return 130
    except (run.Drift, MuslinError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--seed", type=int, help="the dice; default: other ones each time, and it says which")
    parser.add_argument("--backend", action="append", choices=sorted(BACKENDS),
                        help="only this kernel interface; may be given again (default: all)")
    parser.add_argument("--into", type=Path, default=scenario.DIRECTORY,
                        help="directory for disagreements (default tests/scenarios: from then on they are tests)")
    parser.add_argument("--scenario", type=Path, help="run this one file, and say what everybody thinks of it")
    return parser.parse_args()


def _prove(options: argparse.Namespace) -> int:
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    backends = options.backend or list(BACKENDS)
    print(f"seed {seed}; opinions: {', '.join(backends)}, explain, oracle", flush=True)
    end = time.monotonic() + options.minutes * 60
    last = Progress(seed)

    def goes_on(progress: Progress) -> bool:
        nonlocal last
        last = progress
        _show(progress)
        return time.monotonic() < end and progress.disagreements < MOST

    with run.site_with(backends) as site:
        for number, found in enumerate(run.proof(site, seed, FLIGHTS, goes_on)):
            small = run.shrunk(site, found, seed)
            file = run.kept(small, options.into, f"found-{seed}-{number}")
            site.becomes(found.objects)
            said = ", ".join(f"{name} {place or scenario.DENIED}" for name, place in small.said.items())
            print(f"\nworld {found.world}: {said}\n  {small.flights[0][0]}\n  kept in {file}\n"
                  f"  again: ./dev prove --scenario {file}", flush=True)
    print(f"\n{last.worlds} worlds, {last.packets} packets to each opinion, {last.disagreements} disagreements; "
          f"again: ./dev prove --seed {seed}")
    return 1 if last.disagreements else 0


def _show(progress: Progress) -> None:
    line = (f"seed {progress.seed}  worlds {progress.worlds}  packets {progress.packets}  "
            f"disagreements {progress.disagreements}")
    if sys.stdout.isatty():
        print(f"\r{line}", end="", flush=True)
    elif progress.worlds % 100 == 0:
        print(line, flush=True)


def _scenario(options: argparse.Namespace) -> int:
    apart = False
    with run.site_with(options.backend or list(BACKENDS)) as site:
        for flight, comes_out, said in run.verdicts(site, scenario.read(options.scenario)):
            print(f"{flight}\n  must come out: {comes_out or scenario.DENIED}")
            for name, place in said.items():
                apart |= place != comes_out
                print(f"  {name:10} {place or scenario.DENIED}{'' if place == comes_out else '   <- differs'}")
            print(*(f"    {line}" for line in site.why(flight)), sep="\n")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())

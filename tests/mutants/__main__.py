"""`./dev mutants [WORD ...]`: puts in each mistake whose name holds a word (or all), and tells which were noticed."""

from __future__ import annotations

import sys
import time

from mutants.listed import MUTANTS
from mutants.runner import fate, sound


def main() -> int:
    words = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    if stale := [why for mutant in chosen if (why := sound(mutant))]:
        print(*stale, sep="\n", file=sys.stderr)
        return 2
    alive, sound_killers = 0, set()
    for mutant in chosen:
        if mutant.killers not in sound_killers and (found := fate(None, mutant.killers)).killed:
            print(f"without any mutant this fails already: {mutant.killers}\n{found.told}", file=sys.stderr)
            return 2
        sound_killers.add(mutant.killers)
        began = time.monotonic()
        found = fate(mutant, mutant.killers)
        alive += not found.killed
        print(f"{'killed' if found.killed else 'LIVES '}  {time.monotonic() - began:5.1f} s  {mutant.proves:12} "
              f"{mutant.name}", flush=True)
    print(f"{len(chosen)} mutants, {alive} live")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())

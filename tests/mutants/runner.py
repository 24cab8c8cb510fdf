"""Runs one mutant: in a copy of the sources that comes before the others on the path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "src" / "muslin"


class Mutant(NamedTuple):
    """`old` occurs once in `file`, and `new` takes its place. `killers`: names of tests (pytest's), or words for
    `differ` when they begin with a dash; empty: `differ` without any kernel."""

    name: str
    proves: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...] = ()


class Fate(NamedTuple):
    killed: bool
    told: str
    """The last lines of what was said."""


def sound(mutant: Mutant) -> str:
    """"" if the mutant can still be made, else why not."""
    found = (SOURCES / mutant.file).read_text().count(mutant.old) if (SOURCES / mutant.file).exists() else 0
    return "" if found == 1 else f"{mutant.name}: {mutant.old!r} is {found} times in {mutant.file}, not once"


def fate(mutant: Mutant | None, killers: tuple[str, ...], seconds: float = 300.0) -> Fate:
    """Of the mutant, or with None: of the sources as they are, which nothing must kill."""
    with tempfile.TemporaryDirectory(prefix="mut-") as directory:
        copy = Path(directory, "muslin")
        shutil.copytree(SOURCES, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            file = copy / mutant.file
            file.write_text(file.read_text().replace(mutant.old, mutant.new))
        path = os.pathsep.join((directory, str(ROOT / "tests")))
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(_command(killers), cwd=ROOT, env=environment, capture_output=True, text=True,
                              check=False, timeout=seconds)
    words = (done.stdout + done.stderr).strip().splitlines()
    return Fate(done.returncode != 0, "\n".join(words[-3:]))


def _command(killers: tuple[str, ...]) -> tuple[str, ...]:
    if not killers or killers[0].startswith("-"):
        return sys.executable, "-m", "mutants.differ", *killers
    return sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *killers

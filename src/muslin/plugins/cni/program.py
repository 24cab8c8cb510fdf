"""The executable as it is installed: one file, both halves, for the Python of this machine.

Runtimes copy and call one file. Its first half is compiled for each container, the second only when it is needed.
"""

from __future__ import annotations

import os
import sys
from importlib.resources import files

SYSTEM_PYTHON = "/usr/bin/python3"
_PLACE = 'CAREFUL = ""'


def interpreter() -> str:
    """The machine's own Python: it outlives the environment in which we were installed, and starts faster."""
    return SYSTEM_PYTHON if os.access(SYSTEM_PYTHON, os.X_OK) else os.path.realpath(sys.executable)


def text(python: str = "") -> str:
    ours = files("muslin.plugins.cni")
    first, careful = (ours.joinpath(f"{half}.py").read_text() for half in ("executable", "careful"))
    before, place, after = first.partition(_PLACE)
    assert place, "the first half has no place for the second"
    return f"#!{python or interpreter()} -IS\n{before}CAREFUL = r'''{careful}'''{after}"

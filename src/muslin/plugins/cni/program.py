"""The executable as it is installed: one file, both halves, for the Python of this machine.

Runtimes copy and call one file. Python compiles a program anew at each start, which costs 1 ms of a container's ADD (a
fifth of Python's own start); so the first half is compiled when it is written. Another Python than that, after an
upgrade of the machine, takes the text beside it. The second half is compiled when it is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files

SYSTEM_PYTHON = "/usr/bin/python3"
NAME = "muslin"
_COMPILE = f"""
import marshal, sys
from _frozen_importlib_external import MAGIC_NUMBER
code = compile(sys.stdin.buffer.read(), {NAME!r}, "exec")
print((MAGIC_NUMBER, marshal.dumps(code)))
"""
_WHOLE = """\
#!{python} -IS
# The CNI plugin `muslin`, as `muslin cni install` writes it. FIRST is the program, CODE the same, compiled by the
# Python whose MAGIC_NUMBER stands before it; CAREFUL is compiled when it is needed.
import marshal
from _frozen_importlib_external import MAGIC_NUMBER
CAREFUL = r'''{careful}'''
FIRST = r'''{first}'''
MADE_BY, CODE = {compiled}
exec(marshal.loads(CODE) if MAGIC_NUMBER == MADE_BY else compile(FIRST, {name!r}, "exec"))
"""


def interpreter() -> str:
    """The machine's own Python: it outlives the environment in which we were installed, and starts faster."""
    return SYSTEM_PYTHON if os.access(SYSTEM_PYTHON, os.X_OK) else os.path.realpath(sys.executable)


def text(python: str = "") -> str:
    """Raises OSError: that Python cannot be run."""
    python = python or interpreter()
    ours = files("muslin.plugins.cni")
    first, careful = (ours.joinpath(f"{half}.py").read_text() for half in ("executable", "careful"))
    compiled = subprocess.run((python, "-IS", "-c", _COMPILE), input=first.encode(), capture_output=True, check=False)
    if compiled.returncode:
        raise OSError(compiled.returncode, compiled.stderr.decode(errors="replace").strip(), python)
    return _WHOLE.format(python=python, first=first, careful=careful, name=NAME,
                         compiled=compiled.stdout.decode().strip())

"""Daemons are imported lean: structlog takes rich along wherever it is installed, for tracebacks in colour.

That is 66 modules, 3 MB and 30 ms of processor in each daemon, of a package that only the lab's screens use. It can be
imported afterwards as ever. Processes that have nothing but the standard library (`plugins.docker.keeper`) do without
both.
"""

from __future__ import annotations

import sys
from contextlib import suppress

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        with suppress(ModuleNotFoundError):
            import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]

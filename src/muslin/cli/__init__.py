"""The command `muslin`: kubectl and calicoctl habits. Words in, screens out; every decision is made elsewhere.

`commands` is the table of commands; each command is a module with `parser()` and `run(words)`, imported only when it is
called, because `muslin get` must answer in 150 ms. Nothing that `get` imports may import aiohttp, msgspec or rich.
"""

from muslin.cli.main import main

__all__ = ["main"]

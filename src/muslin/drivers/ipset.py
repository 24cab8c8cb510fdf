"""The ipsets of this network namespace: made, filled, read back, destroyed.

Ours are those whose names `render.iptables.names` makes. Every member goes by `ipset restore`, a line each, so that a
hundred thousand cost 0.2 s and one costs 2 ms. A set that a rule still looks at cannot be destroyed, and the kernel
frees the rules of iptables-nft a little after their transaction: what refuses to go is tried again with the next
change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from muslin.drivers.program import Program, RefusedLine
from muslin.errors import Broken, Transient
from muslin.render.iptables.listing import parse_sets

_LINE = re.compile(r"Error in line (\d+): (.*)")


class Ipset:
    """One caller at a time. `netns` is for tests and labs: the name of a namespace, instead of our own."""

    def __init__(self, netns: str | None = None) -> None:
        self._program = Program(netns)
        self._lingering: set[str] = set()

    async def read(self) -> dict[str, frozenset[str]]:
        """Our sets and their members."""
        code, output, errors = await self._program.run("ipset", "save")
        if code:
            raise Transient(f"ipset could not list the sets: {errors.strip()}")
        return parse_sets(output)

    async def write(self, lines: Iterable[str]) -> None:
        """`create`, `add` and `del` lines, in order; what is there already, or is gone already, is fine. Stops at the
        first that is refused."""
        script = "".join(f"{line}\n" for line in lines)
        if not script:
            return
        code, _, errors = await self._program.run("ipset", "-exist", "restore", given=script)
        if code:
            raise _refusal(script, errors)

    async def destroy(self, names: Iterable[str]) -> None:
        """Those that nobody looks at any more; the others the next time."""
        waiting = sorted(self._lingering.union(names))
        self._lingering.clear()
        while waiting:
            script = "".join(f"destroy {name}\n" for name in waiting)
            code, _, errors = await self._program.run("ipset", "restore", given=script)
            if not code:
                return
            found = _LINE.search(errors)
            if not found:
                raise Transient(f"ipset could not destroy sets: {errors.strip()}")
            at = int(found[1]) - 1
            if "does not exist" not in errors:
                self._lingering.add(waiting[at])
            waiting = waiting[at + 1 :]

    async def remove(self) -> None:
        """All of ours. Raises Transient while somebody still looks at one: the kernel frees rules a little later."""
        await self.destroy(await self.read())
        if self._lingering:
            raise Transient(f"ipset: {len(self._lingering)} sets are still looked at")

    def keep(self, names: Iterable[str]) -> None:
        """These are wanted again."""
        self._lingering.difference_update(names)


def _refusal(script: str, errors: str) -> Transient | Broken:
    found = _LINE.search(errors)
    if not found:
        return Transient(f"ipset: {errors.strip()}")
    lines = script.splitlines()
    number = int(found[1])
    where = lines[number - 1] if 0 < number <= len(lines) else ""
    if "does not exist" in found[2] or "Out of memory" in found[2] or "Kernel error" in found[2]:
        return Transient(f"ipset: {found[2]}: {where}")
    return RefusedLine(f"ipset: {found[2]}: {where}", where)

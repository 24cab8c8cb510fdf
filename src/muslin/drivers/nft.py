"""The nftables table of this host: written, read back, and watched.

The table is `inet muslin` of the network namespace that the process runs in. That name is how a restarted agent
knows it: whatever is in it is ours, nothing outside it ever is. A change goes to the kernel in few transactions
(`render.nft.steps`): one turns what packets see, before it comes what nothing leads to yet, after it goes
what nothing leads to any more. A refusal changes nothing. Conntrack is not touched, established flows go on.

It is written by our own netlink batch: 0.1 ms where the program `nft` takes 5, because that one starts, and reads what
is there, for every change. With `MUSLIN_NFT=program` the program writes and reads, from the same commands, should a
kernel take its words and not ours. Errors are in its words in either case.

The kernel numbers the generations of a namespace's ruleset, one for each transaction of anybody. Asking for the number
costs microseconds, reading a table costs tenths of a second on a large host: so `generation` is looked at often, and
`read` only when somebody else has moved it.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from muslin.drivers import nf_tables
from muslin.drivers.netlink import Netlink, Refusal
from muslin.errors import Broken, Transient
from muslin.render import nft
from muslin.render.nft import FAMILY, TABLE, Changes, Flow
from muslin.render.nft.listing import Listing, counters, parse
from muslin.render.nft.table import Command
from muslin.render.nft.wire import Batch, emptied_table, encoded, removed_table

_ABSENT = "No such file or directory"
_SHORTAGES = (
    "Device or resource busy",
    "Resource temporarily unavailable",
    "Interrupted system call",
    "Cannot allocate memory",
    "No buffer space available",
    "Operation not permitted",
)
_PLACE = re.compile(r"^[^:\n]*:(\d+):\d+-\d+: Error: (.*)$", re.MULTILINE)
_SHORT = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.ENOBUFS, errno.EPERM})
_CHANGED = frozenset({errno.ENOENT, errno.EEXIST})
_LONG = 1 << 18
"""Bytes of a batch that others need not wait for: the kernel takes some 40 MB a second."""


Read = TypeVar("Read")
NOTHING_CUT: Mapping[Flow, int] = MappingProxyType({})


class Drifted(Transient):
    """The kernel's table is not the one that the change was made for: apply the whole table."""


class Nft:
    """One caller at a time. `netns` is for tests and labs: the name of a namespace, instead of our own. `program`:
    the program `nft` writes; None leaves it to the environment."""

    def __init__(self, netns: str | None = None, *, program: bool | None = None) -> None:
        self._prefix = ("ip", "netns", "exec", netns) if netns else ()
        self._netns = netns
        self._program = os.environ.get("MUSLIN_NFT") == "program" if program is None else program
        self._asking: Netlink | None = None
        self._committing: nf_tables.Committing | None = None
        self._reading: Netlink | None = None
        self._lock = threading.Lock()

    async def apply(self, changes: Changes, cut: Mapping[Flow, int] = NOTHING_CUT) -> int:
        """All of it or nothing; the number of transactions. Raises Drifted (it may be in force, but not as it is to be
        left, or what is of no use any more could not be removed), Transient (nothing changed) or Broken (our words are
        not taken).

        `cut`: flows with seconds, see below; a table that is made anew knows none.
        """
        if not changes:
            return 0
        if changes.fresh and not self._program and not await asyncio.to_thread(self._read, nf_tables.is_made):
            changes = nft.onto_nothing(changes)
        steps, prepared = nft.steps(changes), list[Changes]()
        turn, *following = (tuple(nft.commands(each)) for each in (steps.turn, *steps.following))
        turn = (*turn, *_cut_anew(cut))
        try:
            for part in nft.parts(steps.prepare):
                await self._write(tuple(nft.commands(part)), fresh=changes.first)
                prepared.append(part)
                await asyncio.sleep(0)  # others need not wait for all of them
            await self._write(turn, fresh=changes.fresh or changes.first)
        except (Transient, Broken):
            await self._follow(tuple(nft.commands(nft.taken_back(prepared))))
            raise
        for each in following:
            await self._follow(each)
        return len(prepared) + sum(map(bool, (turn, *following)))

    async def cut(self, flows: Iterable[Flow], seconds: int) -> int:
        """Packets of these flows are dropped that conntrack does not know any more, whichever end sends them, for so
        many seconds from now; see `render.nft.cutting`. The number of transactions: none for flows without ports.
        Raises Drifted (there is no such table) or Transient."""
        return await self._write(tuple(nft.cut(flows, seconds)), fresh=False)

    async def uncut(self, flows: Iterable[Flow]) -> int:
        """They may go on. Those that were not cut are fine. The number of transactions."""
        return await self._write(tuple(nft.cut(flows)), fresh=False)

    async def read(self) -> Listing | None:
        """The table as the kernel has it, or None where there is none. Costs tenths of a second on a large host."""
        if not self._program:
            return await asyncio.to_thread(self._read, nf_tables.read)
        code, output, errors = await self._run("-n", "-j", "list", "table", FAMILY, TABLE)
        if not code:
            return parse(output)
        if _ABSENT in errors:
            return None
        raise Transient(f"nft could not list the table: {errors.strip()}")

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment -> (packets, bytes) of our rules, as far as they count."""
        if not self._program:
            return await asyncio.to_thread(self._read, nf_tables.counters)
        code, output, errors = await self._run("-n", "-j", "list", "table", FAMILY, TABLE)
        if code:
            raise Transient(f"nft could not list the table: {errors.strip()}")
        return counters(output)

    async def remove(self) -> None:
        """Our table and all that is in it. Absent is fine, also all of nf_tables.

        First the rules, then the rest: to a packet under way in the rules, sets that go are empty, and it is dropped.
        """
        if not nf_tables.is_there(self._netns):
            return
        for batch in (emptied_table(), removed_table()):
            for refusal in await self._commit(batch):
                if refusal.errno != errno.ENOENT:
                    raise Transient(f"nftables: our table cannot be removed: {refusal}")

    def generation(self) -> int:
        """The number of the last transaction on the ruleset, ours or anybody's. Microseconds."""
        self._asking = self._asking or nf_tables.asking(self._netns)
        return nf_tables.generation(self._asking)

    def left_at(self) -> int:
        """The generation at which our last transaction ended, as far as it was told; else the present one."""
        told = self._committing.left_at if self._committing and not self._program else None
        return self.generation() if told is None else told

    def close(self) -> None:
        """What it holds open. It opens again what it needs."""
        for held in (self._asking, self._committing, self._reading):
            if held:
                held.close()
        self._asking = self._committing = self._reading = None

    async def _follow(self, commands: Sequence[Command]) -> None:
        """What comes behind the turn: what nothing leads to changes or goes. Raises Drifted: somebody leads to it, or
        it lies there until the next whole."""
        try:
            await self._write(commands, fresh=False)
        except (Transient, Broken) as error:
            raise Drifted(f"what is not in use cannot be changed or removed: {error}") from error

    async def _write(self, commands: Sequence[Command], *, fresh: bool) -> int:
        """The number of transactions."""
        if self._program:
            script = nft.script(commands)
            if not script:
                return 0
            code, _, errors = await self._run("-f", "-", given=script)
            if code:
                raise _refused_by_program(script, errors, fresh=fresh)
            return 1
        if not commands:
            return 0
        batch = _encoded(commands)
        refused = await self._commit(batch)
        if refused:
            raise _refused_by_kernel(batch, refused[0], fresh=fresh)
        return 1

    async def _commit(self, batch: Batch) -> list[Refusal]:
        self._committing = self._committing or nf_tables.Committing(self._netns)
        if len(batch.data) > _LONG:
            return await asyncio.to_thread(self._committing.commit, batch)
        return self._committing.commit(batch)

    def _read(self, what: Callable[[Netlink], Read]) -> Read:
        """By a socket of its own: others may ask for the generation meanwhile."""
        with self._lock:
            self._reading = self._reading or nf_tables.asking(self._netns)
            return what(self._reading)

    async def _run(self, *words: str, given: str | None = None) -> tuple[int, bytes, str]:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._prefix, "nft", *words,
                stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
            )
        except FileNotFoundError as error:
            raise Transient(f"{error.filename} is not installed: apt install nftables iproute2") from None
        output, errors = await process.communicate(given.encode() if given is not None else None)
        return process.returncode or 0, output, errors.decode(errors="replace")


def _encoded(commands: Sequence[Command]) -> Batch:
    """What is made here forms no cycles: the collector would walk all that the agent holds for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return encoded(commands)
    finally:
        if was_on:
            gc.enable()


def _cut_anew(cut: Mapping[Flow, int]) -> tuple[Command, ...]:
    by_seconds: dict[int, list[Flow]] = {}
    for flow, seconds in cut.items():
        by_seconds.setdefault(seconds, []).append(flow)
    return tuple(command for seconds, flows in by_seconds.items() for command in nft.cut(flows, seconds))


def _environment() -> dict[str, str]:
    """Errors in the words that we look for, and nft found where Debian puts it, also without a root's PATH."""
    return {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def _refused_by_kernel(batch: Batch, refusal: Refusal, *, fresh: bool) -> Transient | Broken:
    """Whose fault? As below."""
    place = batch.place(refusal.position, refusal.offset)
    told = f"nf_tables: {refusal}{', ' if place else ''}{place}"
    if refusal.errno in _SHORT:
        return Transient(told)
    if not fresh and refusal.errno in _CHANGED:
        return Drifted(told)
    return Broken(told)


def _refused_by_program(script: str, errors: str, *, fresh: bool) -> Transient | Broken:
    """Whose fault? A shortage passes, and a program that failed without naming a line may do better next time; an
    object that is not as we left it means drift; the rest is our own words."""
    found = _PLACE.search(errors)
    lines = script.splitlines()
    what = found[2] if found else errors.strip()
    number = int(found[1]) if found else 0
    where = f", line {number}: {lines[number - 1][:300]}" if 0 < number <= len(lines) else ""
    if any(shortage in what for shortage in _SHORTAGES):
        return Transient(f"nft: {what}{where}")
    if not fresh and any(sign in errors for sign in (_ABSENT, "File exists", "does not exist", "overlaps")):
        return Drifted(f"nft: {what}{where}")
    if found is None:
        return Transient(f"nft failed: {what or 'it said nothing'}")
    return Broken(f"nft refuses our rules: {what}{where}")

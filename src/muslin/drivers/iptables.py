"""The rules of one flavour of iptables, with their ipsets: written, read back, and removed.

Ours are the chains that begin with `mus-`, the sets that `render.iptables.names` names, and the jumps from the built-in
chains to `mus-<BUILTIN>`. Nothing else is ever touched. There are two kernels under one name: `legacy` replaces a
whole table in one step, under a lock that we wait for; `nft` speaks to nf_tables, and its tables show in
`nft list ruleset` as well. Both run side by side, and a packet must pass both. They share the ipsets.

    change = sets and members that come -> chains, a table in one step each -> members and sets that go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from muslin.drivers.ipset import Ipset
from muslin.drivers.program import Program, RefusedLine
from muslin.errors import Broken, Transient
from muslin.render.iptables.cutting import cut_lines, uncut_lines
from muslin.render.iptables.listing import Listing, jump_lines, parse_counters, parse_tables
from muslin.render.iptables.names import CHAIN, TABLES, base
from muslin.render.iptables.probes import PROBE, PROBED_SET, Sample
from muslin.render.iptables.ruleset import ChainKey, Changes
from muslin.render.iptables.text import gone_lines, set_lines, table_text, tables_of
from muslin.render.iptables.words import Chain, Table
from muslin.render.nft import Flow

_WAIT = "20"
"""Seconds that we wait for the lock of iptables."""
_LINE = re.compile(r"(?:line:? |at line: )(\d+)")
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_HAS_IPV6 = Path("/proc/net/if_inet6")


class Flavour(StrEnum):
    LEGACY = "legacy"
    NFT = "nft"


class Iptables:
    """One caller at a time. `netns` is for tests and labs: the name of a namespace, instead of our own. `append`: our
    jumps come last in the built-in chains, not first."""

    def __init__(self, flavour: Flavour, netns: str | None = None, *, append: bool = False) -> None:
        self.flavour = flavour
        self.append = append
        self.sets = Ipset(netns)
        self._program = Program(netns)
        self._families = (4, 6) if _HAS_IPV6.exists() else (4,)
        self._bases: set[ChainKey] = set()
        """Our base chains that have their jump."""

    async def apply(self, changes: Changes) -> None:
        """Raises Transient or Broken; then part of the change may be in force, and the whole must be written."""
        if not changes:
            return
        if changes.fresh:
            await self._replace(changes)
            return
        self.sets.keep(declared.name for declared in changes.new_sets)
        await self.sets.write(set_lines(changes))
        for family in self._families:
            texts = [
                table_text(changes.chains, family, table, self._new_jumps(changes.chains, family, table))
                for table in tables_of(changes.chains, family)
            ]
            await self._restore(family, texts)
        self._note_bases(changes.chains)
        await self.sets.write(gone_lines(changes))
        await self.sets.destroy(changes.gone_sets)

    async def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        """Packets of these flows are dropped that conntrack does not know any more, whichever end sends them, for so
        many seconds from now; see `render.iptables.cutting`. Raises Transient or Broken."""
        await self.sets.write(cut_lines(flows, seconds))

    async def uncut(self, flows: Iterable[Flow]) -> None:
        """They may go on. Those that were not cut are fine."""
        await self.sets.write(uncut_lines(flows))

    async def read(self) -> Listing:
        """What of ours there is, with the built-in chains that lead to it."""
        found = await self._read_tables()
        return Listing(found.chains, found.builtins, await self.sets.read())

    async def counters(self) -> dict[str, tuple[int, int]]:
        """Comment -> (packets, bytes) of our rules. Raises Transient."""
        found: dict[str, tuple[int, int]] = {}
        for family in self._families:
            code, output, errors = await self._program.run(f"{_PROGRAMS[family]}-{self.flavour}-save", "-c")
            if code:
                raise Transient(f"{_PROGRAMS[family]}-{self.flavour} could not list the rules: {errors.strip()}")
            for comment, (packets, size) in parse_counters(output).items():
                before = found.get(comment, (0, 0))
                found[comment] = before[0] + packets, before[1] + size
        return found

    async def remove(self, *, sets: bool = True) -> None:
        """Everything of ours in this flavour. `sets`: those too, which the other flavour may be looking at."""
        found = await self._read_tables()
        for family in self._families:
            await self._restore(family, self._whole_tables(dict.fromkeys(found.chains), found, family))
        self._bases.clear()
        if sets:
            await self.sets.remove()

    async def _replace(self, changes: Changes) -> None:
        """From whatever is there to the whole."""
        found = await self.read()
        wanted = {declared.name: declared for declared in changes.new_sets}
        self.sets.keep(wanted)
        missing = Changes(
            new_sets=tuple(one for name, one in wanted.items() if name not in found.sets),
            added={name: content - found.sets.get(name, frozenset()) for name, content in changes.added.items()},
        )
        await self.sets.write(set_lines(missing))
        chains: dict[ChainKey, Chain | None] = {**dict.fromkeys(found.chains), **changes.chains}
        for family in self._families:
            await self._restore(family, self._whole_tables(chains, found, family))
        self._bases.clear()
        self._note_bases(chains)
        strange = {
            name: found.sets[name] - changes.added.get(name, frozenset())
            for name, one in wanted.items() if name in found.sets and not one.timeout
        }
        await self.sets.write(gone_lines(Changes(removed=strange)))
        await self.sets.destroy(found.sets.keys() - wanted.keys())

    def _whole_tables(self, chains: Mapping[ChainKey, Chain | None], found: Listing, family: int) -> list[str]:
        """Built-in chains that iptables does not list yet have nothing in them."""
        builtins = dict(found.builtins)
        for key, chain in chains.items():
            if chain is not None and key.family == family and _is_base(key):
                builtins.setdefault(ChainKey(family, key.table, key.name.removeprefix(CHAIN)), ())
        found = Listing(found.chains, builtins, found.sets)
        jumps = {table: jump_lines(chains, found, family, table, append=self.append) for table in TABLES}
        touched = tables_of(chains, family)
        more = (table for table in TABLES if jumps[table] and table not in touched)
        return [table_text(chains, family, table, jumps[table]) for table in (*touched, *more)]

    def _new_jumps(self, chains: Mapping[ChainKey, Chain | None], family: int, table: Table) -> list[str]:
        lines: list[str] = []
        for key, chain in sorted(chains.items()):
            if (key.family, key.table) != (family, table) or not _is_base(key):
                continue
            builtin = key.name.removeprefix(CHAIN)
            if chain is None and key in self._bases:
                lines.append(f"-D {builtin} -j {base(builtin)}")
            elif chain is not None and key not in self._bases:
                place = f"-A {builtin}" if self.append else f"-I {builtin} 1"
                lines.append(f"{place} -j {base(builtin)}")
        return lines

    def _note_bases(self, chains: Mapping[ChainKey, Chain | None]) -> None:
        for key, chain in chains.items():
            if _is_base(key):
                (self._bases.add if chain is not None else self._bases.discard)(key)

    async def _read_tables(self) -> Listing:
        chains: dict[ChainKey, tuple[tuple[str, str], ...]] = {}
        builtins: dict[ChainKey, tuple[str, ...]] = {}
        for family in self._families:
            code, output, errors = await self._program.run(f"{_PROGRAMS[family]}-{self.flavour}-save")
            if code:
                raise Transient(f"{_PROGRAMS[family]}-{self.flavour} could not list the rules: {errors.strip()}")
            found = parse_tables(output, family)
            chains |= found.chains
            builtins |= found.builtins
        return Listing(chains, builtins)

    async def _restore(self, family: int, texts: Iterable[str]) -> None:
        """Each text is one table, and goes in one step."""
        script = "".join(texts)
        if not script:
            return
        program = f"{_PROGRAMS[family]}-{self.flavour}-restore"
        code, _, errors = await self._program.run(program, "--noflush", "--wait", _WAIT, given=script)
        if code:
            raise _refusal(program, script, errors, code)

    async def lacking(self, samples: Iterable[Sample]) -> frozenset[str]:
        """Of which of these this kernel's iptables understands the rule not. Asked by a chain that nothing leads to."""
        wanted = tuple(samples)
        await self.sets.write([PROBED_SET])
        try:
            if await self._takes(wanted):
                return frozenset()
            return frozenset([one.extension for one in wanted if not await self._takes((one,))])
        finally:
            await self.sets.destroy([PROBED_SET.split()[1]])

    async def _takes(self, samples: tuple[Sample, ...]) -> bool:
        made, gone = [], []
        for table in sorted({one.table for one in samples}):
            rules = "".join(f"-A {PROBE} {one.rule}\n" for one in samples if one.table is table)
            made.append(f"*{table}\n:{PROBE} - [0:0]\n{rules}COMMIT\n")
            gone.append(f"*{table}\n:{PROBE} - [0:0]\n-X {PROBE}\nCOMMIT\n")
        try:
            await self._restore(4, made)
        except Broken:
            return False
        finally:
            await self._restore(4, gone)
        return True


def _is_base(key: ChainKey) -> bool:
    return key.name.removeprefix(CHAIN).isupper()


def _refusal(program: str, script: str, errors: str, code: int) -> Transient | Broken:
    """Exit code 4 is a lock or a shortage, 2 are words that it does not know, 1 is the kernel's refusal."""
    found = _LINE.search(errors)
    lines = script.splitlines()
    number = int(found[1]) if found else 0
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    said = " ".join(errors.split("\nTry `", maxsplit=1)[0].split())
    message = f"{program}: {said}: {line[:300]}" if line else f"{program}: {said}"
    return Transient(message) if code == 4 else RefusedLine(message, line)

"""What the kernel holds of ours, against what it should hold.

`iptables-save` prints rules in words of its own, each version in others, so of a rule we compare what lies beside it
and where it leads: its comment (policy, direction, rule) and its target. A rule that somebody deleted, added, moved or
replaced by hand shows. Sets are compared element by element. In the built-in chains of a table only our jump counts:
it must be there once, and first (or last, where the settings want to append).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

import msgspec

from muslin.net import PROTOCOL_NUMBERS, parse_cidr
from muslin.render.iptables import names
from muslin.render.iptables.members import element
from muslin.render.iptables.ruleset import ChainKey, Ruleset
from muslin.render.iptables.text import rule_text
from muslin.render.iptables.words import Rule, Table

_COUNTED = re.compile(r"\[(\d+):(\d+)\] (-A .*)")
Line = tuple[str, str]
"""A rule's comment, and its target: `-j DROP`, `-g mus-allow`."""

_NUMBERS = {name.lower(): number for name, number in PROTOCOL_NUMBERS.items()} | {"ipv6-icmp": 58}


class Listing(msgspec.Struct, frozen=True):
    """`chains`: ours. `builtins`: the rules of the others' base chains, as `-A` lines. `sets`: our sets' elements."""

    chains: dict[ChainKey, tuple[Line, ...]] = {}
    builtins: dict[ChainKey, tuple[str, ...]] = {}
    sets: dict[str, frozenset[str]] = {}

    def __bool__(self) -> bool:
        """Is there anything of ours?"""
        jumps = any(is_our_jump(line) for lines in self.builtins.values() for line in lines)
        return bool(self.chains or self.sets or jumps)


def parse_tables(output: str, family: int) -> Listing:
    """From `iptables-save` or `ip6tables-save`."""
    chains: dict[ChainKey, list[Line]] = {}
    builtins: dict[ChainKey, list[str]] = {}
    table: Table | None = None
    for line in output.splitlines():
        if line.startswith("*"):
            table = next((one for one in Table if one == line[1:].strip()), None)
        elif table is not None and line.startswith(":"):
            name = line[1:].split()[0]
            key = ChainKey(family, table, name)
            if name.startswith(names.CHAIN):
                chains[key] = []
            elif line.split()[1] != "-":
                builtins[key] = []
        elif table is not None and line.startswith("-A "):
            key = ChainKey(family, table, line.split(maxsplit=2)[1])
            if key in chains:
                chains[key].append(_listed(line))
            elif key in builtins:
                builtins[key].append(line)
    return Listing({key: tuple(found) for key, found in chains.items()}, {k: tuple(v) for k, v in builtins.items()})


def parse_counters(output: str) -> dict[str, tuple[int, int]]:
    """From `iptables-save -c`: comment -> (packets, bytes) of our rules that bear it."""
    found: dict[str, tuple[int, int]] = {}
    for line in output.splitlines():
        counted = _COUNTED.match(line)
        if counted is None or not counted[3].startswith(f"-A {names.CHAIN}"):
            continue
        comment, _ = _listed(counted[3])
        if comment:
            packets, size = found.get(comment, (0, 0))
            found[comment] = packets + int(counted[1]), size + int(counted[2])
    return found


def parse_sets(output: str) -> dict[str, frozenset[str]]:
    """Our sets, from `ipset save`."""
    found: dict[str, set[str]] = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) >= 2 and names.is_our_set(words[1]):
            if words[0] == "create":
                found[words[1]] = set()
            elif words[0] == "add":
                found[words[1]].add(_member(words[2]))
    return {name: frozenset(content) for name, content in found.items()}


def _member(text: str) -> str:
    address, comma, rest = text.partition(",")
    if ":" in address and "." in address:
        address = element(parse_cidr(address))
    protocol, colon, port = rest.partition(":")
    if colon and protocol in _NUMBERS:
        rest = f"{_NUMBERS[protocol]}:{port}"
    return f"{address}{comma}{rest}"


def _listed(line: str) -> Line:
    words = shlex.split(line)
    comment = words[words.index("--comment") + 1] if "--comment" in words else ""
    return comment, _target(words)


def _target(words: list[str]) -> str:
    at = next((place for place, word in enumerate(words) if word in ("-j", "-g")), None)
    return "" if at is None else f"{words[at]} {words[at + 1]}"


def _expected(rule: Rule) -> Line:
    return rule.comment, _target(rule_text(rule).split())


def is_our_jump(line: str) -> bool:
    return _target(line.split()).startswith(f"-j {names.CHAIN}")


def jump_lines(
    wanted: Mapping[ChainKey, object], found: Listing, family: int, table: Table, *, append: bool
) -> list[str]:
    """What makes the built-in chains of a table lead to ours, from where and as it should be."""
    lines: list[str] = []
    for key, rules in sorted(found.builtins.items()):
        if (key.family, key.table) != (family, table):
            continue
        ours = [line for line in rules if is_our_jump(line)]
        jump = f"-A {key.name} -j {names.base(key.name)}"
        is_wanted = wanted.get(ChainKey(family, table, names.base(key.name))) is not None
        if is_wanted and ours == [jump] and rules[-1 if append else 0] == jump:
            continue
        lines += [f"-D{line[2:]}" for line in ours]
        if is_wanted:
            lines.append(jump if append else f"-I {key.name} 1 -j {names.base(key.name)}")
    return lines


def differences(ruleset: Ruleset, found: Listing, *, append: bool) -> tuple[str, ...]:
    """What is not as it should be, in words; none when all is well."""
    return (
        *_chain_differences(ruleset, found),
        *_jump_differences(ruleset, found, append),
        *_set_differences(ruleset, found),
    )


def _chain_differences(ruleset: Ruleset, found: Listing) -> Iterator[str]:
    for key in sorted(ruleset.chains.keys() | found.chains.keys()):
        wanted, there = ruleset.chains.get(key), found.chains.get(key)
        place = f"chain {key.name} of {key.table} (IPv{key.family})"
        if there is None or wanted is None:
            yield f"{place} {'is gone' if there is None else 'is not ours'}"
        elif tuple(_expected(rule) for rule in wanted.rules) != there:
            yield f"{place} has {len(there)} rules, not the {len(wanted.rules)} that were written"


def _jump_differences(ruleset: Ruleset, found: Listing, append: bool) -> Iterator[str]:
    for family, table in sorted({(key.family, key.table) for key in found.builtins}):
        for line in jump_lines(ruleset.chains, found, family, table, append=append):
            if not line.startswith("-D"):
                yield f"{table} {line.split()[1]} (IPv{family}) did not lead to our chain before all others"


def _set_differences(ruleset: Ruleset, found: Listing) -> Iterator[str]:
    for name in sorted(ruleset.sets.keys() | found.sets.keys()):
        there = found.sets.get(name)
        if name not in ruleset.sets or there is None:
            yield f"set {name} {'is gone' if there is None else 'is not ours'}"
        elif not ruleset.sets[name].timeout and ruleset.elements[name] != there:
            missing, strange = len(ruleset.elements[name] - there), len(there - ruleset.elements[name])
            yield f"set {name} lacks {missing} elements and has {strange} that are not ours"

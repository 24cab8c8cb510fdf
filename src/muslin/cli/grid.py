"""A matrix of classes for people: classes that fare alike are one row, and what does not fit across is listed.

    from \\ to      shop/api   shop/db      A cell has the ports that are open. ⁴ and ⁶: by that family only.
    shop/web        8080       -
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from muslin.cli.changes import few
from muslin.cli.screen import BOLD, DIM, GREEN, paint

Json = dict[str, Any]
MOST_TO_JOIN = 400
"""Classes. Above that, rows are not compared with each other, but listed."""
PLAIN_WIDTH = 80
FEW = 3
ELSEWHERE = "any other address"
MANY_PORTS = 4
"""If more than that are asked for and all are open, a cell says just so."""


@dataclass(slots=True)
class Group:
    """Classes that fare alike: `titles` of them, `keys` of their workloads."""

    titles: list[str]
    keys: list[str]
    outside: bool = False
    cells: dict[int, str] = field(default_factory=dict)
    """By the number of the group that is reached; its own number: among themselves."""

    @property
    def name(self) -> str:
        if self.outside and ELSEWHERE in self.titles:
            return "outside"
        if len(self.titles) == 1:
            return self.titles[0]
        return f"{self.titles[0]} +{len(self.titles) - 1}"


def lines(found: Json, *, wide: bool) -> Iterator[str]:
    """The grid where it fits, else a list of who reaches whom."""
    items, cells = _folded(found)
    groups = _joined(items, cells) if len(items) <= MOST_TO_JOIN else _apart(items, cells)
    if not groups:
        yield "no workloads: nothing to reach"
        return
    grid = list(_grid(groups))
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if sys.stdout.isatty() or os.environ.get("COLUMNS") \
        else PLAIN_WIDTH
    if wide or max(map(len, grid)) <= width:
        yield from _painted(grid)
    else:
        yield from _listed(groups)
    legend = [group for group in groups if len(group.titles) > 1 and group.name != "outside"]
    if legend:
        yield ""
    for group in legend:
        more = 0 if wide else max(0, len(group.titles) - FEW * 2)
        shown = ", ".join(group.titles[: len(group.titles) - more])
        yield paint(f"{group.name}: {shown}" + (f" and {more} more" if more else ""), DIM)


def _folded(found: Json) -> tuple[list[Group], dict[tuple[int, int], str]]:
    """Both families of the same workloads as one item; what each reaches of each."""
    items: list[Group] = []
    index: dict[str, int] = {}
    families: list[set[int]] = []
    place = []
    for one in found["classes"]:
        members = list(one.get("members") or ())
        key = " ".join(members) or f"outside {one['title']}"
        if key not in index:
            index[key] = len(items)
            items.append(Group([few(one) or one["title"]], members, outside=one["kind"] == "outside"))
            families.append(set())
        families[index[key]].add(one["family"])
        place.append(index[key])
    open_ports: dict[tuple[int, int], dict[str, set[int]]] = {}
    for reach in found["reaches"]:
        family = found["classes"][reach["source"]]["family"]
        for destination in reach["destinations"]:
            cell = open_ports.setdefault((place[reach["source"]], place[destination]), {})
            for port in reach["ports"]:
                cell.setdefault(_short(port), set()).add(family)
    order = list(dict.fromkeys(_short(port) for port in found["ports"]))
    return items, {pair: _cell(cell, order, families[pair[0]] & families[pair[1]]) for pair, cell in open_ports.items()}


def _cell(cell: dict[str, set[int]], order: Sequence[str], common: set[int]) -> str:
    told = [_with_family(port, cell[port], common) for port in order if port in cell]
    return "all" if len(told) > MANY_PORTS and told == list(order) else " ".join(told)


def _short(port: str) -> str:
    """`80` of tcp/80, `udp53`, `ping`: cells are narrow."""
    protocol, slash, number = port.partition("/")
    if protocol in ("icmp", "icmpv6"):
        return "ping"
    return number if protocol == "tcp" else f"{protocol}{slash and number and f'/{number}'}"


def _with_family(port: str, by: set[int], common: set[int]) -> str:
    if len(common) < 2 or by == common:
        return port
    return port + ("⁴" if by == {4} else "⁶")


def _joined(items: Sequence[Group], cells: dict[tuple[int, int], str]) -> list[Group]:
    """Items that fare alike with everybody, and with each other, as one group."""
    numbers = range(len(items))
    firsts: list[int] = []
    members: dict[int, list[int]] = {}
    for number in numbers:
        for first in firsts:
            if _alike(number, first, members[first], items, cells, len(items)):
                members[first].append(number)
                break
        else:
            firsts.append(number)
            members[number] = [number]
    place = {first: at for at, first in enumerate(firsts)}
    groups = []
    for first in firsts:
        some = [items[number] for number in members[first]]
        group = Group([title for one in some for title in one.titles], [key for one in some for key in one.keys],
                      outside=some[0].outside)
        for other in firsts:
            if other != first:
                group.cells[place[other]] = cells.get((first, other), "")
        among = members[first][1] if len(members[first]) > 1 else first
        group.cells[place[first]] = cells.get((first, among), "") if len(group.keys) != 1 else ""
        groups.append(group)
    return groups


def _alike(one: int, first: int, rest: list[int], items: Sequence[Group], cells: dict[tuple[int, int], str],
           count: int) -> bool:
    if items[one].outside is not items[first].outside:
        return False
    between = cells.get((one, first), "")
    if between != cells.get((first, one), ""):
        return False
    inside = {between, *(cells.get((first, other), "") for other in rest[1:2])}
    inside |= {cells.get((number, number), "") for number in (one, first) if len(items[number].keys) > 1}
    if len(inside) > 1:
        return False
    return all(cells.get((one, other), "") == cells.get((first, other), "")
               and cells.get((other, one), "") == cells.get((other, first), "")
               for other in range(count) if other not in (one, first))


def _apart(items: Sequence[Group], cells: dict[tuple[int, int], str]) -> list[Group]:
    for (source, destination), text in cells.items():
        items[source].cells[destination] = text
    return list(items)


def _grid(groups: Sequence[Group]) -> Iterator[str]:
    names = [group.name for group in groups]
    rows = [["from \\ to", *names]]
    for number, group in enumerate(groups):
        alone = len(group.keys) == 1 or group.outside
        rows.append([names[number], *(("·" if alone and at == number else group.cells.get(at) or "-")
                                      for at in range(len(groups)))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _painted(grid: Sequence[str]) -> Iterator[str]:
    yield paint(grid[0], BOLD)
    yield from grid[1:]


def _listed(groups: Sequence[Group]) -> Iterator[str]:
    """Too many for a grid: of each, whom it reaches; the same ports to several on one line."""
    for number, group in enumerate(groups):
        by_ports: dict[str, list[str]] = {}
        for at in sorted(group.cells):
            if group.cells[at]:
                by_ports.setdefault(group.cells[at], []).append("each other" if at == number else groups[at].name)
        yield paint(group.name, BOLD)
        for ports, names in by_ports.items():
            shown = ", ".join(names[: FEW * 2]) + (f" and {len(names) - FEW * 2} more" if len(names) > FEW * 2 else "")
            yield f"  {paint(ports, GREEN)} -> {shown}"
        if not by_ports:
            yield paint("  reaches nobody", DIM)

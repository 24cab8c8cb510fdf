"""Two runs beside each other: what got slower, what got faster, beyond what chance does.

A figure is compared by its ratio to plain routing (or whatever its section's base is) where there is one: another load
or clock changes both. One that stands alone is divided by the pace of its machine (processor time of a fixed piece of
work) when it is processor time. Wall time is compared as it is, and only means something on two quiet machines.

Noise is told by the rounds: the distance between their quartiles, of both runs, as a part of the middle. What differs
by less than that, or by less than 5 %, is the same. A figure of one round knows nothing of its noise: 25 %.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from bench.figures import Facts, Figure, Report, Section, spread

FLOOR, UNKNOWN = 0.05, 0.25
BUSY = 2.0
"""Load for each processor. Seen: at 16 two of 120 figures that nobody had touched were called slower, at 8 none."""


class Verdict(StrEnum):
    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`times`: how much of the old is the new. `noise`: by how much it may differ and still be the same."""

    section: str
    figure: str
    verdict: Verdict
    times: float = 1.0
    noise: float = 0.0
    old: str = ""
    new: str = ""


def compare(old: Report, new: Report) -> list[Change]:
    """Slower first, then faster, then the rest; within each the largest first. Sections that one run did not measure
    are left out: it was not asked for them."""
    before, after = ({section.key: section for section in report.sections} for report in (old, new))
    scale = _pace(old.facts) / _pace(new.facts) if _pace(old.facts) and _pace(new.facts) else 1.0
    found = [change for key in after if key in before for change in _section(before[key], after[key], scale)]
    order = list(Verdict)
    return sorted(found, key=lambda change: (order.index(change.verdict), -abs(change.times - 1)))


def same_machine(old: Facts, new: Facts) -> bool:
    return (old.cpu, old.cores) == (new.cpu, new.cores)


def _pace(facts: Facts) -> float:
    return statistics.mean(facts.pace)


def _section(old: Section, new: Section, scale: float) -> Iterator[Change]:
    before = {figure.key: figure for figure in old.figures}
    after = {figure.key: figure for figure in new.figures}
    for key in before.keys() | after.keys():
        if key not in after:
            yield Change(section=new.key, figure=key, verdict=Verdict.GONE)
        elif key not in before:
            yield Change(section=new.key, figure=key, verdict=Verdict.NEW)
        elif key != new.base:
            yield _figure((old, before[key]), (new, after[key]), scale if "processor" in new.measure else 1.0)


def _figure(old: tuple[Section, Figure], new: tuple[Section, Figure], scale: float) -> Change:
    section, figure = new
    before, after = old[0].ratios(old[1]), section.ratios(figure)
    if before and after:
        words = [f"x {statistics.median(values):.3g}" for values in (before, after)]
    else:
        before, after = old[1].values, tuple(value * scale for value in figure.values)
        words = [f"{values.middle:.3g} {values.unit}" for values in (old[1], figure)]
    noise = max(FLOOR, _noise(before) + _noise(after))
    times = statistics.median(after) / statistics.median(before) if statistics.median(before) else 1.0
    verdict = Verdict.SLOWER if times > 1 + noise else Verdict.FASTER if times < 1 / (1 + noise) else Verdict.SAME
    return Change(section=section.key, figure=figure.key, verdict=verdict, times=times, noise=noise,
                  old=words[0], new=words[1])


def _noise(values: tuple[float, ...]) -> float:
    """Quartile to quartile, as a part of the middle."""
    distance, middle = spread(values), statistics.median(values)
    return UNKNOWN / 2 if distance is None or not middle else distance / middle


def words(name: str, old: Report, new: Report) -> list[str]:
    """What a person is told. `name`: of the old run."""
    changes = compare(old, new)
    lines = [f"Compared with {name} ({old.facts.date}, commit {old.facts.commit[:10]})"]
    if not same_machine(old.facts, new.facts):
        there = f"{old.facts.cpu}, {old.facts.cores} cores"
        lines.append(f"  that was another machine ({there}): only ratios mean something")
    if max(new.facts.load) > BUSY * max(1, new.facts.cores):
        lines.append(f"  this machine was busy (load {max(new.facts.load):.0f}): "
                     "what is only just beyond the noise may be chance")
    for verdict in (Verdict.SLOWER, Verdict.FASTER):
        some = [change for change in changes if change.verdict is verdict]
        lines.append(f"  {verdict}: {len(some) or 'nothing'}")
        lines += [f"    {change.times:6.2f} times  {change.section}: {change.figure}  "
                  f"({change.old} -> {change.new}; noise {change.noise:.0%})" for change in some]
    same = sum(change.verdict is Verdict.SAME for change in changes)
    lines.append(f"  the same within the rounds' noise: {same}")
    for verdict, what in ((Verdict.NEW, "not measured then"), (Verdict.GONE, "not measured now")):
        names = [f"{change.section}: {change.figure}" for change in changes if change.verdict is verdict]
        if names:
            lines.append(f"  {what}: {', '.join(sorted(names)[:6])}{' ...' if len(names) > 6 else ''}")
    return lines

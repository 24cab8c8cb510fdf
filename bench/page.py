"""The results page, made from the kept runs: of each measurement the newest run that has it, with its machine and date.

Written by `./dev bench --keep`; what is written by hand into the page is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.figures import Figure, Report, Section
from bench.sheet import judged, machine, short

_HEAD = """# Results

Made by `./dev bench --keep` from the runs in [results/](results/); do not edit. What each figure means, and how to
measure on hosts of your own: [docs/performance.md](../docs/performance.md). Figures from before, written by hand:
[results/by-hand-2026-11.md](results/by-hand-2026-11.md).

Less is better everywhere. *x* is the ratio to the table's first line in the same run, rounds turn and turn about;
peers are the layouts and programs that others use, made from the same policies. ± is the distance between the quartiles
of the rounds.
"""


def page(reports: Sequence[tuple[str, Report]], picture: str = "") -> str:
    """`reports`: name of the file and what it says, oldest first. `picture`: the file to show."""
    runs = newest(reports)
    lines = [_HEAD]
    if picture:
        lines += [f"![bars of every table]({picture})", ""]
    lines += _aims([report for _, report in runs])
    for name, report in runs:
        lines += [f"**[{name}](results/{name})**: " + "; ".join(machine(report.facts)), ""]
        for section in report.sections:
            lines += _table(section)
    return "\n".join(lines).rstrip() + "\n"


def newest(reports: Sequence[tuple[str, Report]]) -> list[tuple[str, Report]]:
    """Each run cut down to the measurements of which it is the newest, newest first. `reports`: oldest first."""
    source = {section.measurement: name for name, report in reports for section in report.sections}
    found = []
    for name, report in reversed(reports):
        sections = tuple(section for section in report.sections if source[section.measurement] == name)
        if sections:
            found.append((name, Report(facts=report.facts, sections=sections)))
    return found


def together(reports: Sequence[tuple[str, Report]]) -> Report:
    """The newest of everything as one report, by the newest run's machine."""
    some = newest(reports)
    return Report(facts=some[0][1].facts, sections=tuple(section for _, report in some for section in report.sections))


def _aims(reports: Sequence[Report]) -> Iterator[str]:
    found = [one for report in reports for one in judged(report)]
    if not found:
        return
    yield f"## Aims: {sum(met for _, _, met in found)} of {len(found)} met"
    yield ""
    yield "| what | is | aim | |"
    yield "|---|---|---|---|"
    for section, figure, met in sorted(found, key=lambda one: one[2]):
        ratio = section.ratio(figure)
        if figure.aim is None and ratio is not None:
            value, aim = f"x {short(ratio)}", f"x {figure.aim_ratio:g}"
        else:
            value, aim = f"{short(figure.middle)} {figure.unit}", f"{figure.aim:g} {figure.unit}"
        yield f"| {section.title}: {_named(figure)} | {value} | {aim} | {'met' if met else '**missed**'} |"
    yield ""


def _named(figure: Figure) -> str:
    return f"{figure.name}, {figure.group}" if figure.group else figure.name


def _table(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    yield f"{section.measure[:1].upper()}{section.measure[1:]}."
    yield ""
    ratios = bool(section.base)
    yield f"| | {section.figures[0].unit if _one_unit(section) else 'figure'} | ± |{' x |' if ratios else ''} |"
    yield f"|---|---|---|{'---|' if ratios else ''}---|"
    group = ""
    for figure in section.figures:
        if figure.group != group:
            group = figure.group
            yield f"| *{group}* | | |{' |' if ratios else ''} |"
        value = short(figure.middle) if _one_unit(section) else f"{short(figure.middle)} {figure.unit}"
        ratio = section.ratio(figure)
        times = f" {'' if ratio is None else short(ratio)} |" if ratios else ""
        name = f"**{figure.name}**" if figure.side == "ours" else figure.name
        yield f"| {name} | {value} | {_spread(figure)} |{times} {figure.note} |"
    yield ""


def _one_unit(section: Section) -> bool:
    return len({figure.unit for figure in section.figures}) == 1


def _spread(figure: Figure) -> str:
    return "" if figure.spread is None else short(figure.spread)

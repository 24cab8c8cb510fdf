"""The one table that a person reads in a terminal: sections of rows, each with its figure, ratio, aim and bar.

    Established packet                    processor time of the forwarding thread, median of 7 rounds
    1000 endpoints x 100 policies
      plain routing        277 ns   x 1     ━━━━━━━━━━
      muslin nftables      402 ns   x 1.45  ━━━━━━━━━━━━━━│     aim x 1.5, met

The bar is of the ratio where there is one. `│` stands where the aim is. Colours are escape sequences, and only there
when asked for; the width is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import Facts, Figure, Report, Section, Side
from bench.scale import Scale, scale_of

_COLOURS = {Side.OURS: "36", Side.PEER: "33", Side.LIMIT: "90"}
_BLOCKS = " ▏▎▍▌▋▊▉█"
_NARROWEST, _WIDEST_BAR, _LONGEST_NAME = 8, 48, 44
_ROOMY, _WITH_NOTES = 100, 110
"""Columns from which on an aim is said in words, and notes have room."""


class Sheet:
    """`width` columns. `colour`: a terminal that understands it."""

    def __init__(self, width: int = 100, *, colour: bool = False) -> None:
        self._width = width
        self._colour = colour

    def report(self, report: Report) -> Iterator[str]:
        for section in report.sections:
            yield ""
            yield from self.section(section)
        yield ""
        yield from summary(report)

    def section(self, section: Section) -> Iterator[str]:
        """Title, what is measured, and its rows."""
        scale = scale_of(_shown(section, figure) for figure in section.figures)
        yield self._paint(section.title, "1")
        kind = "; bars by factors of ten" if scale.by_tens else ""
        yield self._paint(_cut(f"  {section.measure}{kind}", self._width), "90")
        rows = [_cells(section, figure, brief=self._width < _ROOMY) for figure in section.figures]
        widths = [max((len(row[at]) for row in rows), default=0) for at in range(4)]
        widths[0] = min(widths[0], max(20, min(_LONGEST_NAME, self._width * 2 // 5)))
        room = self._width - sum(widths) - 10
        if self._width >= _WITH_NOTES:
            room -= min(30, max((len(figure.note) + 1 for figure in section.figures), default=0))
        bar = min(_WIDEST_BAR, room) if room >= _NARROWEST else 0
        group = ""
        for figure, row in zip(section.figures, rows, strict=True):
            if figure.group != group:
                group = figure.group
                yield f"  {group}"
            yield self._row(section, figure, row, widths, (scale, bar))

    def _row(self, section: Section, figure: Figure, row: tuple[str, ...], widths: list[int],
             bar: tuple[Scale, int]) -> str:
        name, value, ratio, aim = row
        parts = [(f"    {_cut(name, widths[0]):<{widths[0]}}", ""), (f"{value:>{widths[1]}}", "")]
        if widths[2]:
            parts.append((f"{ratio:>{widths[2]}}", ""))
        if bar[1]:
            parts.append((_bar(section, figure, *bar), _COLOURS[figure.side]))
        parts.append((aim, "31" if section.met(figure) is False else "32"))
        if sum(len(text) + 1 for text, _ in parts) + len(figure.note) < self._width:
            parts.append((figure.note, "90"))
        return " ".join(self._paint(text, colour) if colour else text for text, colour in parts if text).rstrip()

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colour and text.strip() else text


def _shown(section: Section, figure: Figure) -> float:
    ratio = section.ratio(figure)
    return figure.middle if ratio is None else ratio


def _cells(section: Section, figure: Figure, *, brief: bool = False) -> tuple[str, str, str, str]:
    ratio, met = section.ratio(figure), section.met(figure)
    aim = ""
    if met is not None and brief:
        aim = f"{'≤' if met else 'not ≤'} {figure.aim if figure.aim is not None else figure.aim_ratio:g}"
    elif met is not None:
        what = f"{figure.aim:g} {figure.unit}" if figure.aim is not None else f"x {figure.aim_ratio:g}"
        aim = f"aim {what} {'met' if met else 'missed'}"
    return figure.name, f"{short(figure.middle)} {figure.unit}", "" if ratio is None else f"x {short(ratio)}", aim


def short(value: float) -> str:
    """Three digits; whole above a hundred."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bar(section: Section, figure: Figure, scale: Scale, width: int) -> str:
    eighths = max(1, round(scale.part(_shown(section, figure)) * width * 8))
    cells = list(("█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(width))
    aim = figure.aim if figure.aim is not None else figure.aim_ratio
    if aim is not None:
        at = round(scale.part(aim) * width)
        if at < width and cells[at] == " ":
            cells[at] = "│"
    return "".join(cells)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def judged(report: Report) -> list[tuple[Section, Figure, bool]]:
    """Every figure that has an aim."""
    return [(section, figure, met) for section in report.sections for figure in section.figures
            if (met := section.met(figure)) is not None]


def summary(report: Report) -> Iterator[str]:
    """The machine, and which aims are missed."""
    yield from machine(report.facts)
    found = judged(report)
    missed = [(section, figure) for section, figure, met in found if not met]
    if found:
        yield f"{len(found) - len(missed)} of {len(found)} aims met" + (", missed:" if missed else "")
    for section, figure in missed:
        _, value, ratio, aim = _cells(section, figure)
        yield f"  {section.key}: {figure.key}: {value} {ratio} ({aim})".replace("  (", " (")


def machine(facts: Facts) -> Iterator[str]:
    tools = ", ".join(f"{name} {version}" for name, version in facts.tools.items())
    yield (f"{facts.date} · {facts.cpu}, {facts.cores} cores · Linux {facts.kernel} · {tools} · commit "
           f"{facts.commit[:10]}{' and changes' if facts.changed else ''}")
    yield (f"{facts.size} run, {facts.seconds:.0f} s · load {facts.load[0]:.1f} at begin, {facts.load[1]:.1f} at end · "
           f"pace {facts.pace[0]:.0f} and {facts.pace[1]:.0f} ms")

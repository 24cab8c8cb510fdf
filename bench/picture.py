"""The table as a picture: one panel of bars for each section, in two columns, as SVG text.

Blue is ours, ochre are the peers, grey is the limit; a dashed line is the aim. The number stands at the end of the bar,
so that nothing has to be read off an axis. Nothing is drawn that is not in the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from xml.sax.saxutils import escape

from bench.figures import Figure, Report, Section, Side
from bench.scale import Scale, scale_of
from bench.sheet import machine, short

COLOURS = {Side.OURS: "#2166ac", Side.PEER: "#d8a24a", Side.LIMIT: "#9a9a9a"}
_MEANING = {Side.OURS: "muslin", Side.PEER: "the same by others' layouts and programs", Side.LIMIT: "the limit"}
_AIM = "#b2182b"
_WIDTH, _GAP, _ROW, _MARGIN = 640, 24, 15, 24
_NAMES, _FIGURES = 250, 78
"""Room left of the bars, and right of them."""
_HEAD, _FOOT, _TOP = 48, 24, 84
_LETTERS, _LONGEST = 100, 36
"""In a line across a panel; in a name left of a bar."""
_BARS = _WIDTH - _NAMES - _FIGURES


def svg(report: Report, title: str = "What muslin costs") -> str:
    """The whole document."""
    panels = [section for section in report.sections if section.pictured and section.figures]
    columns: tuple[list[tuple[int, Section]], list[tuple[int, Section]]] = ([], [])
    heights = [_TOP, _TOP]
    for section in panels:
        side = 0 if heights[0] <= heights[1] else 1
        columns[side].append((heights[side], section))
        heights[side] += _height(section) + _GAP
    width, height = 2 * _WIDTH + _GAP + 2 * _MARGIN, max(heights) + _MARGIN
    size = f'width="{width}" height="{height}"'
    style = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11" fill="#222"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} {style}>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(_MARGIN, 32, title, 'font-size="20" font-weight="bold"'),
        *_legend(report),
    ]
    for side, column in enumerate(columns):
        for top, section in column:
            lines.append(f'<g transform="translate({_MARGIN + side * (_WIDTH + _GAP)},{top})">')
            lines += _panel(section)
            lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _legend(report: Report) -> Iterator[str]:
    at = 250
    for side in Side:
        yield f'<rect x="{at}" y="21" width="12" height="12" fill="{COLOURS[side]}"/>'
        yield _text(at + 18, 31, _MEANING[side])
        at += 50 + 7 * len(_MEANING[side])
    yield f'<path d="M{at + 6} 20v14" stroke="{_AIM}" stroke-width="1.5" stroke-dasharray="3 2"/>'
    yield _text(at + 18, 31, "the aim")
    for number, line in enumerate(machine(report.facts)):
        yield _text(_MARGIN, 52 + 14 * number, line, 'font-size="10" fill="#777"')


def _height(section: Section) -> int:
    groups = sum(first for first, _ in _with_groups(section))
    return _HEAD + _ROW * (len(section.figures) + groups) + _FOOT


def _with_groups(section: Section) -> Iterator[tuple[bool, Figure]]:
    """Each figure, and whether a new group begins with it."""
    group = ""
    for figure in section.figures:
        yield figure.group != group, figure
        group = figure.group


def _panel(section: Section) -> Iterator[str]:
    values = {figure.key: section.ratio(figure) or figure.middle for figure in section.figures}
    scale = scale_of(values.values())
    yield _text(0, 12, section.title, 'font-size="13" font-weight="bold"')
    for number, line in enumerate(wrap(_kind(section, scale), _LETTERS)[:2]):
        yield _text(0, 27 + 13 * number, line, 'font-size="10" fill="#777"')
    bottom = _height(section) - _FOOT
    for tick in scale.ticks():
        x = _NAMES + scale.part(tick) * _BARS
        yield f'<path d="M{x:.1f} {_HEAD - 4}V{bottom}" stroke="#e4e4e4"/>'
        yield _text(x, bottom + 13, f"{tick:g}", 'font-size="9" fill="#999" text-anchor="middle"')
    y = _HEAD
    for first, figure in _with_groups(section):
        if first:
            yield _text(0, y + 11, figure.group, 'font-weight="bold" font-size="10"')
            y += _ROW
        yield from _bar(section, figure, (scale, values[figure.key]), y)
        y += _ROW


def _kind(section: Section, scale: Scale) -> str:
    what = f"times {section.base}" if section.base else section.figures[0].unit
    return f"{what}; {section.measure}{'; bars by factors of ten' if scale.by_tens else ''}"


def _bar(section: Section, figure: Figure, shown: tuple[Scale, float], y: int) -> Iterator[str]:
    scale, value = shown
    length = max(1.5, scale.part(value) * _BARS)
    weight = ' font-weight="bold"' if figure.side is Side.OURS else ""
    yield _text(_NAMES - 8, y + 11, _cut(figure.name), f'text-anchor="end"{weight}')
    yield (f'<rect x="{_NAMES}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 4}" '
           f'fill="{COLOURS[figure.side]}"/>')
    number = f"{short(value)}" if section.base else f"{short(value)} {figure.unit}"
    colour = _AIM if section.met(figure) is False else "#222"
    aim, behind = figure.aim if figure.aim is not None else figure.aim_ratio, length
    if aim is not None and scale.part(aim) < 1:
        at = scale.part(aim) * _BARS
        behind = max(length, at) if at < length + 7 * len(number) else length
        yield f'<path d="M{_NAMES + at:.1f} {y}v{_ROW}" stroke="#fff" stroke-width="4"/>'
        yield f'<path d="M{_NAMES + at:.1f} {y}v{_ROW}" stroke="{_AIM}" stroke-width="1.5" stroke-dasharray="3 2"/>'
    yield _text(_NAMES + behind + 5, y + 11, number, f'font-size="10" fill="{colour}"')


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _text(x: float, y: float, text: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " + style if style else ""}>{escape(text)}</text>'

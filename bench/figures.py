"""What a measurement says, as data: figures in sections, sections in a report.

A figure is kept as what each round gave, never as one number: the middle is the median, and the rounds' own spread is
the noise that a comparison has to look beyond. All figures are costs, so less is better everywhere.

Ratios are of one run. A section with a `base` measured all its figures turn and turn about, so the ratio of a round is
formed within the round, and a slow moment of the machine touches both. What such a section says is its ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec


class Side(StrEnum):
    OURS = "ours"
    PEER = "peer"
    """The same policies in the layout, or by the program, that others use."""
    LIMIT = "limit"
    """What nobody can be below: plain routing, the kernel's own part."""


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row. `group` and `name` together are its identity within the section, across runs."""

    name: str
    values: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]
    unit: str
    group: str = ""
    side: Side = Side.OURS
    aim: float | None = None
    """At most so much, in `unit`."""
    aim_ratio: float | None = None
    """At most so many times the section's base."""
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.group} / {self.name}" if self.group else self.name

    @property
    def middle(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float | None:
        """From quartile to quartile of the rounds. One round knows none."""
        return spread(self.values)


class Section(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures that may be looked at side by side. `measure` says what is counted: processor or wall, median of what."""

    key: str
    title: str
    measure: str
    figures: tuple[Figure, ...]
    base: str = ""
    """The figure, by its key, to which the ratios are. None: the figures stand for themselves."""
    pictured: bool = True

    @property
    def measurement(self) -> str:
        """What made it: `dataplane` of `dataplane.new`."""
        return self.key.partition(".")[0]

    def basis(self) -> Figure | None:
        return next((figure for figure in self.figures if self.base and figure.key == self.base), None)

    def ratios(self, figure: Figure) -> tuple[float, ...]:
        """To the base: round by round where both have equally many, else of the middles. Empty without a base."""
        basis = self.basis()
        if basis is None:
            return ()
        if len(basis.values) == len(figure.values):
            return tuple(own / plain for own, plain in zip(figure.values, basis.values, strict=True))
        return (figure.middle / basis.middle,)

    def ratio(self, figure: Figure) -> float | None:
        ratios = self.ratios(figure)
        return statistics.median(ratios) if ratios else None

    def met(self, figure: Figure) -> bool | None:
        """Is the aim met? None: it has no aim."""
        if figure.aim is not None:
            return figure.middle <= figure.aim
        ratio = self.ratio(figure)
        if figure.aim_ratio is None or ratio is None:
            return None
        return ratio <= figure.aim_ratio


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On what, when and how busy. `pace`: processor ms of a fixed piece of work, which tells a slow hour of a machine
    from a slow program."""

    date: str
    commit: str = ""
    changed: bool = False
    """The sources were not as committed."""
    cpu: str = ""
    cores: int = 0
    kernel: str = ""
    tools: dict[str, str] = {}
    load: tuple[float, float] = (0.0, 0.0)
    pace: tuple[float, float] = (0.0, 0.0)
    """At begin and end."""
    seconds: float = 0.0
    size: str = ""
    """quick, long or tiny."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    facts: Facts
    sections: tuple[Section, ...]


def spread(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def decode(data: bytes) -> Report:
    return msgspec.json.decode(data, type=Report)


def encode(report: Report) -> bytes:
    """Small: four digits say more than any of these figures knows."""
    facts = msgspec.json.encode(report.facts)
    return b'{"facts":' + facts + b',\n"sections":[' + b",".join(map(_encoded, report.sections)) + b"\n]}\n"


def _encoded(section: Section) -> bytes:
    """A line for each figure, so that two runs can be laid side by side."""
    head = msgspec.json.encode(msgspec.structs.replace(section, figures=())).rstrip(b"}")
    figures = b",".join(b"\n  " + msgspec.json.encode(_shortened(figure)) for figure in section.figures)
    return b"\n " + head.replace(b'"figures":[]', b'"figures":[' + figures + b"]", 1) + b"}"


def _shortened(figure: Figure) -> Figure:
    return msgspec.structs.replace(figure, values=tuple(float(f"{value:.4g}") for value in figure.values))


def blocks(samples: Sequence[float], of: Callable[[Sequence[float]], float] = statistics.median,
           number: int = 5) -> tuple[float, ...]:
    """Many samples as a few rounds, in the order in which they came: `of` each. Fewer samples than that stay."""
    if len(samples) < 2 * number:
        return tuple(samples)
    size = len(samples) / number
    return tuple(of(samples[round(at * size) : round((at + 1) * size)]) for at in range(number))


def percentile(part: float) -> Callable[[Sequence[float]], float]:
    """`percentile(0.99)` of so few samples that it is nearly always the worst."""
    return lambda samples: sorted(samples)[min(len(samples) - 1, int(len(samples) * part))]

"""Reports in a few words, for the tests of what becomes of them."""

from __future__ import annotations

from bench.figures import Facts, Figure, Report, Section, Side

LIMIT, OURS, PEER = Side.LIMIT, Side.OURS, Side.PEER


def figure(name: str, *values: float, side: Side = OURS, unit: str = "ns", **more: object) -> Figure:
    return Figure(name=name, values=values, side=side, unit=unit, **more)  # type: ignore[arg-type]


def section(*figures: Figure, key: str = "dataplane.new", base: str = "", measure: str = "processor time") -> Section:
    return Section(key=key, title=f"Title of {key}", measure=measure, figures=figures, base=base)


def report(*sections: Section, pace: float = 10.0, cpu: str = "a processor", date: str = "2026-12-01",
           load: float = 0.5) -> Report:
    facts = Facts(date=date, commit="0123456789abcdef", cpu=cpu, cores=2, kernel="6.18", tools={"nft": "1.0.6"},
                  pace=(pace, pace), load=(0.5, load), size="quick")
    return Report(facts=facts, sections=sections)

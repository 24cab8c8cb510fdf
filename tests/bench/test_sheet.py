"""The table that a person reads: figures in columns, bars as long as they are large, never wider than the screen."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from bench.figures import Section
from bench.scale import scale_of
from bench.sheet import Sheet

from benchwords import LIMIT, PEER, figure, report, section


def _established() -> Section:
    return section(
        figure("plain routing", 200, side=LIMIT), figure("muslin", 280, group="10 endpoints", aim_ratio=1.5),
        figure("iptables", 400, group="10 endpoints", side=PEER), base="plain routing")


def _row(section: Section, name: str, width: int = 100) -> str:
    return next(line for line in Sheet(width).section(section) if name in line)


def _bar(line: str) -> float:
    """In columns."""
    return sum(1 if cell == "█" else " ▏▎▍▌▋▊▉".index(cell) / 8 for cell in re.sub(r"[^▏▎▍▌▋▊▉█]", "", line))


def test_a_row_says_value_ratio_and_aim() -> None:
    row = _row(_established(), "muslin")
    assert "280 ns" in row
    assert "x 1.4" in row
    assert row.endswith("aim x 1.5 met")


def test_an_aim_that_is_missed_says_so() -> None:
    late = section(figure("plain", 100), figure("muslin", 280, aim_ratio=1.5), base="plain")
    assert _row(late, "muslin").endswith("aim x 1.5 missed")


def test_bars_are_as_long_as_their_figures() -> None:
    plain, ours, theirs = (_bar(_row(_established(), name)) for name in ("plain", "muslin", "iptables"))
    assert plain / theirs == pytest.approx(0.5, abs=0.02)
    assert ours / theirs == pytest.approx(0.7, abs=0.02)


def test_what_lies_far_apart_is_drawn_by_factors_of_ten_and_says_so() -> None:
    wide = section(*(figure(f"row{power}", 10.0**power) for power in range(4)))
    lengths = [_bar(_row(wide, f"row{power}")) for power in range(4)]
    steps = [after - before for before, after in pairwise(lengths[1:])]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.2), "equal factors are equal steps"
    assert lengths[0] > 0, "the least can still be seen"
    assert any("by factors of ten" in line for line in Sheet(100).section(wide))
    assert not any("by factors of ten" in line for line in Sheet(100).section(_established()))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_bar_pushes_a_row_over_the_edge(width: int) -> None:
    lines = list(Sheet(width).section(_established()))
    if width >= 80:
        assert max(map(len, lines)) <= width
    assert len(lines) == 6, "two of heading, three rows and a group"


def test_eighty_columns_have_bars_and_the_aim_in_few_letters() -> None:
    row = _row(_established(), "muslin", width=80)
    assert _bar(row) > 8
    assert row.endswith(" ≤ 1.5")
    late = section(figure("plain", 100), figure("muslin", 280, aim_ratio=1.5), base="plain")
    assert _row(late, "muslin", width=80).endswith(" not ≤ 1.5")


def test_a_narrow_screen_has_figures_but_no_bars() -> None:
    row = _row(_established(), "muslin", width=40)
    assert _bar(row) == 0
    assert "280 ns" in row


def test_colours_are_only_where_they_are_asked_for_and_change_no_letter() -> None:
    plain = list(Sheet(100).section(_established()))
    coloured = list(Sheet(100, colour=True).section(_established()))
    assert not any("\033" in line for line in plain)
    assert any("\033[36m" in line for line in coloured)
    assert [re.sub(r"\033\[\d+m", "", line).rstrip() for line in coloured] == plain


def test_the_summary_counts_aims_and_names_those_that_are_missed() -> None:
    late = section(figure("quick", 1, aim=2, unit="ms"), figure("slow", 3, aim=2, unit="ms"), key="control")
    text = "\n".join(Sheet(100).report(report(late)))
    assert "1 of 2 aims met, missed:" in text
    assert "control: slow: 3 ms (aim 2 ms missed)" in text
    assert "control: quick" not in text


def test_ticks_are_round_and_within_the_scale() -> None:
    assert scale_of([200, 700]).ticks() == [0, 200, 400, 600]
    assert scale_of([0.5, 90]).ticks() == [1, 10], "which begins at 0.2"
    assert scale_of([]).part(5) == 1.0

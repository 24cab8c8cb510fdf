"""The results page: of each measurement the newest kept run, with its own machine and date."""

from __future__ import annotations

from bench import page
from benchwords import LIMIT, figure, report, section

_OLD = ("2026-11-01.json", report(section(figure("walk", 111, 113)), section(figure("add", 7, unit="ms"), key="cni"),
                                  date="2026-11-01"))
_NEW = ("2026-12-01.json", report(section(figure("plain", 100, 100, side=LIMIT),
                                          figure("walk", 222, 224, aim_ratio=2, group="10 x 10"), base="plain"),
                                  date="2026-12-01"))


def test_a_measurement_is_shown_from_its_newest_run_and_an_older_one_keeps_its_date() -> None:
    text = page.page([_OLD, _NEW])
    assert "223" in text
    assert "112" not in text, "the old figure of what was measured again"
    assert text.index("2026-12-01 ·") < text.index("2026-11-01 ·") < text.index("| **add** | 7")


def test_a_row_has_figure_spread_and_ratio() -> None:
    assert "| **walk** | 223 | 1 | 2.23 |" in page.page([_NEW])


def test_aims_come_first_and_those_that_are_missed_are_marked() -> None:
    text = page.page([_NEW])
    assert "## Aims: 0 of 1 met" in text
    assert "walk, 10 x 10 | x 2.23 | x 2 | **missed** |" in text
    assert text.index("## Aims") < text.index("## Title")


def test_the_picture_is_shown_when_there_is_one() -> None:
    assert "](results/picture.svg)" in page.page([_NEW], picture="results/picture.svg")
    assert "![" not in page.page([_NEW])


def test_together_is_the_newest_of_everything() -> None:
    assert [one.key for one in page.together([_OLD, _NEW]).sections] == ["dataplane.new", "cni"]

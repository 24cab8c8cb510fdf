"""A figure is what each round gave; what is said of it follows from that alone."""

from __future__ import annotations

import pytest

from bench import figures
from benchwords import figure, report, section


def test_a_ratio_is_formed_within_its_round() -> None:
    """The machine was twice as slow in the second round, and slow again for one layout in the third: the middle ratio
    is still 3, though the ratio of the middles is not."""
    plain, walked = figure("plain", 100, 200, 100), figure("walked", 300, 600, 500)
    made = section(plain, walked, base="plain")
    assert made.ratios(walked) == (3.0, 3.0, 5.0)
    assert made.ratio(walked) == 3.0
    assert walked.middle / plain.middle != 3.0


def test_rounds_that_do_not_correspond_are_compared_by_their_middles() -> None:
    plain, walked = figure("plain", 100, 200, 100), figure("walked", 300)
    assert section(plain, walked, base="plain").ratios(walked) == (3.0,)


def test_a_section_without_a_base_has_no_ratios() -> None:
    alone = figure("alone", 5)
    assert section(alone).ratio(alone) is None


@pytest.mark.parametrize(("value", "met"), [(1.4, True), (1.5, True), (1.6, False)])
def test_an_aim_by_ratio_is_met_up_to_its_edge(value: float, met: bool) -> None:
    plain, ours = figure("plain", 100), figure("ours", 100 * value, aim_ratio=1.5)
    assert section(plain, ours, base="plain").met(ours) is met


@pytest.mark.parametrize(("value", "met"), [(9.9, True), (10.1, False)])
def test_an_aim_by_value_looks_at_no_ratio(value: float, met: bool) -> None:
    plain, ours = figure("plain", 1), figure("ours", value, aim=10)
    assert section(plain, ours, base="plain").met(ours) is met


def test_what_has_no_aim_neither_meets_nor_misses_it() -> None:
    alone = figure("alone", 5)
    assert section(alone).met(alone) is None


def test_a_report_is_read_back_as_it_was_written_but_for_digits_nobody_knows() -> None:
    written = report(section(figure("a", 1.23456, 12345.6), base="a"), pace=12.0)
    read = figures.decode(figures.encode(written))
    assert read.sections[0].figures[0].values == (1.235, 12350.0)
    assert read.facts == written.facts
    assert figures.encode(read) == figures.encode(written)


def test_blocks_keep_order_and_lose_no_sample() -> None:
    assert figures.blocks(range(1, 51), of=sum) == (55, 155, 255, 355, 455)
    assert figures.blocks([1, 2, 3]) == (1, 2, 3), "too few to be taken together"


def test_the_last_percentile_of_few_is_the_worst() -> None:
    assert figures.percentile(0.99)([5, 9, 1]) == 9
    assert figures.percentile(0.5)([5, 9, 1]) == 5

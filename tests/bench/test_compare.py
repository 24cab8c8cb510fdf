"""What got slower is named; what chance does is not."""

from __future__ import annotations

import pytest
from bench.compare import Verdict, compare, words
from bench.figures import Report

from benchwords import figure, report, section


def _verdict(old: Report, new: Report, name: str) -> Verdict:
    return next(change.verdict for change in compare(old, new) if change.figure == name)


def _with(*values: float, **more: object) -> Report:
    return report(section(figure("walk", *values)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("now", "verdict"), [
    (100, Verdict.SAME), (104, Verdict.SAME), (96, Verdict.SAME), (106, Verdict.SLOWER), (94, Verdict.FASTER),
])
def test_quiet_rounds_are_told_apart_at_five_percent(now: float, verdict: Verdict) -> None:
    assert _verdict(_with(100, 100, 100), _with(now, now, now), "walk") is verdict


def test_rounds_that_scatter_hide_a_difference_of_that_size() -> None:
    """The same 20 %: seen when rounds agree, not when they are 30 % apart themselves."""
    assert _verdict(_with(100, 101, 99), _with(120, 121, 119), "walk") is Verdict.SLOWER
    assert _verdict(_with(85, 100, 115), _with(102, 120, 138), "walk") is Verdict.SAME


def test_one_round_says_little() -> None:
    assert _verdict(_with(100), _with(120), "walk") is Verdict.SAME
    assert _verdict(_with(100), _with(130), "walk") is Verdict.SLOWER


def test_one_wild_round_neither_accuses_nor_excuses() -> None:
    assert _verdict(_with(100, 100, 100, 100, 100), _with(100, 100, 900, 100, 100), "walk") is Verdict.SAME
    assert _verdict(_with(100, 100, 100, 100, 100), _with(130, 130, 900, 130, 130), "walk") is Verdict.SLOWER


def test_a_slow_hour_of_the_machine_is_not_a_slower_program() -> None:
    """Everything takes twice as long, the fixed piece of work as well."""
    assert _verdict(_with(100, 100, 100, pace=10), _with(200, 200, 200, pace=20), "walk") is Verdict.SAME
    assert _verdict(_with(100, 100, 100, pace=10), _with(200, 200, 200, pace=10), "walk") is Verdict.SLOWER


def test_the_clock_on_the_wall_is_not_scaled_by_the_pace_of_the_processor() -> None:
    old, new = (report(section(figure("wait", *[value] * 3), measure="wall time"), pace=pace)
                for value, pace in ((100, 10), (100, 20)))
    assert _verdict(old, new, "wait") is Verdict.SAME


def test_where_there_is_a_base_ratios_are_compared() -> None:
    """Plain routing got slower and the walk with it; then the walk alone."""
    def run(plain: float, walk: float) -> Report:
        return report(section(figure("plain", plain, plain), figure("walk", walk, walk), base="plain"))

    assert _verdict(run(100, 300), run(200, 600), "walk") is Verdict.SAME
    assert _verdict(run(100, 300), run(100, 360), "walk") is Verdict.SLOWER
    assert {change.figure for change in compare(run(100, 300), run(200, 600))} == {"walk"}, "a base says nothing itself"


def test_figures_are_told_apart_by_their_group() -> None:
    def run(few: float, many: float) -> Report:
        return report(section(figure("walk", few, few, group="10"), figure("walk", many, many, group="1000")))

    assert _verdict(run(100, 100), run(100, 150), "1000 / walk") is Verdict.SLOWER
    assert _verdict(run(100, 100), run(100, 150), "10 / walk") is Verdict.SAME


def test_slower_comes_first_and_the_worst_of_it_before_the_rest() -> None:
    old = report(section(*(figure(name, 100, 100) for name in "abcd")))
    new = report(section(figure("a", 50, 50), figure("b", 150, 150), figure("c", 100, 100), figure("d", 300, 300)))
    assert [change.figure for change in compare(old, new)] == ["d", "b", "a", "c"]


def test_what_came_and_went_is_named_and_what_was_not_measured_is_not_missed() -> None:
    old = report(section(figure("a", 1), figure("b", 1)), section(figure("x", 1), key="cni"))
    new = report(section(figure("a", 1), figure("c", 1)))
    assert {(change.figure, change.verdict) for change in compare(old, new)} == {
        ("a", Verdict.SAME), ("b", Verdict.GONE), ("c", Verdict.NEW)}


def test_a_person_reads_which_by_how_much_and_beyond_what_noise() -> None:
    text = "\n".join(words("before.json", _with(100, 100, 100), _with(150, 150, 150)))
    assert "slower: 1" in text
    assert "1.50 times  dataplane.new: walk  (100 ns -> 150 ns; noise 5%)" in text
    assert "faster: nothing" in text


def test_another_machine_is_said_to_be_another() -> None:
    assert "another machine (a slow one, 2 cores)" in "\n".join(words("x", _with(1, cpu="a slow one"), _with(1)))
    assert "another machine" not in "\n".join(words("x", _with(1), _with(1)))


def test_a_busy_machine_is_said_to_be_busy() -> None:
    """Two processors: a load of four is the most that still says something."""
    assert "was busy (load 5)" in "\n".join(words("x", _with(1), _with(1, load=5)))
    assert "was busy" not in "\n".join(words("x", _with(1, load=9), _with(1, load=4)))

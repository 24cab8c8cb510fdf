"""Counted references: only the difference between two looks counts."""

from __future__ import annotations

from muslin.calc.tally import Tally


def test_only_the_difference_between_two_looks_counts() -> None:
    tally: Tally[str] = Tally()
    tally.add(["a", "b", "b"])
    assert tally.settle() == (["a", "b"], [])

    tally.drop(["a", "b"])
    tally.add(["a", "c"])
    tally.drop(["c"])
    assert tally.settle() == ([], [])
    assert list(tally) == ["b", "a"]

    tally.drop(["b"])
    assert tally.settle() == ([], ["b"])
    assert "b" not in tally

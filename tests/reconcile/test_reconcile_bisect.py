"""The search for what a kernel refuses, against kernels that refuse just that."""

from __future__ import annotations

from math import log2

from hypothesis import given
from hypothesis import strategies as st

from muslin.reconcile import Search, search


def _found(keys: list[int], refused: set[int]) -> tuple[Search[int], int]:
    """What comes out, and in how many tries; the kernel keeps what it took."""
    looking, tries = search(keys), 0
    while (asked := looking.next) is not None:
        tries += 1
        looking = looking.answered(refused=not refused.isdisjoint({*looking.cleared, *asked}))
    return looking, tries


def _culprits(number: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, number - 1), min_size=1, max_size=3)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), _culprits(n))))
def test_the_culprits_and_nobody_else_are_found_in_few_tries(case: tuple[int, set[int]]) -> None:
    number, refused = case

    found, tries = _found(list(range(number)), refused)

    assert set(found.culprits) == refused
    assert set(found.cleared) == set(range(number)) - refused
    assert tries <= 2 * len(refused) * (1 + log2(number))


def test_a_kernel_that_refuses_everything_does_not_keep_us() -> None:
    """What is still suspected when the budget is spent counts as refused."""
    found, tries = _found(list(range(1000)), set(range(1000)))

    assert set(found.culprits) == set(range(1000))
    assert tries <= 100


def test_two_that_are_refused_only_together_cost_one_of_them() -> None:
    looking = search(["a", "b", "c"])
    while (asked := looking.next) is not None:
        looking = looking.answered(refused={"a", "c"} <= {*looking.cleared, *asked})

    assert looking.culprits == ("c",)
    assert set(looking.cleared) == {"a", "b"}


def test_one_key_is_the_culprit_without_another_try() -> None:
    assert search(["only"]).culprits == ("only",)
    assert search(["only"]).next is None
    assert search([]).next is None

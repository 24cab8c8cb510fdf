"""Desired against actual, against a pretend kernel that refuses what comes in a wrong order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.reconcile import Done, Ledger, Outcome, Reconciler, Refused, Step, TryAgain
from muslin.reconcile.retry import LONGEST_DELAY

KINDS = ("link", "route")


def settle(reconciler: Reconciler, now: float = 0.0) -> list[Step]:
    """Do all that is due, successfully."""
    steps = list(reconciler.plan(now))
    for step in steps:
        reconciler.record(step, Done(), now)
    return steps


def want(reconciler: Reconciler, links: dict[str, str], routes: dict[str, str]) -> None:
    reconciler.want_all("link", dict(links))
    reconciler.want_all("route", dict(routes))


def test_what_is_missing_is_put_and_what_is_stray_is_dropped() -> None:
    reconciler = Reconciler(KINDS)
    reconciler.found_all("route", {"10.0.0.1": "a", "10.0.0.3": "a"})
    reconciler.want_all("route", {"10.0.0.1": "b", "10.0.0.2": "b"})
    assert settle(reconciler) == [
        Step("route", "10.0.0.1", "b", "a"),
        Step("route", "10.0.0.2", "b", None),
        Step("route", "10.0.0.3", None, "a"),
    ]
    assert reconciler.plan(0.0) == ()
    assert reconciler.next_due(0.0) is None


def test_what_is_right_already_is_not_touched() -> None:
    """A restarted agent finds its predecessor's work: no packet may miss a route meanwhile."""
    reconciler = Reconciler(KINDS)
    reconciler.found_all("route", {"10.0.0.1": "a"})
    reconciler.want_all("route", {"10.0.0.1": "a"})
    assert reconciler.plan(0.0) == ()


def test_a_failure_waits_twice_as_long_each_time_but_not_for_ever() -> None:
    reconciler = Reconciler(KINDS)
    reconciler.want("route", "10.0.0.1", "a")
    now, waits = 0.0, []
    for _ in range(12):
        [step] = reconciler.plan(now)
        reconciler.record(step, TryAgain("the interface is down"), now)
        assert reconciler.plan(now) == ()
        due = reconciler.next_due(now)
        assert due is not None
        waits.append(round(due - now, 3))
        now = due
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(waits) == LONGEST_DELAY
    assert reconciler.unsettled()[0].why == "the interface is down"


def test_news_that_may_help_makes_it_due_at_once() -> None:
    """The interface has appeared: its route does not wait for the backoff."""
    reconciler = Reconciler(KINDS)
    reconciler.want("route", "10.0.0.1", "a")
    for now in (0.0, 1.0, 2.0):
        reconciler.record(reconciler.plan(now)[0], TryAgain("not there"), now)
    assert reconciler.plan(2.1) == ()
    reconciler.hurry(2.1)
    assert len(reconciler.plan(2.1)) == 1


def test_a_refused_step_comes_again_only_when_something_else_is_wanted_or_found() -> None:
    reconciler = Reconciler(KINDS)
    reconciler.want("route", "10.0.0.1", "bad")
    reconciler.record(reconciler.plan(0.0)[0], Refused("does not understand"), 0.0)
    reconciler.hurry(5.0)
    reconciler.want("route", "10.0.0.1", "bad")
    assert reconciler.plan(1e9) == ()
    assert reconciler.next_due(0.0) is None
    assert reconciler.unsettled()[0].refused
    reconciler.want("route", "10.0.0.1", "good")
    assert [step.new for step in reconciler.plan(5.0)] == ["good"]


def test_drift_is_what_was_settled_and_is_no_more() -> None:
    """Only that is reported as repaired; what was still on its way is not drift."""
    reconciler = Reconciler(KINDS)
    reconciler.want_all("route", {"10.0.0.1": "a", "10.0.0.2": "a"})
    for step in reconciler.plan(0.0):
        reconciler.record(step, Done() if step.key == "10.0.0.1" else TryAgain("busy"), 0.0)
    assert reconciler.found_all("route", {}) == ("10.0.0.1",)
    assert {step.key for step in reconciler.plan(10.0)} == {"10.0.0.1", "10.0.0.2"}


def test_a_stray_that_somebody_else_removed_is_no_drift() -> None:
    ledger: Ledger[str, str] = Ledger()
    ledger.found_all({"10.0.0.9": "a"})
    assert ledger.found_all({}) == ()
    assert ledger.differing == ()


# ---- properties


@dataclass
class FakeKernel:
    """Routes need their link; a link that routes still use cannot go. Fails on request."""

    links: dict[str, str] = field(default_factory=dict)
    routes: dict[str, str] = field(default_factory=dict)

    def do(self, step: Step, *, failing: bool) -> Outcome:
        if failing:
            return TryAgain("dice")
        table = self.links if step.kind == "link" else self.routes
        if step.new is None:
            if step.kind == "link" and step.key in self.routes.values():
                return TryAgain("a route still uses the link")
            table.pop(str(step.key), None)
            return Done()
        if step.kind == "route" and step.new not in self.links:
            return TryAgain("no such link")
        table[str(step.key)] = str(step.new)
        return Done()


names = st.sampled_from("abcd")
states = st.dictionaries(st.sampled_from(["r1", "r2", "r3", "r4", "r5"]), names)


def links_for(routes: dict[str, str]) -> dict[str, str]:
    return dict.fromkeys(routes.values(), "up")


@given(before=states, after=states)
def test_no_step_comes_before_what_it_needs(before: dict[str, str], after: dict[str, str]) -> None:
    kernel, reconciler = FakeKernel(links_for(before), dict(before)), Reconciler(KINDS)
    reconciler.found_all("link", dict(kernel.links))
    reconciler.found_all("route", dict(kernel.routes))
    want(reconciler, links_for(after), after)
    for step in reconciler.plan(0.0):
        assert isinstance(kernel.do(step, failing=False), Done), step
    assert (kernel.links, kernel.routes) == (links_for(after), after)


@pytest.mark.parametrize("mutant", ["drops before puts", "kinds reversed"])
def test_the_order_matters(mutant: str) -> None:
    """The property above kills both: seen to fail on each."""
    kernel, reconciler = FakeKernel({"a": "up"}, {"r1": "a"}), Reconciler(KINDS)
    reconciler.found_all("link", {"a": "up"})
    reconciler.found_all("route", {"r1": "a"})
    want(reconciler, {"b": "up"}, {"r1": "b"})
    steps = list(reconciler.plan(0.0))
    steps = sorted(steps, key=lambda step: step.new is not None) if mutant == "drops before puts" else steps[::-1]
    assert not all(isinstance(kernel.do(step, failing=False), Done) for step in steps)


@given(
    goals=st.lists(states, min_size=1, max_size=4),
    dice=st.lists(st.booleans(), max_size=30),
    meddling=st.lists(st.tuples(st.integers(0, 3), states), max_size=3),
)
def test_whatever_fails_and_whoever_meddles_it_arrives(
    goals: list[dict[str, str]], dice: list[bool], meddling: list[tuple[int, dict[str, str]]]
) -> None:
    """Output is a function of the last goal alone: failures, order and drift on the way do not matter."""
    kernel, reconciler, now = FakeKernel(), Reconciler(KINDS), 0.0
    dice = list(dice)
    for number, goal in enumerate(goals):
        want(reconciler, links_for(goal), goal)
        for moment, state in meddling:
            if moment == number:
                kernel.links, kernel.routes = links_for(state), dict(state)
                reconciler.found_all("link", dict(kernel.links))
                reconciler.found_all("route", dict(kernel.routes))
        for step in reconciler.plan(now):
            reconciler.record(step, kernel.do(step, failing=bool(dice) and dice.pop()), now)
        now += 0.05
    while (due := reconciler.next_due(now)) is not None:
        now = due
        assert now < 1000.0
        for step in reconciler.plan(now):
            reconciler.record(step, kernel.do(step, failing=bool(dice) and dice.pop()), now)
    assert (kernel.links, kernel.routes) == (links_for(goals[-1]), goals[-1])


@given(start=states, other=states)
def test_there_and_back_leaves_nothing_to_do(start: dict[str, str], other: dict[str, str]) -> None:
    reconciler = Reconciler(KINDS)
    want(reconciler, links_for(start), start)
    settle(reconciler)
    want(reconciler, links_for(other), other)
    want(reconciler, links_for(start), start)
    assert reconciler.plan(0.0) == ()


@given(changes=st.lists(st.tuples(st.booleans(), st.sampled_from("xyz"), st.none() | names), max_size=30))
def test_a_ledger_told_bit_by_bit_equals_one_told_whole(changes: list[tuple[bool, str, str | None]]) -> None:
    bitwise: Ledger[str, str] = Ledger()
    wanted: dict[str, str] = {}
    actual: dict[str, str] = {}
    for is_want, key, value in changes:
        (bitwise.want if is_want else bitwise.found)(key, value)
        target = wanted if is_want else actual
        target.pop(key, None) if value is None else target.update({key: value})
    whole: Ledger[str, str] = Ledger()
    whole.want_all(wanted)
    whole.found_all(actual)
    assert set(bitwise.differing) == set(whole.differing)
    assert set(whole.differing) == {key for key in wanted | actual if wanted.get(key) != actual.get(key)}

"""What a change costs until it is in the kernel: ours beside the programs that others call, in one run.

Two hosts. One has 1,000 endpoints with twenty rules of their own each (20,000 rules), all about one set of 100,000
addresses. The other has 1,000 endpoints that all carry the same 100 policies. The changes are made turn and turn about,
each by everybody, and are real ones: no two are alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench import programmers, rig, routes, world
from bench.cost import Cost
from bench.figures import Figure, Section, Side
from bench.plan import Plan
from bench.programmers import KernelPart, NftText, Ours, Programmer, Restore
from muslin.drivers.iptables import Flavour
from muslin.intent import HostIntent

OWN_RULES = 20
OURS, BEHIND = "muslin", ", right behind another"
Taken = dict[tuple[str, Side], list[Cost]]


def measure(plan: Plan) -> list[Section]:
    endpoints, policies = plan.times(20, 1000, 1000), plan.times(5, 100, 100)
    members, count = plan.times(200, 100_000, 100_000), plan.times(500, 100_000, 100_000)
    own = partial(world.of_their_own, endpoints, OWN_RULES, members)
    shared = partial(world.intent, endpoints, policies)
    rounds, changes = plan.times(1, 3, 7), plan.times(2, 9, 31)
    plan.progress.begin("programming", rounds * 8 + 15 + 4 * changes)
    with asyncio.Runner() as runner:
        desk = _Desk(plan, runner)
        full, writing = desk.full(own, rounds)
        with ExitStack() as stack:
            there = desk.standing(stack, own, interval=True)
            member = desk.turns(there, "member", changes)
            member |= desk.right_behind(there, "member", changes)
            alone = desk.turns([one for one in there if "interval" not in one.name], "own", changes)
        with ExitStack() as stack:
            there = desk.standing(stack, shared, interval=False)
            sharing, policy = desk.turns(there, "sharing", changes), desk.turns(there, "policy", changes)
            sharing |= desk.right_behind(there, "sharing", changes)
    full["muslin, writing alone", Side.OURS] = writing
    alike = f"{endpoints} endpoints with {policies} policies in common"
    return [
        _section("full", f"All of a host: {endpoints} endpoints, {endpoints * OWN_RULES} rules, a set of {members}",
                 full, {"muslin, writing alone": 300}),
        _section("member", f"One member more in a set of {members}", member, {OURS + BEHIND: 0.1}),
        _section("sharing", f"One endpoint more: {alike}", sharing, {KernelPart.name + BEHIND: 0.3}),
        _section("own", f"One endpoint more with {OWN_RULES} rules of its own, to {endpoints} such", alone, {}),
        _section("policy", f"A policy changes: {alike}", policy, {KernelPart.name: 1.0}),
        _section("routes", f"{count} routes", _routes(plan, count, rounds), {}),
    ]


def _routes(plan: Plan, count: int, rounds: int) -> Taken:
    found: Taken = {}
    for number in range(rounds):
        plan.progress.step(f"{count} routes")
        for name, taken in routes.measure(count, f"r{number}").items():
            found.setdefault(name, []).append(taken)
    return found


class _Desk:
    """Namespaces with numbers, and who works in them."""

    def __init__(self, plan: Plan, runner: asyncio.Runner) -> None:
        self._plan, self._runner, self._number = plan, runner, 0

    def everybody(self, *, interval: bool) -> list[Callable[[str], Programmer]]:
        return [
            lambda space: programmers.by_nftables(space, self._runner),
            *(partial(programmers.by_iptables, flavour, runner=self._runner) for flavour in Flavour),
            *(partial(NftText, interval=one) for one in ((False, True) if interval else (False,))),
            *(partial(Restore, flavour) for flavour in Flavour),
            KernelPart,
        ]

    def full(self, make: Callable[[], HostIntent], rounds: int) -> tuple[Taken, list[Cost]]:
        """From nothing, each time in a namespace that nobody has used."""
        taken: Taken = {}
        writing = []
        for number in range(rounds):
            for hire in self.everybody(interval=False):
                with ExitStack() as stack:
                    one = hire(self._space(stack))
                    self._plan.progress.step(f"round {number + 1} of {rounds}: all of it by {one.name}")
                    taken.setdefault((one.name, one.side), []).append(one.program(make()))
                    if isinstance(one, Ours) and one.name == OURS:
                        writing.append(one.writing)
        return taken, writing

    def standing(self, stack: ExitStack, make: Callable[[], HostIntent], *, interval: bool) -> list[Programmer]:
        there = [hire(self._space(stack)) for hire in self.everybody(interval=interval)]
        for one in there:
            self._plan.progress.step(f"setting up {one.name}")
            one.program(make())
        return there

    def turns(self, there: list[Programmer], what: str, changes: int) -> Taken:
        taken: Taken = {(one.name, one.side): [] for one in there}
        for number in range(1, changes + 1):
            self._plan.progress.step(f"{what}, {number} of {changes}")
            for one in there:
                taken[one.name, one.side].append(getattr(one, what)(number))
        return taken

    def right_behind(self, there: list[Programmer], what: str, changes: int) -> Taken:
        """Ours, one after another. In turn, everybody else's work has thrown out of the processor's caches what such a
        change looks at, and that is most of its cost. The plan's aims are of changes that were measured so."""
        ours = [one for one in there if one.name in (OURS, KernelPart.name)]
        taken: Taken = {(one.name + BEHIND, one.side): [] for one in ours}
        for number in range(1, changes + 1):
            for one in ours:
                getattr(one, what)(100 + 2 * number)
                taken[one.name + BEHIND, one.side].append(getattr(one, what)(101 + 2 * number))
        return taken

    def _space(self, stack: ExitStack) -> str:
        self._number += 1
        return stack.enter_context(rig.rig(f"p{self._number}")).host


def _section(key: str, title: str, taken: Taken, aims: dict[str, float]) -> Section:
    return Section(
        key=f"programming.{key}", title=title,
        measure="processor time of agent and programs, kernel included; median",
        figures=tuple(Figure(name=name, side=side, unit="ms", aim=aims.get(name),
                             values=tuple(cost.processor for cost in costs),
                             note=f"{_middle(costs):.3g} ms on the clock") for (name, side), costs in taken.items()))


def _middle(costs: list[Cost]) -> float:
    return sorted(cost.clock for cost in costs)[len(costs) // 2]

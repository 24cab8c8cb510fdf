"""A port that changes moves as an element only where that is the whole change: the table is the one from scratch."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import intents as words
from intents import ALLOW, DENY, INGRESS, group, intent, policy, rule, side, tier
from muslin.intent import Action, HostIntent, Match, Policy, Rule
from muslin.render.nft.words import Verdict
from nftwalk import Walker

TCP, UDP = 6, 17


def _held(*policies: Policy) -> HostIntent:
    return intent(*words.OPEN, *policies, group(INGRESS, tier(*policies)))


def _by(number: int) -> Match:
    """Somebody, so that rules are not alike."""
    return side(nets=f"10.0.{number}.0/24 fd00:{number}::/64")


def _nested(*ports: int, actions: tuple[Action, Action]) -> Policy:
    """Ranges one in another, so many that they cut the policy in two, between two rules for these ports of UDP."""
    ranges = (rule(ALLOW, TCP, side(ports=f"{1000 + 10 * n}-{60000 - 10 * n}"), _by(n), index=n) for n in range(1, 39))
    first, last = (rule(action, UDP, side(ports=f"{port}")) for action, port in zip(actions, ports, strict=True))
    return policy("p", first, *ranges, last)


@pytest.mark.parametrize("actions", [(DENY, ALLOW), (ALLOW, DENY)])
def test_two_stretches_that_come_to_one_port_are_asked_in_their_order(actions: tuple[Action, Action]) -> None:
    """In one turn, and in one map: neither of the two is there when the other is looked for."""
    walker = Walker(_held(_nested(80, 90, actions=actions)))

    walker.go(_held(_nested(81, 81, actions=actions)))

    found = [content[UDP, 81] for content in walker.kernel.table.elements.values() if (UDP, 81) in content]
    assert [to.chain for to in found if isinstance(to, Verdict)] == [
        f"ingress{family}/GlobalNetworkPolicy/p/0.39" for family in (4, 6)]
    assert walker.is_from_scratch()
    walker.go(_held(_nested(80, 90, actions=actions)))
    assert walker.is_from_scratch()


def test_two_policies_that_come_to_one_port_in_one_turn_are_asked_in_their_order() -> None:
    def made(*ports: int) -> HostIntent:
        pair = [policy(name, rule(action, UDP, side(ports=f"{port}")),
                       *(rule(ALLOW, TCP, side(ports=f"{n}"), _by(n), index=n) for n in range(1, 9)))
                for name, action, port in zip("ab", (DENY, ALLOW), ports, strict=True)]
        return _held(*pair)

    walker = Walker(made(80, 90))
    for ports in ((81, 81), (82, 81), (81, 82), (80, 90)):
        walker.go(made(*ports))
        assert walker.is_from_scratch()


def _of(name: str, protocol: int, *ports: str) -> Policy:
    """A rule for each of these."""
    return policy(name, *(rule(ALLOW, protocol, side(ports=each), _by(n), index=n) for n, each in enumerate(ports)))


def _around(count: int) -> list[Policy]:
    """Policies with a range each, one in another."""
    return [_of(f"c{n:02}", TCP, f"{1000 + 10 * n}-{60000 - 10 * n}") for n in range(count)]


def _maps(walker: Walker) -> int:
    return sum("/ports" in name for name in walker.kernel.table.elements)


def test_a_port_that_moves_away_from_another_policy_can_make_one_lookup_of_two() -> None:
    """A block is cut in two where ranges and ports lie over each other, and each half may know nothing of it."""
    def made(first: int) -> HostIntent:
        ends = [[str(port), *map(str, range(2, 9))] for port in (first, 1)]
        return _held(_of("a", UDP, *ends[0]), *_around(19), _of("b", UDP, *ends[1]))

    walker = Walker(made(1))
    assert _maps(walker) == 4
    for first, maps in ((9999, 2), (1, 4), (9998, 2), (9999, 2)):
        walker.go(made(first))
        assert walker.is_from_scratch()
        assert _maps(walker) == maps


def _filling(count: int) -> list[Policy]:
    """Policies that speak of so many ports, in ranges that are listed."""
    ends = [(first, min(31, count - 32 * n - 1)) for n, first in enumerate(range(1000, 1000 + 2 * count, 40))]
    ranges = [f"{first}-{first + wide}" if wide else str(first) for first, wide in ends if wide >= 0]
    parts = [" ".join(ranges[n:n + 15]) for n in range(0, len(ranges), 15)]
    return [policy(f"w{n}", rule(ALLOW, TCP, side(ports=part))) for n, part in enumerate(parts)]


@pytest.mark.parametrize("count", [4480, 4088])
def test_a_range_in_a_block_of_many_ports_is_looked_up_as_a_range(count: int) -> None:
    """Also where the many are not in the map, since they are ranges too; and where a move makes it too many."""
    def made(*ports: str) -> HostIntent:
        return _held(*_filling(count), _of("q", UDP, "1", "3", "5", "7", "9", "11", *ports))

    walker = Walker(made("80", "90"))
    for ports in (("81-82", "90"), ("80", "90"), ("81-84", "91"), ("80-90", "70-75"), ("80", "90")):
        walker.go(made(*ports))
        assert walker.is_from_scratch()


FEW = tuple(map(str, range(1, 31)))
SPANS = ("30-31", "31-33", "31-32", "40-49", "40-80")


def _stretched(dice: Random) -> list[Policy]:
    """Mostly in two stretches, of ranges one in another and of rules that meet at ports of UDP."""
    def some(*rules: tuple[int, str]) -> list[Rule]:
        return [rule(dice.choice((ALLOW, DENY)), protocol, side(ports=ports), _by(n), index=n)
                for n, (protocol, ports) in enumerate(rules)]

    def few(count: int) -> list[tuple[int, str]]:
        return [(UDP, ports) for ports in (*dice.choices(FEW, k=count - 1), dice.choice(FEW + SPANS))]

    ranges = [(TCP, f"{1000 + 10 * n}-{60000 - 10 * n}") for n in range(dice.choice((20, 30, 36)))]
    return [policy("a", *some(*few(3), *ranges, *few(5))), policy("b", *some(*few(4)))]


def _split(dice: Random) -> list[Policy]:
    """About as much as one block can hold."""
    ends = (_of(name, UDP, *dice.sample(FEW[:8], 8)) for name in "ab")
    return [next(ends), *_around(dice.choice((18, 19))), next(ends)]


def _full(dice: Random) -> list[Policy]:
    """About as many ports as are listed."""
    return [*_filling(dice.randint(4080, 4096)), *(_of(name, UDP, *dice.choices(FEW, k=4)) for name in "ab")]


def _elsewhere(dice: Random, one: Policy) -> Policy:
    """One of its rules for UDP, or several, speak of another port, mostly of the same."""
    rules = list(one.ingress)
    free = [number for number, each in enumerate(rules) if each.protocol == UDP]
    to = dice.choice(dice.choice((FEW, FEW, SPANS)))
    for number in dice.sample(free, dice.choice((1, 1, 2, 3))):
        ports = side(ports=dice.choice((to, to, to, dice.choice(FEW))))
        rules[number] = msgspec.structs.replace(rules[number], destination=ports)
    return msgspec.structs.replace(one, ingress=tuple(rules))


@pytest.mark.parametrize("made", [_stretched, _split, _full])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**9))
def test_ports_that_move_near_a_bound_of_lookups(made: Callable[[Random], list[Policy]], seed: int) -> None:
    """Near the bounds at which a policy, a run of rules or a range is written otherwise."""
    dice = Random(seed)
    held = {one.id: one for one in made(dice)}
    walker = Walker(_held(*held.values()))
    moving = [key for key, one in held.items() if any(each.protocol == UDP for each in one.ingress)]

    for _ in range(5):
        for key in dice.sample(moving, dice.choice((1, 1, 2))):
            held[key] = _elsewhere(dice, held[key])
        walker.go(_held(*held.values()))
        assert walker.is_from_scratch()

"""A port that changes moves as an element only where that is the whole change: the table is the one from scratch."""

from __future__ import annotations

import pytest

import intents as words
from intents import ALLOW, DENY, INGRESS, group, intent, policy, rule, side, tier
from muslin.intent import Action, HostIntent, Match, Policy
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

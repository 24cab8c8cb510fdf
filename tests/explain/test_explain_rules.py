"""The law of one rule: which packets it speaks of. Every reader of the intent must give these answers."""

from __future__ import annotations

from typing import Any

import pytest

from intent_words import UDP, W2, addresses, host, match, policy, rule, tcp, tier
from muslin.explain import Packet, why
from muslin.intent import Action, AddressSet, Direction, PortSet
from rule_law import B6, LAW, SETS, A, B


def matches(fields: dict[str, Any], packet: Packet, sets: tuple[AddressSet | PortSet, ...] = SETS) -> bool:
    only = policy("NetworkPolicy/shop/p", rule(**fields))
    intent = host(only, ingress=(tier("default", only.id),), sets=sets)
    return why(intent, W2, Direction.INGRESS, packet).verdict is Action.ALLOW


@pytest.mark.parametrize(("fields", "packet", "expected"), [case[1:] for case in LAW], ids=[case[0] for case in LAW])
def test_a_rule_speaks_of_a_packet_by_all_its_fields(fields: dict[str, Any], packet: Packet, expected: bool) -> None:
    """The decisions that the fields' names leave open stand in the docstring of explain.rule."""
    assert matches(fields, packet) is expected


@pytest.mark.parametrize("action", ["Allow", "Deny", "Pass", "Log"])
@pytest.mark.parametrize("side", [match(sets=("gone",)), match(not_sets=("gone",)), match(named_ports=("gone",)),
                                  match(not_named_ports=("gone",)), match(sets=("web",)), match(named_ports=("v4",))])
def test_a_rule_that_names_a_missing_set_denies_whatever_reaches_it(action: str, side: Any) -> None:
    """Nobody knows what it would have said; a set of the wrong sort is no better. The note names the set."""
    careless = policy("NetworkPolicy/shop/p", rule(action, protocol=UDP, destination=side), rule("Allow"))
    intent = host(careless, ingress=(tier("default", careless.id),), sets=SETS)

    decision = why(intent, W2, Direction.INGRESS, tcp(A, B, 80))

    assert decision.verdict is Action.DENY
    assert decision.decided_by.rule == 0
    assert decision.decided_by.note.endswith("is missing")


def test_a_lookup_in_a_hundred_thousand_members_is_a_lookup() -> None:
    """Hosts and prefixes alike: the work does not grow with the set."""
    members = [f"10.{a}.{b}.{c}/32" for a in range(1, 5) for b in range(100) for c in range(250)]
    big = (addresses("big", *members, "172.16.0.0/12", "fd00:1::/32"),)

    inside, outside = ("10.4.99.249", "172.31.255.255"), ("10.4.99.250", "172.32.0.0")
    for source, expected in [*((address, True) for address in inside), *((address, False) for address in outside)]:
        assert matches({"source": match(sets=("big",))}, tcp(source, B, 80), big) is expected
    assert matches({"source": match(sets=("big",))}, tcp("fd00:1:ffff::1", B6, 80), big)
    assert not matches({"source": match(sets=("big",))}, tcp("fd00:2::1", B6, 80), big)

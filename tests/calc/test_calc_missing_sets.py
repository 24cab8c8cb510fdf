"""A set that has not come (or went too early) must never open anything, whatever the rule that needs it would do."""

from __future__ import annotations

import pytest

from intent_words import ALLOW_ALL, W2, host, match, policy, rule, tcp, tier
from muslin.calc.host import Graph
from muslin.explain import Packet, why
from muslin.intent import Action, Delta, Direction, HostIntent, Match

PACKET = tcp("10.0.0.1", "10.0.0.2", 80)


def verdict(said: HostIntent, packet: Packet = PACKET) -> Action:
    """What the agent makes of this, when the server never told it the sets."""
    graph = Graph()
    graph.update(
        Delta(snapshot=True, policies={**said.policies}, groups={**said.groups}, endpoints={**said.endpoints})
    )
    graph.flush()
    return why(graph.intent, W2, Direction.INGRESS, packet).verdict


@pytest.mark.parametrize("action", ["Allow", "Deny", "Pass"])
@pytest.mark.parametrize(
    "side", [match(sets=("s",)), match(not_sets=("s",)), match(named_ports=("s",)), match(not_named_ports=("s",))],
    ids=["selector", "notSelector", "ports", "notPorts"],
)
def test_a_missing_set_opens_nothing(action: str, side: Match) -> None:
    """Had the set come, the packet could have met it, and then: a Deny rule with an empty set would let everybody
    pass to the Allow after it; a Pass rule would keep the packet from the tier that denies it."""
    after = [rule("Allow")] if action != "Allow" else []
    careful = policy("NetworkPolicy/shop/p", rule(action, destination=side), *after)
    shut = policy("GlobalNetworkPolicy/shut", rule("Deny"))
    stages = (tier("first", careful.id), tier("second", shut.id))

    assert verdict(host(careful, shut, ALLOW_ALL, ingress=stages, profiles=("Profile/open",))) is Action.DENY

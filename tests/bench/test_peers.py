"""The others' layouts say all that our intent says, or refuse. What they do with packets is asked by `test_runs`."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import msgspec
import pytest

from bench import peers, rig, world
from muslin.intent import Action, AddressSet, HostIntent, Match, PolicyId, Rule

_LAST = PolicyId("GlobalNetworkPolicy/p2")


def _made() -> HostIntent:
    return world.intent(20, 3)


@pytest.mark.parametrize("text", [peers.iptables_text, peers.nft_text])
def test_every_endpoint_has_chains_of_its_own_and_every_policy_one(text: object) -> None:
    words = text(_made())  # type: ignore[operator]
    for endpoint in _made().endpoints.values():
        assert f"px-tw-{peers.short(endpoint.interface)}" in words
        assert f"px-fw-{peers.short(endpoint.interface)}" in words
    assert words.count("7000") == 2, "the last rule of the last policy, for TCP and UDP"


def test_every_branch_of_the_tree_of_names_is_there_for_one_more_endpoint() -> None:
    """Else `-I` into a chain that is not there would fail, or be cheap."""
    words = peers.iptables_text(_made())
    for number in range(5000, 5040):
        assert f":px-to-{peers.short(world.interface(number))[0]} " in words


@pytest.mark.parametrize("rule", [
    {"action": Action.PASS}, {"protocol": 132}, {"source": Match(nets=("10.0.0.0/8", "11.0.0.0/8"))},
    {"source": Match(not_sets=("set0",))}, {"source": Match(sets=("set0", "set1"))},
])
def test_what_a_peer_cannot_say_is_refused_and_never_left_out(rule: dict[str, object]) -> None:
    """A layout that says less is faster."""
    made = _made()
    old = made.policies[_LAST]
    made.policies[_LAST] = msgspec.structs.replace(
        old, ingress=(*old.ingress, msgspec.structs.replace(old.ingress[0], **rule)))
    for text in (peers.iptables_text, peers.nft_text):
        with pytest.raises(ValueError, match="p2: the peers' layouts do not say"):
            text(made)


@pytest.mark.parametrize("sort", world.Sort)
def test_a_worst_case_is_one_where_only_the_very_last_rule_matches(sort: world.Sort) -> None:
    made = world.intent(20, 40, sort)
    sender = "10.65.0.10"
    assert sender == rig.ADDRESSES["a"]

    def matches(rule: Rule) -> bool:
        sets = [made.sets[name] for name in rule.source.sets]
        ports = rule.destination.ports or ((0, 65535),)
        return (all(f"{sender}/32" in one.members for one in sets if isinstance(one, AddressSet))
                and not any(ip_address(sender) in ip_network(net) for net in rule.source.not_nets)
                and not rule.source.nets and any(low <= 7001 <= high for low, high in ports))

    rules = [rule for policy in made.policies.values() for rule in policy.ingress]
    assert not any(ip_address(sender) in ip_network(net) for rule in rules for net in rule.source.nets)
    assert [number for number, rule in enumerate(rules) if matches(rule)] == [len(rules) - 2, len(rules) - 1]

"""The law of a policy list: tiers, policies, rules, profiles, and what holds before and after them."""

from __future__ import annotations

import msgspec
import pytest

from intent_words import (
    ALLOW_ALL,
    TCP,
    UDP,
    W1,
    W2,
    addresses,
    endpoint,
    host,
    match,
    nets,
    ping,
    policy,
    ports,
    rule,
    tcp,
    tier,
    udp,
)
from muslin.errors import Invalid
from muslin.explain import Outcome, Packet, Place, named, path, text, to_host, why
from muslin.intent import Action, Direction, EndpointKey, GroupId, HostIntent, SetId, Settings
from muslin.net import Cidr

ALLOW, DENY = Action.ALLOW, Action.DENY
PACKET = tcp("10.0.0.1", "10.0.0.2", 80)
HTTP = {"protocol": TCP, "destination": match(ports=((80, 80),))}
P, Q, R = "NetworkPolicy/shop/p", "GlobalNetworkPolicy/q", "NetworkPolicy/shop/r"


def verdict(intent: HostIntent, packet: Packet = PACKET) -> tuple[Action, str, int | None]:
    """(verdict, kind and name of what decides, its rule)"""
    decision = why(intent, W2, Direction.INGRESS, packet)
    origin = decision.decided_by
    return decision.verdict, f"{origin.kind}/{origin.name}", origin.rule


def test_the_first_rule_that_matches_decides() -> None:
    """Order is the order of the rules, then of the policies."""
    first = policy(P, rule("Deny", protocol=UDP), rule("Deny", **HTTP), rule("Allow"))
    second = policy(Q, rule("Allow", **HTTP))

    assert verdict(host(first, second, ingress=(tier("t", P, Q),))) == (DENY, "NetworkPolicy/p", 1)
    assert verdict(host(first, second, ingress=(tier("t", Q, P),))) == (ALLOW, "GlobalNetworkPolicy/q", 0)


def test_a_tier_in_which_nothing_matched_ends_as_it_says() -> None:
    """Deny by default; a tier that passes hands on to the next tier, then to the profiles."""
    nothing = policy(P, rule("Allow", protocol=UDP))
    everything = policy(Q, rule("Allow"))

    assert verdict(host(nothing, ingress=(tier("t", P),), profiles=("Profile/open",))) == (DENY, "Tier/t", None)
    passing = tier("t", P, default="Pass")
    assert verdict(host(nothing, everything, ingress=(passing, tier("u", Q)))) == (ALLOW, "GlobalNetworkPolicy/q", 0)
    assert verdict(host(nothing, ALLOW_ALL, ingress=(passing,), profiles=("Profile/open",)))[0] is ALLOW


def test_pass_leaves_the_tier_without_its_default() -> None:
    """The rest of the tier is not asked, neither rules nor policies nor its end."""
    passing = policy(P, rule("Pass", **HTTP), rule("Deny"))
    denying, allowing = policy(Q, rule("Deny")), policy(R, rule("Allow"))

    intent = host(passing, denying, allowing, ingress=(tier("t", P, Q), tier("u", R)))

    assert verdict(intent) == (ALLOW, "NetworkPolicy/r", 0)
    assert verdict(intent, tcp("10.0.0.1", "10.0.0.2", 81)) == (DENY, "NetworkPolicy/p", 1)


def test_log_goes_on() -> None:
    """A policy that only logs still isolates."""
    stages = (tier("t", P),)

    assert verdict(host(policy(P, rule("Log"), rule("Allow")), ingress=stages)) == (ALLOW, "NetworkPolicy/p", 1)
    assert verdict(host(policy(P, rule("Log")), ingress=stages)) == (DENY, "Tier/t", None)


def test_a_policy_without_rules_isolates() -> None:
    """That is how people write "deny all"."""
    assert verdict(host(policy(P), ALLOW_ALL, ingress=(tier("t", P),), profiles=("Profile/open",)))[0] is DENY


def test_profiles_are_asked_in_order_after_the_tiers() -> None:
    """Pass leaves one profile for the next; nothing matched is a deny."""
    passing = policy("Profile/passing", rule("Pass"), rule("Deny"))

    assert verdict(host(passing, ALLOW_ALL, profiles=("Profile/passing", "Profile/open"))) == (ALLOW, "Profile/open", 0)
    assert verdict(host(passing, profiles=("Profile/passing",)))[0] is DENY
    assert verdict(host())[0] is DENY


def test_a_staged_policy_is_seen_and_not_enforced() -> None:
    """Where a tier has only staged ones it is as if it were not there."""
    staged, real = policy(P, rule("Deny"), staged=True), policy(Q, rule("Allow"))

    decision = why(host(staged, real, ingress=(tier("t", P, Q),)), W2, Direction.INGRESS, PACKET)
    assert decision.verdict is ALLOW
    assert [step.name for step in decision.steps if step.outcome is Outcome.SKIPPED] == [P]
    assert verdict(host(staged, ALLOW_ALL, ingress=(tier("t", P),), profiles=("Profile/open",)))[0] is ALLOW


@pytest.mark.parametrize("listed", [P, "Profile/gone"])
def test_a_missing_policy_or_profile_denies_where_it_is_missing(listed: str) -> None:
    """What stands before it still counts; the note names it."""
    before = policy(Q, rule("Allow", **HTTP))
    stages = (tier("t", Q, listed, default="Pass"),) if listed == P else (tier("t", Q, default="Pass"),)
    profiles = ("Profile/open",) if listed == P else (listed, "Profile/open")
    intent = host(before, ALLOW_ALL, ingress=stages, profiles=profiles)

    assert verdict(intent)[0] is ALLOW
    decision = why(intent, W2, Direction.INGRESS, tcp("10.0.0.1", "10.0.0.2", 81))
    assert decision.verdict is DENY
    assert decision.decided_by.note == f"{listed} is missing"


def test_an_endpoint_without_its_policy_list_denies() -> None:
    """So does one whose list is made for the other direction."""
    missing = host(endpoints=(endpoint(W2, ingress=GroupId("gone")),))
    other = host(ALLOW_ALL, profiles=("Profile/open",), endpoints=(endpoint(W2, ingress=GroupId("out")),))

    for intent in (missing, other):
        decision = why(intent, W2, Direction.INGRESS, PACKET)
        assert decision.verdict is DENY
        assert decision.decided_by.note


def test_an_unknown_endpoint_denies() -> None:
    """The decision names it."""
    decision = why(host(), EndpointKey("WorkloadEndpoint/shop/nobody"), Direction.INGRESS, PACKET)

    assert decision.verdict is DENY
    assert (decision.decided_by.kind, decision.decided_by.name) == ("WorkloadEndpoint", "nobody")
    assert decision.decided_by.note == "no such endpoint on this host"


OPEN = host(ALLOW_ALL, profiles=("Profile/open",))


def test_a_workload_sends_from_its_own_addresses_only() -> None:
    """Policy is not even asked; prefixes that it may send from are the exception that somebody wrote down."""
    loose = host(
        ALLOW_ALL, profiles=("Profile/open",), endpoints=(endpoint(W1, spoofable=nets("10.8.0.0/24", "fd08::/64")),)
    )

    for source, destination, own, spoofable in (
        ("10.0.0.1", "10.0.0.2", True, True),
        ("10.0.0.2", "10.0.0.1", False, False),
        ("10.8.0.255", "10.0.0.2", False, True),
        ("10.8.1.0", "10.0.0.2", False, False),
        ("fd00::1", "fd00::2", True, True),
        ("fd08::ffff", "fd00::2", False, True),
        ("fd08:0:0:1::", "fd00::2", False, False),
    ):
        for intent, expected in ((OPEN, own), (loose, spoofable)):
            decision = why(intent, W1, Direction.EGRESS, tcp(source, destination, 80))
            assert (decision.verdict is ALLOW) is expected, source
            assert expected or decision.steps[-1].place is Place.SOURCE


def test_no_policy_allows_a_tunnel_out_of_a_workload() -> None:
    """Inside IP in IP or VXLAN a workload could hide any source address. Towards a workload policy alone decides."""
    for packet in (Packet("10.0.0.1", "10.0.0.2", 4), udp("10.0.0.1", "10.0.0.2", 4789)):
        decision = why(OPEN, W1, Direction.EGRESS, packet)
        assert decision.verdict is DENY
        assert decision.steps[-1].place is Place.HOST
        assert decision.steps[-2].outcome is Outcome.ALLOW
        assert why(OPEN, W2, Direction.INGRESS, packet).verdict is ALLOW
    assert why(OPEN, W1, Direction.EGRESS, tcp("10.0.0.1", "10.0.0.2", 4789)).verdict is ALLOW


def test_a_path_asks_the_sender_then_the_receiver() -> None:
    """Either end may be outside, then nobody asks there."""
    shut = host()

    both = path(OPEN, OPEN, PACKET)
    assert (both.verdict, both.egress is None, both.ingress is None) == (ALLOW, False, False)
    assert path(OPEN, shut, PACKET).verdict is DENY
    stopped = path(shut, OPEN, PACKET)
    assert stopped.verdict is DENY
    assert stopped.ingress is not None
    assert stopped.ingress.verdict is ALLOW, "what the receiver would say is told as well"
    assert path(None, OPEN, tcp("192.0.2.1", "10.0.0.2", 80)).verdict is ALLOW
    assert path(None, shut, tcp("192.0.2.1", "10.0.0.2", 80)).verdict is DENY
    assert path(OPEN, None, tcp("10.0.0.1", "192.0.2.1", 80)).verdict is ALLOW
    assert path(None, None, tcp("192.0.2.1", "192.0.2.2", 80)).verdict is ALLOW


def test_a_path_through_a_host_that_does_not_have_the_address_is_denied() -> None:
    """No interface is no way."""
    assert path(OPEN, OPEN, tcp("10.0.0.9", "10.0.0.2", 80)).verdict is DENY
    assert path(OPEN, OPEN, tcp("10.0.0.1", "10.0.0.9", 80)).verdict is DENY
    assert path(OPEN, OPEN, tcp("10.0.0.1", "10.0.0.9", 80), destination=W2).verdict is ALLOW


def test_a_workload_reaches_its_host_only_where_the_settings_say_so() -> None:
    """Neighbour discovery and DHCP go before all policy: without them there is no link."""
    packet = tcp("10.0.0.1", "192.0.2.1", 22)
    accepting = msgspec.structs.replace(OPEN, settings=Settings(endpoint_to_host_action="Accept"))

    assert to_host(OPEN, packet).verdict is DENY
    assert to_host(accepting, packet).verdict is ALLOW
    assert to_host(host(settings=Settings(endpoint_to_host_action="Accept")), packet).verdict is DENY
    assert to_host(host(), ping("fe80::1", "ff02::1", 135)).verdict is ALLOW
    assert to_host(host(), udp("0.0.0.0", "255.255.255.255", 67, source_port=68)).verdict is ALLOW
    assert to_host(host(), ping("fe80::1", "ff02::1", 134)).verdict is DENY
    assert to_host(host(), ping("fd00::1", "fd00::ff", 135)).verdict is ALLOW
    assert to_host(host(), ping("fd00::7", "fd00::ff", 135)).verdict is DENY


def test_the_text_reads_from_the_outside_in_and_ends_where_it_was_decided() -> None:
    """People read this on a terminal, next to their YAML."""
    first = policy(P, rule("Allow", protocol=TCP, destination=match(ports=((443, 443), (8000, 8010)))))
    staged = policy(R, staged=True)
    intent = host(first, staged, ingress=(tier("default", R, P),))

    assert text(why(intent, W2, Direction.INGRESS, PACKET)) == [
        "ingress of shop/w2: Deny",
        "  tier default",
        "    NetworkPolicy shop/r (staged, not enforced)",
        "    NetworkPolicy shop/p",
        "      rule 0 Allow: no, destination.ports is 443 or 8000:8010, the packet has 80",
        "    no rule of tier default matched: Deny   <- this decides",
    ]
    assert text(why(OPEN, W1, Direction.EGRESS, tcp("10.0.0.7", "10.0.0.2", 80))) == [
        "egress of shop/w1: Deny",
        "  Deny: 10.0.0.7 is not an address of this endpoint   <- this decides",
    ]
    assert text(why(OPEN, W2, Direction.INGRESS, PACKET))[-1] == "    rule 0 Allow: yes   <- this decides"


def test_sets_are_called_by_what_people_wrote_where_that_is_known() -> None:
    """Nobody knows set 4f by its number."""
    strict = rule("Allow", source=match(sets=("4f",)), destination=match(not_sets=("5a",), named_ports=("6b", "7c")))
    sets = (addresses("4f"), addresses("5a", "10.0.0.0/8"), ports("6b"), ports("7c"))
    decision = why(host(policy(P, strict), ingress=(tier("t", P),), sets=sets), W2, Direction.INGRESS, PACKET)

    names = {SetId("4f"): 'role == "web"', SetId("5a"): "has(x)", SetId("6b"): "http of all()"}

    assert [str(mismatch) for mismatch in named(decision, names).steps[2].mismatches] == [
        'source.selector is role == "web", the packet has 10.0.0.1',
        "destination.notSelector is has(x), the packet has 10.0.0.2",
        "destination.ports is http of all() or set 7c, the packet has 80",
    ]


def test_a_near_miss_is_told_from_a_miss() -> None:
    """One field more and it would have matched: that is the line people look for."""
    near = rule("Allow", protocol=TCP, destination=match(ports=((443, 443),)))
    far = rule("Allow", protocol=UDP, destination=match(ports=((53, 53),)), source=match(nets=nets("10.7.0.0/16")))

    decision = why(host(policy(P, near, far), ingress=(tier("t", P),)), W2, Direction.INGRESS, PACKET)

    rules = [step for step in decision.steps if step.place is Place.RULE]
    assert [step.near_miss for step in rules] == [True, False]
    assert [mismatch.field for mismatch in rules[1].mismatches] == ["protocol", "source.nets", "destination.ports"]


def test_a_decision_travels_as_json() -> None:
    """The server answers `why` with it."""
    decision = why(OPEN, W2, Direction.INGRESS, PACKET)

    assert msgspec.json.decode(msgspec.json.encode(decision), type=type(decision)) == decision


def test_a_packet_is_checked_at_the_door() -> None:
    """Addresses are canonical inside, and of one family."""
    assert Packet("FD00:0::1", "fd00::2", TCP).source == "fd00::1"
    assert Packet("10.0.0.1", "10.0.0.2", 1).icmp_type == 8
    assert str(tcp("10.0.0.1", "10.0.0.2", 80)) == "10.0.0.1 -> 10.0.0.2 tcp/80"
    for source, destination, protocol in (
        ("10.0.0.1", "fd00::1", 6), ("web", "10.0.0.1", 6), ("10.0.0.1", "10.0.0.2", 256)
    ):
        with pytest.raises(Invalid):
            Packet(source, destination, protocol)


def test_addresses_that_nothing_holds_are_no_endpoint() -> None:
    """A workload without addresses may send nothing."""
    mute = host(ALLOW_ALL, profiles=("Profile/open",), endpoints=(endpoint(W1, addresses=()),))

    assert why(mute, W1, Direction.EGRESS, tcp("10.0.0.1", "10.0.0.2", 80)).verdict is DENY
    assert why(mute, W1, Direction.EGRESS, tcp("0.0.0.0", "10.0.0.2", 80)).verdict is DENY
    assert Cidr("10.0.0.1/32") not in mute.endpoints[W1].addresses

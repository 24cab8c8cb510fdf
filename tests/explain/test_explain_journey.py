"""The law of a packet's way through one host: which gates ask, in which order, and what that means for the rest."""

from __future__ import annotations

import msgspec
import pytest

from intent_words import ALLOW_ALL, TCP, W1, W2, endpoint, host, match, nets, ping, policy, rule, tcp, tier, udp
from muslin.errors import Invalid
from muslin.explain import Flow, Gate, Journey, Packet, journey
from muslin.intent import (
    Action,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    PolicyId,
    Settings,
)
from muslin.net import Cidr

ALLOW, DENY, PASS = Action.ALLOW, Action.DENY, Action.PASS
OUTSIDE, OWN = "192.0.2.7", "192.0.2.1"
WEB = tcp(OUTSIDE, OWN, 80)
ETH0, NAME = "eth0", EndpointKey("HostEndpoint/eth0")
SAYS = {
    "allow": policy("GlobalNetworkPolicy/allow", rule("Allow")),
    "deny": policy("GlobalNetworkPolicy/deny", rule("Deny")),
    "out-allow": policy("GlobalNetworkPolicy/out-allow", rule("Allow"), egress=True),
    "out-deny": policy("GlobalNetworkPolicy/out-deny", rule("Deny"), egress=True),
    **{f"to-{word}": policy(f"GlobalNetworkPolicy/to-{word}", rule("Allow", destination=match(nets=nets(f"{to}/32"))))
       for word, to in (("internal", "10.0.0.2"), ("external", "203.0.113.9"))},
}
SORTS = {"untracked_ingress": PASS, "pre_dnat": PASS, "ingress": DENY, "forward_ingress": ALLOW,
         "untracked_egress": PASS, "egress": DENY, "forward_egress": ALLOW}


def world(*, interface: str = ETH0, settings: Settings | None = None, ends: tuple[Endpoint, ...] = (),
          **says: str) -> HostIntent:
    """A host with two open workloads, and a host endpoint whose policies of each sort say a word; `none` : a policy
    list in which nothing matches."""
    intent = host(ALLOW_ALL, *SAYS.values(), profiles=("Profile/open",), settings=settings or Settings(),
                  endpoints=ends or (endpoint(W1), endpoint(W2)))
    given = {}
    for sort, word in {"ingress": "allow", "egress": "out-allow", **says}.items():
        direction = Direction.EGRESS if sort.endswith("egress") else Direction.INGRESS
        stages = () if word == "none" else (tier("default", f"GlobalNetworkPolicy/{word}", default=(
            "Pass" if SORTS[sort] is PASS else "Deny")),)
        intent.groups[GroupId(sort)] = Group(
            id=GroupId(sort), direction=direction, stages=stages, end=SORTS[sort])
        given[sort] = GroupId(sort)
    intent.host_interfaces[NAME] = HostInterface(key=NAME, interface=interface, **given)
    return intent


def gates(found: Journey) -> list[tuple[str, str]]:
    return [(str(one.gate), str(one.outcome)) for one in found.passages]


def test_an_interface_that_nothing_covers_is_none_of_our_business() -> None:
    """Neither is the loopback, which `*` leaves out."""
    for intent, interface in ((world(ingress="deny"), "eth1"), (world(interface="*", ingress="deny"), "lo")):
        found = journey(intent, WEB, arrives_by=interface)
        assert (found.verdict, found.passages) == (ALLOW, ())
        assert journey(intent, tcp(OWN, OUTSIDE, 80), leaves_by=interface).verdict is ALLOW


def test_the_star_covers_every_other_interface_of_the_host() -> None:
    """The one that is named has its own policy; workloads' interfaces are never covered."""
    intent = world(interface="*", ingress="deny", egress="out-deny")
    named = EndpointKey("HostEndpoint/named")
    intent.host_interfaces[named] = HostInterface(
        key=named, interface="eth1", ingress=GroupId("in"), egress=GroupId("out"))

    assert journey(intent, WEB, arrives_by="eth7").verdict is DENY
    assert journey(intent, WEB, arrives_by="eth1").verdict is ALLOW
    assert journey(intent, tcp(OWN, "10.0.0.2", 80), leaves_by="musw2").verdict is ALLOW


def test_a_host_without_policy_lets_only_failsafes_through() -> None:
    """Else a new host endpoint would lock everybody out."""
    shut = world(ingress="none", egress="none", settings=Settings(
        failsafe_inbound=((TCP, 22, "192.0.2.0/24"),), failsafe_outbound=((17, 53, ""),)))

    assert journey(shut, WEB, arrives_by=ETH0).verdict is DENY
    assert journey(shut, tcp(OUTSIDE, OWN, 22), arrives_by=ETH0).verdict is ALLOW
    assert journey(shut, tcp("198.51.100.1", OWN, 22), arrives_by=ETH0).verdict is DENY
    assert journey(shut, udp(OUTSIDE, OWN, 22), arrives_by=ETH0).verdict is DENY
    assert journey(shut, udp(OWN, OUTSIDE, 53), leaves_by=ETH0).verdict is ALLOW
    assert journey(shut, tcp(OWN, OUTSIDE, 22), leaves_by=ETH0).verdict is DENY
    assert journey(shut, tcp(OWN, OUTSIDE, 22, 22), leaves_by=ETH0).verdict is DENY, "tracked flows need no such hole"


def test_untracked_allow_is_final_for_the_host_and_nothing_more_is_asked() -> None:
    """The packet is never tracked, and neither pre-DNAT nor the normal policy can deny it."""
    found = journey(world(untracked_ingress="allow", pre_dnat="deny", ingress="deny"), WEB, arrives_by=ETH0)
    assert (found.verdict, found.tracked, gates(found)) == (ALLOW, False, [("untracked", "Allow")])
    out = journey(world(untracked_egress="out-allow", egress="out-deny"), tcp(OWN, OUTSIDE, 80), leaves_by=ETH0)
    assert (out.verdict, out.tracked) == (ALLOW, False)


def test_untracked_policy_that_decides_nothing_is_as_if_it_were_not_there() -> None:
    """Its tiers end with Pass, and so does the list."""
    for says, verdict in (("allow", ALLOW), ("deny", DENY)):
        found = journey(world(untracked_ingress="to-internal", ingress=says), WEB, arrives_by=ETH0)
        assert (found.verdict, found.tracked) == (verdict, True)
        assert gates(found)[0] == ("untracked", "Pass")


def test_untracked_deny_stops_also_what_only_passes_through() -> None:
    """And of course what is for the host."""
    intent = world(untracked_ingress="deny")
    assert journey(intent, WEB, arrives_by=ETH0).verdict is DENY
    assert journey(intent, tcp(OUTSIDE, "10.0.0.2", 80), arrives_by=ETH0, leaves_by="musw2").verdict is DENY
    assert journey(intent, WEB, arrives_by=ETH0, flow=Flow.ESTABLISHED).verdict is DENY, "it knows no flows"


def test_failsafes_and_their_answers_pass_untracked_policy_and_stay_tracked() -> None:
    """Without flows an answer is known by the port that it comes from, at either end."""
    settings = Settings(failsafe_inbound=((TCP, 22, "192.0.2.0/24"),), failsafe_outbound=((TCP, 179, "192.0.2.0/24"),))
    intent = world(untracked_ingress="deny", untracked_egress="out-deny", settings=settings)

    for packet, passes in (
        (tcp(OUTSIDE, OWN, 22), True), (tcp(OUTSIDE, OWN, 40000, 179), True), (tcp("198.51.100.1", OWN, 5, 179), False),
        (tcp(OUTSIDE, OWN, 179), False), (tcp(OUTSIDE, OWN, 5, 22), False),
    ):
        found = journey(intent, packet, arrives_by=ETH0, flow=Flow.ESTABLISHED)
        assert (found.verdict is ALLOW, found.tracked) == (passes, True), packet
    for packet, passes in (
        (tcp(OWN, OUTSIDE, 179), True), (tcp(OWN, OUTSIDE, 40000, 22), True), (tcp(OWN, "198.51.100.1", 5, 22), False),
        (tcp(OWN, OUTSIDE, 22), False), (tcp(OWN, OUTSIDE, 5, 179), False),
    ):
        assert (journey(intent, packet, leaves_by=ETH0, flow=Flow.ESTABLISHED).verdict is ALLOW) is passes, packet


def test_pre_dnat_allow_is_final_for_the_interface_by_which_it_came() -> None:
    """What is forwarded skips that interface's forward policy, but meets the workload's own and the way out."""
    intent = world(pre_dnat="allow", ingress="deny", forward_ingress="deny", forward_egress="out-deny")
    found = journey(intent, WEB, arrives_by=ETH0)
    assert (found.verdict, found.tracked, gates(found)) == (ALLOW, True, [("pre-DNAT", "Allow")])
    inward = tcp(OUTSIDE, "10.0.0.2", 80)
    assert journey(intent, inward, arrives_by=ETH0, leaves_by="musw2").verdict is ALLOW
    assert journey(intent, tcp(OUTSIDE, "198.51.100.1", 80), arrives_by=ETH0, leaves_by=ETH0).verdict is DENY
    intent.groups[GroupId("in")] = msgspec.structs.replace(intent.groups[GroupId("in")], profiles=())
    assert journey(intent, inward, arrives_by=ETH0, leaves_by="musw2").verdict is DENY


def test_the_star_has_a_say_in_what_workloads_send_and_get_through_the_host() -> None:
    """Beside their own policy; not in what they speak with the host itself."""
    between = tcp("10.0.0.1", "10.0.0.2", 80)
    accept = Settings(endpoint_to_host_action="Accept")
    for says, verdict in (({"forward_ingress": "deny"}, DENY), ({"forward_egress": "out-deny"}, DENY),
                          ({"ingress": "deny", "egress": "out-deny"}, ALLOW), ({"pre_dnat": "deny"}, DENY)):
        intent = world(interface="*", settings=accept, **says)
        assert journey(intent, between, arrives_by="musw1", leaves_by="musw2").verdict is verdict, says
        assert journey(intent, tcp(OWN, "10.0.0.2", 80), leaves_by="musw2").verdict is ALLOW
    early = world(interface="*", pre_dnat="allow", settings=Settings())
    assert journey(early, tcp("10.0.0.1", OWN, 80), arrives_by="musw1").verdict is DENY, (
        "what * has accepted early does not count at the host's own door")


def test_pre_dnat_lets_flows_and_failsafes_pass() -> None:
    """It denies the rest before anybody translates it."""
    intent = world(pre_dnat="deny", settings=Settings(failsafe_inbound=((TCP, 22, ""),)))
    assert journey(intent, WEB, arrives_by=ETH0).verdict is DENY
    assert journey(intent, WEB, arrives_by=ETH0, flow=Flow.ESTABLISHED).verdict is ALLOW
    assert journey(intent, tcp(OUTSIDE, OWN, 22), arrives_by=ETH0).verdict is ALLOW


FLOATING = (endpoint(W1), endpoint(W2, nat=(("203.0.113.9", "10.0.0.2"),)))


def test_pre_dnat_sees_the_floating_address_and_everybody_else_the_own_one() -> None:
    """That is what it is for."""
    packet = tcp(OUTSIDE, "203.0.113.9", 80)
    on = Settings(floating_addresses=True)

    def through(**says: str) -> Journey:
        intent = world(settings=on, ends=FLOATING, **says)
        return journey(intent, packet, arrives_by=ETH0, leaves_by="musw2")

    assert through(pre_dnat="to-external", forward_ingress="to-internal").verdict is ALLOW
    assert through(forward_ingress="to-external").verdict is DENY
    found = through()
    assert (found.packet.destination, gates(found)) == ("10.0.0.2", [("translation", "Pass"), ("receiver", "Allow")])
    off = journey(world(ends=FLOATING), packet, arrives_by=ETH0, leaves_by="musw2")
    assert off.packet.destination == "203.0.113.9"
    untracked = journey(world(settings=on, ends=FLOATING, untracked_ingress="allow"), packet, arrives_by=ETH0,
                        leaves_by="musw2")
    assert untracked.packet.destination == "203.0.113.9", "the kernel translates flows, and this is none"


@pytest.mark.parametrize(("destination", "leaves_by", "source"), [
    (OUTSIDE, ETH0, "203.0.113.9"), ("10.0.0.9", ETH0, "10.0.0.2"), ("198.51.100.1", ETH0, "10.0.0.2"),
])
def test_towards_the_world_a_workload_speaks_from_its_floating_address(
        destination: str, leaves_by: str, source: str) -> None:
    """Pools, and what the settings exclude, are not the world outside."""
    settings = Settings(floating_addresses=True, pools=(Cidr("10.0.0.0/24"),), masquerade=(Cidr("10.0.0.0/24"),),
                        masquerade_exclude=(Cidr("198.51.100.0/24"),), masquerade_address="192.0.2.1")
    intent = world(settings=settings, ends=FLOATING)
    found = journey(intent, tcp("10.0.0.2", destination, 80), arrives_by="musw2", leaves_by=leaves_by)
    assert (found.verdict, found.packet.source) == (ALLOW, source)
    if source != "10.0.0.2":
        other = journey(intent, tcp("10.0.0.1", destination, 80), arrives_by="musw1", leaves_by=leaves_by)
        assert other.packet.source == "192.0.2.1", "without a floating address it is masqueraded"


def test_only_the_interfaces_that_the_settings_name_masquerade() -> None:
    """`eth+` is every interface that begins with eth."""
    settings = Settings(masquerade=(Cidr("10.0.0.0/24"),), masquerade_interfaces="eth+", masquerade_address=OWN)
    intent = world(settings=settings)
    for leaves_by, source in ((ETH0, OWN), ("wlan0", "10.0.0.1")):
        assert journey(intent, tcp("10.0.0.1", OUTSIDE, 80), arrives_by="musw1", leaves_by=leaves_by).packet.source == (
            source)


def test_what_is_forwarded_must_please_all_four_gates() -> None:
    """Each of them alone can deny; the rest are asked all the same."""
    between = tcp("10.0.0.1", "10.0.0.2", 80)
    inward, outward = tcp(OUTSIDE, "10.0.0.2", 80), tcp("10.0.0.1", OUTSIDE, 80)
    intent = world(forward_ingress="deny", forward_egress="out-deny")

    assert journey(intent, between, arrives_by="musw1", leaves_by="musw2").verdict is ALLOW
    assert gates(journey(intent, inward, arrives_by=ETH0, leaves_by="musw2")) == [
        ("forward ingress", "Deny"), ("receiver", "Allow")]
    assert gates(journey(intent, outward, arrives_by="musw1", leaves_by=ETH0)) == [
        ("sender", "Allow"), ("forward egress", "Deny")]
    transit = journey(intent, tcp(OUTSIDE, "198.51.100.1", 80), arrives_by=ETH0, leaves_by=ETH0)
    assert (transit.verdict, transit.decided_by.name) == (DENY, "deny")


def test_nothing_that_forward_policy_says_nothing_of_is_denied() -> None:
    """Its list ends with Allow, and an empty id is no list at all."""
    for says in ({}, {"forward_ingress": "none", "forward_egress": "none"}):
        intent = world(ingress="deny", egress="out-deny", **says)
        assert journey(intent, tcp(OUTSIDE, "10.0.0.2", 80), arrives_by=ETH0, leaves_by="musw2").verdict is ALLOW
        assert journey(intent, tcp(OUTSIDE, "198.51.100.1", 80), arrives_by=ETH0, leaves_by=ETH0).verdict is ALLOW


def test_forwarded_traffic_knows_no_failsafes() -> None:
    """They are for the host's own ports."""
    intent = world(forward_ingress="deny", settings=Settings(failsafe_inbound=((TCP, 22, ""),)))
    assert journey(intent, tcp(OUTSIDE, "10.0.0.2", 22), arrives_by=ETH0, leaves_by="musw2").verdict is DENY


def test_established_passes_but_not_from_a_false_source() -> None:
    """Else a workload could speak within its neighbour's flows."""
    intent = world(forward_ingress="deny", ingress="deny")
    known = Flow.ESTABLISHED
    inward = tcp(OUTSIDE, "10.0.0.2", 80)
    assert journey(intent, inward, arrives_by=ETH0, leaves_by="musw2", flow=known).verdict is ALLOW
    assert journey(intent, WEB, arrives_by=ETH0, flow=known).verdict is ALLOW
    assert journey(intent, tcp("10.0.0.2", OUTSIDE, 80), arrives_by="musw1", leaves_by=ETH0, flow=known).verdict is DENY
    assert journey(intent, tcp("10.0.0.2", OWN, 80), arrives_by="musw1", flow=known).verdict is DENY
    assert journey(intent, tcp("10.0.0.1", OWN, 80), arrives_by="musw1", flow=known).verdict is ALLOW


def test_what_conntrack_calls_invalid_is_dropped_where_we_have_a_say() -> None:
    """Unless the settings want it otherwise. What the host merely forwards may be asymmetric."""
    bad = Flow.INVALID
    for drop in (True, False):
        intent, expected = world(settings=Settings(drop_invalid=drop)), DENY if drop else ALLOW
        assert journey(intent, WEB, arrives_by=ETH0, flow=bad).verdict is expected
        assert journey(intent, tcp(OWN, OUTSIDE, 80), leaves_by=ETH0, flow=bad).verdict is expected
        assert journey(intent, tcp(OUTSIDE, "10.0.0.2", 80), arrives_by=ETH0, leaves_by="musw2", flow=bad).verdict is (
            expected)
        assert journey(intent, tcp(OUTSIDE, "198.51.100.1", 80), arrives_by=ETH0, leaves_by=ETH0,
                       flow=bad).verdict is ALLOW


def test_an_interface_that_is_named_as_a_workloads_and_declared_by_nobody_is_shut() -> None:
    """In both directions; only what brings its link up passes."""
    intent = world()
    assert journey(intent, tcp("10.0.0.3", OUTSIDE, 80), arrives_by="musw3", leaves_by=ETH0).verdict is DENY
    assert journey(intent, tcp(OUTSIDE, "10.0.0.3", 80), arrives_by=ETH0, leaves_by="musw3").verdict is DENY
    assert journey(intent, tcp("10.0.0.3", OWN, 80), arrives_by="musw3").verdict is DENY
    assert journey(intent, ping("fe80::1", "ff02::1", 135), arrives_by="musw3").verdict is ALLOW


def test_a_workload_meets_its_own_policy_and_the_settings_on_the_way_to_its_host() -> None:
    """Accept and Return are one to us; the host endpoint's policy is not asked."""
    for action, verdict in (("Drop", DENY), ("Accept", ALLOW), ("Return", ALLOW)):
        intent = world(interface="*", ingress="deny", settings=Settings(endpoint_to_host_action=action))
        assert journey(intent, tcp("10.0.0.1", OWN, 80), arrives_by="musw1").verdict is verdict
        assert journey(intent, udp("0.0.0.0", "255.255.255.255", 67, 68), arrives_by="musw1").verdict is ALLOW


def test_no_workload_sends_tunnels_through_its_host() -> None:
    """Whatever its policy says."""
    found = journey(world(), Packet("10.0.0.1", "10.0.0.2", 4), arrives_by="musw1", leaves_by="musw2")
    assert (found.verdict, found.decided_by.name) == (DENY, "tunnels")


def test_a_missing_policy_list_of_a_host_denies() -> None:
    """In untracked policy as well, where nothing else does."""
    for sort in ("untracked_ingress", "pre_dnat", "ingress"):
        intent = world(**{sort: "allow"})
        del intent.groups[GroupId(sort)]
        assert journey(intent, WEB, arrives_by=ETH0).verdict is DENY, sort


def test_a_journey_without_an_interface_is_no_question() -> None:
    """It says what is missing."""
    with pytest.raises(Invalid, match="by which"):
        journey(world(), WEB)


def test_what_a_staged_policy_would_do_is_told_beside_it() -> None:
    """It decides nothing."""
    staged = policy("StagedGlobalNetworkPolicy/s", rule("Log"), rule("Deny"), staged=True)
    intent = world()
    intent.policies[staged.id] = staged
    intent.groups[GroupId("ingress")] = Group(
        id=GroupId("ingress"), direction=Direction.INGRESS,
        stages=(tier("default", staged.id, "GlobalNetworkPolicy/allow"),))
    found = journey(intent, WEB, arrives_by=ETH0)
    skipped = next(step for step in found.passages[0].steps if step.name == staged.id)
    assert found.verdict is ALLOW
    assert skipped.action is DENY
    assert skipped.origin is not None
    assert (skipped.origin.rule, PolicyId(skipped.name)) == (1, staged.id)


def test_a_journey_travels_as_json() -> None:
    """The server answers with it."""
    found = journey(world(pre_dnat="allow"), WEB, arrives_by=ETH0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Journey) == found
    assert found.passages[0].gate is Gate.PRE_DNAT

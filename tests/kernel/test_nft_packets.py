"""Policy as packets meet it: real kernel, real namespaces, every sort of match."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM

import pytest

import iptrig
import nftrig
from intents import (
    ALLOW,
    DENY,
    EGRESS,
    INGRESS,
    LOG,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    PASS,
    SHUT_IN,
    SHUT_OUT,
    addresses,
    endpoint,
    group,
    intent,
    policy,
    ports,
    rule,
    side,
    tier,
)
from muslin.intent import HostIntent, Rule
from nftrig import ICMP, ICMP6, SCTP, TCP, UDP, UDPLITE, Host, Packet, Station, own_socket

pytestmark = pytest.mark.kernel


class Rig:
    """Workloads 1, 2 and 3; 1 sends, 2 has the policy under test, 3 is the other one."""

    def __init__(self, host: Host, *stations: Station) -> None:
        self.host = host
        self.one, self.two, self.three = stations

    def guarded(self, *rules: Rule, **sets: str) -> HostIntent:
        """Workload 2 behind these ingress rules, default deny; all else open."""
        guard = policy("guard", *rules)
        into = group(INGRESS, tier(guard))
        named = (addresses(name, members) for name, members in sets.items())
        return intent(
            *OPEN, guard, into, *named,
            endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT), endpoint(3, OPEN_IN, OPEN_OUT),
        )

    def to_two(self, sender: Station | None = None, **what: int) -> bool:
        return self.host.passes(sender or self.one, self.two, **what)


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        yield Rig(host, *(stack.enter_context(nftrig.station(host, number)) for number in (1, 2, 3)))


BOTH = pytest.mark.parametrize("version", [4, 6])


@BOTH
def test_an_endpoint_without_policy_is_governed_by_its_profiles(rig: Rig, version: int) -> None:
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT)))

    assert rig.to_two(version=version, port=80)
    assert rig.to_two(version=version, protocol=TCP, port=80)


@BOTH
def test_no_profile_denies_in_both_directions(rig: Rig, version: int) -> None:
    """At the sender, and at the receiver: each is enough."""
    shut = (SHUT_IN, SHUT_OUT)
    rig.host.apply(intent(*OPEN, *shut, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, SHUT_IN, OPEN_OUT)))
    assert not rig.to_two(version=version, port=80)
    assert rig.host.passes(rig.two, rig.one, version=version, port=80)

    rig.host.apply(intent(*OPEN, *shut, endpoint(1, OPEN_IN, SHUT_OUT), endpoint(2, OPEN_IN, OPEN_OUT)))
    assert not rig.to_two(version=version, port=80)


@BOTH
def test_rules_are_tried_in_order_and_the_first_that_matches_decides(rig: Rig, version: int) -> None:
    rig.host.apply(rig.guarded(
        rule(DENY, TCP, side(ports="80")), rule(ALLOW, TCP, side(ports="80-90 443")), rule(DENY, TCP), rule(ALLOW, UDP),
    ))

    passed = {port: rig.to_two(version=version, protocol=TCP, port=port) for port in (79, 80, 81, 90, 91, 443)}
    assert passed == {79: False, 80: False, 81: True, 90: True, 91: False, 443: True}
    assert rig.to_two(version=version, protocol=UDP, port=91)


@BOTH
def test_log_goes_on(rig: Rig, version: int) -> None:
    """Log is no verdict: the rule behind it decides."""
    rig.host.apply(rig.guarded(rule(LOG, log='a "quoted" $prefix'), rule(ALLOW, TCP, side(ports="80"))))

    assert rig.to_two(version=version, protocol=TCP, port=80)
    assert not rig.to_two(version=version, protocol=TCP, port=81)


@BOTH
def test_pass_leaves_the_tier_and_the_next_one_decides(rig: Rig, version: int) -> None:
    """Also over the rest of its own policy and over the other policies of the tier."""
    first = policy("first", rule(PASS, TCP, side(ports="80 81")), rule(ALLOW, TCP, side(ports="80 82")))
    second = policy("second", rule(DENY, TCP, side(ports="80")), rule(ALLOW, TCP, side(ports="83")))
    last = policy("last", rule(ALLOW, TCP, side(ports="80 84")))
    into = group(INGRESS, tier(first, second), tier(last))
    rig.host.apply(intent(
        *OPEN, first, second, last, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT)))

    passed = {port: rig.to_two(version=version, protocol=TCP, port=port) for port in (80, 81, 82, 83, 84)}
    assert passed == {80: True, 81: False, 82: True, 83: True, 84: False}


@BOTH
def test_a_tier_that_passes_by_default_leaves_the_rest_to_the_next_and_to_profiles(rig: Rig, version: int) -> None:
    first = policy("first", rule(DENY, TCP, side(ports="80")))
    second = policy("second", rule(PASS, TCP, side(ports="81")), rule(DENY, TCP, side(ports="82")))
    profile = policy("Profile/x", rule(ALLOW, TCP, side(ports="80-83")))
    into = group(INGRESS, tier(first, default=PASS), tier(second, default=PASS, name="b"), profiles=(profile,))
    rig.host.apply(intent(
        *OPEN, first, second, profile, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT)))

    passed = {port: rig.to_two(version=version, protocol=TCP, port=port) for port in (80, 81, 82, 83, 84)}
    assert passed == {80: False, 81: True, 82: False, 83: True, 84: False}


def test_pass_in_a_profile_means_the_next_profile(rig: Rig) -> None:
    first = policy("Profile/a", rule(PASS, TCP, side(ports="80")), rule(DENY, TCP))
    second = policy("Profile/b", rule(ALLOW))
    into = group(INGRESS, profiles=(first, second))
    rig.host.apply(intent(*OPEN, first, second, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT)))

    assert rig.to_two(protocol=TCP, port=80)
    assert not rig.to_two(protocol=TCP, port=81)
    assert rig.to_two(protocol=UDP, port=81)


def test_many_tiers_are_no_deeper_than_one(rig: Rig) -> None:
    """The kernel takes sixteen chains in a row, gotos counted; tiers must not be a row."""
    tiers = [policy(f"t{n}", rule(PASS), egress=(rule(PASS),)) for n in range(20)]
    stages = tuple(tier(p, name=p.id) for p in tiers)
    into, out = group(INGRESS, *stages, profiles=(OPEN[0],)), group(EGRESS, *stages, profiles=(OPEN[0],))
    rig.host.apply(intent(*OPEN, *tiers, into, out, endpoint(1, OPEN_IN, out), endpoint(2, into, OPEN_OUT)))

    assert rig.to_two(port=80)


def test_a_missing_policy_denies_where_it_would_stand(rig: Rig) -> None:
    """What comes before it still decides; what comes behind it is never asked."""
    before, behind = policy("before", rule(ALLOW, TCP, side(ports="80"))), policy("behind", rule(ALLOW))
    into = group(INGRESS, tier(before, "GlobalNetworkPolicy/gone", behind), profiles=("Profile/gone",))
    rig.host.apply(intent(*OPEN, before, behind, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT)))

    assert rig.to_two(protocol=TCP, port=80)
    assert not rig.to_two(protocol=TCP, port=81)


def test_a_missing_set_denies_where_its_rule_stands(rig: Rig) -> None:
    """Whether the rule allows or denies: nobody can know what it meant."""
    allow = rule(ALLOW)
    for sort in (ALLOW, DENY):
        rig.host.apply(rig.guarded(rule(ALLOW, UDP, side(ports="1")), rule(sort, by=side(sets="gone")), allow))
        assert rig.to_two(port=1)
        assert not rig.to_two(port=2)


def test_a_missing_group_denies(rig: Rig) -> None:
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, SHUT_IN, SHUT_OUT)))

    assert not rig.to_two(port=80)
    assert not rig.host.passes(rig.two, rig.one, port=80)


@BOTH
def test_sets_hold_hosts_and_overlapping_prefixes(rig: Rig, version: int) -> None:
    """A host in the hash, a host inside a prefix, a prefix inside a prefix; and the not-form of all that."""
    members = "10.65.0.1 10.65.0.2/31 10.65.0.3 10.65.0.2 fd65::1 fd65::2/127 fd65::3"
    rig.host.apply(rig.guarded(rule(ALLOW, TCP, by=side(sets="s")), rule(ALLOW, UDP, by=side(not_sets="s")), s=members))

    assert rig.to_two(rig.one, version=version, protocol=TCP)
    assert rig.to_two(rig.three, version=version, protocol=TCP)
    assert not rig.to_two(rig.one, version=version, protocol=UDP, port=1)

    members = "10.64.0.0/16 10.65.0.3 fd64::/16 fd65::3"
    rig.host.apply(rig.guarded(rule(ALLOW, TCP, by=side(sets="s")), rule(ALLOW, UDP, by=side(not_sets="s")), s=members))
    assert not rig.to_two(rig.one, version=version, protocol=TCP)
    assert rig.to_two(rig.three, version=version, protocol=TCP)
    assert rig.to_two(rig.one, version=version, protocol=UDP, port=1)
    assert not rig.to_two(rig.three, version=version, protocol=UDP, port=1)


@BOTH
def test_every_set_of_a_side_must_hold_the_address(rig: Rig, version: int) -> None:
    both = side(sets="a b")
    rig.host.apply(rig.guarded(
        rule(ALLOW, by=both), a="10.65.0.1 10.65.0.3 fd65::1 fd65::3", b="10.65.0.2/31 fd65::2/127"))

    assert not rig.to_two(rig.one, version=version)
    assert rig.to_two(rig.three, version=version)


@BOTH
def test_nets_and_not_nets(rig: Rig, version: int) -> None:
    nets = side(nets="10.65.0.0/24 10.65.0.1 fd65::/16 fd65::1", not_nets="10.65.0.2/31 10.0.0.0/16 fd65::2/127")
    rig.host.apply(rig.guarded(rule(ALLOW, by=nets)))

    assert rig.to_two(rig.one, version=version)
    assert not rig.to_two(rig.three, version=version)


def test_a_rule_with_nets_of_one_family_never_matches_the_other(rig: Rig) -> None:
    """Calico's law, for not-forms too."""
    rig.host.apply(rig.guarded(rule(ALLOW, by=side(not_nets="10.99.0.0/16"))))
    assert rig.to_two(version=4)
    assert not rig.to_two(version=6)

    rig.host.apply(rig.guarded(rule(ALLOW, by=side(nets="::/0"))))
    assert not rig.to_two(version=4)
    assert rig.to_two(version=6)


def test_ip_version_restricts_a_rule(rig: Rig) -> None:
    rig.host.apply(rig.guarded(rule(ALLOW, version=6)))

    assert not rig.to_two(version=4)
    assert rig.to_two(version=6)


@BOTH
def test_named_ports_hold_address_protocol_and_port_together(rig: Rig, version: int) -> None:
    web = ports("web", ("10.65.0.2", TCP, 8080), ("fd65::2", TCP, 8080), ("10.65.0.3", TCP, 9090))
    guard = policy(
        "guard", rule(ALLOW, TCP, side(named="web", ports="22")), rule(ALLOW, UDP, side(not_named="web")))
    into = group(INGRESS, tier(guard))
    rig.host.apply(intent(*OPEN, guard, into, web, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT)))

    passed = {port: rig.to_two(version=version, protocol=TCP, port=port) for port in (22, 8080, 9090)}
    assert passed == {22: True, 8080: True, 9090: False}
    assert rig.to_two(version=version, protocol=UDP, port=8080)


@BOTH
def test_source_ports(rig: Rig, version: int) -> None:
    rig.host.apply(rig.guarded(rule(ALLOW, UDP, by=side(ports="500-600"))))

    passed = {p: rig.to_two(version=version, protocol=UDP, port=7, source_port=p) for p in (499, 500, 600, 601)}
    assert passed == {499: False, 500: True, 600: True, 601: False}


@BOTH
@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP, UDPLITE])
def test_ports_belong_to_every_protocol_that_has_them(rig: Rig, version: int, protocol: int) -> None:
    rig.host.apply(rig.guarded(rule(ALLOW, protocol, side(ports="70", not_ports="71"))))

    assert rig.to_two(version=version, protocol=protocol, port=70)
    assert not rig.to_two(version=version, protocol=protocol, port=72)


@BOTH
def test_not_ports_without_a_protocol_match_what_has_no_ports(rig: Rig, version: int) -> None:
    rig.host.apply(rig.guarded(rule(ALLOW, to=side(not_ports="80"))))

    assert not rig.to_two(version=version, protocol=UDP, port=80)
    assert rig.to_two(version=version, protocol=UDP, port=81)
    assert rig.to_two(version=version, protocol=_icmp(version), port=_echo(version))


@BOTH
def test_protocols_by_number_and_not(rig: Rig, version: int) -> None:
    rig.host.apply(rig.guarded(rule(ALLOW, 99), rule(ALLOW, not_protocol=UDP, to=side(nets="0.0.0.0/0 ::/0"))))

    assert rig.to_two(version=version, protocol=99)
    assert rig.to_two(version=version, protocol=TCP)
    assert not rig.to_two(version=version, protocol=UDP)


@BOTH
def test_icmp_types_and_codes(rig: Rig, version: int) -> None:
    icmp, echo = _icmp(version), _echo(version)
    rig.host.apply(rig.guarded(rule(ALLOW, icmp, icmp=(echo, 0))))
    assert rig.to_two(version=version, protocol=icmp, port=echo)
    assert not rig.to_two(version=version, protocol=icmp, port=13 if version == 4 else 139)

    rig.host.apply(rig.guarded(rule(ALLOW, icmp, not_icmp=(echo, None))))
    assert not rig.to_two(version=version, protocol=icmp, port=echo)

    rig.host.apply(rig.guarded(rule(ALLOW, icmp, not_icmp=(echo, 1))))
    assert rig.to_two(version=version, protocol=icmp, port=echo)
    assert not rig.to_two(version=version, protocol=UDP)

    rig.host.apply(rig.guarded(rule(ALLOW, not_icmp=(echo, 0))))
    assert not rig.to_two(version=version, protocol=icmp, port=echo)
    assert rig.to_two(version=version, protocol=UDP)


@BOTH
def test_egress_policy_denies_at_the_sender(rig: Rig, version: int) -> None:
    """And what it allows must still pass the receiver's ingress."""
    out_policy = policy("out", egress=(rule(ALLOW, TCP, side(ports="80 81")),))
    out = group(EGRESS, tier(out_policy))
    in_policy = policy("in", rule(DENY, TCP, side(ports="81")), rule(ALLOW))
    into = group(INGRESS, tier(in_policy))
    rig.host.apply(intent(
        *OPEN, out_policy, in_policy, into, out, endpoint(1, OPEN_IN, out), endpoint(2, into, OPEN_OUT)))

    passed = {port: rig.to_two(version=version, protocol=TCP, port=port) for port in (80, 81, 82)}
    assert passed == {80: True, 81: False, 82: False}


@BOTH
def test_replies_of_an_allowed_flow_pass_whatever_the_policy(rig: Rig, version: int) -> None:
    """And nothing new passes in that direction."""
    rig.host.apply(intent(*OPEN, SHUT_IN, endpoint(1, SHUT_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT)))
    assert rig.to_two(version=version, port=7, source_port=1234)

    assert rig.host.passes(rig.two, rig.one, version=version, port=1234, source_port=7)
    assert not rig.host.passes(rig.two, rig.one, version=version, port=1235, source_port=7)


@BOTH
def test_a_false_source_is_dropped(rig: Rig, version: int) -> None:
    """A neighbour's address, a stranger's, and none at all."""
    rig.host.apply(rig.guarded(rule(ALLOW)))
    two = rig.two.v4 if version == 4 else rig.two.v6

    for source in ("10.65.0.3", "192.0.2.1", "0.0.0.0") if version == 4 else ("fd65::3", "2001:db8::1"):
        assert not rig.host.passes(rig.one, rig.two, Packet(source, two, UDP, 80))


@BOTH
def test_a_false_source_is_dropped_even_within_a_flow_that_is_established(rig: Rig, version: int) -> None:
    """Conntrack knows addresses and ports, not interfaces: the source must be looked at first."""
    rig.host.apply(rig.guarded(rule(ALLOW)))
    assert rig.host.passes(rig.three, rig.two, version=version, port=53, source_port=4000)
    assert rig.host.passes(rig.two, rig.three, version=version, port=4000, source_port=53)

    three = rig.three.v4 if version == 4 else rig.three.v6
    two = rig.two.v4 if version == 4 else rig.two.v6
    assert not rig.host.passes(rig.one, rig.two, Packet(three, two, UDP, 53, 4000))
    assert not rig.host.passes(rig.one, rig.three, Packet(two, three, UDP, 4000, 53))


@BOTH
def test_prefixes_that_a_workload_may_spoof(rig: Rig, version: int) -> None:
    """Hosts and prefixes, overlapping; and not more than those."""
    spoofable = "192.0.2.0/24 192.0.2.128/25 198.51.100.1 2001:db8:1::/48 2001:db8:2::1"
    rig.host.apply(intent(
        *OPEN, endpoint(1, OPEN_IN, OPEN_OUT, spoofable=spoofable), endpoint(2, OPEN_IN, OPEN_OUT)))
    two = rig.two.v4 if version == 4 else rig.two.v6

    good = ("192.0.2.1", "192.0.2.200", "198.51.100.1") if version == 4 else ("2001:db8:1::9", "2001:db8:2::1")
    bad = ("192.0.3.1", "198.51.100.2") if version == 4 else ("2001:db8:2::2",)
    assert all(rig.host.passes(rig.one, rig.two, Packet(source, two, UDP, 80)) for source in good)
    assert not any(rig.host.passes(rig.one, rig.two, Packet(source, two, UDP, 80)) for source in bad)


@BOTH
def test_an_interface_that_nobody_declared_is_shut(rig: Rig, version: int) -> None:
    """In both directions, also for flows from before: what is not known is not trusted."""
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT)))
    assert rig.to_two(version=version, port=7, source_port=999)
    assert rig.host.passes(rig.two, rig.one, version=version, port=999, source_port=7)
    rig.host.apply(intent(*OPEN, endpoint(2, OPEN_IN, OPEN_OUT)))

    assert not rig.to_two(version=version, port=7, source_port=999)
    assert not rig.to_two(version=version, port=80)
    assert not rig.host.passes(rig.two, rig.one, version=version, port=80)


@BOTH
def test_tunnels_from_workloads_are_dropped(rig: Rig, version: int) -> None:
    """VXLAN and IP in IP would carry packets past policy."""
    rig.host.apply(rig.guarded(rule(ALLOW)))

    assert not rig.to_two(version=version, protocol=UDP, port=4789)
    assert not rig.to_two(version=version, protocol=4)
    assert rig.to_two(version=version, protocol=TCP, port=4789)


@BOTH
def test_fragments_go_where_their_first_one_may(rig: Rig, version: int) -> None:
    """Only the first has ports. The host puts them together before it looks, and takes them apart again."""
    rig.host.apply(rig.guarded(rule(ALLOW, UDP, side(ports="70"))))

    assert _datagram_passes(rig, version, 70, 4000)
    assert not _datagram_passes(rig, version, 71, 4000)


@BOTH
def test_a_connection_outlives_the_policy_that_let_it_in(rig: Rig, version: int) -> None:
    """Policy is asked about a flow's first packet. A new flow meets the new policy."""
    family, two = (AF_INET, rig.two.v4) if version == 4 else (AF_INET6, rig.two.v6)
    rig.host.apply(rig.guarded(rule(ALLOW, TCP, side(ports="7070"))))
    with ExitStack() as stack:
        door = stack.enter_context(closing(own_socket(rig.two.space, family, SOCK_STREAM)))
        door.bind((two, 7070))
        door.listen()
        client = stack.enter_context(closing(own_socket(rig.one.space, family, SOCK_STREAM)))
        client.settimeout(2)
        client.connect((two, 7070))
        server = stack.enter_context(closing(door.accept()[0]))
        server.settimeout(2)

        rig.host.apply(rig.guarded(rule(DENY)))
        client.sendall(b"still there?")
        assert server.recv(100) == b"still there?"
        server.sendall(b"yes")
        assert client.recv(100) == b"yes"
        late = stack.enter_context(closing(own_socket(rig.one.space, family, SOCK_STREAM)))
        late.settimeout(nftrig.DEADLINE)
        with pytest.raises(TimeoutError):
            late.connect((two, 7070))


def _datagram_passes(rig: Rig, version: int, port: int, size: int) -> bool:
    family, two = (AF_INET, rig.two.v4) if version == 4 else (AF_INET6, rig.two.v6)
    with (
        closing(own_socket(rig.two.space, family, SOCK_DGRAM)) as ear,
        closing(own_socket(rig.one.space, family, SOCK_DGRAM)) as mouth,
    ):
        ear.bind((two, port))
        ear.settimeout(nftrig.DEADLINE)
        mouth.sendto(bytes(size), (two, port))
        try:
            return len(ear.recv(65536)) == size
        except TimeoutError:
            return False


def _icmp(version: int) -> int:
    return ICMP if version == 4 else ICMP6


def _echo(version: int) -> int:
    return 8 if version == 4 else 128


def test_rules_that_differ_in_their_port_alone_count_each_for_itself(rig: Rig) -> None:
    """Only what a rule lets through, and where two mean the same port it is the first one's."""
    rules = [rule(ALLOW, UDP, side(ports=ports), side(sets="friends"), index=number)
             for number, ports in enumerate(("80", "81-83", "443", "81 90"), 10)]
    for family in ("10.65.0.1", "fd65::1"):
        rig.host.apply(rig.guarded(friends=""))
        rig.host.apply(rig.guarded(*rules, friends=family))
        version = 6 if ":" in family else 4
        passed = {port: rig.to_two(version=version, port=port) for port in (79, 80, 81, 83, 84, 90, 90, 443, 444)}
        assert [port for port, passes in passed.items() if passes] == [80, 81, 83, 90, 443]
        assert not rig.to_two(rig.three, version=version, port=443)

        counted = asyncio.run(rig.host.counters())
        packets = [counted.get(f"GlobalNetworkPolicy/p ingress {number}", (0, 0))[0] for number in range(10, 14)]
        assert packets == [1, 2, 1, 2]

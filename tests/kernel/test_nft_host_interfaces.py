"""Policy of the host itself: what arrives at it, what it sends, what it forwards, by the law in intent.endpoint."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

import iptrig
import netrig
import nftrig
from intents import (
    ALLOW,
    DENY,
    EGRESS,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    PASS,
    SHUT_IN,
    SHUT_OUT,
    endpoint,
    group,
    host_interface,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import Action, HostIntent, Settings
from muslin.render.iptables import marks
from muslin.render.nft import Flow, NftState
from muslin.render.nft.places import manner_of
from nftrig import DEADLINE, TCP, UDP, Host, Packet, Station, own_socket

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

HOST = {4: "10.200.0.1", 6: "fd20::1"}
BOTH = pytest.mark.parametrize("version", [4, 6])
SO_MARK = 36
SHUT = (SHUT_IN, SHUT_OUT)

WEB = policy("web", rule(ALLOW, UDP, side(ports="80")), egress=(rule(ALLOW, UDP, side(ports="80")),))
WEB_IN, WEB_OUT = group(INGRESS, tier(WEB)), group(EGRESS, tier(WEB))
DENY_ALL = policy("none", rule(DENY), egress=(rule(DENY),))
NOT_81 = policy("not-81", rule(DENY, UDP, side(ports="81")), egress=(rule(DENY, UDP, side(ports="81")),))
"""For groups whose end lets the rest go on."""


def _onward(*policies, direction=INGRESS, end: Action = ALLOW):
    return group(direction, tier(*policies, default=PASS), end=end)


class Rig:
    """The host with `up0` and `up1` to the world outside, and workload 1."""

    def __init__(self, host: Host, up0: Station, up1: Station, one: Station) -> None:
        self.host, self.up0, self.up1, self.one = host, up0, up1, one
        self.bit = marks(Settings()).accept if isinstance(host, iptrig.Host) else manner_of(Settings()).bit
        """Of the mark: accepted already."""

    def becomes(self, made: HostIntent) -> None:
        self.host.state = NftState()
        self.host.apply(made)
        netrig.in_ns(self.host.space, "conntrack", "-F")

    def hears(self, source: Station, version: int, port: int, source_port: int = 0) -> bool:
        """Does a socket of the host on that port get a datagram from there?"""
        with closing(self._socket(version, port)) as ear:
            packet = Packet(_of(source, version), HOST[version], UDP, port, source_port)
            token = source.send(packet)
            try:
                return token in ear.recv(2048)
            except TimeoutError:
                return False

    def says(self, destination: Station, version: int, port: int, source_port: int = 0, mark: int = 0) -> bool:
        """Does a datagram of the host arrive there?"""
        token = os.urandom(8)
        with closing(self._socket(version, source_port)) as mouth:
            if mark:
                mouth.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            try:
                mouth.sendto(token, (_of(destination, version), port))
            except PermissionError:  # dropped before it left
                return False
            return destination.hears(token, DEADLINE)

    def passes(self, source: Station, destination: Station, version: int, port: int) -> bool:
        return self.host.passes(source, destination, version=version, port=port)

    def _socket(self, version: int, port: int) -> socket.socket:
        found = own_socket(self.host.space, socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST[version], port))
        found.settimeout(DEADLINE)
        return found


def _of(station: Station, version: int) -> str:
    return station.v4 if version == 4 else station.v6


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        for address in (f"{HOST[4]}/32", f"{HOST[6]}/128"):
            netrig.run("ip", "-n", host.space, "addr", "add", address, "dev", "lo")
        yield Rig(host, *(stack.enter_context(nftrig.station(host, number, interface))
                          for number, interface in ((9, "up0"), (8, "up1"), (1, ""))))


ONE = endpoint(1, OPEN_IN, OPEN_OUT)


@BOTH
def test_a_covered_interface_lets_in_and_out_what_policy_allows(rig: Rig, version: int) -> None:
    """And the one beside it is none of our business."""
    rig.becomes(intent(WEB, WEB_IN, WEB_OUT, host_interface("up0", WEB_IN, WEB_OUT)))

    assert [rig.hears(rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert [rig.says(rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert rig.hears(rig.up1, version, 81)
    assert rig.says(rig.up1, version, 81)


@BOTH
def test_without_policy_only_failsafes_pass_and_only_for_their_prefix(rig: Rig, version: int) -> None:
    """A host endpoint that nothing selects must not lock its owner out."""
    prefix = "10.65.0.9/32" if version == 4 else "fd65::9/128"
    stranger = "10.65.0.8/32" if version == 4 else "fd65::8/128"
    failsafes = ((UDP, 22, ""), (UDP, 23, prefix), (UDP, 24, stranger), (TCP, 25, ""))
    settings = Settings(failsafe_inbound=failsafes, failsafe_outbound=tuple((p, n + 10, c) for p, n, c in failsafes))
    rig.becomes(intent(*SHUT, host_interface("up0"), settings=settings))

    assert [rig.hears(rig.up0, version, port) for port in (22, 23, 24, 25, 32)] == [True, True, False, False, False]
    assert [rig.says(rig.up0, version, port) for port in (32, 33, 34, 35, 22)] == [True, True, False, False, False]


@BOTH
def test_answers_to_the_host_s_own_flows_come_in(rig: Rig, version: int) -> None:
    rig.becomes(intent(WEB, WEB_OUT, *SHUT, host_interface("up0", SHUT_IN, WEB_OUT)))

    assert not rig.hears(rig.up0, version, 7000, 80)
    assert rig.says(rig.up0, version, 80, 7000)
    assert rig.hears(rig.up0, version, 7000, 80)


@BOTH
def test_a_missing_policy_list_shuts_the_interface(rig: Rig, version: int) -> None:
    rig.becomes(intent(host_interface("up0", WEB_IN, WEB_OUT)))

    assert not rig.hears(rig.up0, version, 80)
    assert not rig.says(rig.up0, version, 80)


@BOTH
def test_invalid_packets_are_dropped_at_covered_interfaces_only(rig: Rig, version: int) -> None:
    """A TCP packet with every flag set is invalid to conntrack; seen by a raw socket of the host."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    everything = policy("all", rule(ALLOW), egress=(rule(ALLOW),))
    into, out = group(INGRESS, tier(everything)), group(EGRESS, tier(everything))
    for drop in (True, False):
        settings = Settings(drop_invalid=drop)
        rig.becomes(intent(everything, into, out, host_interface("up0", into, out), settings=settings))
        with closing(own_socket(rig.host.space, family, socket.SOCK_RAW, TCP)) as ear:
            for station, heard in ((rig.up0, not drop), (rig.up1, True)):
                token = station.send(Packet(_of(station, version), HOST[version], TCP, 80, flags=0x3F))
                assert _hears(ear, token) is heard


def _hears(ear: socket.socket, token: bytes) -> bool:
    ear.settimeout(DEADLINE)
    try:
        while token not in ear.recv(2048):
            pass
    except TimeoutError:
        return False
    return True


@BOTH
def test_what_comes_in_to_be_forwarded_meets_forward_policy_and_then_the_receiver_s(rig: Rig, version: int) -> None:
    """Both must allow; nothing decided: it goes on. The list for the host itself is not asked."""
    through = _onward(NOT_81)
    aside = (*SHUT, NOT_81, through, host_interface("up0", forward_ingress=through))
    rig.becomes(intent(*OPEN, ONE, *aside))
    assert [rig.passes(rig.up0, rig.one, version, port) for port in (80, 81)] == [True, False]
    assert [rig.passes(rig.up0, rig.up1, version, port) for port in (80, 81)] == [True, False]
    assert rig.passes(rig.up1, rig.one, version, 81)

    rig.becomes(intent(*OPEN, endpoint(1, SHUT_IN, OPEN_OUT), *aside))
    assert not rig.passes(rig.up0, rig.one, version, 80)


@BOTH
def test_allow_for_what_is_forwarded_is_no_allow_of_the_receiver(rig: Rig, version: int) -> None:
    """Allow of one list is final for that list alone."""
    through = _onward(WEB)
    aside = (*SHUT, WEB, through, host_interface("up0", forward_ingress=through))
    rig.becomes(intent(*OPEN, endpoint(1, SHUT_IN, OPEN_OUT), *aside))

    assert not rig.passes(rig.up0, rig.one, version, 80)


@BOTH
def test_what_leaves_the_host_meets_forward_policy_last(rig: Rig, version: int) -> None:
    """From a workload, whose own policy is asked first, and from the world outside."""
    through = _onward(NOT_81, direction=EGRESS)
    aside = (*SHUT, NOT_81, through, host_interface("up0", forward_egress=through))
    rig.becomes(intent(*OPEN, ONE, *aside))
    assert [rig.passes(rig.one, rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert [rig.passes(rig.up1, rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert rig.passes(rig.one, rig.up1, version, 81)

    rig.becomes(intent(*OPEN, endpoint(1, OPEN_IN, SHUT_OUT), *aside))
    assert not rig.passes(rig.one, rig.up0, version, 80)


@BOTH
def test_in_at_one_covered_interface_and_out_at_another_both_must_allow(rig: Rig, version: int) -> None:
    inwards, outwards = _onward(NOT_81), _onward(policy("p", egress=(rule(DENY, UDP, side(ports="82")),)),
                                                 direction=EGRESS)
    rig.becomes(intent(
        *SHUT, NOT_81, policy("p", egress=(rule(DENY, UDP, side(ports="82")),)), inwards, outwards,
        host_interface("up0", forward_ingress=inwards), host_interface("up1", forward_egress=outwards),
    ))

    assert [rig.passes(rig.up0, rig.up1, version, port) for port in (80, 81, 82)] == [True, False, False]
    assert [rig.passes(rig.up1, rig.up0, version, port) for port in (80, 81, 82)] == [True, True, True]


@BOTH
def test_established_flows_are_forwarded_both_ways(rig: Rig, version: int) -> None:
    outwards = _onward(DENY_ALL, direction=EGRESS)
    rig.becomes(intent(*OPEN, ONE, *SHUT, DENY_ALL, outwards, host_interface("up0", forward_egress=outwards)))

    asked = nftrig.between(rig.up0, rig.one, version, port=80, source_port=7001)
    answer = nftrig.between(rig.one, rig.up0, version, port=7001, source_port=80)
    assert not rig.host.passes(rig.one, rig.up0, answer)
    assert rig.host.passes(rig.up0, rig.one, asked)
    assert rig.host.passes(rig.one, rig.up0, answer)


@BOTH
def test_the_rest_is_covered_by_the_star(rig: Rig, version: int) -> None:
    """Not the loopback, nor an interface with a host endpoint of its own; a workload's packets to its host and the
    host's to it neither. Through the host they meet the star's list as well as their own."""
    through = _onward(NOT_81)
    settings = Settings(endpoint_to_host_action="Accept")
    rig.becomes(intent(
        *OPEN, ONE, *SHUT, WEB, WEB_IN, WEB_OUT, NOT_81, through, host_interface("up0", WEB_IN, WEB_OUT),
        host_interface("*", forward_ingress=through), settings=settings,
    ))

    assert [rig.hears(rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert [rig.hears(rig.up1, version, port) for port in (80, 81)] == [False, False]
    assert rig.says(rig.up0, version, 80)
    assert not rig.says(rig.up1, version, 80)
    assert [rig.passes(rig.up1, rig.one, version, port) for port in (80, 81)] == [True, False]
    assert rig.passes(rig.up0, rig.one, version, 81)
    assert [rig.passes(rig.one, rig.up0, version, port) for port in (80, 81)] == [True, False]
    assert rig.hears(rig.one, version, 81)
    assert rig.says(rig.one, version, 81)
    with closing(rig._socket(version, 4444)) as ear:
        ear.sendto(b"myself", (HOST[version], 4444))
        assert ear.recv(100) == b"myself"


@BOTH
def test_an_undeclared_interface_stays_shut_under_a_star_that_allows_all(rig: Rig, version: int) -> None:
    """No packet before policy: neither to the host nor through it, in no direction."""
    everything = policy("all", rule(ALLOW), egress=(rule(ALLOW),))
    into, out = group(INGRESS, tier(everything)), group(EGRESS, tier(everything))
    through, leave = _onward(everything), _onward(everything, direction=EGRESS)
    raw = _onward(everything, end=PASS)
    rig.becomes(intent(
        everything, into, out, through, leave, raw,
        host_interface("*", into, out, forward_ingress=through, forward_egress=leave, untracked_ingress=raw),
        settings=Settings(endpoint_to_host_action="Accept"),
    ))

    assert rig.passes(rig.up0, rig.up1, version, 80)
    assert not rig.passes(rig.one, rig.up0, version, 80)
    assert not rig.passes(rig.up0, rig.one, version, 80)
    assert not rig.hears(rig.one, version, 80)


@BOTH
def test_untracked_policy_decides_before_there_is_a_flow(rig: Rig, version: int) -> None:
    """Allow: no flow is made, and the list for the host is not asked. What it does not decide goes on, tracked."""
    raw_in = _onward(WEB, NOT_81, end=PASS)
    raw_out = _onward(WEB, NOT_81, direction=EGRESS, end=PASS)
    beyond = policy("beyond", rule(ALLOW, UDP, side(ports="81-82")), egress=(rule(ALLOW, UDP, side(ports="81-82")),))
    into, out = group(INGRESS, tier(beyond)), group(EGRESS, tier(beyond))
    rig.becomes(intent(
        WEB, NOT_81, beyond, into, out, raw_in, raw_out,
        host_interface("up0", into, out, untracked_ingress=raw_in, untracked_egress=raw_out),
    ))

    for ask in (rig.hears, rig.says):
        netrig.in_ns(rig.host.space, "conntrack", "-F")
        assert ask(rig.up0, version, 80)
        assert _flows(rig, version) == 0
        assert not ask(rig.up0, version, 81)
        assert ask(rig.up0, version, 82)
        assert _flows(rig, version) == 1
        assert not ask(rig.up0, version, 83)


def _flows(rig: Rig, version: int) -> int:
    listed = netrig.in_ns(rig.host.space, "conntrack", "-L", "-f", f"ipv{version}", check=False)
    return sum(line.startswith("udp") for line in listed.splitlines())


@BOTH
def test_failsafes_and_their_answers_pass_untracked_policy(rig: Rig, version: int) -> None:
    """It knows no flows, so it must know the answers by their ports. They go on, tracked."""
    raw_in, raw_out = _onward(DENY_ALL, end=PASS), _onward(DENY_ALL, direction=EGRESS, end=PASS)
    settings = Settings(failsafe_inbound=((UDP, 22, ""),), failsafe_outbound=((UDP, 53, ""),))
    rig.becomes(intent(
        *SHUT, DENY_ALL, raw_in, raw_out,
        host_interface("up0", untracked_ingress=raw_in, untracked_egress=raw_out), settings=settings,
    ))

    assert rig.hears(rig.up0, version, 22, 7002)
    assert rig.says(rig.up0, version, 7002, 22)
    assert rig.says(rig.up0, version, 53, 7003)
    assert rig.hears(rig.up0, version, 7003, 53)
    assert not rig.hears(rig.up0, version, 7004, 54)
    assert not rig.hears(rig.up0, version, 7005, 53), "without a question it is no answer to the host's own list"


@BOTH
def test_pre_dnat_policy_decides_before_the_host_s_own(rig: Rig, version: int) -> None:
    """Deny is final, also for what would be forwarded; Allow is final for the host; the rest goes on."""
    early = _onward(WEB, NOT_81, end=PASS)
    rig.becomes(intent(*OPEN, ONE, *SHUT, WEB, NOT_81, early, host_interface("up0", pre_dnat=early)))

    assert [rig.hears(rig.up0, version, port) for port in (80, 81, 82)] == [True, False, False]
    assert [rig.passes(rig.up0, rig.one, version, port) for port in (80, 81, 82)] == [True, False, True]
    assert rig.hears(rig.up1, version, 81)


@BOTH
def test_pre_dnat_lets_established_and_failsafes_pass(rig: Rig, version: int) -> None:
    early = _onward(DENY_ALL, end=PASS)
    settings = Settings(failsafe_inbound=((UDP, 22, ""),))
    covered = host_interface("up0", SHUT_IN, OPEN_OUT, pre_dnat=early)
    rig.becomes(intent(*OPEN, *SHUT, DENY_ALL, early, covered, settings=settings))

    assert rig.hears(rig.up0, version, 22)
    assert not rig.hears(rig.up0, version, 7006, 80)
    assert rig.says(rig.up0, version, 80, 7006)
    assert rig.hears(rig.up0, version, 7006, 80)


@BOTH
@pytest.mark.parametrize("sort", ["untracked_ingress", "pre_dnat"])
def test_accepted_early_is_accepted_for_that_interface_and_for_nobody_else(rig: Rig, version: int, sort: str) -> None:
    """Not for the receiver, and not for the interface by which it leaves."""
    early, inwards, outwards = _onward(WEB, end=PASS), _onward(DENY_ALL), _onward(NOT_81, direction=EGRESS)
    aside = (WEB, DENY_ALL, NOT_81, early, inwards, outwards, *SHUT,
             host_interface("up0", forward_ingress=inwards, **{sort: early}),
             host_interface("up1", forward_egress=outwards))
    rig.becomes(intent(*OPEN, endpoint(1, SHUT_IN, OPEN_OUT), *aside))
    assert rig.hears(rig.up0, version, 80)
    assert not rig.passes(rig.up0, rig.one, version, 80)

    rig.becomes(intent(*OPEN, ONE, *aside))
    assert [rig.passes(rig.up0, rig.one, version, port) for port in (80, 82)] == [True, False]
    assert rig.passes(rig.up0, rig.up1, version, 80)

    closed = policy("closed", egress=(rule(DENY, UDP, side(ports="80")),))
    outwards = _onward(closed, direction=EGRESS)
    rig.becomes(intent(WEB, DENY_ALL, closed, early, inwards, outwards, *SHUT,
                       host_interface("up0", forward_ingress=inwards, **{sort: early}),
                       host_interface("up1", forward_egress=outwards)))
    assert not rig.passes(rig.up0, rig.up1, version, 80)


@BOTH
def test_a_workload_s_packet_meets_what_the_star_asks_early(rig: Rig, version: int) -> None:
    """Allow there is no way round its own policy, nor to its host."""
    for sort in ("untracked_ingress", "pre_dnat"):
        early = _onward(WEB, NOT_81, end=PASS)
        star = (WEB, NOT_81, early, *SHUT, host_interface("*", **{sort: early}))
        rig.becomes(intent(*OPEN, ONE, *star))
        assert [rig.passes(rig.one, rig.up0, version, port) for port in (80, 81, 82)] == [True, False, True]
        assert not rig.hears(rig.one, version, 80)

        rig.becomes(intent(*OPEN, endpoint(1, OPEN_IN, SHUT_OUT), *star))
        assert not rig.passes(rig.one, rig.up0, version, 80)


@BOTH
def test_the_bit_that_remembers_comes_from_nobody_else_and_goes_to_nobody(rig: Rig, version: int) -> None:
    """A process of the host that sets it gains nothing; behind us no hook sees it; other bits are left alone."""
    early, leave = _onward(WEB, end=PASS), _onward(WEB, direction=EGRESS, end=PASS)
    rig.becomes(intent(
        *OPEN, ONE, *SHUT, WEB, early, leave,
        host_interface("up0", untracked_ingress=early, untracked_egress=leave, pre_dnat=early),
    ))
    netrig.run("ip", "netns", "exec", rig.host.space, "nft", "-f", "-", stdin="""
        table inet witness {
            counter leaked { }
            counter kept { }
            chain i { type filter hook input priority 10; meta mark & 0xffff0000 != 0 counter name leaked; }
            chain f { type filter hook forward priority 10; meta mark & 0xffff0000 != 0 counter name leaked; }
            chain p { type filter hook postrouting priority 10; meta mark & 0xffff0000 != 0 counter name leaked
                      meta mark 5 counter name kept; }
        }""")
    try:
        assert not rig.says(rig.up0, version, 81, mark=rig.bit)
        assert rig.says(rig.up0, version, 80, mark=rig.bit | 5)
        assert rig.hears(rig.up0, version, 80)
        assert rig.passes(rig.up0, rig.one, version, 80)
        listed = netrig.in_ns(rig.host.space, "nft", "list", "table", "inet", "witness")
    finally:
        netrig.in_ns(rig.host.space, "nft", "delete", "table", "inet", "witness")
    assert _counted(listed, "leaked") == "0"
    assert _counted(listed, "kept") == "1"


def _counted(listed: str, counter: str) -> str:
    return listed.split(f"counter {counter} {{")[1].split("packets ")[1].split(maxsplit=1)[0]


@BOTH
def test_a_denied_packet_may_be_told_so(rig: Rig, version: int) -> None:
    """A reset for TCP, an ICMP error else; to and from the host, and for workloads."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    rig.becomes(intent(
        *OPEN, endpoint(1, SHUT_IN, SHUT_OUT), *SHUT, host_interface("up0", SHUT_IN, OPEN_OUT), OPEN_OUT,
        settings=Settings(filter_deny="Reject"),
    ))

    one, up1 = _of(rig.one, version), _of(rig.up1, version)
    for source, target in ((rig.up0, HOST[version]), (rig.up0, one), (rig.one, up1)):
        with closing(own_socket(source.space, family, socket.SOCK_STREAM)) as client:
            client.settimeout(2)
            with pytest.raises(ConnectionRefusedError):
                client.connect((target, 80))
        with closing(own_socket(source.space, family, socket.SOCK_DGRAM)) as client:
            client.settimeout(2)
            client.connect((target, 80))
            client.send(b"hello")
            with pytest.raises(OSError, match=r"No route to host|Permission denied|unreachable"):
                client.recv(10)


@BOTH
def test_a_cut_flow_is_opened_by_neither_end_of_the_host(rig: Rig, version: int) -> None:
    """What the host still sends in it would make what comes in an answer."""
    rig.becomes(intent(*OPEN, OPEN_IN, OPEN_OUT, host_interface("up0", OPEN_IN, OPEN_OUT)))
    rig.host.cut([Flow(_of(rig.up0, version), HOST[version], UDP, 7007, 80)], 60)

    assert not rig.hears(rig.up0, version, 80, 7007)
    assert not rig.says(rig.up0, version, 7007, 80)
    assert rig.hears(rig.up0, version, 80, 7008)


def test_the_host_s_table_is_changed_under_traffic_without_a_loss_or_a_leak(rig: Rig) -> None:
    """From a named interface to the star and back, with untracked and pre-DNAT lists coming and going."""
    many = [policy(f"p{number}", rule(ALLOW, TCP, side(ports=f"{number + 1}"))) for number in range(60)]
    wide, early = group(INGRESS, tier(*many, WEB)), _onward(WEB, end=PASS)
    ways = [
        intent(WEB, WEB_IN, SHUT_OUT, host_interface("up0", WEB_IN)),
        intent(WEB, *many, wide, SHUT_OUT, host_interface("*", wide)),
        intent(WEB, *SHUT, early, host_interface("up0", untracked_ingress=early)),
        intent(WEB, *SHUT, early, host_interface("*", pre_dnat=early)),
        intent(WEB, *many, wide, early, host_interface("up0", wide, pre_dnat=early), host_interface("*"), *SHUT),
    ]
    rig.becomes(ways[0])
    space, host = rig.up0.space, rig.host
    with (
        nftrig.probe(space, host.space, HOST[4], 80) as allowed, nftrig.probe(space, host.space, HOST[4], 81) as denied,
    ):
        for made in (each for _ in nftrig.rounds(6, (allowed, denied)) for each in ways):
            host.apply(made)
    assert min(allowed.sent, denied.sent) > 200
    assert allowed.heard == allowed.sent
    assert denied.heard == 0

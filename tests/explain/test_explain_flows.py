"""Flows by the thousand: the judge, which asks once for each class of them, says what a packet's journey says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import msgspec
import pytest

from intents import (
    ALLOW,
    ALLOW_ALL,
    DENY,
    EGRESS,
    INGRESS,
    OPEN_IN,
    OPEN_OUT,
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
from muslin.explain import Packet
from muslin.explain.decision import Outcome
from muslin.explain.flow_classes import packed
from muslin.explain.flows import Judge
from muslin.explain.journey import Gate, Journey, journey
from muslin.explain.translation import applied, of_destination
from muslin.intent import Action, EndpointKey, GroupId, HostIntent, HostInterface, Published, Settings
from muslin.net import TrackedFlow
from prove import aim, site, worlds
from prove.flight import Flight
from prove.opinions import Site

SEED = int(os.environ.get("MUSLIN_SEED", "50"))
OWN = {packed(address) for both in site.INTERFACES.values() for address in both} | {
    packed(site.GATEWAY[0]), packed("255.255.255.255")}


def flow(packet: Packet, *, to: str = "") -> TrackedFlow:
    """Of which that is the first packet; `to`: the receiver behind the translation."""
    source, there, receiver = (ip_address(text).packed for text in (packet.source, packet.destination,
                                                                    to or packet.destination))
    port, source_port = packet.destination_port, packet.source_port
    if packet.icmp_type is not None:
        port, source_port = packet.icmp_type << 8 | packet.icmp_code, 77
    return TrackedFlow(packet.protocol, source, source_port, there, port, receiver, port, source, source_port)


@pytest.mark.slow
def test_the_judge_says_of_every_flow_what_its_first_packets_journey_says() -> None:
    """Random worlds with host endpoints and floating addresses, packets aimed at the edges of their rules, and more
    that differ in one thing only. One judge for all of a world's flows, so that a class which is too wide answers for
    a flow that is not in it."""
    told = {Action.ALLOW: 0, Action.DENY: 0}
    for seed in range(SEED, SEED + 30):
        random, place = Random(seed), Site({})
        objects = worlds.world(random)
        place.becomes(objects)
        for whole in halves(place.intent):
            judge = Judge(whole, own=OWN, ways=Ways())
            flights = [flight for flight in aim.flights(random, objects, 60) if is_known(flight)]
            for arrives, packet in relatives(random, flights):
                way, receiver = journeyed(whole, arrives, packet)
                if way is None:
                    continue
                told[way.verdict] += 1
                found = judge.denial(flow(packet, to=receiver))
                assert (found is not None) == (way.verdict is Action.DENY), (
                    f"MUSLIN_SEED={seed}: {arrives} {packet}: {found}; "
                    + "; ".join(f"{one.gate} {one.outcome}" for one in way.passages))
    assert min(told.values()) > 2000, told


class Ways(dict[bytes, str]):
    """As the routes of the host say."""

    def get(self, address: bytes, default: Any = "") -> str:
        return site.exit_to(str(ip_address(address)))


def is_known(flight: Flight) -> bool:
    """Conntrack does not say by which interface a flow began: its source does."""
    source = ip_address(flight.packet.source)
    if any(source in ip_network(prefix) for prefix in site.SPOOFABLE):
        return False
    return site.exit_to(flight.packet.source) == flight.arrives and not source.is_link_local


def journeyed(told: HostIntent, arrives: str, packet: Packet) -> tuple[Journey | None, str]:
    """Its journey, and to whom; None for one that makes no flow which conntrack and the judge could know."""
    translation = of_destination(told, packet) if arrives != site.HOST else None
    receiver = applied(packet, translation).destination
    leaves = site.exit_to(receiver)
    if arrives == leaves or ip_address(receiver).is_link_local or packet.source == receiver:
        return None, receiver
    way = journey(told, packet, arrives_by=None if arrives == site.HOST else arrives,
                  leaves_by=None if leaves == site.HOST else leaves)
    nobodys = any(one.gate is Gate.NOBODYS for one in way.passages)
    untracked = not way.tracked or any(one.gate is Gate.UNTRACKED and one.outcome is Outcome.DENY
                                       for one in way.passages)
    return (None if nobodys or untracked else way), receiver


def relatives(random: Random, flights: list[Flight]) -> Iterator[tuple[str, Packet]]:
    """Each, and some that differ in one thing only: these are the ones that a class too wide would swallow."""
    replace = msgspec.structs.replace
    for arrives, given, *_ in flights:
        packet = Packet(given.source, given.destination, given.protocol, given.destination_port, given.source_port,
                        given.icmp_type, given.icmp_code)
        others = [(by, other) for by, other, *_ in flights
                  if other.version == packet.version and other.protocol == packet.protocol]
        yield arrives, packet
        for by, other in random.sample(others, min(3, len(others))):
            yield by, replace(packet, source=other.source)
            yield arrives, replace(packet, destination=other.destination)
            yield arrives, replace(packet, destination_port=other.destination_port, icmp_type=other.icmp_type)
            yield arrives, replace(packet, source_port=other.source_port, icmp_code=other.icmp_code)


def halves(whole: HostIntent) -> tuple[HostIntent, ...]:
    """Only what workloads may send, and only what they may receive: else most packets are denied twice over."""
    open_groups = {OPEN_IN.id: OPEN_IN, OPEN_OUT.id: OPEN_OUT}
    return tuple(
        msgspec.structs.replace(
            whole, policies=whole.policies | {ALLOW_ALL.id: ALLOW_ALL}, groups=whole.groups | open_groups,
            endpoints={key: msgspec.structs.replace(one, **opened) for key, one in whole.endpoints.items()},
        )
        for opened in ({"ingress": OPEN_IN.id}, {"egress": OPEN_OUT.id})
    )


def test_a_flow_is_judged_by_the_workloads_own_address_not_by_the_floating_one() -> None:
    shut = policy("shut", rule(DENY, to=side(nets="10.65.0.1/32")), rule(ALLOW))
    shut_in = group(INGRESS, tier(shut))
    judge = Judge(intent(shut, shut_in, OPEN_OUT, ALLOW_ALL, endpoint(1, shut_in, OPEN_OUT)))

    found = judge.denial(flow(Packet("192.0.2.9", "203.0.113.1", 6, 80), to="10.65.0.1"))

    assert found is not None
    assert found.origin.rule == 0


def test_what_the_host_itself_sends_to_a_workload_is_not_asked() -> None:
    shut_in, shut_out = group(INGRESS), group(EGRESS)
    told = intent(shut_in, shut_out, endpoint(1, shut_in, shut_out))
    packet = flow(Packet("192.0.2.9", "10.65.0.1", 6, 80))

    assert Judge(told).denial(packet) is not None
    assert Judge(told, own={packed("192.0.2.9")}).denial(packet) is None


def test_what_a_workload_sends_to_its_host_is_what_the_settings_say() -> None:
    told = intent(ALLOW_ALL, OPEN_OUT, group(INGRESS), endpoint(1, group(INGRESS), OPEN_OUT))
    own, packet = {packed("192.0.2.9")}, flow(Packet("10.65.0.1", "192.0.2.9", 6, 80))

    assert Judge(told, own=own).denial(packet) is not None
    told.settings = Settings(endpoint_to_host_action="Accept")
    assert Judge(told, own=own).denial(packet) is None


def test_data_of_a_session_shares_the_fate_of_what_it_is_a_part_of() -> None:
    """A helper let it in as related; no rule speaks of its port."""
    ftp = policy("ftp", rule(ALLOW, 6, to=side(ports="21")))
    inwards = group(INGRESS, tier(ftp))
    judge = Judge(intent(ftp, inwards, OPEN_OUT, ALLOW_ALL, endpoint(1, inwards, OPEN_OUT)))
    control = flow(Packet("192.0.2.9", "10.65.0.1", 6, 21))
    data = flow(Packet("192.0.2.9", "10.65.0.1", 6, 3333))

    assert judge.denial(data) is not None
    assert judge.denial(data._replace(parent=control)) is None


def test_an_address_that_may_be_spoofed_is_the_workloads_too() -> None:
    outwards = group(EGRESS)
    judge = Judge(intent(group(INGRESS), outwards, endpoint(1, group(INGRESS), outwards, spoofable="10.99.0.0/16")))

    assert judge.denial(flow(Packet("10.99.3.4", "192.0.2.9", 17, 53))) is not None
    assert judge.denial(flow(Packet("10.98.3.4", "192.0.2.9", 17, 53))) is None, "nobody of ours"


def test_a_set_whose_members_changed_is_read_anew() -> None:
    """What was read of a set is kept from one judge to the next, as long as it is the same set."""
    known: dict[Any, Any] = {}
    only = policy("only", rule(ALLOW, by=side(sets="friends")))
    inwards = group(INGRESS, tier(only))
    parts = (only, inwards, OPEN_OUT, ALLOW_ALL, endpoint(1, inwards, OPEN_OUT))
    packet = flow(Packet("192.0.2.9", "10.65.0.1", 6, 80))

    assert Judge(intent(*parts, addresses("friends", "10.0.0.1/32")), lengths=known).denial(packet) is not None
    assert Judge(intent(*parts, addresses("friends", "192.0.2.0/24")), lengths=known).denial(packet) is None


def test_two_addresses_that_no_list_tells_apart_may_be_told_apart_by_a_named_port() -> None:
    only = policy("only", rule(ALLOW, 6, to=side(named="http")))
    inwards = group(INGRESS, tier(only))
    judge = Judge(intent(only, inwards, OPEN_OUT, ALLOW_ALL, endpoint(1, inwards, OPEN_OUT),
                         endpoint(2, inwards, OPEN_OUT), ports("http", ("10.65.0.1", 6, 8080))))

    assert judge.denial(flow(Packet("192.0.2.9", "10.65.0.2", 6, 8080))) is not None
    assert judge.denial(flow(Packet("192.0.2.9", "10.65.0.1", 6, 8080))) is None


def test_what_pre_dnat_policy_accepts_passes_its_interfaces_own_policies() -> None:
    """For the host itself as well as for a workload behind a floating address."""
    opens = msgspec.structs.replace(group(INGRESS, profiles=(ALLOW_ALL,)), id=GroupId("opens"), end=Action.PASS)
    silent = msgspec.structs.replace(group(INGRESS), id=GroupId("silent"), end=Action.PASS)
    shut = group(INGRESS)
    told = intent(ALLOW_ALL, OPEN_IN, OPEN_OUT, opens, silent, shut, endpoint(1, OPEN_IN, OPEN_OUT))
    own = {packed("192.0.2.1")}
    to_host = flow(Packet("198.51.100.9", "192.0.2.1", 6, 80))
    to_workload = flow(Packet("198.51.100.9", "203.0.113.1", 6, 80), to="10.65.0.1")
    for before, denied in ((opens, False), (silent, True)):
        covered = HostInterface(key=EndpointKey("HostEndpoint/up"), interface="*", ingress=shut.id, egress=shut.id,
                                forward_ingress=shut.id, pre_dnat=before.id)
        told.host_interfaces[covered.key] = covered
        judge = Judge(told, own=own)
        assert (judge.denial(to_host) is not None) == denied
        assert (judge.denial(to_workload) is not None) == denied


def test_a_flow_is_misled_when_its_destination_leads_to_somebody_else_now() -> None:
    """Conntrack goes on translating as it began. What others translate is theirs, and what the host itself answers."""
    one, two = (endpoint(number, OPEN_IN, OPEN_OUT) for number in (1, 2))
    published = (Published(protocol=6, host_port=8080, port=80), Published(protocol=6, host_port=9090, port=90,
                                                                           host_address="192.0.2.1"))
    two = msgspec.structs.replace(two, nat=(("203.0.113.7", "10.65.0.2"),), published=published)
    own = {packed("192.0.2.1"), packed("192.0.2.2")}
    judge = Judge(intent(ALLOW_ALL, OPEN_IN, OPEN_OUT, one, two, settings=Settings(floating_addresses=True)), own=own)

    def misled(destination: str, port: int, receiver: str, receiver_port: int = 0) -> bool:
        made = flow(Packet("198.51.100.9", destination, 6, port), to=receiver)
        return judge.is_misled(made._replace(receiver_port=receiver_port or port))

    assert misled("203.0.113.7", 80, "10.65.0.1")
    assert misled("203.0.113.7", 80, "203.0.113.7"), "began when it led nowhere"
    assert not misled("203.0.113.7", 80, "10.65.0.2")
    assert misled("192.0.2.2", 8080, "10.65.0.1", 80)
    assert misled("192.0.2.2", 8080, "10.65.0.2", 81)
    assert not misled("192.0.2.2", 8080, "10.65.0.2", 80)
    assert misled("192.0.2.1", 9090, "10.65.0.1", 90)
    assert not misled("192.0.2.2", 9090, "10.65.0.1", 90), "at that address it is not published: somebody else's work"
    assert not misled("192.0.2.1", 8080, "192.0.2.1"), "the host's own"
    assert not misled("198.51.100.1", 80, "10.65.0.1", 8080), "a stranger's translation"

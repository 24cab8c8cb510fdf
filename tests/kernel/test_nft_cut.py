"""A flow that policy has ended stays ended: its packets, from either end, open it no more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

import iptrig
import netrig
import nftrig
from intents import ALLOW, INGRESS, OPEN, OPEN_IN, OPEN_OUT, endpoint, group, intent, policy, rule, tier
from muslin.agent.firewall import Firewall
from muslin.drivers.nft import Drifted, Nft
from muslin.intent import Delta, Settings
from muslin.render.nft import Flow, NftState
from nftrig import DEADLINE, TCP, UDP, Host, Packet, Station

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ACK, SYN = 0x10, 0x02
CLIENT, SERVER = 40000, 80
HOST = {4: "10.200.0.1", 6: "fd20::1"}
ALL_OPEN = intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT))
BOTH = pytest.mark.parametrize("version", [4, 6])
PORTED = pytest.mark.parametrize("protocol", [TCP, UDP])


class Rig:
    """Workloads 1 and 2, and the world outside behind `up0`."""

    def __init__(self, host: Host, one: Station, two: Station, outside: Station) -> None:
        self.host, self.one, self.two, self.outside = host, one, two, outside

    def passes(self, source: Station, destination: Station, version: int, protocol: int, *ports: int,
               flags: int = ACK) -> bool:
        packet = nftrig.between(source, destination, version, protocol=protocol, source_port=ports[0], port=ports[1],
                                flags=flags)
        return self.host.passes(source, destination, packet)

    def forget(self) -> None:
        netrig.in_ns(self.host.space, "conntrack", "-F")

    def cut(self, *flows: Flow, seconds: int = 60) -> None:
        self.host.cut(flows, seconds)


@pytest.fixture(scope="module", params=iptrig.BACKENDS)
def network(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(request.param))
        for address in (f"{HOST[4]}/32", f"{HOST[6]}/128"):
            netrig.run("ip", "-n", host.space, "addr", "add", address, "dev", "lo")
        yield Rig(host, *(stack.enter_context(nftrig.station(host, number, interface))
                          for number, interface in ((1, ""), (2, ""), (9, "up0"))))


@pytest.fixture
def rig(network: Rig) -> Rig:
    network.host.state = NftState()
    network.host.apply(ALL_OPEN)
    network.forget()
    return network


def _flow(source: Station, destination: Station, version: int, protocol: int) -> Flow:
    ends = (source.v4, destination.v4) if version == 4 else (source.v6, destination.v6)
    return Flow(*ends, protocol, CLIENT, SERVER)


@BOTH
@PORTED
def test_neither_end_opens_a_cut_flow_again(rig: Rig, version: int, protocol: int) -> None:
    """Conntrack would take the server's next segment for the first of a flow of its own; other flows go on."""
    rig.cut(_flow(rig.one, rig.two, version, protocol))

    assert not rig.passes(rig.one, rig.two, version, protocol, CLIENT, SERVER)
    assert not rig.passes(rig.two, rig.one, version, protocol, SERVER, CLIENT)
    assert rig.passes(rig.one, rig.two, version, protocol, CLIENT + 1, SERVER)
    assert rig.passes(rig.two, rig.one, version, protocol, SERVER, CLIENT + 2)


@BOTH
@pytest.mark.parametrize("from_outside", [True, False])
def test_one_end_may_be_outside(rig: Rig, version: int, from_outside: bool) -> None:
    """What comes from there meets no sender's policy on this host, only the receiver's."""
    one, other = (rig.outside, rig.one) if from_outside else (rig.one, rig.outside)
    rig.cut(_flow(one, other, version, UDP))

    assert not rig.passes(one, other, version, UDP, CLIENT, SERVER)
    assert not rig.passes(other, one, version, UDP, SERVER, CLIENT)
    assert rig.passes(one, other, version, UDP, CLIENT, SERVER + 1)


@BOTH
def test_a_tcp_connection_that_is_asked_for_is_judged_by_policy(rig: Rig, version: int) -> None:
    """The same ports may come again; once allowed, its other packets pass as those of any flow."""
    flow = _flow(rig.one, rig.two, version, TCP)
    rig.cut(flow)
    assert not rig.passes(rig.two, rig.one, version, TCP, SERVER, CLIENT, flags=SYN | ACK)

    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with (
        closing(nftrig.own_socket(rig.two.space, family, socket.SOCK_STREAM)) as server,
        closing(nftrig.own_socket(rig.one.space, family, socket.SOCK_STREAM)) as client,
    ):
        for end, port in ((server, SERVER), (client, CLIENT)):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind(("", port))
        server.listen()
        client.settimeout(5)
        client.connect((flow.destination, SERVER))
        with closing(server.accept()[0]) as answering:
            answering.sendall(b"welcome back")
            assert client.recv(100) == b"welcome back"


def test_a_flow_that_conntrack_knows_is_not_looked_for(rig: Rig) -> None:
    """An established packet pays nothing; so conntrack must forget the flow, before or after."""
    assert rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)
    assert rig.passes(rig.two, rig.one, 4, UDP, SERVER, CLIENT)
    rig.cut(_flow(rig.one, rig.two, 4, UDP))

    assert rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)
    rig.forget()
    assert not rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)


@BOTH
def test_the_host_s_own_answers_do_not_open_a_flow_for_a_workload(rig: Rig, version: int) -> None:
    """What the host sends meets no rule; what the workload sends then would be an answer."""
    rig.host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), settings=Settings(endpoint_to_host_action="Accept")))
    workload = rig.one.v4 if version == 4 else rig.one.v6
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with closing(nftrig.own_socket(rig.host.space, family, socket.SOCK_DGRAM)) as host:
        host.bind((HOST[version], SERVER))
        host.settimeout(DEADLINE)
        packet = Packet(workload, HOST[version], UDP, SERVER, CLIENT)
        assert rig.one.send(packet) in host.recv(100)

        rig.forget()
        rig.cut(Flow(workload, HOST[version], UDP, CLIENT, SERVER))
        host.sendto(b"still here", (workload, CLIENT))
        rig.one.send(packet)
        with pytest.raises(TimeoutError):
            host.recv(100)


def test_what_is_allowed_again_goes_on(rig: Rig) -> None:
    """Uncut by either orientation; and what was never cut may be uncut as well."""
    flow = _flow(rig.one, rig.two, 4, UDP)
    rig.cut(flow)
    rig.host.uncut([flow.reverse, _flow(rig.one, rig.two, 6, UDP)])

    assert rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)


def test_a_cut_ends_by_itself_and_counts_from_the_last_time(rig: Rig) -> None:
    first, second = _flow(rig.one, rig.two, 4, UDP), _flow(rig.one, rig.two, 6, UDP)
    rig.cut(first, second, seconds=1)
    rig.cut(second, seconds=60)

    netrig.wait_for("the end of the cut", lambda: rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER))
    assert not rig.passes(rig.one, rig.two, 6, UDP, CLIENT, SERVER)


def test_protocols_without_ports_are_left_alone(rig: Rig) -> None:
    rig.cut(_flow(rig.one, rig.two, 4, nftrig.ICMP))

    assert rig.host.passes(rig.one, rig.two, protocol=nftrig.ICMP, port=8)


def test_cut_flows_are_no_drift_and_survive_changes(rig: Rig) -> None:
    closed = policy("web", rule(ALLOW, UDP))
    into = group(INGRESS, tier(closed))
    changed = intent(*OPEN, closed, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT))
    rig.cut(_flow(rig.one, rig.two, 4, UDP))
    assert rig.host.drift(ALL_OPEN) == ()

    rig.host.apply(changed)

    assert rig.host.drift(changed) == ()
    assert not rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)
    assert rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER + 1)


def test_a_table_that_is_made_anew_is_told_again(rig: Rig) -> None:
    """The agent keeps what is cut; its own writing is no meddling either."""
    async def play() -> None:
        firewall = Firewall(Nft(rig.host.space))
        await firewall.take(Delta(snapshot=True), ALL_OPEN)
        await firewall.cut([_flow(rig.one, rig.two, 4, UDP)], 60)
        await firewall.check()
        assert firewall.mended() == ()
        netrig.in_ns(rig.host.space, "nft", "delete", "table", "inet", "muslin")
        await firewall.check()
        assert firewall.mended() == ("nftables: the table is gone",)

    asyncio.run(play())

    assert not rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER)
    assert rig.passes(rig.one, rig.two, 4, UDP, CLIENT, SERVER + 1)


def test_without_a_table_nothing_can_be_cut() -> None:
    """Transient: whoever asked tries again, when the table is there."""
    with netrig.namespace("nft") as space, pytest.raises(Drifted):
        asyncio.run(Nft(space).cut([Flow("10.0.0.1", "10.0.0.2", UDP, 1, 2)], 60))

"""Beside somebody else's firewall: Docker's, ufw's, an administrator's. Who has the last word about which packet.

A packet passes if every table lets it through. Within the tables of iptables our chains come first, so what policy
allows is accepted there and then, and what is no business of ours goes on to the others' rules. Tables of another sort
(nftables beside iptables, legacy beside nft) each have a veto.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

import netrig
import nftrig
from intents import ALLOW, INGRESS, OPEN, OPEN_IN, OPEN_OUT, endpoint, group, intent, policy, rule, side, tier
from iptrig import IPTABLES
from muslin.agent.enforcement import Enforcement
from muslin.intent import Backend, Delta, HostIntent, Settings
from nftrig import UDP, Host, Station

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NFT, LEGACY, IPT_NFT = Backend.NFTABLES, Backend.IPTABLES_LEGACY, Backend.IPTABLES_NFT
WEB = policy("web", rule(ALLOW, UDP, side(ports="80")))
WEB_IN = group(INGRESS, tier(WEB))
PROGRAM = {4: {LEGACY: "iptables-legacy", IPT_NFT: "iptables-nft"}, 6: {LEGACY: "ip6tables-legacy",
                                                                       IPT_NFT: "ip6tables-nft"}}
HOST = {4: "10.200.0.1/32", 6: "fd20::1/128"}
BOTH = pytest.mark.parametrize("version", [4, 6])
EITHER = pytest.mark.parametrize("backend", IPTABLES)
UFW = """
-N ufw-before-forward
-N ufw-user-forward
-A FORWARD -j ufw-before-forward
-A FORWARD -j ufw-user-forward
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-user-forward -p udp --dport 22 -j ACCEPT
-P FORWARD DROP
"""
DOCKER = """
-N DOCKER-USER
-N DOCKER-ISOLATION-STAGE-1
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-P FORWARD DROP
"""


class Rig:
    """Workloads 1 and 2, and two hosts of the world outside, behind interfaces that are not ours."""

    def __init__(self, host: Host, *stations: Station) -> None:
        self.host = host
        self.one, self.two, self.up0, self.up1 = stations

    def enforce(self, backend: Backend, **settings: str) -> Enforcement:
        """A new agent, on a host that remembers no flow."""
        netrig.in_ns(self.host.space, "conntrack", "-F")
        made = Enforcement(netns=self.host.space)
        asyncio.run(made.take(Delta(snapshot=True), wanted(backend, **settings)))
        assert not made.is_unfinished, (made.fault, made.problems)
        return made

    def passes(self, version: int, port: int) -> bool:
        return self.host.passes(self.one, self.two, version=version, protocol=UDP, port=port)

    def foreign_passes(self, version: int, port: int) -> bool:
        """What is no business of ours."""
        return self.host.passes(self.up0, self.up1, version=version, protocol=UDP, port=port)

    @contextmanager
    def rules(self, backend: Backend, text: str) -> Iterator[None]:
        """Somebody else's, put in by their own program, in both families."""
        lines = [line.split() for line in text.strip().splitlines()]
        for version in (4, 6):
            for line in lines:
                netrig.in_ns(self.host.space, PROGRAM[version][backend], *line)
        try:
            yield
        finally:
            for version in (4, 6):
                for words in (["-F"], ["-X"], ["-P", "FORWARD", "ACCEPT"], ["-P", "INPUT", "ACCEPT"]):
                    netrig.in_ns(self.host.space, PROGRAM[version][backend], *words)


def wanted(backend: Backend, **settings: str) -> HostIntent:
    return intent(*OPEN, WEB, WEB_IN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, WEB_IN, OPEN_OUT),
                  settings=Settings(backend=backend, **settings))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(nftrig.host())
        yield Rig(host, *(stack.enter_context(nftrig.station(host, number, interface))
                          for number, interface in ((1, ""), (2, ""), (8, "up0"), (9, "up1"))))


@BOTH
@EITHER
@pytest.mark.parametrize("text", [UFW, DOCKER], ids=["ufw", "docker"])
def test_who_drops_what_is_forwarded_does_not_drop_what_policy_allows(
    rig: Rig, backend: Backend, text: str, version: int
) -> None:
    """Theirs was there first; ours is put before it. What is not ours stays theirs."""
    with rig.rules(backend, text):
        rig.enforce(backend)

        assert rig.passes(version, 80)
        assert not rig.passes(version, 81)
        assert not rig.foreign_passes(version, 80)
        assert rig.foreign_passes(version, 22) is ("ufw" in text)


@BOTH
@EITHER
def test_who_comes_later_does_not_drop_it_either(rig: Rig, backend: Backend, version: int) -> None:
    """Rules that are appended, and a policy of DROP, come behind ours."""
    rig.enforce(backend)
    with rig.rules(backend, DOCKER + "-A FORWARD -i mus+ -j DROP\n"):
        assert rig.passes(version, 80)
        assert not rig.passes(version, 81)
        assert not rig.foreign_passes(version, 80)


@BOTH
@EITHER
def test_who_accepts_before_us_opens_what_policy_denies_until_we_look_again(
    rig: Rig, backend: Backend, version: int
) -> None:
    """As with any firewall of iptables: first come, first served. At the next look ours is first again."""
    enforcement = rig.enforce(backend)
    with rig.rules(backend, "-I FORWARD -j ACCEPT"):
        assert rig.passes(version, 81)

        enforcement._active._rest_until = 0.0
        asyncio.run(enforcement.check())

        assert not rig.passes(version, 81)
        assert rig.passes(version, 80)


@BOTH
@EITHER
def test_who_asks_to_be_last_is_last(rig: Rig, backend: Backend, version: int) -> None:
    """chainInsertMode Append: the others decide first, and may let through what policy denies."""
    with rig.rules(backend, "-A FORWARD -p udp --dport 80 -j DROP\n-A FORWARD -p udp --dport 82 -j ACCEPT\n"):
        enforcement = rig.enforce(backend, chain_insert="Append")

        assert not rig.passes(version, 80)
        assert rig.passes(version, 82)
        assert not rig.passes(version, 81)
        enforcement._active._rest_until = 0.0
        asyncio.run(enforcement.check())
        assert not enforcement.mended()


@BOTH
@EITHER
def test_what_is_allowed_goes_on_to_the_others_where_the_settings_want_it(
    rig: Rig, backend: Backend, version: int
) -> None:
    """iptablesFilterAllowAction Return: both must let it through. What policy denies nobody can open."""
    with rig.rules(backend, "-A FORWARD -p udp --dport 81 -j ACCEPT\n-P FORWARD DROP\n"):
        rig.enforce(backend, filter_allow="Return")
        assert not rig.passes(version, 80)
        assert not rig.passes(version, 81)

        web = ["-p", "udp", "--dport", "80", "-j", "ACCEPT"]
        netrig.in_ns(rig.host.space, PROGRAM[version][backend], "-A", "FORWARD", *web)
        assert rig.passes(version, 80)


@BOTH
@pytest.mark.parametrize(("backend", "theirs"), [(NFT, IPT_NFT), (NFT, LEGACY), (LEGACY, IPT_NFT), (IPT_NFT, LEGACY)])
def test_tables_of_another_sort_have_a_veto(rig: Rig, backend: Backend, theirs: Backend, version: int) -> None:
    """An accept is final in its own table only: they must accept our traffic as well. What they accept, policy still
    denies."""
    with rig.rules(theirs, DOCKER):
        rig.enforce(backend)
        assert not rig.passes(version, 80)

        netrig.in_ns(rig.host.space, PROGRAM[version][theirs], "-I", "DOCKER-USER", "-j", "ACCEPT")
        assert rig.passes(version, 80)
        assert not rig.passes(version, 81)


@BOTH
@pytest.mark.parametrize("backend", list(Backend))
def test_a_table_of_nftables_that_drops_drops_for_every_backend(rig: Rig, backend: Backend, version: int) -> None:
    """Be it before ours or behind it."""
    for priority in (-10, 10):
        rig.enforce(backend)
        text = f"""table inet theirs {{
            chain f {{
                type filter hook forward priority {priority}; policy accept;
                udp dport 80 drop
                udp dport 81 accept
            }}
        }}"""
        netrig.run("ip", "netns", "exec", rig.host.space, "nft", "-f", "-", stdin=text)
        assert not rig.passes(version, 80)
        assert not rig.passes(version, 81)
        netrig.in_ns(rig.host.space, "nft", "delete", "table", "inet", "theirs")
        assert rig.passes(version, 80)


@BOTH
@EITHER
def test_the_host_s_own_door_stays_theirs(rig: Rig, backend: Backend, version: int) -> None:
    """A packet to the host from an interface that nothing covers meets only their rules."""
    netrig.run("ip", "-n", rig.host.space, "addr", "replace", HOST[version], "dev", "lo")
    with rig.rules(backend, "-P INPUT DROP\n-A INPUT -p udp --dport 53 -j ACCEPT\n"):
        rig.enforce(backend)
        heard = {port: _host_hears(rig, version, port) for port in (53, 54)}
    assert heard == {53: True, 54: False}


def _host_hears(rig: Rig, version: int, port: int) -> bool:
    target = HOST[version].partition("/")[0]
    source = rig.up0.v4 if version == 4 else rig.up0.v6
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with nftrig.own_socket(rig.host.space, family, socket.SOCK_DGRAM) as ear:
        ear.bind(("", port))
        ear.settimeout(nftrig.DEADLINE)
        token = rig.up0.send(nftrig.Packet(source, target, UDP, port))
        try:
            return token in ear.recv(2048)
        except TimeoutError:
            return False

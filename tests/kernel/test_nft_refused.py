"""What nft or the kernel refuses, though validation should have stopped it: it denies, all else is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

import netrig
import nftrig
from intents import (
    ALLOW,
    DENY,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    PASS,
    addresses,
    endpoint,
    group,
    host_interface,
    intent,
    policy,
    ports,
    rule,
    side,
    tier,
)
from muslin.agent.firewall import Firewall
from muslin.drivers.nft import Nft
from muslin.intent import Delta, HostIntent, Policy, Qos
from muslin.render.nft import Changes, Flow, render
from muslin.render.nft.listing import differences, listing_of
from muslin.render.nft.refused import mixed, with_stand_ins
from nftcases import step
from nftrig import ICMP, UDP, Host, Station

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

WEB = policy("web", rule(ALLOW, UDP, side(ports="80")))
INTO = group(INGRESS, tier(WEB))
NO_SUCH_TYPE = rule(ALLOW, ICMP, icmp=(300, None))
"""nft: "Value 300 exceeds valid range 0-255"."""


class CountedNft(Nft):
    """A real one, which counts how often it was asked to write."""

    def __init__(self, netns: str, *, program: bool | None = None) -> None:
        super().__init__(netns, program=program)
        self.written = 0

    async def apply(self, changes: Changes, cut: Mapping[Flow, int] | None = None) -> int:
        self.written += 1
        return await super().apply(changes, cut or {})


class Rig:
    """Workload 1 asks 2 and 3."""

    def __init__(self, host: Host, *stations: Station, program: bool | None = None) -> None:
        self.host = host
        self.one, self.two, self.three = stations
        self.nft = CountedNft(host.space, program=program)
        self.firewall = Firewall(self.nft)
        self.now = HostIntent()

    def takes(self, made: HostIntent) -> int:
        """How often it wrote."""
        before, first = self.nft.written, not self.now.endpoints
        delta = Delta(snapshot=True) if first else step(self.now, made, members=True)
        self.now = made
        _run(self.firewall.take(delta, made))
        netrig.in_ns(self.host.space, "conntrack", "-F")
        return self.nft.written - before

    def asks(self, target: Station, port: int, version: int = 4) -> bool:
        return self.host.passes(self.one, target, version=version, port=port)

    @property
    def refused(self) -> list[str]:
        return [problem.key for problem in self.firewall.problems]


def _run(doing: Coroutine[Any, Any, None]) -> None:
    asyncio.run(doing)


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[Host, list[Station]]]:
    with ExitStack() as stack:
        host = stack.enter_context(nftrig.host())
        yield host, [stack.enter_context(nftrig.station(host, number)) for number in (1, 2, 3)]


@pytest.fixture
def rig(network: tuple[Host, list[Station]], request: pytest.FixtureRequest) -> Rig:
    """Indirectly parametrized with True: the program `nft` writes."""
    host, stations = network
    asyncio.run(host.nft.remove())
    for station in stations:
        station.drain()
    return Rig(host, *stations, program=getattr(request, "param", None))


def _bad(name: str = "bad") -> Policy:
    return policy(name, rule(ALLOW, UDP, side(ports="80 81")), NO_SUCH_TYPE)


def _many(*more: object, number: int = 40) -> HostIntent:
    """Many policies, of which workload 2 has all, and 3 those that are given besides."""
    others = [policy(f"p{n}", rule(DENY, UDP, side(ports=f"{n + 1000}"))) for n in range(number)]
    into = group(INGRESS, tier(*others, WEB))
    return intent(*OPEN, WEB, INTO, *others, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT), *more)


def _with_bad(bad: Policy) -> HostIntent:
    behind = group(INGRESS, tier(bad, WEB))
    return _many(bad, behind, endpoint(3, behind, OPEN_OUT))


@pytest.mark.parametrize("rig", [False, True], indirect=True, ids=["wire", "program"])
def test_one_policy_that_is_refused_denies_and_all_the_others_hold(rig: Rig) -> None:
    """On the first day, when everything is new at once. Few tries, each of them as a whole."""
    written = rig.takes(_with_bad(_bad()))

    assert rig.firewall.in_force
    assert [rig.asks(rig.two, port) for port in (80, 81, 1000)] == [True, False, False]
    assert [rig.asks(rig.three, port) for port in (80, 81)] == [False, False]
    (problem,) = rig.firewall.problems
    assert problem.key == "GlobalNetworkPolicy/bad"
    assert "300" in problem.what
    assert written <= 4 * 8


def test_a_change_that_is_refused_touches_nobody_else(rig: Rig) -> None:
    """Not even while the culprit is looked for."""
    rig.takes(_many(endpoint(3, INTO, OPEN_OUT)))
    two, three = rig.two, rig.three
    with (
        nftrig.probe(rig.one.space, two.space, two.v4, 80) as allowed,
        nftrig.probe(rig.one.space, two.space, two.v4, 81) as denied,
    ):
        written = rig.takes(_with_bad(_bad()))
        netrig.wait_for("packets", lambda: min(allowed.sent, denied.sent) > 20)
    assert allowed.heard == allowed.sent > 20
    assert denied.heard == 0
    assert rig.refused == ["GlobalNetworkPolicy/bad"]
    assert not rig.asks(three, 80)
    assert written <= 2 * 5


def test_what_came_change_by_change_holds_while_a_later_culprit_is_looked_for(rig: Rig) -> None:
    """Many such changes: one culprit among few must not become one among many."""
    def made(opened: int, *more: object) -> HostIntent:
        some = [policy(f"q{n}", rule(ALLOW, UDP, side(ports=f"{n + 2000}"))) for n in range(opened)]
        into = group(INGRESS, tier(*some, WEB))
        return intent(*OPEN, WEB, *some, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT), *more)

    for opened in range(20):
        assert rig.takes(made(opened)) == 1
    behind = group(INGRESS, tier(_bad(), WEB))
    with nftrig.probe(rig.one.space, rig.two.space, rig.two.v4, 2018) as allowed:
        written = rig.takes(made(opened, _bad(), behind, endpoint(3, behind, OPEN_OUT)))
        netrig.wait_for("packets", lambda: allowed.sent > 20)
    assert allowed.heard == allowed.sent > 20
    assert rig.refused == ["GlobalNetworkPolicy/bad"]
    assert written <= 2 * 5


def test_what_was_allowed_before_its_maker_was_refused_is_not_any_more(rig: Rig) -> None:
    """The policy was there, and good: what stands for it now denies, it is not left as it was."""
    rig.takes(_with_bad(policy("bad", rule(ALLOW, UDP, side(ports="80")))))
    assert rig.asks(rig.three, 80)
    rig.takes(_with_bad(_bad()))
    assert rig.refused == ["GlobalNetworkPolicy/bad"]
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]


def test_it_holds_again_as_soon_as_it_is_mended(rig: Rig) -> None:
    """And a change of something else leaves it refused, without another search."""
    rig.takes(_with_bad(_bad()))
    more = _with_bad(_bad())
    more.endpoints |= {(added := endpoint(4, INTO, OPEN_OUT)).key: added}
    assert rig.takes(more) == 1
    assert rig.refused == ["GlobalNetworkPolicy/bad"]
    assert not rig.asks(rig.three, 80)

    rig.takes(_with_bad(policy("bad", rule(ALLOW, UDP, side(ports="80 81")))))
    assert rig.refused == []
    assert [rig.asks(rig.three, port) for port in (80, 81)] == [True, True]


def test_it_goes_with_its_object(rig: Rig) -> None:
    rig.takes(_with_bad(_bad()))

    made = _many(endpoint(3, INTO, OPEN_OUT))
    rig.takes(made)

    assert rig.refused == []
    assert not rig.firewall.is_unfinished
    assert differences(listing_of(render(made)), asyncio.run(rig.nft.read())) == ()


def test_it_is_tried_again_now_and_then(rig: Rig) -> None:
    """Less and less often; until its time has come, nothing is written."""
    rig.takes(_with_bad(_bad()))

    def tried() -> bool:
        before = rig.nft.written
        _run(rig.firewall.mend())
        return rig.nft.written > before

    netrig.wait_for("another try", tried)
    assert not tried()
    assert rig.refused == ["GlobalNetworkPolicy/bad"]
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]
    netrig.wait_for("yet another try", tried)


def test_two_of_them_are_both_found(rig: Rig) -> None:
    rig.takes(_many(endpoint(3, INTO, OPEN_OUT)))
    first, second = _bad("first"), _bad("second")
    one, other = group(INGRESS, tier(first, WEB)), group(INGRESS, tier(second))
    rig.takes(_many(first, second, one, other, endpoint(3, one, OPEN_OUT)))

    assert sorted(rig.refused) == ["GlobalNetworkPolicy/first", "GlobalNetworkPolicy/second"]
    assert rig.asks(rig.two, 80)
    assert not rig.asks(rig.three, 80)


def test_a_policy_list_a_set_and_an_endpoint_may_be_refused_too(rig: Rig) -> None:
    """A policy that passes is written into its list; a port that is none, into a set; a class that is none, is an
    endpoint's."""
    passing = policy("passing", rule(PASS, ICMP, icmp=(300, None)), rule(ALLOW, UDP))
    into = group(INGRESS, tier(passing))
    rig.takes(_many(passing, into, endpoint(3, into, OPEN_OUT)))
    assert rig.refused == [into.id]
    assert "WorkloadEndpoint/default/w3" in rig.firewall.problems[0].what
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]

    named = policy("named", rule(ALLOW, UDP, side(named="much")))
    into = group(INGRESS, tier(named))
    much = ports("much", ("10.65.0.3", UDP, 80), ("10.65.0.3", UDP, 70000))
    rig.takes(_many(named, into, much, endpoint(3, into, OPEN_OUT)))
    assert rig.refused == ["much"]
    assert "GlobalNetworkPolicy/named" in rig.firewall.problems[0].what
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]

    limited = msgspec.structs.replace(endpoint(3, INTO, OPEN_OUT), qos=Qos(dscp=99))
    rig.takes(_many(limited))
    assert rig.refused == [limited.key]
    assert limited.key in rig.firewall.shut()
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]

    rig.takes(_many(endpoint(3, INTO, OPEN_OUT)))
    assert rig.refused == []
    assert rig.asks(rig.three, 80)


@pytest.mark.parametrize("rig", [True], indirect=True, ids=["program"])
def test_a_set_that_is_too_large_for_the_host_denies_alone(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shortage passes, most often. One that lasts is laid to the charge of what was written: nft has not the memory
    here to say it, however often it tries."""
    (tmp_path / "nft").write_text('#!/bin/sh\nulimit -v 40000\nexec /usr/sbin/nft "$@"\n')
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    large = addresses("large", " ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_000)))
    selecting = policy("selecting", rule(ALLOW, UDP, side(ports="80"), side(sets="large")))
    behind = group(INGRESS, tier(selecting))
    rig.takes(_many(large, selecting, behind, endpoint(3, behind, OPEN_OUT), number=5))
    assert "emory" in rig.firewall.fault

    netrig.wait_for("the rest in force", lambda: _run(rig.firewall.mend()) or rig.firewall.in_force, 60)

    assert rig.refused == ["large"]
    assert "GlobalNetworkPolicy/selecting" in rig.firewall.problems[0].what
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]


@pytest.mark.parametrize("rig", [False, True], indirect=True, ids=["wire", "program"])
def test_meddling_is_seen_though_flows_are_cut_before_anybody_looks(rig: Rig) -> None:
    """Of a flow without ports nothing is written: what counts up the ruleset meanwhile was not us."""
    rig.takes(_many(endpoint(3, INTO, OPEN_OUT)))
    for protocol, port in ((1, 0), (17, 80)):
        netrig.in_ns(rig.host.space, "nft", "flush", "chain", "inet", "muslin", "forward")
        _run(rig.firewall.cut([Flow("10.65.0.1", "10.65.0.2", protocol, port, port)], 60))
        _run(rig.firewall.check())
        assert rig.firewall.mended()
        assert not rig.asks(rig.two, 81)


def test_what_is_refused_survives_meddling(rig: Rig) -> None:
    rig.takes(_with_bad(_bad()))
    netrig.in_ns(rig.host.space, "nft", "delete", "table", "inet", "muslin")

    _run(rig.firewall.check())

    assert rig.firewall.in_force
    assert [rig.asks(target, 80) for target in (rig.two, rig.three)] == [True, False]


def test_what_stands_for_an_interface_that_is_refused_shuts_it() -> None:
    """An interface that is not in the table at all is none of our business, and stands open: not even for the time of a
    search."""
    covered = host_interface("up0", INTO, OPEN_OUT, pre_dnat=INTO)
    tap = endpoint(1, INTO, OPEN_OUT, interface="tap7", spoofable="192.0.2.0/24")
    wanted = intent(*OPEN, WEB, INTO, covered, tap)

    for stood_in in (
        with_stand_ins(wanted, wanted, [("host_interfaces", covered.key), ("endpoints", tap.key)]),
        mixed(HostIntent(), wanted, {("policies", WEB.id)}, ()),
    ):
        table = render(stood_in)
        assert table.elements["others"] == {"tap7": None}
        verdicts = {str(verdict) for name in ("host-in4", "host-out6", "pre-dnat4", "to")
                    for verdict in table.elements[name].values()}
        assert {verdict.partition("ruling=")[2][:20] for verdict in verdicts} == {"<Ruling.DROP: 'drop'"}
        assert "untracked-in4" not in table.elements
        assert not table.elements["from4"]

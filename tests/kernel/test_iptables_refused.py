"""What iptables refuses only at the end of a table, where no line is named: its maker is found, and denies alone.

Nothing that an intent can say is refused there by this kernel. So a driver stands before the real one that takes no
table with a certain port in it, and says what iptables would; all that is let through is in the real kernel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import iptrig
import netrig
from intents import (
    ALLOW,
    DENY,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.agent.iptables_firewall import IptablesFirewall
from muslin.drivers.iptables import Iptables
from muslin.drivers.program import RefusedLine
from muslin.intent import Backend, Delta, HostIntent, Policy
from muslin.render.iptables import Changes
from muslin.render.iptables.text import rule_text
from nftcases import step
from nftrig import UDP, Host, Station, station

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

UNWANTED = "6661"
WEB = policy("web", rule(ALLOW, UDP, side(ports="80")))
OTHERS = [policy(f"p{number}", rule(DENY, UDP, side(ports=f"{number + 1000}"))) for number in range(20)]


class Picky(Iptables):
    """The table is refused as a whole."""

    async def apply(self, changes: Changes) -> None:
        for chain in changes.chains.values():
            if chain is not None and any(UNWANTED in rule_text(one) for one in chain.rules):
                raise RefusedLine("iptables-restore: line 99 failed", "COMMIT")
        await super().apply(changes)


def _bad(name: str) -> Policy:
    return policy(name, rule(ALLOW, UDP, side(ports="80")), rule(DENY, UDP, side(ports=UNWANTED)))


def _with(*bad: Policy) -> HostIntent:
    """Workload 2 has all that is good, 3 what is bad besides."""
    good, behind = group(INGRESS, tier(*OTHERS, WEB)), group(INGRESS, tier(*bad, WEB))
    return intent(*OPEN, WEB, *OTHERS, *bad, good, behind, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, good, OPEN_OUT),
                  endpoint(3, behind, OPEN_OUT))


@pytest.fixture(params=iptrig.IPTABLES, ids=str)
def scene(request: pytest.FixtureRequest) -> Iterator[tuple[Host, list[Station], IptablesFirewall]]:
    backend: Backend = request.param
    with ExitStack() as stack:
        host = stack.enter_context(iptrig.host(backend))
        stations = [stack.enter_context(station(host, number)) for number in (1, 2, 3)]
        yield host, stations, IptablesFirewall(Picky(iptrig.FLAVOURS[backend], host.space))


def test_who_is_refused_at_the_end_of_a_table_denies_alone(
        scene: tuple[Host, list[Station], IptablesFirewall]) -> None:
    host, (one, two, three), firewall = scene

    def asks(target: Station) -> bool:
        netrig.in_ns(host.space, "conntrack", "-F")
        return host.passes(one, target, version=4, port=80)

    first, second = _with(), _with(_bad("bad"), _bad("worse"))
    asyncio.run(firewall.take(Delta(snapshot=True), first))
    assert [asks(two), asks(three)] == [True, True]

    asyncio.run(firewall.take(step(first, second, members=True), second))
    assert firewall.in_force, firewall.fault
    names = sorted(problem.key for problem in firewall.problems)
    assert names == ["GlobalNetworkPolicy/bad", "GlobalNetworkPolicy/worse"]
    assert "line 99 failed" in firewall.problems[0].what
    assert [asks(two), asks(three)] == [True, False]

    asyncio.run(firewall.take(step(second, first, members=True), first))
    assert not firewall.problems
    assert [asks(two), asks(three)] == [True, True]


def test_what_was_allowed_before_its_maker_was_refused_is_not_any_more(
        scene: tuple[Host, list[Station], IptablesFirewall]) -> None:
    host, (one, two, three), firewall = scene
    good, bad = _with(policy("gate", rule(ALLOW, UDP, side(ports="80")))), _with(_bad("gate"))
    asyncio.run(firewall.take(Delta(snapshot=True), good))
    assert [host.passes(one, target, version=4, port=80) for target in (two, three)] == [True, True]
    asyncio.run(firewall.take(step(good, bad, members=True), bad))
    netrig.in_ns(host.space, "conntrack", "-F")
    assert [host.passes(one, target, version=4, port=80) for target in (two, three)] == [True, False]


def test_from_the_start_too(scene: tuple[Host, list[Station], IptablesFirewall]) -> None:
    """When nothing was in force before, and all is new."""
    host, (one, two, three), firewall = scene
    asyncio.run(firewall.take(Delta(snapshot=True), _with(_bad("bad"))))
    assert [problem.key for problem in firewall.problems] == ["GlobalNetworkPolicy/bad"]
    assert [host.passes(one, target, version=4, port=80) for target in (two, three)] == [True, False]

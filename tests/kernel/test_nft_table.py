"""The table in a real kernel: what is rendered loads, what is read back was written, and nothing leaks on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netrig
import nftrig
from intents import (
    ALLOW,
    DENY,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    addresses,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.agent.firewall import Firewall
from muslin.drivers.nft import Drifted, Nft
from muslin.errors import Broken
from muslin.intent import Delta, HostIntent
from muslin.render.nft import Changes, NftState, render, whole
from muslin.render.nft.listing import Listing, differences, listing_of
from muslin.render.nft.words import ACCEPT, Chain, Rule, goto
from nftcases import intents, mixed, step
from nftrig import UDP, Host, Probe

pytestmark = pytest.mark.kernel

WEB = policy("web", rule(ALLOW, UDP, side(ports="80"), side(sets="s")), rule(DENY))
INTO = group(INGRESS, tier(WEB))
SMALL = intent(*OPEN, WEB, INTO, addresses("s", "10.65.0.1 10.1.0.0/16 fd65::1 10.1.2.0/24"),
               endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, INTO, OPEN_OUT))


BOTH = pytest.mark.parametrize("host", [False, True], indirect=True, ids=["wire", "program"])
"""Whoever writes and reads: our own netlink, or the program `nft`."""


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with nftrig.host(program=getattr(request, "param", None)) as made:
        yield made


def _differences(host: Host, made: HostIntent) -> tuple[str, ...]:
    return _differences_of(made, asyncio.run(host.nft.read()))


def _differences_of(made: HostIntent, found: Listing | None) -> tuple[str, ...]:
    return differences(listing_of(render(made)), found)


def _nft(host: Host, command: str) -> None:
    netrig.in_ns(host.space, "nft", *command.split())


@BOTH
def test_what_is_written_is_read_back(host: Host) -> None:
    host.apply(SMALL)

    assert _differences(host, SMALL) == ()


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(intents(), st.lists(st.tuples(intents(), st.lists(st.booleans(), min_size=6, max_size=6)), max_size=2))
def test_every_table_loads_and_every_step_leads_from_one_to_the_next(host: Host, start: HostIntent, walk) -> None:
    """The real kernel's opinion of the property that tests/render proves against a pretend one."""
    host.state = NftState()
    host.apply(start)
    now = start
    for then, choices in walk:
        then = mixed(now, then, choices)
        host.apply(then, step(now, then, members=True))
        now = then

    assert _differences(host, now) == ()


@BOTH
def test_a_restarted_agent_takes_the_place_of_its_predecessor(host: Host) -> None:
    """Whatever that one left, also chains and sets of which the new one knows nothing."""
    host.apply(SMALL)
    _nft(host, "add chain inet muslin of-an-older-version")
    host.state = NftState()

    host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))

    assert _differences(host, intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT))) == ()


@BOTH
def test_tables_of_others_are_never_touched(host: Host) -> None:
    for family in ("inet", "ip"):
        name = "muslin" if family == "ip" else "theirs"
        _nft(host, f"add table {family} {name}")
        _nft(host, f"add chain {family} {name} forward")

    host.apply(SMALL)
    host.apply(intent(), Delta(snapshot=True))
    asyncio.run(host.nft.remove())
    asyncio.run(host.nft.remove())

    tables = netrig.in_ns(host.space, "nft", "list", "tables")
    assert tables.split("\n")[:2] == ["table inet theirs", "table ip muslin"]
    assert asyncio.run(host.nft.read()) is None


@BOTH
def test_a_refused_change_changes_nothing_and_says_which_line(host: Host) -> None:
    host.apply(SMALL)
    wrong = Changes(
        new_chains=(Chain("first", (Rule((ACCEPT,)),)), Chain("second", (Rule((goto("nowhere"),)),)))
    )

    with pytest.raises(Drifted, match=r"line 4: add rule inet muslin second goto nowhere"):
        asyncio.run(host.nft.apply(wrong))

    assert _differences(host, SMALL) == ()


@BOTH
def test_words_that_nft_does_not_know_are_our_own_fault(host: Host) -> None:
    wrong = Changes(fresh=True, new_chains=(Chain("a", (Rule((goto("not a name"),)),)),))

    with pytest.raises(Broken, match="not a name"):
        asyncio.run(host.nft.apply(wrong))


@BOTH
def test_a_change_of_a_table_that_somebody_deleted_is_drift(host: Host) -> None:
    """And the whole table mends it."""
    host.apply(SMALL)
    _nft(host, "delete table inet muslin")
    assert _differences(host, SMALL) == ("the table is gone",)

    with pytest.raises(Drifted):
        host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))
    asyncio.run(host.nft.apply(whole(host.state.table)))

    assert _differences(host, intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT))) == ()


@pytest.mark.parametrize(("damage", "says"), [
    ("flush chain inet muslin forward", "chain forward has 0 rules"),
    ("insert rule inet muslin forward accept", "chain forward has"),
    ("add chain inet muslin theirs", "chain theirs is not ours"),
    ("add element inet muslin set-s-4 { 192.0.2.1 }", "set set-s-4 lacks 0 elements and has 1"),
    ("delete element inet muslin set-s-4-nets { 10.1.0.0/16 }", "set set-s-4-nets lacks 1 elements"),
    ("delete element inet muslin to { mus00000000001 }", "set to lacks 1 elements"),
    ("add chain inet muslin forward { policy drop ; }", "chain forward is hooked in otherwise"),
])
def test_what_somebody_changed_by_hand_is_found(host: Host, damage: str, says: str) -> None:
    """The generation tells that something changed, reading tells what."""
    host.apply(SMALL)
    generation = host.nft.generation()
    assert host.nft.generation() == generation

    _nft(host, damage)

    assert host.nft.generation() == generation + 1
    (found,) = _differences(host, SMALL)
    assert found.startswith(says)


@BOTH
def test_each_step_of_a_change_is_one_generation(host: Host) -> None:
    """So that more than these tell of somebody else; and no change is none."""
    host.apply(SMALL)
    assert host.steps == 1
    generation = host.nft.generation()

    host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))
    assert host.nft.generation() == generation + host.steps == generation + 2, "what packets see, and what is left over"
    host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))
    assert host.nft.generation() == generation + 2
    host.apply(SMALL)
    assert host.nft.generation() == generation + 2 + host.steps == generation + 4, "what comes, and what packets see"
    host.apply(intent(*OPEN, WEB, INTO, addresses("s", "10.65.0.1 10.1.0.0/16 fd65::1 10.1.2.0/24"),
                      endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, INTO, OPEN_OUT), endpoint(3, INTO, OPEN_OUT)))
    assert host.nft.generation() == generation + 5, "an endpoint with policies that are there"


@BOTH
def test_what_was_prepared_for_a_turn_that_is_refused_goes_again(host: Host) -> None:
    host.apply(SMALL)
    wrong = Changes(
        new_chains=(Chain("first", (Rule((ACCEPT,)),)),),
        changed_chains=(Chain("forward", (Rule((goto("nowhere"),)),)),),
    )

    with pytest.raises(Drifted, match="nowhere"):
        asyncio.run(host.nft.apply(wrong))

    assert _differences(host, SMALL) == ()


@BOTH
def test_a_change_that_leaves_something_behind_is_drift(host: Host) -> None:
    """Somebody leads to a chain that is to go: the change itself is in force, and the agent writes the whole."""
    host.apply(SMALL)
    _nft(host, "add chain inet muslin theirs")
    gone = next(name for name in host.state.table.chains if name.startswith("in-") or "web" in name)
    _nft(host, f"add rule inet muslin theirs jump {gone}")

    with pytest.raises(Drifted, match="not in use"):
        host.apply(intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT)))

    firewall = Firewall(host.nft)
    asyncio.run(firewall.take(Delta(snapshot=True), SMALL))
    assert firewall.in_force
    assert _differences(host, SMALL) == ()


def test_without_a_table_there_is_nothing_to_read() -> None:
    with netrig.namespace("nft") as space:
        assert asyncio.run(Nft(space).read()) is None
        assert Nft(space).generation() > 0


def _crowded() -> HostIntent:
    """Many more policies and endpoints around the same two."""
    others = [endpoint(n, INTO, OPEN_OUT) for n in range(3, 60)]
    many = [policy(f"p{n}", rule(ALLOW, 6, side(ports=f"{n + 1}"))) for n in range(100)]
    wide = group(INGRESS, tier(*many, WEB))
    return intent(*OPEN, WEB, *many, wide, *others, addresses("s", "10.65.0.1"),
                  endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, wide, OPEN_OUT))


@contextmanager
def _probed(host: Host) -> Iterator[tuple[Probe, Probe]]:
    """A thousand new packets a second, (allowed, denied), from the first workload to the second."""
    with ExitStack() as stack:
        one = stack.enter_context(nftrig.station(host, 1))
        two = stack.enter_context(nftrig.station(host, 2))
        host.apply(SMALL)
        allowed = stack.enter_context(nftrig.probe(one.space, two.space, two.v4, 80))
        yield allowed, stack.enter_context(nftrig.probe(one.space, two.space, two.v4, 81))


@pytest.mark.slow
def test_a_table_is_changed_under_traffic_without_a_loss_or_a_leak(host: Host) -> None:
    """Whatever changes, step by step: what it does not concern goes on."""
    larger = _crowded()
    with _probed(host) as probes:
        for _ in nftrig.rounds(12, probes):
            host.apply(larger)
            host.apply(SMALL)
    allowed, denied = probes
    assert allowed.sent > 200
    assert allowed.heard == allowed.sent
    assert denied.sent > 200
    assert denied.heard == 0


MEDDLING = (
    "add element inet muslin set-s-4 { 192.0.2.1 }",
    "add chain inet muslin theirs { type filter hook forward priority 50 ; }",
    "add rule inet muslin other-source accept",
    "delete element inet muslin to { mus00000000003 }",
    "flush map inet muslin from6",
    "add map inet muslin theirs-too { type ifname : verdict ; elements = { muself : jump cut } ; }",
)


@pytest.mark.slow
def test_a_table_is_mended_under_traffic_without_a_loss_or_a_leak(host: Host) -> None:
    """After meddling, and by a restarted agent that finds another one's table: sets and chains stay, so that a packet
    that is under way finds what it looks for."""
    larger = _crowded()

    async def play() -> None:
        for made in (larger, SMALL) * 3:
            firewall = Firewall(host.nft)
            await firewall.take(Delta(snapshot=True), made)
            assert firewall.in_force
            if made is larger:
                for what in MEDDLING:
                    _nft(host, what)
                    await firewall.check()
                    (told,) = firewall.mended()
                    assert told.startswith("nftables: ")
            assert _differences_of(made, await host.nft.read()) == ()

    with _probed(host) as (allowed, denied):
        asyncio.run(play())
    assert allowed.sent > 200
    assert allowed.heard == allowed.sent
    assert denied.sent > 200
    assert denied.heard == 0


@pytest.mark.parametrize("there", [
    "add set inet muslin to { type ipv4_addr ; }",
    "add chain inet muslin forward { type filter hook forward priority -7 ; policy drop ; }",
    "add chain inet muslin input { type filter hook output priority 0 ; }",
])
def test_a_table_of_another_make_is_made_anew(host: Host, there: str) -> None:
    """A version that was before us may have called another sort of thing by the same name."""
    _nft(host, "add table inet muslin")
    _nft(host, there)
    firewall = Firewall(host.nft)

    asyncio.run(firewall.take(Delta(snapshot=True), SMALL))

    assert firewall.in_force
    assert _differences(host, SMALL) == ()


@pytest.mark.slow
def test_a_table_is_made_anew_under_traffic_without_a_leak(host: Host) -> None:
    """Only where another make of it is in the way. A packet that is under way in the old table when the generation
    turns finds the old table's elements no longer valid, and is dropped: at most one each time, never let through."""
    larger, replaced = _crowded(), 0
    with _probed(host) as probes:
        for _ in nftrig.rounds(12, probes):
            host.apply(larger)
            asyncio.run(host.nft.apply(whole(host.state.table)))
            host.apply(SMALL)
            host.state = NftState()
            host.apply(SMALL)
            replaced += 2
    allowed, denied = probes
    assert allowed.sent > 200
    assert allowed.sent - allowed.heard <= replaced
    assert denied.sent > 200
    assert denied.heard == 0

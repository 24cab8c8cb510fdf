"""The chains and sets kept in step are those from scratch, and every step is one that a kernel takes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intents as words
from intents import ALLOW, INGRESS, addresses, endpoint, group, intent, policy, rule, side, tier
from iptfake import FakeKernel
from muslin.intent import Action, Delta, EndpointKey, HostIntent, HostInterface, Qos, Settings
from muslin.net import Cidr
from muslin.render.iptables import Changes, IptablesState, marks, render, whole
from muslin.render.iptables.text import rule_text
from muslin.render.iptables.words import Table
from nftcases import intents, mixed, step

_choices = st.lists(st.booleans(), min_size=6, max_size=6)
walks = st.lists(st.tuples(intents(), _choices, st.booleans()), min_size=1, max_size=4)


class Walker:
    """A state and a strict kernel that go from intent to intent."""

    def __init__(self, start: HostIntent | None = None) -> None:
        self.state, self.kernel, self.now = IptablesState(), FakeKernel(), start or HostIntent()
        self.kernel.apply(self.state.update(Delta(snapshot=True), self.now))

    def go(self, then: HostIntent, *, members: bool = True, snapshot: bool = False) -> Changes:
        delta = Delta(snapshot=True) if snapshot else step(self.now, then, members=members)
        self.now = then
        changes = self.state.update(delta, then)
        self.kernel.apply(changes)
        return changes


@given(intents(), walks)
def test_incremental_is_from_scratch_and_the_kernel_takes_every_step(start: HostIntent, walk) -> None:
    walker = Walker(start)

    for then, choices, members in walk:
        walker.go(mixed(walker.now, then, choices), members=members)
        assert walker.state.ruleset == render(walker.now)
        assert walker.kernel.ruleset == walker.state.ruleset


@given(intents(), intents(), st.booleans())
def test_there_and_back_leaves_nothing(one: HostIntent, other: HostIntent, members: bool) -> None:
    walker = Walker(one)

    walker.go(other, members=members)
    walker.go(one, members=members)

    assert walker.kernel.ruleset == render(one)
    assert not walker.go(one, snapshot=True)


@given(intents(), intents())
def test_a_snapshot_is_as_good_as_deltas(one: HostIntent, other: HostIntent) -> None:
    walker = Walker(one)

    walker.go(other, snapshot=True)

    assert walker.kernel.ruleset == walker.state.ruleset == render(other)


@given(intents())
def test_the_whole_is_all_there_is(made: HostIntent) -> None:
    kernel = FakeKernel()

    kernel.apply(whole(render(made)))

    assert kernel.ruleset == render(made)


TCP = 6
WEB = policy("web", rule(ALLOW, TCP, side(ports="80"), side(sets="s")))
OTHER = policy("other", rule(ALLOW, TCP, side(ports="81")))
INTO = group(INGRESS, tier(WEB, OTHER))


def _kinds(changes: Changes) -> set[str]:
    """What sorts of things change."""
    return {name for name in changes.__struct_fields__ if getattr(changes, name)}


def _small(*more) -> HostIntent:
    return intent(*words.OPEN, WEB, OTHER, INTO, addresses("s", "10.0.0.1"), endpoint(1, INTO, words.OPEN_OUT), *more)


def test_an_endpoint_of_a_known_group_is_only_elements() -> None:
    """Nothing is written anew, so the cost does not grow with the policies of the group."""
    changes = Walker(_small()).go(_small(endpoint(2, INTO, words.OPEN_OUT)))

    assert _kinds(changes) == {"added"}


def test_one_member_is_one_element() -> None:
    changes = Walker(_small()).go(_small(addresses("s", "10.0.0.1 10.0.0.2")))

    assert _kinds(changes) == {"added"}
    assert changes.added == {"mus4n-s": {"10.0.0.2"}}


def test_a_policy_rewrites_its_own_chains_and_no_others() -> None:
    changed = policy("web", rule(ALLOW, TCP, side(ports="8080"), side(sets="s")))

    changes = Walker(_small()).go(_small(changed))

    assert _kinds(changes) == {"chains"}
    assert {key.name[:6] for key in changes.chains} == {"mus-pi"}


def test_one_more_interface_in_a_full_set_moves_one_from_each_to_the_next() -> None:
    """A set holds 64 interfaces for one prefix: a group with more has several, and one more endpoint moves few."""
    many = [endpoint(number, INTO, words.OPEN_OUT) for number in range(2, 140)]
    walker = Walker(_small(*many))

    changes = walker.go(_small(*many[1:]))

    moved = {name for name in (*changes.added, *changes.removed) if name.startswith("mus4b")}
    assert len(moved) == 3
    assert all(len(changes.removed.get(name, ())) <= 1 for name in moved)
    assert _kinds(changes) == {"added", "removed"}


def test_a_rule_that_the_kernel_cannot_take_denies_with_its_whole_policy_and_is_told() -> None:
    """Nobody can say what the other rules would have let through behind it."""
    two = policy("two", rule(ALLOW, TCP, side(ports="80")),
                 rule(ALLOW, TCP, by=side(nets="10.0.0.0/8", not_nets="10.1.0.0/16")))
    state = IptablesState(missing=frozenset({"iprange"}))

    state.update(Delta(snapshot=True), intent(*words.OPEN, two, group(INGRESS, tier(two))))

    said = "GlobalNetworkPolicy/two ingress denies: this kernel's iptables cannot do iprange"
    assert state.problems == (said,)
    chains = [c for key, c in state.ruleset.chains.items() if key.family == 4 and key.name.startswith("mus-pi")
              and any(rule.comment == said for rule in c.rules)]
    assert [rule_text(rule) for chain in chains for rule in chain.rules] == [f'-m comment --comment "{said}" -j DROP']


def test_a_limit_that_the_kernel_cannot_keep_is_told_and_the_rest_stands() -> None:
    plain = endpoint(1, words.OPEN_IN, words.OPEN_OUT)
    limited = msgspec.structs.replace(plain, qos=Qos(egress_packet_rate=10, dscp=8))
    state = IptablesState(missing=frozenset({"hashlimit"}))

    state.update(Delta(snapshot=True), intent(*words.OPEN, limited))

    assert state.problems == ("this kernel's iptables cannot do hashlimit: more packets than the link may carry",)
    assert any("--set-dscp" in rule_text(rule) for chain in state.ruleset.chains.values() for rule in chain.rules)


MASKS = [(0xFFFF0000, 0x40000), (0xF0, 0x20), (0x8000000F, 4), (0b111, 0x40000)]


@pytest.mark.parametrize(("mask", "accept"), MASKS)
def test_the_bits_of_the_mark_are_the_lowest_of_the_mask(mask: int, accept: int) -> None:
    """But for the one that is nftables', if there are five. Fewer than four are too few: then those of the default are
    used, and that is told."""
    state = IptablesState()

    state.update(Delta(snapshot=True), intent(settings=Settings(mark_mask=mask)))

    assert marks(Settings(mark_mask=mask)).accept == accept
    assert bool(state.problems) is (mask.bit_count() < 4)


def _host(*more, **fields: str) -> HostIntent:
    key = EndpointKey("HostEndpoint/h")
    host = HostInterface(key=key, interface="eth0", ingress=INTO.id, egress=words.OPEN_OUT.id, **fields)
    return msgspec.structs.replace(_small(*more), host_interfaces={key: host})


def test_untracked_and_pre_dnat_policies_are_written_where_they_are_asked() -> None:
    """In raw and in mangle; they go again with the host endpoint."""
    raw = msgspec.structs.replace(group(INGRESS, tier(WEB, default=Action.PASS)), end=Action.PASS)
    walker = Walker(_host(raw, untracked_ingress=raw.id))
    tables = {key.table for key in walker.state.ruleset.chains if key.name.startswith("mus-pi")}
    assert tables == {Table.RAW, Table.FILTER}

    walker.go(_host(raw, pre_dnat=raw.id), snapshot=True)
    tables = {key.table for key in walker.state.ruleset.chains if key.name.startswith("mus-pi")}
    assert tables == {Table.MANGLE, Table.FILTER}
    assert walker.kernel.ruleset == render(walker.now)

    walker.go(_small(raw), snapshot=True)
    assert {key.table for key in walker.state.ruleset.chains} == {Table.RAW, Table.FILTER}
    assert walker.kernel.ruleset == render(walker.now)


def test_a_net_of_everything_is_two_halves_and_one_of_them_stays_when_it_is_named_alone() -> None:
    """A hash:net takes no prefix of length 0."""
    walker = Walker(_small(addresses("s", "0.0.0.0/0 0.0.0.0/1")))
    assert walker.kernel.ruleset.elements["mus4n-s"] == {"0.0.0.0/1", "128.0.0.0/1"}

    walker.go(_small(addresses("s", "0.0.0.0/1")))

    assert walker.kernel.ruleset.elements["mus4n-s"] == {Cidr("0.0.0.0/1")}

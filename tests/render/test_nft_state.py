"""The table kept in step is the table from scratch, and every step is one that a kernel takes."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intents as words
from intents import ALLOW, DENY, INGRESS, PASS, addresses, endpoint, group, intent, policy, rule, side, tier
from muslin.intent import Delta, EndpointKey, HostIntent, MemberChange, Policy
from muslin.net import Cidr
from muslin.render.nft import Changes, NftState, crowds, onto_nothing, parts, render, steps, whole
from muslin.render.nft.listing import listing_of, renewal
from muslin.render.nft.words import DROP, Verdict, jump
from nftcases import intents, mixed, step
from nftfake import FakeKernel
from nftwalk import Walker

_choices = st.lists(st.booleans(), min_size=6, max_size=6)
walks = st.lists(st.tuples(intents(), _choices, st.booleans()), min_size=1, max_size=4)


@given(intents(), walks)
def test_incremental_is_from_scratch_and_the_kernel_takes_every_step(start: HostIntent, walk) -> None:
    walker = Walker(start)

    for then, choices, members in walk:
        walker.go(mixed(walker.now, then, choices), members=members)
        assert walker.state.table == render(walker.now)
        assert walker.kernel.table == walker.state.table


@given(intents(), intents(), st.booleans())
def test_there_and_back_leaves_nothing(one: HostIntent, other: HostIntent, members: bool) -> None:
    walker = Walker(one)

    walker.go(other, members=members)
    walker.go(one, members=members)

    assert walker.kernel.table == render(one)
    assert not walker.go(one, snapshot=True)


@given(intents(), intents())
def test_a_snapshot_is_as_good_as_deltas(one: HostIntent, other: HostIntent) -> None:
    walker = Walker(one)

    walker.go(other, snapshot=True)

    assert walker.kernel.table == walker.state.table == render(other)


@given(intents())
def test_the_whole_table_is_one_step_for_a_kernel_that_holds_anything(made: HostIntent) -> None:
    kernel = FakeKernel()
    kernel.apply(whole(render(HostIntent())))

    kernel.apply(whole(render(made)))

    assert kernel.table == render(made)


@given(intents(), intents())
def test_a_table_of_another_day_is_renewed_in_one_step(one: HostIntent, other: HostIntent) -> None:
    """Whatever it holds; what both hold is not touched."""
    kernel = FakeKernel()
    kernel.apply(whole(render(one)))

    changes = renewal(render(other), listing_of(render(one)))
    kernel.apply(changes)

    assert kernel.table == render(other)
    same = {name for name, content in render(one).elements.items() if render(other).elements.get(name) == content}
    assert same.isdisjoint(declared.name for declared in changes.flushed)


@given(intents(), st.lists(st.tuples(intents(), _choices, st.booleans()), min_size=1, max_size=5))
def test_what_the_kernel_refuses_is_said_again_with_the_next_change(start: HostIntent, walk) -> None:
    """Or taken back by it: what counts is what the kernel has."""
    walker = Walker(start)

    for then, choices, refused in walk:
        then = mixed(walker.now, then, choices)
        changes = walker.state.update(step(walker.now, then, members=True), then)
        walker.now = then
        if refused:
            walker.state.refused()
        else:
            walker.kernel.apply(changes)
    changes = walker.state.update(step(walker.now, start, members=True), start)
    walker.kernel.apply(changes)

    assert walker.kernel.table == render(start)


TCP = 6
WEB = policy("web", rule(ALLOW, TCP, side(ports="80"), side(sets="s")))
OTHER = policy("other", rule(ALLOW, TCP, side(ports="81")))
PASSING = policy("passing", rule(PASS, TCP, side(ports="80"), side(sets="s")))
INTO = group(INGRESS, tier(WEB, OTHER))


def _kinds(changes: Changes) -> set[str]:
    """What sorts of things change."""
    return {name for name in changes.__struct_fields__ if getattr(changes, name)}


def _small(*more) -> HostIntent:
    return intent(*words.OPEN, WEB, OTHER, INTO, addresses("s", "10.0.0.1"), endpoint(1, INTO, words.OPEN_OUT), *more)


def test_an_endpoint_of_a_known_group_is_only_elements() -> None:
    """Nothing is written anew, so the cost does not grow with the policies of the group."""
    changes = Walker(_small()).go(_small(endpoint(2, INTO, words.OPEN_OUT)))

    assert _kinds(changes) == {"elements"}
    assert sum(len(change.new) for change in changes.elements) == 3
    assert not any(change.gone for change in changes.elements)


def test_one_member_is_one_element() -> None:
    then = _small(addresses("s", "10.0.0.1 10.0.0.2"))

    changes = Walker(_small()).go(then)

    assert [(c.set.name, c.gone, c.new) for c in changes.elements] == [("set-s-4", (), (("10.0.0.2/32", None),))]
    assert _kinds(changes) == {"elements"}


def test_a_large_set_is_filled_part_by_part_before_anything_leads_to_it() -> None:
    """As the kernel's hash can grow between the parts only. So is the first table of a host, and nothing is in force
    until its hooks come, all at once."""
    everybody = addresses("s", " ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(12_000)))
    web = policy("web", rule(ALLOW, 6, side(sets="s")))
    into = group(INGRESS, tier(web))
    made = intent(*words.OPEN, web, into, everybody, endpoint(1, into, words.OPEN_OUT))
    walker = Walker()

    later = [*parts(steps(walker.go(made)).prepare)]
    first = steps(onto_nothing(NftState().update(Delta(snapshot=True), made)))
    prepared = [*parts(first.prepare)]

    assert walker.kernel.table == render(made)
    assert [[len(each.new) for each in part.elements] for part in later[:-1]] == [[], [4000], [4000], [4000]]
    hooks = {name for name, chain in render(made).chains.items() if chain.hook}
    assert {chain.name for chain in first.turn.new_chains} == hooks
    assert not any(first.turn.elements)
    assert not hooks & {chain.name for part in prepared for chain in part.new_chains}
    assert [part.first for part in prepared] == [True, False, False, False, False]


def test_a_policy_change_rewrites_its_own_chains_only() -> None:
    then = _small(policy("web", rule(ALLOW, TCP, side(ports="8080"), side(sets="s"))))

    changes = Walker(_small()).go(then)

    names = [chain.name for chain in changes.changed_chains]
    assert names == ["ingress4/GlobalNetworkPolicy/web", "ingress6/GlobalNetworkPolicy/web"]
    assert _kinds(changes) == {"changed_chains"}


def test_a_port_that_changes_is_two_elements() -> None:
    """Where rules are looked up by port, no chain changes: chains bear the numbers of rules."""
    def made(port: str) -> HostIntent:
        many = policy("many", *(rule(ALLOW, TCP, side(ports=f"{n}"), side(sets="s")) for n in range(1, 9)))
        web = policy("web", rule(ALLOW, TCP, side(ports=port), side(sets="s")))
        into = group(INGRESS, tier(many, web))
        return _small(many, web, into, endpoint(2, into, words.OPEN_OUT))

    changes = Walker(made("80")).go(made("8080"))

    assert [(len(c.gone), len(c.new)) for c in changes.elements] == [(1, 1), (1, 1)]
    names = [chain.name for chain in changes.changed_chains]
    assert names == ["ingress4/GlobalNetworkPolicy/web", "ingress6/GlobalNetworkPolicy/web"]


def test_rules_that_are_alike_change_as_one_set_and_one_line() -> None:
    """The set that was there stays as it was until nothing looks into it any more: an old packet meets old ports."""
    def made(*ports: int) -> HostIntent:
        web = policy("web", *(rule(ALLOW, TCP, side(ports=f"{port}"), side(sets="s")) for port in ports))
        return _small(web)

    walker = Walker(made(80, 81, 82))
    changes = walker.go(made(80, 81, 83))

    assert (len(changes.new_sets), len(changes.gone_sets)) == (2, 2)
    assert not {change.set.name for change in changes.elements} - {declared.name for declared in changes.new_sets}
    for ports in ((80, 81), (80, 81, 82, 83), ()):
        walker.go(made(*ports))
        assert walker.kernel.table == walker.state.table == render(walker.now)


def test_what_names_a_set_is_not_written_for_a_family_that_nobody_speaks() -> None:
    """Until a workload here does, or somebody whom a set holds."""
    web = policy("web", rule(ALLOW, TCP, side(ports="80"), side(sets="s")))
    into = group(INGRESS, tier(web))

    def made(members: str, *others: str) -> HostIntent:
        alone = msgspec.structs.replace(endpoint(2, into, words.OPEN_OUT), addresses=(Cidr("10.65.0.2/32"),))
        return intent(*words.OPEN, web, into, alone, addresses("s", members), *(addresses(name) for name in others))

    def written(now: HostIntent) -> set[str]:
        walker.go(now)
        assert walker.kernel.table == walker.state.table == render(now)
        return {family for family in "46" if f"ingress{family}/GlobalNetworkPolicy/web" in walker.kernel.table.chains}

    walker = Walker(made("10.0.0.1"))
    assert written(made("10.0.0.1", "t")) == {"4"}
    assert written(made("10.0.0.1 fd00::1")) == {"4", "6"}
    assert written(made("")) == {"4"}
    both = made("10.0.0.1")
    both.endpoints |= {each.key: each for each in (endpoint(3, into, words.OPEN_OUT),)}
    assert written(both) == {"4", "6"}
    assert written(made("10.0.0.1")) == {"4"}
    assert written(made("fd00::/64")) == {"4", "6"}


PORTS = ("80", "81", "82", "80-81", "83", "84", "90-92", "91", "100-160", "161", "200-300", "443 80", "")


def _of_ports(dice: Random, name: str) -> Policy:
    rules = (rule(dice.choice((ALLOW, ALLOW, DENY)), dice.choice((TCP, TCP, TCP, 17)), side(ports=dice.choice(PORTS)),
                  side(**dice.choice(({}, {"sets": "s"}, {"nets": "10.0.0.0/24"}))), index=n) for n in range(6))
    return policy(name, *rules)


def _other_ports(dice: Random, one: Policy) -> Policy:
    """One or two of its rules speak of other ones."""
    rules = list(one.ingress)
    for _ in range(dice.randint(1, 2)):
        number = dice.randrange(len(rules))
        ports = side(ports=dice.choice((*PORTS, *(f"{n}" for n in (*range(78, 98), *range(100, 180, 4))))))
        rules[number] = msgspec.structs.replace(rules[number], destination=ports)
    return msgspec.structs.replace(one, ingress=tuple(rules))


@given(st.integers(0, 10**9))
def test_ports_that_change_in_policies_that_many_lists_hold(seed: int) -> None:
    """Those of nobody else move as elements; where others meet them, the lists are merged again."""
    dice = Random(seed)
    held = {name: _of_ports(dice, name) for name in "abcd"}
    lists = [dice.sample("abcd", dice.randint(1, 4)) for _ in range(4)]

    def made() -> HostIntent:
        groups = [group(INGRESS, *(tier(*(held[name] for name in part)) for part in (names[:2], names[2:]) if part))
                  for names in lists]
        return _small(*held.values(), *groups)

    walker = Walker(made())
    for _ in range(6):
        for name in dice.sample("abcd", dice.choice((1, 1, 2))):
            held[name] = _other_ports(dice, held[name])
        walker.go(made())
        assert walker.kernel.table == walker.state.table == render(walker.now)


def test_a_port_of_a_policy_that_many_lists_hold_is_an_element_in_each() -> None:
    """Whatever else these lists hold. No chain is made, and none goes."""
    def made(port: int) -> HostIntent:
        web = policy("web", rule(ALLOW, TCP, side(ports=f"{port}"), side(sets="s")))
        others = [policy(f"o{n}", *(rule(ALLOW, TCP, side(ports=f"{1000 + 10 * n + k}"), side(sets="sptu"[k % 4]),
                                         index=k) for k in range(9))) for n in range(5)]
        lists = [group(INGRESS, tier(web, *others[:n])) for n in range(1, 6)]
        return _small(web, *others, *lists, *(addresses(name) for name in "ptu"))

    walker = Walker(made(80))
    changes = walker.go(made(443))

    assert not walker.state._lists.unmoved, "a list was merged again"
    assert changes.doubled is None, "a map was written twice"
    assert {(change.gone, tuple(to for to, _ in change.new)) for change in changes.elements} == {
        (((TCP, 80),), ((TCP, 443),))}
    assert len(changes.elements) == 10
    assert not changes.new_chains
    assert not changes.gone_chains
    assert walker.kernel.table == walker.state.table == render(walker.now)


def test_a_port_that_changes_in_few_rules_is_its_own_chain_and_concerns_no_list() -> None:
    """However many lists hold the policy: nobody looks its rules up by port."""
    def made(port: int) -> HostIntent:
        web = policy("web", rule(ALLOW, TCP, side(ports=f"{port}")), rule(DENY, 17, side(ports="53")))
        lists = [group(INGRESS, tier(web, policy(f"own{n}"))) for n in range(20)]
        return _small(web, *lists, *(policy(f"own{n}") for n in range(20)))

    walker = Walker(made(80))
    changes = walker.go(made(81))

    assert [chain.name for chain in changes.changed_chains] == [f"ingress{n}/GlobalNetworkPolicy/web" for n in (4, 6)]
    assert _kinds(changes) == {"changed_chains"}
    assert walker.kernel.table == walker.state.table == render(walker.now)


def test_a_policy_that_grows_makes_a_lookup_of_its_neighbours_rules_too() -> None:
    """They say what they said, but are called in pieces from then on; and back."""
    pair = policy("pair", rule(ALLOW, TCP, side(ports="80")), rule(DENY, TCP, side(ports="81")))
    into = group(INGRESS, tier("GlobalNetworkPolicy/grows", pair))
    walker = Walker(_small(pair, into, policy("grows", rule(ALLOW, TCP, side(ports="1")))))

    for count in (5, 1, 7, 0):
        rules = (rule(ALLOW, TCP, side(ports=f"{n}")) for n in range(1, 1 + count))
        walker.go(_small(pair, into, policy("grows", *rules)))
        assert walker.kernel.table == walker.state.table == render(walker.now)


PEERS = tuple(policy(f"of{n}", rule(ALLOW, TCP, side(ports="80"), side(sets=f"p{n}"))) for n in range(8))
BY_PEER = group(INGRESS, tier(*PEERS))


def _by_peer(**members: str) -> HostIntent:
    sets = [addresses(f"p{n}", members.get(f"p{n}", f"10.0.0.{n}")) for n in range(8)]
    return _small(*PEERS, *sets, BY_PEER, endpoint(2, BY_PEER, words.OPEN_OUT))


def test_a_member_of_a_set_by_which_rules_are_looked_up_is_two_elements() -> None:
    changes = Walker(_by_peer()).go(_by_peer(p3="10.0.0.3 10.0.0.77"))

    assert _kinds(changes) == {"elements"}
    found = {change.set.name: (change.gone, change.new) for change in changes.elements}
    to = jump("ingress4/GlobalNetworkPolicy/of3")
    assert found == {
        "set-p3-4": ((), (("10.0.0.77/32", None),)),
        f"ingress4/group/{BY_PEER.id}/ports0/6-80/peers0": ((), (("10.0.0.77/32", to),)),
    }


IN_MANY_WAYS = {f"p{n}": " ".join(f"10.2.0.{way}" for way in range(256) if way >> n & 1) for n in range(8)}
"""An address for each combination of the eight: more than may have chains of their own."""


@pytest.mark.parametrize("then", [
    {"p3": "10.0.0.4"}, {"p3": ""}, {"p3": "10.0.0.0 10.0.0.1 10.0.0.2 10.0.0.3"}, {"p2": "10.0.0.5", "p7": "10.0.0.5"},
    {f"p{n}": "10.0.0.9" for n in range(8)}, {"p4": "10.0.0.4 10.0.0.0/28"}, {"p4": "fd00::1"}, IN_MANY_WAYS,
    {"p0": " ".join(f"10.1.{n // 250}.{n % 250}" for n in range(8 * crowds.EACH))},
])
@pytest.mark.parametrize("members", [True, False])
def test_maps_of_peers_follow_every_sort_of_change(then: dict[str, str], members: bool) -> None:
    """Addresses in one set, several and all; prefixes; sets that outgrow their map; and back."""
    walker = Walker(_by_peer())

    for made in (_by_peer(**then), _by_peer(), _by_peer(**then), _by_peer(p1="10.0.0.5", p5="10.0.0.1")):
        walker.go(made, members=members)
        assert walker.kernel.table == walker.state.table == render(made)


MIXED = tuple(policy(f"mix{n}", rule(DENY, TCP, side(ports="1000-60000"), side(nets=f"10.0.{n}.0/24 10.9.0.0/16")),
                     rule(ALLOW, None, None, side(sets=f"p{n}"))) for n in range(8))
BY_ANY_PEER = group(INGRESS, tier(*MIXED))


@pytest.mark.parametrize("then", [
    {"p3": "10.0.4.9"}, {"p3": ""}, {"p3": "10.9.0.1 10.0.0.7 10.0.1.7"}, {"p4": "10.0.4.0 10.0.4.0/28"},
    {f"p{n}": "10.0.3.9" for n in range(8)}, {"p4": "fd00::1"},
    {"p0": " ".join(f"10.1.{n // 250}.{n % 250}" for n in range(12 * crowds.EACH))},
])
def test_maps_of_peers_know_prefixes_too(then: dict[str, str]) -> None:
    """An address that comes to a set meets the rules whose prefixes hold it, in their order among the others."""
    def made(**members: str) -> HostIntent:
        sets = [addresses(f"p{n}", members.get(f"p{n}", f"10.0.{n}.1 10.7.0.{n}")) for n in range(8)]
        return _small(*MIXED, *sets, BY_ANY_PEER, endpoint(2, BY_ANY_PEER, words.OPEN_OUT))

    walker = Walker(made())
    for now in (made(**then), made(), made(**then), made(p1="10.0.0.5", p5="10.9.0.1")):
        walker.go(now)
        assert walker.kernel.table == walker.state.table == render(now)


def test_an_address_of_many_rules_walks_these_and_all_only_where_there_are_too_many_ways() -> None:
    walker = Walker(_by_peer())

    def chains_of(then: HostIntent, address: str) -> list[int]:
        walker.go(then)
        assert walker.kernel.table == walker.state.table == render(then)
        table = walker.kernel.table
        verdicts = (content.get(address) for name, content in table.elements.items() if name.endswith("/peers0"))
        return [len(table.chains[each.chain].rules) for each in verdicts if isinstance(each, Verdict)]

    seven = {f"p{n}": "10.0.0.9" for n in range(7)}
    assert chains_of(_by_peer(**seven), "10.0.0.9/32") == [7]
    assert chains_of(_by_peer(**IN_MANY_WAYS), "10.2.0.127/32") == [8]
    assert chains_of(_by_peer(**IN_MANY_WAYS), "10.2.0.63/32") == [6]
    assert chains_of(_by_peer(**seven), "10.0.0.9/32") == [7]


def test_a_map_of_peers_is_told_again_when_the_kernel_has_refused_it() -> None:
    walker = Walker(_by_peer())

    for then in (_by_peer(p3="10.0.0.9"), _by_peer(p3="10.0.0.9 10.0.0.8", p4="10.0.0.9")):
        walker.state.update(step(walker.now, then, members=True), then)
        walker.state.refused()
        walker.now = then
    walker.go(_by_peer(p5="10.0.0.9"))

    assert walker.kernel.table == render(walker.now)


def test_a_policy_that_passes_is_written_into_its_groups_and_follows_its_sets() -> None:
    """Also when a set's first prefix makes a second lookup necessary."""
    into = group(INGRESS, tier(PASSING), tier(OTHER))
    made = intent(*words.OPEN, PASSING, OTHER, into, addresses("s", "10.0.0.1"))

    changes = Walker(made).go(intent(*words.OPEN, PASSING, OTHER, into, addresses("s", "10.0.0.1 10.1.0.0/16")))

    assert [chain.name for chain in changes.changed_chains] == [f"ingress4/group/{into.id}/0"]
    assert [declared.name for declared in changes.new_sets] == ["set-s-4-nets"]


def test_a_prefix_that_another_holds_changes_nothing_in_the_kernel() -> None:
    made = _small(addresses("s", "10.0.0.0/8"))

    walker = Walker(made)

    assert not walker.go(_small(addresses("s", "10.0.0.0/8 10.1.0.0/16")))
    assert [(c.gone, c.new) for c in walker.go(_small(addresses("s", "10.1.0.0/16"))).elements] == [
        (("10.0.0.0/8",), (("10.1.0.0/16", None),))
    ]


def test_a_turn_that_ends_where_it_began_changes_nothing() -> None:
    """Two deltas that cancel out may arrive as one."""
    walker = Walker(_small())
    now = walker.now
    delta = Delta(endpoints=dict(now.endpoints), policies=dict(now.policies), groups=dict(now.groups))
    delta.sets[words.SetId("s")] = MemberChange(added=frozenset({Cidr("10.0.0.1/32")}))

    assert not walker.state.update(delta, walker.now)


@pytest.mark.parametrize("order", [(1, 9), (9, 1)])
def test_two_endpoints_of_one_interface_do_not_depend_on_who_came_first(order: tuple[int, int]) -> None:
    """A rename, or a race of two writers: the smaller key has the interface, and the other one when that goes."""
    shut = endpoint(9, words.SHUT_IN, words.SHUT_OUT, interface="mus00000000001", spoofable="192.0.2.0/24")
    both = _small(words.SHUT_IN, words.SHUT_OUT, shut)
    keys = {1: endpoint(1, INTO, words.OPEN_OUT).key, 9: shut.key}
    walker = Walker(_without(both, *keys.values()))

    for then in (_without(both, keys[order[1]]), both, _without(both, keys[order[0]]), _without(both, *keys.values())):
        walker.go(then)
        assert walker.kernel.table == render(then)


def test_a_group_that_goes_before_its_endpoints_leaves_them_shut() -> None:
    """Removals may come in any order; nothing may lead to a chain that is gone."""
    walker = Walker(_small())
    gone = _small()
    del gone.groups[INTO.id]

    walker.go(gone)
    verdicts = walker.kernel.table.elements["to"]
    assert set(verdicts.values()) == {DROP}
    walker.go(_small())

    assert walker.kernel.table == render(_small())


def _without(made: HostIntent, *keys: EndpointKey) -> HostIntent:
    kept = {key: value for key, value in made.endpoints.items() if key not in keys}
    return msgspec.structs.replace(made, endpoints=kept)

"""A packet that is in the rules while a change counts is judged as before the change, or as after it.

It goes on by the old rules, but finds the new elements of sets (decision 0087). Here random packets go so through every
base chain, at every transaction of random changes; and what lies between two transactions is asked as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, permutations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intents import (
    ALLOW,
    DENY,
    INGRESS,
    PASS,
    SHUT_IN,
    SHUT_OUT,
    addresses,
    endpoint,
    group,
    host_interface,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import HostIntent, Policy, Rule
from muslin.net import Cidr, version_of
from muslin.render.nft.table import Table
from muslin.render.nft.words import CtState
from nftcases import HOST_INTERFACES, HOSTS, INTERFACES, intents, mixed
from nftpath import Packet, Way
from nftwalk import Walker

EXTERNAL = tuple(map(Cidr, ("192.0.2.1/32", "192.0.2.2/32", "192.0.2.9/32", "203.0.113.1/32", "2001:db8::1/128",
                            "2001:db8::9/128", "2001:db8:9::1/128")))
ADDRESSES = (*HOSTS, *EXTERNAL, Cidr("10.0.0.3/32"), Cidr("10.1.0.1/32"), Cidr("fd00::9/128"))
NAMES = (*INTERFACES, *(name for name in HOST_INTERFACES if name != "*"), "")
PORTS = (0, 8, 22, 53, 79, 80, 81, 85, 90, 91, 92, 100, 101, 128, 8080, 65535)
PROTOCOLS = (6, 6, 6, 17, 17, 1, 58, 99)


def _packet(dice: Random) -> Packet:
    source = dice.choice(ADDRESSES)
    return Packet(
        source, dice.choice([each for each in ADDRESSES if version_of(each) == version_of(source)]),
        dice.choice(PROTOCOLS), dice.choice(PORTS), dice.choice((4000, 22, 53, 80)), dice.choice(NAMES),
        dice.choice(NAMES), dice.choice((CtState.NEW,) * 4 + (CtState.INVALID, CtState.ESTABLISHED)),
        dice.random() < 0.8, dice.choice((0, 0, 0x10000, 0x10)), dice.random() < 0.3)


def _mixtures(states: list[Table]) -> Iterator[tuple[Table, Table]]:
    """Whose rules and whose elements."""
    for before, after in pairwise(states):
        yield before, after
        yield after, after


def check(states: list[Table], packets: list[Packet], chains: Iterable[str] = ()) -> None:
    """`chains`: that are asked, by default base chains."""
    bases = {name for table in (states[0], states[-1]) for name, chain in table.chains.items() if chain.hook}
    for base in sorted(chains or bases):
        for packet in packets:
            before, after = (Way(each, each).fate(base, packet) for each in (states[0], states[-1]))
            for rules, elements in _mixtures(states):
                way = Way(rules, elements)
                found = way.fate(base, packet)
                assert found in (before, after), (base, way.met)


@given(intents(), intents(), st.lists(st.booleans(), min_size=6, max_size=6), st.booleans(), st.integers(0, 10**6))
def test_every_packet_is_judged_as_before_or_as_after(
    one: HostIntent, other: HostIntent, choices: list[bool], members: bool, seed: int
) -> None:
    walker, dice = Walker(one), Random(seed)
    packets = [_packet(dice) for _ in range(40)]
    walker.go(mixed(one, other, choices), members=members)
    check(walker.kernel.states, packets)


WAYS = {"to the host": ("prerouting", "input"), "from the host": ("output",)}
"""Ways on which one hook behind the early ones says what becomes of a packet."""


def check_journeys(states: list[Table], packets: list[Packet]) -> None:
    """Hook by hook: at most one transaction counts while a packet passes them."""
    for points in WAYS.values():
        bases = _filters(states, points)
        for packet in packets:
            expected = {_passes(bases, packet, (state,)) for state in (states[0], states[-1])}
            for pair in pairwise(states):
                for last in range(len(bases) + 1):
                    found = _passes(bases, packet, pair, last)
                    assert found in expected, (points, bases[:last], states.index(pair[0]))


def _filters(states: list[Table], points: tuple[str, ...]) -> list[str]:
    """Names of base chains, in the order in which they are asked."""
    hooks = {
        (points.index(chain.hook.point), chain.hook.priority, name)
        for table in states for name, chain in table.chains.items()
        if chain.hook and chain.hook.kind == "filter" and chain.hook.point in points
    }
    return [name for _, _, name in sorted(hooks)]


def _passes(bases: list[str], packet: Packet, states: tuple[Table, ...], last: int = -1) -> bool:
    """The transaction counts while the packet is in the rules of base chain number `last`."""
    before, after = states[0], states[-1]
    for number, base in enumerate(bases):
        rules, elements = (before if number <= last else after), (before if number < last else after)
        fate = Way(rules, elements).fate(base, packet)
        if not fate.passes:
            return False
        packet = fate.packet
    return True


@given(intents(), intents(), st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 10**6))
def test_what_is_asked_early_and_what_is_asked_late_change_as_one(
    one: HostIntent, other: HostIntent, choices: list[bool], seed: int
) -> None:
    """Who was not accepted early, because that was not asked yet, is not denied late, because that is shut now."""
    walker, dice = Walker(one), Random(seed)
    packets = [_packet(dice) for _ in range(20)]
    walker.go(mixed(one, other, choices))
    check_journeys(walker.kernel.states, packets)


EACH = tuple(f"{port}" for port in range(78, 98))
PARTS = ("80", "81", "82", "80-81", "83", "90-92", "91", "100-160", "161", "443 80")
SOURCES = ("10.0.0.1", "10.0.0.2", "10.0.1.1")


def _rule(dice: Random, index: int) -> Rule:
    by = dice.choice(({}, {"sets": "s"}, {"sets": "t"}, {"nets": "10.0.0.0/31"}, {"nets": f"10.0.0.{index}/32"}))
    ports = dice.choice((*PARTS, *EACH))
    return rule(dice.choice((ALLOW, ALLOW, DENY)), 6, side(ports=ports), side(**by), index=index)


def _edited(dice: Random, one: Policy) -> Policy:
    """Another port, or somebody else, in a rule or two; or each other's; a rule more in front, or one less."""
    rules = list(one.ingress)
    match dice.choice(("port", "port", "port", "swap", "swap", "rule", "more", "less")):
        case "port":
            for number in dice.sample(range(len(rules)), dice.choice((1, 1, 2))):
                ports = side(ports=dice.choice((*PARTS, *EACH)))
                rules[number] = msgspec.structs.replace(rules[number], destination=ports)
        case "swap":
            first, last = dice.sample(range(len(rules)), 2)
            here, there = rules[first].destination, rules[last].destination
            rules[first] = msgspec.structs.replace(rules[first], destination=there)
            rules[last] = msgspec.structs.replace(rules[last], destination=here)
        case "rule":
            number = dice.randrange(len(rules))
            rules[number] = _rule(dice, number)
        case "more":
            rules.insert(0, _rule(dice, 9))
        case _ if len(rules) > 4:
            del rules[0]
    return msgspec.structs.replace(one, ingress=tuple(rules))


@given(st.integers(0, 10**9))
def test_rules_that_are_looked_up_by_port_and_by_peer_change_as_one(seed: int) -> None:
    """Policies that several lists hold, enough of them that ports and peers are looked up."""
    dice = Random(seed)
    held = {name: policy(name, *(_rule(dice, index) for index in range(dice.choice((5, 9))))) for name in "abc"}
    lists = [dice.sample("abc", number) for number in (1, 2, 3)]
    members = {"s": "10.0.0.1", "t": "10.0.0.2 10.0.1.1"}

    def made() -> HostIntent:
        groups = [group(INGRESS, tier(*(held[name] for name in names))) for names in lists]
        return intent(*held.values(), *groups, *(addresses(*each) for each in members.items()))

    walker = Walker(made())
    packets = [Packet(Cidr(f"{source}/32"), Cidr("10.9.9.9/32"), 6, port) for source in SOURCES
               for port in (*range(78, 98), 120, 161, 443)]
    for _ in range(3):
        for name in dice.sample("abc", dice.choice((1, 1, 1, 2))):
            held[name] = _edited(dice, held[name])
        if dice.random() < 0.3:
            members[dice.choice("st")] = " ".join(dice.sample(SOURCES, 2))
        walker.go(made())
        check(walker.kernel.states, packets, [f"ingress/group/{key}" for key in walker.now.groups])


def test_a_rule_more_in_front_of_many_loses_nothing() -> None:
    """What ports lead to bears the numbers of rules: each port leads elsewhere then, and each rule is another."""
    rules = [rule(ALLOW, 6, side(ports=f"{port}"), side(nets=f"10.0.0.0/{port % 8 + 20}"), index=port)
             for port in range(80, 90)]

    def made(*more: Rule) -> HostIntent:
        one = policy("web", *more, *rules)
        return intent(one, group(INGRESS, tier(one)))

    walker = Walker(made())
    changes = walker.go(made(rule(ALLOW, 6, side(ports="22"))))

    assert changes.doubled is not None
    packets = [Packet(Cidr("10.0.0.1/32"), Cidr("10.9.9.9/32"), 6, port) for port in (22, *range(79, 91))]
    check(walker.kernel.states, packets, [f"ingress/group/{key}" for key in walker.now.groups])


def _web(*rules: Rule, name: str = "web") -> HostIntent:
    one = policy(name, *rules)
    return intent(one, group(INGRESS, tier(one)))


def _by_ports(*ports: int, **by: str) -> list[Rule]:
    """Who is allowed differs, so that rules are not alike; 10.0.0.1 is everywhere."""
    return [rule(ALLOW, 6, side(ports=f"{port}"), side(nets=f"10.0.0.0/{8 + number}", **by), index=number)
            for number, port in enumerate(ports)]


SEVEN = range(90, 97)


@pytest.mark.parametrize(("before", "after"), [
    ([*_by_ports(80, *SEVEN), rule(DENY)], [*_by_ports(99, *SEVEN), rule(ALLOW)]),
    (_by_ports(80, 81, *SEVEN), _by_ports(81, 80, *SEVEN)),
])
def test_a_port_that_moves_leads_nobody_past_what_changes_with_it(before: list[Rule], after: list[Rule]) -> None:
    """Where another rule of the policy changes, too; where two rules change places."""
    walker = Walker(_web(*before))
    packets = [Packet(Cidr("10.0.0.1/32"), Cidr("10.9.9.9/32"), 6, port) for port in range(79, 100)]

    for then in (after, before):
        assert walker.go(_web(*then)).doubled is not None
        check(walker.kernel.states, packets, [f"ingress/group/{key}" for key in walker.now.groups])


@pytest.mark.parametrize("apart", [False, True])
def test_a_port_that_one_policy_gives_up_and_another_takes_is_never_nobodys(apart: bool) -> None:
    """In one map, and in a map of each: what passes on divides them."""
    def made(*ports: int) -> HostIntent:
        both = [policy(name, *_by_ports(port, *range(first, first + 7)))
                for name, port, first in zip("ab", ports, (100, 110), strict=True)]
        between = [policy("between", rule(PASS, 17))] if apart else []
        return intent(*both, *between, group(INGRESS, tier(both[0], *between, both[1])))

    walker = Walker(made(80, 90))
    packets = [Packet(Cidr("10.0.0.1/32"), Cidr("10.9.9.9/32"), 6, port) for port in range(79, 100)]

    for ports in ((81, 80), (80, 90)):
        assert walker.go(made(*ports)).doubled is not None
        check(walker.kernel.states, packets, [f"ingress/group/{key}" for key in walker.now.groups])


def test_who_is_no_stranger_any_more_when_a_port_moves_is_let_through_by_either() -> None:
    """Strangers may come to any port; 10.0.0.1 is none from now on, and may come to the port that moves."""
    def made(port: int, *known: str) -> HostIntent:
        one = policy("a", *_by_ports(port, *SEVEN))
        strangers = policy("strangers", rule(ALLOW, 6, None, side(not_sets="s")))
        return intent(one, strangers, group(INGRESS, tier(one, strangers)), addresses("s", " ".join(known)))

    walker = Walker(made(80, "10.0.0.7"))
    packets = [Packet(Cidr("10.0.0.1/32"), Cidr("10.9.9.9/32"), 6, port) for port in range(79, 98)]

    for port, known in ((81, ("10.0.0.7", "10.0.0.1")), (80, ("10.0.0.7",))):
        walker.go(made(port, *known))
        check(walker.kernel.states, packets, [f"ingress/group/{key}" for key in walker.now.groups])


def test_who_comes_to_a_list_when_a_port_of_it_moves_meets_the_new_one() -> None:
    """Port 81 is allowed by the list that it leaves, and by the one to which it comes, from now on."""
    def made(port: int, comes: str) -> HostIntent:
        both = {name: policy(name, *_by_ports(moving, *SEVEN)) for name, moving in (("a", port), ("b", 81))}
        groups = {name: group(INGRESS, tier(one)) for name, one in both.items()}
        return intent(*both.values(), *groups.values(), SHUT_OUT, endpoint(1, groups["a"], SHUT_OUT),
                      endpoint(2, groups[comes], SHUT_OUT))

    walker = Walker(made(80, "b"))
    packets = [Packet(Cidr("10.0.0.1/32"), Cidr("10.65.0.2/32"), 6, port, arrives="up0", leaves=f"mus{2:011x}")
               for port in range(79, 98)]

    for port, comes in ((81, "a"), (80, "b")):
        walker.go(made(port, comes))
        check(walker.kernel.states, packets)
    passing = [packet.port for packet in packets if Way(walker.kernel.table, walker.kernel.table).fate(
        "forward", packet).passes]
    assert passing == [81, *SEVEN]


def test_an_interface_goes_from_each_way_of_asking_to_each_other() -> None:
    """What allows it is now its own list, now one that is asked early, of either sort; nothing else allows it."""
    web, other = (policy(name, rule(ALLOW, 17, side(ports=port))) for name, port in (("web", "80"), ("other", "90")))
    late = group(INGRESS, tier(web))
    early, passing = (group(INGRESS, tier(one, default=PASS), end=PASS) for one in (web, other))
    lists = (late, early, passing, SHUT_IN, SHUT_OUT)
    ways = [intent(web, other, *lists, host_interface(name, **asked)) for name in ("up0", "*") for asked in (
        {"ingress": late}, {"untracked_ingress": early}, {"pre_dnat": early},
        {"untracked_ingress": early, "pre_dnat": passing}, {"untracked_ingress": passing, "pre_dnat": early})]
    packets = [Packet(Cidr("192.0.2.1/32"), Cidr("10.0.0.1/32"), 17, port, arrives="up0") for port in (80, 81)]

    for one, another in permutations(ways, 2):
        walker = Walker(one)
        walker.go(another)
        check_journeys(walker.kernel.states, packets)
        bases = _filters(walker.kernel.states[-1:], WAYS["to the host"])
        assert [_passes(bases, packet, (walker.kernel.table,)) for packet in packets] == [True, False]

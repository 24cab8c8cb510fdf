"""What is written: names that can be found again, text that nothing can break out of, prefixes that do not overlap."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intents import (
    ALLOW,
    DENY,
    EGRESS,
    INGRESS,
    LOG,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    endpoint,
    group,
    intent,
    policy,
    ports,
    rule,
    side,
    tier,
)
from muslin.errors import Broken
from muslin.intent import Direction, Endpoint, EndpointKey, Origin, PolicyId, Rule, SetId, Settings
from muslin.net import Cidr, contains, parse_cidr
from muslin.render.nft import Changes, names, render, table_text, text
from muslin.render.nft.book import Book
from muslin.render.nft.words import Chain, Log, NamedSet, Type
from muslin.render.nft.words import Rule as Line
from muslin.render.prefixes import joined, maximal

TCP = 6


def _rules(made: str, chain: str) -> list[str]:
    start = f"add rule inet muslin {chain} "
    return [line.removeprefix(start) for line in made.splitlines() if line.startswith(start)]


def test_a_policy_can_be_found_by_its_name_and_a_rule_by_its_number() -> None:
    web = policy("NetworkPolicy/shop/web", rule(ALLOW, TCP, side(ports="80 443-445"), side(nets="10.0.0.0/8")))
    into = group(INGRESS, tier(web))

    made = table_text(render(intent(*OPEN, web, into, endpoint(1, into, OPEN_OUT))))

    matches = "meta l4proto 6 th dport { 80, 443-445 } ip saddr 10.0.0.0/8"
    assert _rules(made, "ingress4/NetworkPolicy/shop/web") == [
        f'{matches} counter accept comment "GlobalNetworkPolicy/p ingress 0"'
    ]
    assert _rules(made, "ingress6/NetworkPolicy/shop/web") == []
    assert _rules(made, f"ingress/group/{into.id}") == [
        'meta nfproto ipv6 counter drop comment "Tier/default ingress"',
        "jump ingress4/NetworkPolicy/shop/web",
        'counter drop comment "Tier/default ingress"',
    ]


def test_nothing_is_written_behind_what_ends_every_packet() -> None:
    """A tier that denies by default is the end, and the profiles behind it are never asked. Nor is a policy that says
    nothing."""
    web, silent = policy("web", rule(DENY, TCP)), policy("silent")
    into = group(INGRESS, tier(web, silent), tier(web, name="next"), profiles=("Profile/x",))

    made = table_text(render(intent(web, silent, into)))

    ends = 'counter drop comment "Tier/default ingress"'
    assert _rules(made, f"ingress6/group/{into.id}") == ["jump ingress6/GlobalNetworkPolicy/web", ends]
    assert _rules(made, f"ingress/group/{into.id}") == [
        f"meta nfproto ipv6 goto ingress6/group/{into.id}", "jump ingress4/GlobalNetworkPolicy/web", ends]


def test_egress_allows_towards_the_receivers_policy_and_ingress_allows_at_once() -> None:
    both = policy("both", rule(ALLOW), egress=(rule(ALLOW),))

    made = table_text(render(intent(both, group(INGRESS, tier(both)), group(EGRESS, tier(both)))))

    assert _rules(made, "ingress6/GlobalNetworkPolicy/both")[0].startswith("counter accept")
    assert _rules(made, "egress6/GlobalNetworkPolicy/both")[0].startswith("counter goto egress-allowed ")


def test_log_speaks_once_where_alternatives_overlap() -> None:
    """A packet may match a range and a named port, a host and a prefix: one line in the log, not four."""
    log = rule(LOG, TCP, side(ports="80", named="web"))
    made = table_text(render(intent(policy("p", log), ports("web", ("10.0.0.1", TCP, 8080)))))

    assert [line.partition(" counter")[0] for line in _rules(made, "ingress4/GlobalNetworkPolicy/p")] == [
        "meta l4proto 6 th dport 80",
        "meta l4proto 6 ip daddr . meta l4proto . th dport @ports-web-4 th dport != 80-80",
    ]


@given(st.text(max_size=300))
@example('quote" ; flush ruleset\n$x \\"')
def test_what_a_user_writes_stays_within_its_quotes(words: str) -> None:
    """A log prefix and a note end up in nft's text; nothing in them may be read as nft."""
    origin = Origin(kind="GlobalNetworkPolicy", name="p", rule=0, note=words)
    made = intent(policy("p", Rule(action=LOG, origin=origin, log_prefix=words), Rule(action=ALLOW, origin=origin)))

    for line in _rules(table_text(render(made)), "ingress4/GlobalNetworkPolicy/p"):
        assert line.count('"') in (2, 4)
        assert not set("$\\\n") & set(line)
        assert all(len(quoted) <= 127 for quoted in line.split('"')[1::2])


def test_the_printer_refuses_what_it_cannot_quote() -> None:
    """The last fence: should a new sort of text come by without being made printable."""
    with pytest.raises(Broken, match="cannot be quoted"):
        text(Changes(new_chains=(Chain("c", (Line((Log('a" drop'),)),)),)))


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_two_policies_never_share_a_chain(one: str, other: str) -> None:
    """However long or strange their names are; and the kernel's limit of 255 bytes is kept."""
    chains = [names.stage_chain(word, Direction.INGRESS, 4, 10) for word in (one, other)]
    chains += [names.policy_chain(PolicyId(word), Direction.EGRESS, 6) for word in (one, other)]

    assert len(set(chains)) == (2 if one == other else 4)
    assert all(len(chain.encode()) <= 255 for chain in chains)
    assert len({names.net_set(SetId(one), 4), names.host_set(SetId(one), 4), names.port_set(SetId(one), 4)}) == 3


def test_long_names_keep_their_rule_number_in_the_comment() -> None:
    origin = Origin(kind="NetworkPolicy", namespace="n" * 63, name="p" * 253, direction=Direction.EGRESS, rule=1023)

    comment = names.comment(origin)

    assert len(comment) == names.COMMENT_LIMIT
    assert comment.startswith("NetworkPolicy/" + "n" * 63)
    assert comment.endswith(" egress 1023")


@pytest.mark.parametrize("name", ["mus*", 'a"b', "a b", "sixteen-letters-", "", "ä"])
def test_an_interface_that_nft_would_misread_gets_nothing(name: str) -> None:
    """A `*` would name all interfaces that begin so."""
    odd = Endpoint(key=EndpointKey("WorkloadEndpoint/a/b"), interface=name, ingress=OPEN_IN.id, egress=OPEN_OUT.id)

    assert render(intent(*OPEN, odd)) == render(intent(*OPEN))


def test_a_prefix_that_cannot_be_a_name_is_left_out() -> None:
    """An empty one would make every interface ours, and shut the host's own."""
    for prefix in ("", ",", "a*"):
        made = table_text(render(intent(settings=Settings(interface_prefix=prefix))))
        assert "iifname" not in "".join(_rules(made, "input"))


_prefixes = st.builds(
    lambda number, length: parse_cidr(f"{ipaddress.ip_address(number << 24)}/{length}"),
    st.integers(0, 3), st.integers(0, 32),
)


@given(st.lists(_prefixes, max_size=12))
def test_maximal_prefixes_are_disjoint_and_cover_the_same(given_: list[Cidr]) -> None:
    found = maximal(given_)

    assert not any(contains(one, other) for one in found for other in found if one != other)
    assert set(found) <= set(given_)
    assert all(any(contains(one, member) for one in found) for member in given_)


_ranges = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda ends: (min(ends), max(ends)))


@given(st.lists(_ranges, max_size=8))
def test_joined_ranges_are_apart_and_hold_the_same_numbers(given_: list[tuple[int, int]]) -> None:
    found = joined(given_)

    numbers = [number for first, last in found for number in range(first, last + 1)]
    assert numbers == sorted({number for first, last in given_ for number in range(first, last + 1)})
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))


def test_a_set_that_goes_and_comes_within_a_turn_changes_by_its_elements() -> None:
    book, declared = Book(), NamedSet("s", (Type.PORT,))
    book.put_set(declared)
    book.put_content("s", [1, 2])
    book.changes()

    book.drop_set("s")
    book.put_set(declared)
    book.put_content("s", [2, 3])
    changes = book.changes()

    assert (changes.new_sets, changes.gone_sets) == ((), ())
    assert [(change.gone, change.new) for change in changes.elements] == [((1,), ((3, None),))]


def test_a_set_never_changes_its_type() -> None:
    """The kernel could not follow."""
    book = Book()
    book.put_set(NamedSet("s", (Type.PORT,)))

    with pytest.raises(Broken):
        book.put_set(NamedSet("s", (Type.ADDRESS4,)))


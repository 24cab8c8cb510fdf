"""Blocks stay inside pools, and every host walks through all of them in an order of its own."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.ipam import pools
from muslin.ipam.pools import Pool
from muslin.ipam.records import Exhausted
from muslin.model.meta import Meta
from muslin.model.network import IPPool, IPPoolSpec
from muslin.net import Cidr, bounds, contains


def pool(name: str, **spec: object) -> IPPool:
    return IPPool(metadata=Meta(name=name), spec=IPPoolSpec(**spec))  # type: ignore[arg-type]


@given(st.text(max_size=8), st.sampled_from([("10.0.0.0", 0, 32), ("fd00::", 96, 128)]), st.integers(0, 8))
def test_a_walk_visits_every_block_once(host: str, family: tuple[str, int, int], bits: int) -> None:
    base, _, longest = family
    walked = list(Pool("p", Cidr(f"{base}/{longest - 2 - bits}"), longest - 2).walk(host))

    assert len(set(walked)) == len(walked) == 2**bits
    assert all(contains(Cidr(f"{base}/{longest - 2 - bits}"), cidr) for cidr in walked)
    assert len({bounds(cidr) for cidr in walked}) == 2**bits


def test_a_walk_through_a_huge_pool_begins_at_once() -> None:
    """A /48 has 2^74 blocks: the walk must be arithmetic, never a list."""
    first = list(islice(Pool("p", Cidr("fd65::/48"), 122).walk("h1"), 3))

    assert len(set(first)) == 3
    assert all(contains(Cidr("fd65::/48"), cidr) for cidr in first)


def test_hosts_begin_at_different_places_and_each_always_at_the_same() -> None:
    """Else a hundred hosts that start together would race for the same block a hundred times."""
    where = Pool("p", Cidr("10.0.0.0/16"), 26)
    starts = {host: next(where.walk(host)) for host in (f"h{n}" for n in range(100))}

    assert len(set(starts.values())) > 80
    assert all(next(where.walk(host)) == start for host, start in starts.items())


def test_a_pool_smaller_than_a_block_is_one_block() -> None:
    found = pools.choose([pool("p", cidr="10.0.0.0/30")], 4, host_labels={}, namespace_labels={})

    assert list(found[0].walk("h")) == ["10.0.0.0/30"]


def test_pools_that_were_asked_for_are_taken_in_that_order_whatever_they_select() -> None:
    every = [pool("a", cidr="10.1.0.0/24", node_selector="x == 'y'"), pool("b", cidr="10.2.0.0/24")]

    found = pools.choose(every, 4, wanted=["10.2.0.0/24", "a"], host_labels={}, namespace_labels={})

    assert [each.name for each in found] == ["b", "a"]


def test_a_pool_with_a_selector_that_cannot_be_read_is_nobodys() -> None:
    with pytest.raises(Exhausted, match="no IPPool selects host 'h1'"):
        pools.choose([pool("p", cidr="10.0.0.0/24", node_selector="a ==")], 4, host="h1", host_labels={},
                     namespace_labels={})


def test_a_pool_whose_prefix_cannot_be_read_disables_only_itself() -> None:
    every = [pool("bad", cidr="ten"), pool("good", cidr="10.0.0.0/24")]

    assert [each.name for each in pools.choose(every, 4, host_labels={}, namespace_labels={})] == ["good"]


def test_the_error_without_pools_of_a_family_names_those_of_the_other() -> None:
    with pytest.raises(Exhausted, match=r"IPv6.*four \(10\.0\.0\.0/24\)"):
        pools.choose([pool("four", cidr="10.0.0.0/24")], 6, host_labels={}, namespace_labels={})


def test_what_is_left_out_of_pools_is_left_out_and_nothing_else() -> None:
    pool, six = Pool("a", Cidr("10.0.0.0/22"), 26), Pool("six", Cidr("fd00::/112"), 122)
    left = pools.without((pool, six), [Cidr("10.0.1.0/24"), Cidr("10.0.3.128/25"), Cidr("192.0.2.0/24")])
    assert [part.cidr for part in left] == ["10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/25", "fd00::/112"]
    assert {part.name for part in left} == {"a", "six"}
    assert pools.without((pool,), [Cidr("10.0.0.0/16")]) == ()
    assert pools.without((Pool("a", Cidr("10.0.0.0/26"), 26),), [Cidr("10.0.0.64/26")]) != ()


def test_a_block_of_which_some_is_left_out_is_left_out() -> None:
    pool = Pool("a", Cidr("10.0.0.0/25"), 26)
    assert [part.cidr for part in pools.without((pool,), [Cidr("10.0.0.64/28")])] == ["10.0.0.0/26"]

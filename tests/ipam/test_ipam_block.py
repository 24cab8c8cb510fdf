"""One block through its life, against the record that Calico would write."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.ipam import affinity
from muslin.ipam import block as blocks
from muslin.ipam.records import BlockKey, Held, Unreadable, stamp
from muslin.model.ipam import Block, BlockAffinity, BlockAttribute
from muslin.net import Cidr

NOW = 1_767_323_045_000_000_000
CIDR = Cidr("10.9.0.64/30")


def owner(name: str) -> BlockAttribute:
    return BlockAttribute(handle_id=name, secondary={"node": "n1"})


def test_a_new_block_is_as_calico_makes_it() -> None:
    block = blocks.create(CIDR, "n1", NOW)

    assert msgspec.json.decode(msgspec.json.encode(block)) == {
        "cidr": "10.9.0.64/30", "affinity": "host:n1", "affinity_claim_time": "2026-01-02T03:04:05Z",
        "allocations": [None] * 4, "unallocated": [0, 1, 2, 3], "attributes": [], "sequenceNumber": NOW,
        "sequenceNumberForAllocation": {}, "deleted": False,
    }


def test_an_allocation_remembers_the_number_of_the_block_it_was_made_in() -> None:
    """Calico's release names this number; it grows past 2^53, so it must stay an integer."""
    block = blocks.take(blocks.create(CIDR, "n1", NOW), [1], owner("a"))
    block = blocks.take(block, [3], owner("a"))

    assert block.allocations == (None, 0, None, 0)
    assert block.unallocated == (0, 2)
    assert block.attributes == (owner("a"),)
    assert block.sequence_number == NOW + 2
    assert block.sequence_number_for_allocation == {"1": NOW, "3": NOW + 1}


def test_attributes_that_nobody_uses_go_and_the_others_are_numbered_anew() -> None:
    block = blocks.create(CIDR, "n1", NOW)
    for number, name in enumerate("abc"):
        block = blocks.take(block, [number], owner(name))

    block = blocks.give_back(block, [1], NOW, 0)

    assert block.attributes == (owner("a"), owner("c"))
    assert block.allocations == (0, None, 1, None)
    assert block.unallocated == (3, 1)
    assert block.sequence_number_for_allocation.keys() == {"0", "2"}


def test_a_cooling_address_is_neither_free_nor_held() -> None:
    block = blocks.take(blocks.create(CIDR, "n1", NOW), [0], owner("a"))

    block = blocks.give_back(block, [0], NOW, 30)

    assert 0 not in block.unallocated
    assert blocks.held_by(block, "a") == ()
    assert blocks.is_empty(block)
    holder = blocks.holder(block, 0)
    assert holder is not None
    assert holder.released_at == stamp(NOW)
    assert blocks.collect(block, NOW + 31_000_000_000, 30).unallocated == (1, 2, 3, 0)


acts = st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 40)), max_size=30)


@given(acts, st.integers(0, 20))
def test_every_address_is_free_held_or_cooling_and_nothing_else(
    script: list[tuple[bool, int, int]], cooldown: int
) -> None:
    block, now = blocks.create(CIDR, "n1", NOW), NOW
    for takes, ordinal, seconds in script:
        now += seconds * 1_000_000_000
        block = blocks.collect(block, now, cooldown)
        if takes and ordinal in block.unallocated:
            block = blocks.take(block, [ordinal], owner(f"o{ordinal}"))
        elif not takes and (holder := blocks.holder(block, ordinal)) and not holder.released_at:
            block = blocks.give_back(block, [ordinal], now, cooldown)
        blocks.check(block, CIDR)
        assert all(0 <= index < len(block.attributes) for index in block.allocations if index is not None)
        assert {index for index in block.allocations if index is not None} == set(range(len(block.attributes)))
    later = blocks.collect(block, now + 60_000_000_000, cooldown)
    held = {o for o in range(4) if blocks.holder(later, o)}
    assert set(map(int, later.sequence_number_for_allocation)) == held


@pytest.mark.parametrize("wrong", [
    {"cidr": "10.9.0.0/30"}, {"allocations": (None,) * 3}, {"allocations": (7, None, None, None)},
    {"unallocated": (0, 1, 2)}, {"unallocated": (0, 1, 2, 2)}, {"unallocated": (0, 1, 2, 9)},
])
def test_a_record_that_contradicts_itself_is_not_used(wrong: dict[str, Any]) -> None:
    """Whoever took an address from it could take one that somebody has."""
    with pytest.raises(Unreadable, match=r"10\.9\.0\.64/30"):
        blocks.check(msgspec.structs.replace(blocks.create(CIDR, "n1", NOW), **wrong), CIDR)


# --- two-phase claims: whoever dies, and wherever, the next one finishes ------------------------------------------

AffinityHeld = Held[BlockAffinity] | None


class Shelf:
    """The two records of one block, with revisions, and writes that may be the last."""

    def __init__(self) -> None:
        self.affinities: dict[str, Held[BlockAffinity]] = {}
        self.block: Held[Block] | None = None
        self.revision = 0

    def apply(self, write: Any) -> None:
        self.revision += 1
        if isinstance(write.key, BlockKey):
            assert write.expect == (self.block.revision if self.block else 0)
            self.block = Held(write.value, self.revision) if write.value else None
            return
        there = self.affinities.get(write.key.host)
        assert write.expect == (there.revision if there else 0)
        if write.value is None:
            del self.affinities[write.key.host]
        else:
            self.affinities[write.key.host] = Held(write.value, self.revision)

    def claim(self, host: str, steps: int = 99) -> None:
        for _ in range(steps):
            write = affinity.claim(host, CIDR, self.affinities.get(host), self.block, NOW)
            if write is None:
                return
            self.apply(write)

    def give_up(self, host: str, steps: int = 99, *, force: bool = False) -> None:
        for _ in range(steps):
            write = affinity.give_up(host, CIDR, self.affinities.get(host), self.block, force=force)
            if write is None:
                return
            self.apply(write)


@given(st.lists(st.tuples(st.sampled_from(["claim", "give_up", "force"]), st.sampled_from(["h1", "h2"]),
                          st.integers(0, 4)), max_size=12))
def test_a_block_has_one_owner_wherever_claims_and_releases_were_cut_short(script: list[tuple[str, str, int]]) -> None:
    shelf = Shelf()
    for verb, host, steps in script:
        if verb == "claim":
            shelf.claim(host, steps)
        else:
            shelf.give_up(host, steps, force=verb == "force")
        confirmed = [h for h, held in shelf.affinities.items() if held.value.state == "confirmed"]
        assert not confirmed or (shelf.block and confirmed == [shelf.block.value.host])

    shelf.give_up("h1")
    shelf.give_up("h2")
    assert shelf.affinities == {}
    assert shelf.block is None
    shelf.claim("h2")
    assert shelf.block is not None
    assert shelf.block.value.host == "h2"
    assert shelf.affinities["h2"].value.state == "confirmed"


def test_a_block_in_use_is_given_up_only_by_force_and_keeps_its_addresses() -> None:
    shelf = Shelf()
    shelf.claim("h1")
    assert shelf.block is not None
    shelf.block = Held(blocks.take(shelf.block.value, [2], owner("a")), shelf.block.revision)

    shelf.give_up("h1")
    assert shelf.affinities["h1"].value.state == "confirmed"
    shelf.give_up("h1", force=True)

    assert shelf.affinities == {}
    assert shelf.block.value.affinity is None
    assert blocks.held_by(shelf.block.value, "a") == (2,)

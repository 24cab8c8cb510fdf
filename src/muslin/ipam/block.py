"""One block: which of its addresses are free, and what it looks like after a few are taken or given back.

    unallocated (a queue)  --take-->  allocated  --give_back-->  cooling  --collect-->  back of the queue

An address goes to the back of the queue when it returns, so that it is used again as late as possible: somebody may
still hold a connection, or a cache entry, to its last owner. While it cools it is nobody's and cannot be taken.

The sequence number grows with every write of the block, and each allocation remembers the number it was made at.
Whoever releases may name that number; then an address that was released and given to somebody else in between
(the ABA problem) is not taken away from its new owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from muslin.ipam.records import Unreadable, instant, stamp
from muslin.model.ipam import Block, BlockAttribute
from muslin.net import Cidr, bounds

Ranges = tuple[tuple[int, int, int], ...]
"""Reserved addresses: (version, first, last)."""


def create(cidr: Cidr, host: str, now: int) -> Block:
    """A block that nobody has taken anything from, owned by `host`."""
    size = block_size(cidr)
    return Block(
        cidr=cidr,
        affinity=f"host:{host}",
        affinity_claim_time=stamp(now),
        allocations=(None,) * size,
        unallocated=tuple(range(size)),
        sequence_number=now,
    )


def block_size(cidr: str) -> int:
    _, first, last = bounds(cidr)
    return last - first + 1


def check(block: Block, cidr: str) -> None:
    """A block must be the one its key names, and agree with itself. Raises Unreadable."""
    size = block_size(cidr)
    if block.cidr != cidr:
        raise Unreadable(f"block {cidr}: the record says that it is {block.cidr}")
    if len(block.allocations) != size:
        raise Unreadable(f"block {cidr}: {len(block.allocations)} allocations, {size} expected")
    taken = [index for index in block.allocations if index is not None]
    if taken and not (min(taken) >= 0 and max(taken) < len(block.attributes)):
        raise Unreadable(f"block {cidr}: an allocation points outside the {len(block.attributes)} attributes")
    if sorted(block.unallocated) != [each for each, index in enumerate(block.allocations) if index is None]:
        raise Unreadable(f"block {cidr}: the queue of free addresses is not what the allocations leave free")


def address(cidr: str, ordinal: int) -> str:
    """Text of one address, without a length."""
    version, first, _ = bounds(cidr)
    return _text(version, first + ordinal)


def ordinal(cidr: str, address_text: str) -> int:
    """Where in the block an address lies; it must be inside."""
    _, first, _ = bounds(cidr)
    return bounds(address_text)[1] - first


def holder(block: Block, ordinal: int) -> BlockAttribute | None:
    """Who holds an address, or `released_at` while it cools; None when it is free."""
    index = block.allocations[ordinal]
    return None if index is None else block.attributes[index]


def held_by(block: Block, handle: str) -> tuple[int, ...]:
    """Ordinals that the handle holds."""
    mine = {index for index, attribute in enumerate(block.attributes) if attribute.handle_id == handle}
    return tuple(o for o, index in enumerate(block.allocations) if index in mine) if mine else ()


def is_empty(block: Block) -> bool:
    """Nobody holds an address; cooling ones do not count."""
    return all(block.attributes[index].released_at for index in block.allocations if index is not None)


def free(block: Block, reserved: Ranges) -> Iterator[int]:
    """Free ordinals in the order they should be taken, reserved addresses left out."""
    version, first, last = bounds(block.cidr)
    near = [(low - first, high - first) for v, low, high in reserved if v == version and low <= last and high >= first]
    for candidate in block.unallocated:
        if not any(low <= candidate <= high for low, high in near):
            yield candidate


def take(block: Block, ordinals: Iterable[int], attribute: BlockAttribute) -> Block:
    """The block after free addresses went to one owner."""
    taken = tuple(ordinals)
    attributes = block.attributes
    if attribute not in attributes:
        attributes = (*attributes, attribute)
    index = attributes.index(attribute)
    allocations = list(block.allocations)
    for each in taken:
        allocations[each] = index
    made_at = {str(each): block.sequence_number for each in taken}
    return msgspec.structs.replace(
        block,
        allocations=tuple(allocations),
        unallocated=tuple(each for each in block.unallocated if each not in taken),
        attributes=attributes,
        sequence_number=block.sequence_number + 1,
        sequence_number_for_allocation={**block.sequence_number_for_allocation, **made_at},
    )


def give_back(block: Block, ordinals: Iterable[int], now: int, cooldown: int) -> Block:
    """The block after addresses were released; they cool for `cooldown` seconds."""
    released = tuple(ordinals)
    attributes = (*block.attributes, BlockAttribute(released_at=stamp(now)))
    allocations = list(block.allocations)
    for each in released:
        allocations[each] = len(attributes) - 1
    numbers = {key: n for key, n in block.sequence_number_for_allocation.items() if int(key) not in released}
    cooling = msgspec.structs.replace(
        block,
        allocations=tuple(allocations),
        attributes=attributes,
        sequence_number=block.sequence_number + 1,
        sequence_number_for_allocation=numbers,
    )
    return collect(cooling, now, cooldown)


def collect(block: Block, now: int, cooldown: int) -> Block:
    """Addresses that have cooled long enough join the queue; attributes that nobody uses go. No new sequence number."""
    until = now - cooldown * 1_000_000_000
    cold = {i for i, a in enumerate(block.attributes)
            if a.released_at and (at := instant(a.released_at)) is not None and at <= until}
    freed = tuple(o for o, index in enumerate(block.allocations) if index in cold)
    kept = [index if index not in cold else None for index in block.allocations]
    used = sorted({index for index in kept if index is not None})
    if not freed and len(used) == len(block.attributes):
        return block
    renumbered = {old: new for new, old in enumerate(used)}
    return msgspec.structs.replace(
        block,
        allocations=tuple(None if index is None else renumbered[index] for index in kept),
        unallocated=block.unallocated + freed,
        attributes=tuple(block.attributes[index] for index in used),
    )


def _text(version: int, number: int) -> str:
    import ipaddress

    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))

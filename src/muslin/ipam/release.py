"""Giving addresses back, by who holds them or one by one.

Releasing twice is not an error: whoever asks may have died before it heard the first answer. Releasing what
somebody else has got in the meantime is one; callers that name the handle, or the sequence number that the address was
assigned at, are kept from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from muslin.ipam import block as blocks
from muslin.ipam.records import BlockKey, Held, Taken, Write
from muslin.model.ipam import Block
from muslin.net import Cidr


@dataclass(frozen=True, slots=True)
class Condition:
    """What must still hold of an address for it to be released. Empty fields hold always. `handle_prefix`: its handle
    begins so."""

    address: str
    handle: str = ""
    sequence_number: int | None = None
    handle_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Try the write; then count each handle down by its number."""

    write: Write
    cidr: Cidr
    addresses: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]


def by_handle(held: Held[Block], handle: str, now: int, cooldown: int) -> Release | None:
    """Everything that the handle holds in one block; None when that is nothing."""
    ordinals = blocks.held_by(held.value, handle)
    return _release(held, ordinals, now, cooldown) if ordinals else None


def by_address(held: Held[Block], conditions: Iterable[Condition], now: int, cooldown: int) -> Release | None:
    """Addresses of one block; free ones are passed over. Raises Taken, and releases nothing, if a condition fails."""
    block = held.value
    ordinals = []
    for condition in conditions:
        ordinal = blocks.ordinal(block.cidr, condition.address)
        holder = blocks.holder(block, ordinal)
        if holder is None or holder.released_at:
            continue
        number = block.sequence_number_for_allocation.get(str(ordinal))
        if condition.handle and condition.handle != holder.handle_id:
            raise Taken(f"address {condition.address} is held by {holder.handle_id or 'nobody named'}, "
                        f"not by {condition.handle}: it was not released")
        if not (holder.handle_id or "").startswith(condition.handle_prefix):
            raise Taken(f"address {condition.address} is held by {holder.handle_id or 'nobody named'}, "
                        f"not by any {condition.handle_prefix}*: it was not released")
        if condition.sequence_number is not None and condition.sequence_number != number:
            raise Taken(f"address {condition.address} was assigned anew (sequence number {number}, "
                        f"not {condition.sequence_number}): it was not released")
        ordinals.append(ordinal)
    return _release(held, tuple(dict.fromkeys(ordinals)), now, cooldown) if ordinals else None


def _release(held: Held[Block], ordinals: tuple[int, ...], now: int, cooldown: int) -> Release:
    block, cidr = held.value, Cidr(held.value.cidr)
    counts: dict[str, int] = {}
    for ordinal in ordinals:
        holder = blocks.holder(block, ordinal)
        if holder and holder.handle_id:
            counts[holder.handle_id] = counts.get(holder.handle_id, 0) + 1
    after = blocks.give_back(block, ordinals, now, cooldown)
    gone = not after.host and blocks.is_empty(after)
    write = Write(BlockKey(cidr), held.revision, None if gone else after)
    return Release(write, cidr, tuple(blocks.address(cidr, each) for each in ordinals), tuple(counts.items()))

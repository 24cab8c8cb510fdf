"""Who owns a block: claimed in two phases, given up in two phases, because two keys cannot change at once.

    claim:   affinity pending  ->  block created for the host  ->  affinity confirmed
    release: affinity pendingDeletion  ->  block deleted (or ownerless, if in use)  ->  affinity deleted

A host may die after any arrow. So each function looks at what is there now and says the ONE next write, None when
there is nothing left to do; the caller applies it, reads again and asks again. Anybody can finish what another began.
Only `confirmed` counts for ownership and routing.
"""

from __future__ import annotations

import msgspec

from muslin.ipam import block as blocks
from muslin.ipam.records import AffinityKey, BlockKey, Held, Write, instant
from muslin.model.ipam import Block, BlockAffinity
from muslin.net import Cidr

PENDING, CONFIRMED, PENDING_DELETION = "pending", "confirmed", "pendingDeletion"
RECLAIM_AFTER = 60 * 1_000_000_000
"""An empty block of another host may be taken over this long after its claim (ns): its owner may be about to use it."""

Affinity = Held[BlockAffinity] | None


def claim(host: str, cidr: Cidr, affinity: Affinity, block: Held[Block] | None, now: int) -> Write | None:
    """The next write towards owning the block; None when it is owned, or when it is somebody else's and we let go."""
    key = AffinityKey(host, cidr)
    if block is not None and block.value.host != host:
        return None if affinity is None else Write(key, affinity.revision, None)
    if block is not None:
        if affinity is not None and affinity.value.state == CONFIRMED:
            return None
        return _state(key, affinity, CONFIRMED)
    if affinity is None or affinity.value.state != PENDING:
        return _state(key, affinity, PENDING)
    return Write(BlockKey(cidr), 0, blocks.create(cidr, host, now))


def give_up(host: str, cidr: Cidr, affinity: Affinity, block: Held[Block] | None, *, force: bool) -> Write | None:
    """The next write towards not owning the block; None when done.

    With `force` a block in use loses its owner and keeps its addresses. Without, one that came into use is kept.
    """
    key = AffinityKey(host, cidr)
    owned = block is not None and block.value.host == host
    if block is not None and owned and not force and not blocks.is_empty(block.value):
        kept = affinity is not None and affinity.value.state == CONFIRMED
        return None if kept else _state(key, affinity, CONFIRMED)
    if owned and (affinity is None or affinity.value.state != PENDING_DELETION):
        return _state(key, affinity, PENDING_DELETION)
    if block is not None and owned:
        return Write(BlockKey(cidr), block.revision, _ownerless(block.value))
    return None if affinity is None else Write(key, affinity.revision, None)


def may_reclaim(block: Block, host: str, now: int) -> bool:
    """Is this a block of another host, with nothing in use or cooling, claimed long enough ago (or who knows when)?"""
    if block.host in ("", host) or any(index is not None for index in block.allocations):
        return False
    return now - (instant(block.affinity_claim_time) or 0) >= RECLAIM_AFTER


def _state(key: AffinityKey, affinity: Affinity, state: str) -> Write:
    return Write(key, affinity.revision if affinity else 0, BlockAffinity(state=state))


def _ownerless(block: Block) -> Block | None:
    """None deletes: an empty block that nobody owns must not stay."""
    if blocks.is_empty(block):
        return None
    return msgspec.structs.replace(
        block, affinity=None, affinity_claim_time=None, sequence_number=block.sequence_number + 1
    )

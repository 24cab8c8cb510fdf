"""How many addresses one owner holds in each block: where to look when the owner goes.

A handle is counted up BEFORE a block is written and down AFTER, so that a death in between can only over-count:
a release then looks into a block and finds nothing. Under-counting would leak the address for ever. For the same
reason the count moves by difference and is never set from what a block shows: somebody may be about to write it.
"""

from __future__ import annotations

from muslin.ipam.records import HandleKey, Held, Write
from muslin.model.ipam import Handle


def count(handle: str, held: Held[Handle] | None, cidr: str, difference: int) -> Write | None:
    """The write that moves the count of one block; None when nothing is there to be counted down."""
    before = held.value.block if held else {}
    left = before.get(cidr, 0) + difference
    if cidr not in before and left <= 0:
        return None
    after = {block: number for block, number in before.items() if block != cidr}
    if left > 0:
        after[cidr] = left
    return Write(HandleKey(handle), held.revision if held else 0, Handle(block=after) if after else None)

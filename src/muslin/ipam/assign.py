"""The next step towards an address, judged from what is in the store right now.

    own blocks have room ------------------------------> Take from one of them
    else a block of a pool is unclaimed ---------------> Claim it (see `affinity`), look again
    else an empty block lies idle at another host -----> Reclaim it, look again
    else another's block has room (unless strict) -----> Take from it: borrowed, announced as a single address
    else ----------------------------------------------> Exhausted

Own blocks are few and are all that is read at first. Every later line needs all blocks of the family; until they have
been read the step is `Look`. A host never remembers what it saw: it looks, takes one step, and looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from muslin.ipam import affinity
from muslin.ipam import block as blocks
from muslin.ipam.block import Ranges
from muslin.ipam.pools import Pool
from muslin.ipam.records import BlockKey, Exhausted, Held, Taken, Unreadable, Write
from muslin.model.ipam import Block, BlockAttribute, IPAMConfig
from muslin.net import Cidr, bounds, contains

MOST_BLOCKS = 20
"""Blocks of one family that a host may own when the configuration does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: the host that will route the address, and the attribute that goes into the block."""

    host: str
    attribute: BlockAttribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is in the store. `blocks`: those the host owns, or with `complete` all of the family. `unreadable`: blocks
    whose record does not decode: they count as full and nobody's."""

    config: IPAMConfig
    reserved: Ranges
    confirmed: frozenset[Cidr]
    """Blocks that the host has a confirmed affinity record for."""
    blocks: Mapping[Cidr, Held[Block]]
    unreadable: frozenset[Cidr] = field(default=frozenset())
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Take:
    """Count the handle up by the number of addresses, then try the write; if it loses, count down."""

    write: Write
    cidr: Cidr
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """Walk `affinity.claim` for this block, then look again."""

    cidr: Cidr


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Walk `affinity.give_up` for this idle block of another host, then look again."""

    owner: str
    cidr: Cidr


@dataclass(frozen=True, slots=True)
class Look:
    """All blocks of the family must be read before more can be said."""


Step = Take | Claim | Reclaim | Look


def automatic(asker: Asker, picture: Picture, pools: Sequence[Pool], number: int, now: int) -> Step:
    """The next step towards up to `number` addresses from any of the pools. Raises Exhausted."""
    own = [b for cidr, b in sorted(picture.blocks.items()) if b.value.host == asker.host and _in_any(cidr, pools)]
    for held in own:
        if step := _take(asker, picture, held, number, now):
            return step if held.value.cidr in picture.confirmed else Claim(Cidr(held.value.cidr))
    if not picture.complete:
        return Look()
    if picture.config.auto_allocate_blocks and len(own) < (picture.config.max_blocks_per_host or MOST_BLOCKS):
        if (cidr := _unclaimed(asker.host, picture, pools)) is not None:
            return Claim(cidr)
        if (idle := _idle(asker.host, picture, pools, now)) is not None:
            return idle
    if not picture.config.strict_affinity:
        for held in _borrowable(asker.host, picture, pools):
            if step := _take(asker, picture, held, number, now):
                return step
    raise Exhausted(_why_full(asker.host, picture, pools, len(own)))


def specific(asker: Asker, picture: Picture, pool: Pool, address: str, now: int) -> Take | Claim | None:
    """The next step towards one address that was asked for; None when the asker's handle holds it already.

    Reservations do not matter: they keep the automatic hand away, not a person's. Raises Taken.
    """
    cidr = pool.block_of(address)
    if cidr in picture.unreadable:
        raise Unreadable(f"address {address}: the record of its block {cidr} cannot be read, so nobody can say whether "
                         "it is free: mend or delete that record")
    held = picture.blocks.get(cidr)
    strict = picture.config.strict_affinity
    if held is None:
        return Claim(cidr)
    if strict and held.value.host != asker.host:
        raise Taken(f"address {address} lies in block {cidr} of host {held.value.host or '(nobody)'} and strict "
                    f"affinity is on: take an address of {asker.host}'s own blocks, or turn strict affinity off")
    block = blocks.collect(held.value, now, picture.config.ip_cooldown_seconds)
    ordinal = blocks.ordinal(cidr, address)
    holder = blocks.holder(block, ordinal)
    if holder is None:
        return _taking(asker, held, block, (ordinal,))
    if holder.handle_id and holder.handle_id == asker.attribute.handle_id:
        return None
    raise Taken(f"address {address} {_held_by(holder)}: take another one; where nothing uses it any more\n"
                f"  muslin ipam release --ip {address}")


def _take(asker: Asker, picture: Picture, held: Held[Block], number: int, now: int) -> Take | None:
    block = blocks.collect(held.value, now, picture.config.ip_cooldown_seconds)
    ordinals = tuple(islice(blocks.free(block, picture.reserved), number))
    return _taking(asker, held, block, ordinals) if ordinals else None


def _taking(asker: Asker, held: Held[Block], block: Block, ordinals: tuple[int, ...]) -> Take:
    after = blocks.take(block, ordinals, asker.attribute)
    cidr = Cidr(block.cidr)
    return Take(
        Write(BlockKey(cidr), held.revision, after), cidr, tuple(blocks.address(cidr, each) for each in ordinals)
    )


def _in_any(cidr: Cidr, pools: Sequence[Pool]) -> bool:
    return any(contains(pool.cidr, cidr) for pool in pools)


def _unclaimed(host: str, picture: Picture, pools: Sequence[Pool]) -> Cidr | None:
    """The first block, in the host's order, that overlaps no block there is and has an address to give."""
    there = picture.blocks.keys() | picture.unreadable
    for pool in pools:
        overlaps = _overlap([cidr for cidr in there if not cidr.endswith(f"/{pool.block_size}")])
        for cidr in pool.walk(host):
            if cidr not in there and not overlaps(cidr) and not _wholly_reserved(cidr, picture.reserved):
                return cidr
    return None


def _overlap(others: Sequence[Cidr]) -> Callable[[Cidr], bool]:
    """Blocks of another size, left by a pool that was made anew, stand in the way."""
    spans = [bounds(cidr) for cidr in others]

    def overlaps(cidr: Cidr) -> bool:
        version, first, last = bounds(cidr)
        return any(v == version and low <= last and high >= first for v, low, high in spans)

    return overlaps if spans else lambda cidr: False


def _wholly_reserved(cidr: Cidr, reserved: Ranges) -> bool:
    version, first, last = bounds(cidr)
    return any(v == version and low <= first and last <= high for v, low, high in reserved)


def _idle(host: str, picture: Picture, pools: Sequence[Pool], now: int) -> Reclaim | None:
    for cidr, held in sorted(picture.blocks.items()):
        block = blocks.collect(held.value, now, picture.config.ip_cooldown_seconds)
        if affinity.may_reclaim(block, host, now) and _in_any(cidr, pools):
            return Reclaim(held.value.host, cidr)
    return None


def _borrowable(host: str, picture: Picture, pools: Sequence[Pool]) -> list[Held[Block]]:
    """Blocks of others, rotated by the asker's name so that borrowers do not all crowd into the first."""
    others = [held for cidr, held in sorted(picture.blocks.items()) if held.value.host != host and _in_any(cidr, pools)]
    turn = sum(host.encode()) % len(others) if others else 0
    return others[turn:] + others[:turn]


def _held_by(holder: BlockAttribute) -> str:
    if holder.released_at:
        return f"was released at {holder.released_at} and still cools down"
    known = holder.secondary or {}
    words = [f"{word} {known[word]}" for word in ("namespace", "pod", "workload", "node") if known.get(word)]
    return f"is held by {holder.handle_id or 'nobody named'}" + (f" ({', '.join(words)})" if words else "")


def _why_full(host: str, picture: Picture, pools: Sequence[Pool], own: int) -> str:
    full = ", ".join(f"{pool.name} {pool.cidr}" for pool in pools)
    mine = f"host {host} owns {own} block{'s' * (own != 1)} there"
    if own >= (picture.config.max_blocks_per_host or MOST_BLOCKS):
        mine += ", as many as it may"
    ways = ["release addresses (muslin ipam show --by-pool)", "make another IPPool"]
    if picture.config.strict_affinity:
        ways.append("or turn strict affinity off, so that it may borrow from other hosts")
    elif not picture.config.auto_allocate_blocks:
        ways.append("or let hosts claim blocks (auto_allocate_blocks)")
    return f"no address is left for host {host} in {full}: {mine}, and all are full or reserved: {', '.join(ways)}"

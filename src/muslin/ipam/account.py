"""The books: what the pools hold, who has what, and where the books do not agree with the endpoints there are.

Nothing here repairs. An address that no endpoint uses may belong to a workload that is being made at this moment, or to
an orchestrator whose endpoints live elsewhere; whoever reads the report decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from muslin.ipam import block as blocks
from muslin.ipam.pools import Pool
from muslin.ipam.records import instant
from muslin.model.ipam import Block, BlockAttribute
from muslin.net import Cidr, bounds, contains

YOUNG = 60 * 1_000_000_000
"""An address assigned so lately (ns) may still be waiting for its endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of a pool or of a block. `host` owns the block; `borrowers` are other hosts with addresses in it."""

    name: str
    cidr: Cidr
    size: int
    used: int
    host: str = ""
    borrowers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    what: str
    mend: str


def of_pools(pools: Sequence[Pool], every: Mapping[Cidr, Block]) -> tuple[Usage, ...]:
    return tuple(
        Usage(name=pool.name, cidr=pool.cidr, size=blocks.block_size(pool.cidr),
              used=sum(in_use(block) for cidr, block in every.items() if contains(pool.cidr, cidr)))
        for pool in pools
    )


def of_blocks(every: Mapping[Cidr, Block]) -> tuple[Usage, ...]:
    found = []
    for cidr, block in sorted(every.items(), key=lambda item: bounds(item[0])):
        nodes = {(holder.secondary or {}).get("node", "") for _, holder in held(block)}
        found.append(Usage(name=cidr, cidr=cidr, size=len(block.allocations), used=in_use(block), host=block.host,
                           borrowers=tuple(sorted(nodes - {"", block.host}))))
    return tuple(found)


def in_use(block: Block) -> int:
    return sum(1 for _ in held(block))


def held(block: Block) -> Iterator[tuple[str, BlockAttribute]]:
    """(address, who holds it) of every address that somebody holds."""
    for ordinal, index in enumerate(block.allocations):
        if index is not None and not (holder := block.attributes[index]).released_at:
            yield blocks.address(block.cidr, ordinal), holder


def troubles(
    pools: Sequence[Pool], every: Mapping[Cidr, Block], endpoints: Mapping[str, str], now: int
) -> Iterator[Trouble]:
    """`endpoints`: address -> the endpoint that uses it."""
    holders = {address: holder for block in every.values() for address, holder in held(block)}
    for address, holder in sorted(holders.items(), key=lambda item: bounds(item[0])):
        if address not in endpoints and _is_old(holder, now):
            yield Trouble(what=f"{address} is held by {holder.handle_id or 'nobody named'}, but no endpoint has it",
                          mend=f"if it is not needed: muslin ipam release --ip {address}")
    for address, endpoint in sorted(endpoints.items(), key=lambda item: bounds(item[0])):
        if address not in holders and _covered(address, pools):
            yield Trouble(what=f"{address} of {endpoint} is in a pool, but was never assigned: another may get it",
                          mend="make the endpoint anew, or give it an address outside the pools")
    for cidr in every:
        if not _covered(cidr, pools):
            yield Trouble(what=f"block {cidr} lies in no enabled pool", mend="make its pool again, or release "
                          "its addresses: muslin ipam show --blocks says who has them")


def _is_old(holder: BlockAttribute, now: int) -> bool:
    """Nothing said of when counts as long ago."""
    since = instant((holder.secondary or {}).get("timestamp"))
    return since is None or now - since >= YOUNG


def _covered(text: str, pools: Iterable[Pool]) -> bool:
    version, first, last = bounds(text)
    return any(v == version and low <= first and last <= high for v, low, high in (bounds(p.cidr) for p in pools))

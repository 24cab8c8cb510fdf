"""Records of address assignment, between the store's bytes and `ipam`'s values.

They lie where Calico puts them and are written as Go writes them, so that its tools read them. What does not decode
is reported as unreadable and never written over: the block may be somebody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from muslin.ipam import block as blocks
from muslin.ipam.records import (
    DEFAULT_CONFIG,
    AffinityKey,
    BlockKey,
    HandleKey,
    Held,
    Key,
    Unreadable,
    Write,
)
from muslin.model.ipam import Block, BlockAffinity, Handle, IPAMConfig
from muslin.model.meta import Resource, ResourceKey
from muslin.net import Cidr, parse_cidr
from muslin.store import Entry, Store, layout

PAGE = 1000
Kept = TypeVar("Kept", bound=msgspec.Struct)
Found = TypeVar("Found", bound=Resource)


@dataclass(frozen=True, slots=True)
class Blocks:
    held: dict[Cidr, Held[Block]]
    unreadable: frozenset[Cidr]


class Records:
    """Reads and writes single records; every write is a compare-and-swap and may raise Conflict."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, write: Write) -> None:
        path = path_of(write.key)
        if write.value is None:
            await self._store.delete(path, expect=write.expect)
        else:
            await self._store.put(path, encode(write.value), expect=write.expect)

    async def block(self, cidr: Cidr) -> Held[Block] | None:
        """Raises Unreadable."""
        entry = await self._store.get(layout.block(cidr))
        return _block(cidr, entry) if entry else None

    async def affinity(self, host: str, cidr: Cidr) -> Held[BlockAffinity] | None:
        """A record that does not decode counts as one in no state: the next claim writes it anew."""
        entry = await self._store.get(layout.affinity(host, cidr))
        return _affinity(entry) if entry else None

    async def handle(self, handle: str) -> Held[Handle] | None:
        """Raises Unreadable."""
        entry = await self._store.get(layout.handle(handle))
        return Held(_decode(entry, Handle), entry.revision) if entry else None

    async def handles(self, prefix: str) -> dict[str, Handle]:
        """All that begin so. Raises Unreadable."""
        page = await self._store.list(layout.handle(prefix))
        return {entry.key.removeprefix(layout.HANDLES): _decode(entry, Handle) for entry in page.entries}

    async def config(self) -> IPAMConfig:
        """Raises Unreadable: guessing might hand out what strict affinity forbids."""
        return (await self.held_config()).value

    async def held_config(self) -> Held[IPAMConfig]:
        """Raises Unreadable."""
        entry = await self._store.get(layout.IPAM_CONFIG)
        return Held(_decode(entry, IPAMConfig), entry.revision) if entry else Held(DEFAULT_CONFIG, 0)

    async def write_config(self, held: Held[IPAMConfig]) -> None:
        await self._store.put(layout.IPAM_CONFIG, encode(held.value), expect=held.revision)

    async def affinities(self, host: str, version: int) -> dict[Cidr, Held[BlockAffinity]]:
        page = await self._store.list(layout.affinities(host, version))
        return {
            cidr: _affinity(entry)
            for entry in page.entries
            if (cidr := _cidr(layout.affinity_block(entry.key))) is not None
        }

    async def blocks_of(self, cidrs: Iterable[Cidr]) -> Blocks:
        """Those of the blocks named that there are."""
        return _sorted_out([(c, e) for c in cidrs if (e := await self._store.get(layout.block(c)))])

    async def exists(self, cidr: Cidr) -> bool:
        return await self._store.get(layout.block(cidr)) is not None

    async def block_names(self, version: int) -> tuple[Cidr, ...]:
        page = await self._store.list(layout.blocks(version))
        keys = (layout.parse(entry.key) for entry in page.entries)
        return tuple(cidr for key in keys if key and (cidr := _cidr(key.name)) is not None)

    async def all_blocks(self, version: int) -> Blocks:
        page = await self._store.list(layout.blocks(version))
        named = [(_cidr(key.name), entry) for entry in page.entries if (key := layout.parse(entry.key))]
        return _sorted_out([(cidr, entry) for cidr, entry in named if cidr is not None])

    async def resources(self, kind: str, struct: type[Found]) -> tuple[Found, ...]:
        """All of a kind that decode. One that does not disables only itself; `muslin status` names it.

        Page by page: others are served between two pages of a hundred thousand endpoints.
        """
        found: list[Found] = []
        more, after = True, ""
        while more:
            page = await self._store.list(layout.prefix(kind), limit=PAGE, after=after)
            for entry in page.entries:
                try:
                    found.append(msgspec.json.decode(entry.value, type=struct))
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
            more, after = page.more, page.entries[-1].key if page.entries else ""
            await asyncio.sleep(0)
        return tuple(found)

    async def labels(self, kind: str, name: str) -> dict[str, str]:
        """Of a Node or a Namespace; none when it is not there or cannot be read, so that selectors do not select it."""
        entry = await self._store.get(layout.path(ResourceKey(kind, "", name))) if name else None
        try:
            return msgspec.json.decode(entry.value, type=_Labelled).metadata.labels or {} if entry else {}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return {}


class _Labels(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Labels


def path_of(key: Key) -> str:
    match key:
        case BlockKey(cidr):
            return layout.block(cidr)
        case AffinityKey(host, cidr):
            return layout.affinity(host, cidr)
        case HandleKey(handle):
            return layout.handle(handle)


def encode(record: Block | BlockAffinity | Handle | IPAMConfig) -> bytes:
    """JSON in the order of fields and keys that Go writes; a block nobody owns has no claim time."""
    text = msgspec.json.encode(record, order="deterministic")
    return text.replace(b'"affinity_claim_time":null,', b"", 1) if isinstance(record, Block) else text


def _decode(entry: Entry, record: type[Kept]) -> Kept:
    try:
        return msgspec.json.decode(entry.value, type=record)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(f"the record {entry.key} cannot be read ({error}): mend or delete it in the store") from None


def _block(cidr: Cidr, entry: Entry) -> Held[Block]:
    block = _decode(entry, Block)
    blocks.check(block, cidr)
    return Held(block, entry.revision)


def _affinity(entry: Entry) -> Held[BlockAffinity]:
    try:
        return Held(_decode(entry, BlockAffinity), entry.revision)
    except Unreadable:
        return Held(BlockAffinity(), entry.revision)


def _cidr(text: str) -> Cidr | None:
    try:
        return parse_cidr(text)
    except ValueError:
        return None


def _sorted_out(entries: Iterable[tuple[Cidr, Entry]]) -> Blocks:
    held, unreadable = {}, set()
    for cidr, entry in entries:
        try:
            held[cidr] = _block(cidr, entry)
        except Unreadable:
            unreadable.add(cidr)
    return Blocks(held, frozenset(unreadable))

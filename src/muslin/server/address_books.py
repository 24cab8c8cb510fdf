"""What `muslin ipam` asks: how full the pools are, who holds an address, what does not add up, and the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from muslin.errors import Invalid
from muslin.ipam import account, pools
from muslin.ipam.pools import Pool
from muslin.ipam.records import Held
from muslin.model.endpoint import WorkloadEndpoint
from muslin.model.ipam import Block, IPAMConfig
from muslin.model.network import IPPool
from muslin.net import Cidr
from muslin.server.address_records import Records

LONGEST_COOLDOWN = 1200
FAMILIES = (4, 6)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is left out stays as it is."""

    strict_affinity: bool | None = None
    auto_allocate_blocks: bool | None = None
    max_blocks_per_host: int | None = None
    ip_cooldown_seconds: int | None = None


class Books:
    def __init__(self, records: Records, clock: Callable[[], int]) -> None:
        self._records = records
        self._clock = clock

    async def report(self) -> dict[str, Any]:
        """Pools, blocks with the addresses in use, and what does not add up."""
        every = await self._records.resources("IPPool", IPPool)
        enabled = [pool for version in FAMILIES for _, pool in pools.usable(every, version)]
        held, unreadable = await self._blocks()
        endpoints = await self._records.resources("WorkloadEndpoint", WorkloadEndpoint)
        # In a thread: a second's work in a large cluster, and nobody else should wait for it.
        return await asyncio.to_thread(_report, enabled, held, unreadable, endpoints, self._clock())

    async def settings(self) -> dict[str, Any]:
        config = await self._records.config()
        return _plain(Settings(
            strict_affinity=config.strict_affinity, auto_allocate_blocks=config.auto_allocate_blocks,
            max_blocks_per_host=config.max_blocks_per_host, ip_cooldown_seconds=config.ip_cooldown_seconds,
        ))

    async def configure(self, wanted: Settings) -> dict[str, Any]:
        """Raises Invalid, Conflict."""
        held = await self._records.held_config()
        changes = {name: value for name in Settings.__struct_fields__ if (value := getattr(wanted, name)) is not None}
        after = msgspec.structs.replace(held.value, **changes)
        _check(after)
        await self._records.write_config(Held(after, held.revision))
        return await self.settings()

    async def _blocks(self) -> tuple[dict[Cidr, Block], frozenset[Cidr]]:
        found = [await self._records.all_blocks(version) for version in FAMILIES]
        held = {cidr: each.value for blocks in found for cidr, each in blocks.held.items()}
        return held, frozenset().union(*(blocks.unreadable for blocks in found))


def _report(
    enabled: Sequence[Pool], held: Mapping[Cidr, Block], unreadable: Iterable[Cidr],
    endpoints: Iterable[WorkloadEndpoint], now: int,
) -> dict[str, Any]:
    users = {
        network.partition("/")[0]: f"{each.metadata.namespace}/{each.metadata.name}"
        for each in endpoints for network in each.spec.ip_networks
    }
    troubles = [_plain(trouble) for trouble in account.troubles(enabled, held, users, now)]
    troubles += [
        {"what": f"the record of block {cidr} cannot be read", "mend": "mend or delete it in the store"}
        for cidr in sorted(unreadable)
    ]
    holders = {
        address: {"handle": holder.handle_id or "", **(holder.secondary or {})}
        for block in held.values() for address, holder in account.held(block)
    }
    return {
        "pools": [_plain(usage) for usage in account.of_pools(enabled, held)],
        "blocks": [_plain(usage) for usage in account.of_blocks(held)],
        "addresses": holders,
        "troubles": troubles,
    }


def _check(config: IPAMConfig) -> None:
    """Calico's rules. Raises Invalid."""
    if config.strict_affinity and not config.auto_allocate_blocks:
        raise Invalid("strict affinity without automatic blocks: no host could ever get an address, turn one of them")
    if config.max_blocks_per_host < 0:
        raise Invalid(f"{config.max_blocks_per_host} blocks per host: write a number, 0 for the usual 20")
    if not 0 <= config.ip_cooldown_seconds <= LONGEST_COOLDOWN:
        raise Invalid(f"a cooldown of {config.ip_cooldown_seconds} s: write 0 to {LONGEST_COOLDOWN}")


def _plain(value: Any) -> dict[str, Any]:
    found = msgspec.to_builtins(value)
    return {key: each for key, each in found.items() if each is not None}

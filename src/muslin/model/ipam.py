"""Address assignment records, byte for byte as Calico lays them in etcd (not v3-resource shaped).

Blocks are the truth; handles may over-count. Sequence numbers exceed 2^53: Python ints, never floats.
"""

from __future__ import annotations

import msgspec


class BlockAttribute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who holds an address. `secondary`: pod, namespace, node, timestamp, ... `releasedAt`: RFC 3339, cooling down."""

    handle_id: str | None = None
    secondary: dict[str, str] | None = None
    alternate_owner_attrs: dict[str, str] | None = msgspec.field(default=None, name="alternateOwnerAttrs")
    released_at: str | None = msgspec.field(default=None, name="releasedAt")


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One block of addresses. `allocations` holds, per ordinal, None or an index into `attributes`;
    `unallocated` is the queue of free ordinals; `affinity` is None or `host:NAME`."""

    cidr: str
    affinity: str | None = None
    affinity_claim_time: str | None = None
    allocations: tuple[int | None, ...] = ()
    unallocated: tuple[int, ...] = ()
    attributes: tuple[BlockAttribute, ...] = ()
    sequence_number: int = msgspec.field(default=0, name="sequenceNumber")
    sequence_number_for_allocation: dict[str, int] = msgspec.field(
        default_factory=dict, name="sequenceNumberForAllocation"
    )
    deleted: bool = False

    @property
    def host(self) -> str:
        """The host that owns the block, "" when nobody does."""
        return self.affinity.removeprefix("host:") if self.affinity and self.affinity.startswith("host:") else ""


class BlockAffinity(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: pending, confirmed or pendingDeletion. Only confirmed counts for ownership and routing."""

    state: str = ""
    deleted: bool = False


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """How many addresses one owner holds in each block."""

    block: dict[str, int] = {}
    deleted: bool = False


class IPAMConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`/calico/ipam/v2/config`. Absent key: strict off, auto on. Present: a field left out means false or zero."""

    strict_affinity: bool = False
    auto_allocate_blocks: bool = False
    max_blocks_per_host: int = msgspec.field(default=0, name="maxBlocksPerHost")
    kubevirt_vm_address_persistence: str = msgspec.field(default="", name="kubeVirtVMAddressPersistence")
    ip_cooldown_seconds: int = msgspec.field(default=0, name="ipCooldownSeconds")

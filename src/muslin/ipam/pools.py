"""Which pools a workload may take its address from, and in which order a host tries the blocks of a pool.

The order of blocks is a walk through all of them that begins, and steps, as drawn from the host's name. Two hosts that
claim at the same moment then rarely reach for the same block, one host always walks the same way, and nothing needs to
be remembered. The walk is arithmetic: a /48 pool of IPv6 has 2^74 blocks and costs no more than a small one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import gcd

from muslin.errors import Invalid
from muslin.ipam import block as blocks
from muslin.ipam.records import Exhausted
from muslin.model import selector
from muslin.model.network import IPPool
from muslin.net import Cidr, bounds, contains, parse_cidr, version_of

BLOCK_SIZES = {4: 26, 6: 122}
NEAR = 1 << 14
"""Blocks at the beginning of a pool, tried before all others: people read fd65::1c0 better than fd65::21e5:631d:1c0."""
USES = ("Workload", "Tunnel")
"""What a pool is for that does not say."""
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pool:
    """An IPPool, as far as addresses go. `block_size` is the prefix length of its blocks."""

    name: str
    cidr: Cidr
    block_size: int

    @property
    def version(self) -> int:
        return version_of(self.cidr)

    def walk(self, host: str) -> Iterator[Cidr]:
        """All blocks of the pool, each once, in the host's order."""
        _, first, last = bounds(self.cidr)
        size = 1 << ((32 if self.version == 4 else 128) - self.block_size)
        count = (last - first + 1) // size
        near = min(count, NEAR)
        for ordinal in chain(_steps(host, self.cidr, near), (near + each for each in _steps(host, "", count - near))):
            yield Cidr(f"{blocks.address(self.cidr, ordinal * size)}/{self.block_size}")

    def block_of(self, address: str) -> Cidr:
        """The block that an address of the pool lies in."""
        return parse_cidr(f"{address.partition('/')[0]}/{self.block_size}")


def _steps(host: str, salt: str, count: int) -> Iterator[int]:
    """0 to count - 1, each once, beginning and stepping as drawn from the host's name."""
    if count <= 0:
        return
    digest = hashlib.sha256(f"{host}\0{salt}".encode()).digest()
    start, step = int.from_bytes(digest[:16], "big") % count, int.from_bytes(digest[16:], "big") % count
    while gcd(step, count) != 1:
        step += 1
    for turn in range(count):
        yield (start + turn * step) % count


def usable(pools: Sequence[IPPool], version: int, use: str = "Workload") -> tuple[tuple[IPPool, Pool], ...]:
    """Enabled pools of a family that serve the use, in order of their names, whoever may take from them.

    A pool in the store whose prefix cannot be read disables only itself.
    """
    found = []
    for pool in sorted(pools, key=lambda each: each.metadata.name):
        spec = pool.spec
        if spec.disabled or pool.metadata.deletion_timestamp or use not in (spec.allowed_uses or USES):
            continue
        cidr = _canonical(spec.cidr)
        if cidr and version_of(cidr) == version:
            size = spec.block_size or BLOCK_SIZES[version]
            found.append((pool, Pool(pool.metadata.name, cidr, max(size, int(cidr.rpartition("/")[2])))))
    return tuple(found)


def choose(
    pools: Sequence[IPPool], version: int, *, wanted: Sequence[str] = (), host: str = "",
    host_labels: Labels, namespace_labels: Labels, use: str = "Workload",
) -> tuple[Pool, ...]:
    """Pools to take addresses of a family from. Raises Exhausted when there are none, saying why.

    Pools asked for by name or prefix are taken as asked, in that order, and selectors are not looked at: Calico
    does so. Otherwise every pool whose nodeSelector and namespaceSelector agree, unless it is Manual.
    """
    enabled = usable(pools, version, use)
    if wanted:
        return _asked_for(enabled, wanted, version)
    fit = tuple(
        pool for resource, pool in enabled
        if resource.spec.assignment_mode in (None, "", "Automatic")
        and _selects(resource, resource.spec.node_selector, host_labels)
        and _selects(resource, resource.spec.namespace_selector, namespace_labels)
    )
    if not fit:
        raise Exhausted(_why_none(pools, enabled, version, host, use))
    return fit


def without(chosen: Sequence[Pool], prefixes: Sequence[Cidr]) -> tuple[Pool, ...]:
    """Their parts that are in none of the prefixes, in their order: whole blocks."""
    parts = list(chosen)
    for prefix in prefixes:
        parts = [part for pool in parts for part in _apart(pool, prefix)]
    return tuple(parts)


def _apart(pool: Pool, prefix: Cidr) -> Iterator[Pool]:
    if contains(prefix, pool.cidr):
        return
    if not contains(pool.cidr, prefix):
        yield pool
        return
    length = int(pool.cidr.rpartition("/")[2])
    if length == pool.block_size:
        return  # a block of which some is not to be used is not used
    _, first, last = bounds(pool.cidr)
    for start in (first, (first + last + 1) // 2):
        half = Cidr(f"{blocks.address(pool.cidr, start - first)}/{length + 1}")
        yield from _apart(Pool(pool.name, half, pool.block_size), prefix)


def holding(pools: Sequence[IPPool], address: str, use: str = "Workload") -> Pool:
    """The pool that one address belongs to. Raises Invalid."""
    version = version_of(address)
    enabled = usable(pools, version, use)
    for _, pool in enabled:
        if contains(pool.cidr, parse_cidr(address)):
            return pool
    there = ", ".join(f"{pool.name} {pool.cidr}" for _, pool in enabled) or f"none of IPv{version}"
    raise Invalid(
        f"address {address} is in no enabled pool (there are: {there}): take an address of a pool, "
        "or make an IPPool that holds it"
    )


def _asked_for(enabled: Sequence[tuple[IPPool, Pool]], wanted: Sequence[str], version: int) -> tuple[Pool, ...]:
    by_word: dict[str, Pool] = {word: pool for _, pool in enabled for word in (pool.name, pool.cidr)}
    chosen = []
    for word in wanted:
        pool = by_word.get(word) or by_word.get(_canonical(word) or "") or _part(enabled, word)
        if pool is None:
            there = ", ".join(pool.name for _, pool in enabled) or "none"
            raise Exhausted(f"pool {word!r} does not exist for IPv{version} or is disabled (enabled: {there}): "
                            "name an enabled pool, or make it with an IPPool")
        chosen.append(pool)
    return tuple(chosen)


def _part(enabled: Sequence[tuple[IPPool, Pool]], word: str) -> Pool | None:
    """A prefix inside a pool, such as a container network's subnet: whole blocks of it. Raises Exhausted."""
    cidr = _canonical(word)
    for _, pool in enabled:
        if cidr is not None and contains(pool.cidr, cidr):
            if int(cidr.rpartition("/")[2]) > pool.block_size:
                raise Exhausted(f"{cidr} is smaller than a block of pool {pool.name} (/{pool.block_size}): take a"
                                f" prefix of /{pool.block_size} or shorter, or make an IPPool with smaller blocks")
            return Pool(pool.name, cidr, pool.block_size)
    return None


def _canonical(text: str) -> Cidr | None:
    try:
        return parse_cidr(text)
    except ValueError:
        return None


def _selects(pool: IPPool, text: str, labels: Labels) -> bool:
    """A selector that does not parse selects nothing: its pool says so in its status."""
    try:
        return selector.parse(text).matches(labels)
    except selector.SelectorError:
        return False


def _why_none(
    pools: Sequence[IPPool], enabled: Sequence[tuple[IPPool, Pool]], version: int, host: str, use: str
) -> str:
    if not pools:
        return f"there is no IPPool at all: make one, for instance with\n  {EXAMPLE[version]}"
    if not enabled:
        names = ", ".join(sorted(f"{p.metadata.name} ({p.spec.cidr})" for p in pools))
        return f"no enabled IPPool gives IPv{version} addresses for {use} (there are: {names}): make or enable one"
    names = ", ".join(pool.name for _, pool in enabled)
    return (f"no IPPool selects host {host!r} for IPv{version} (enabled: {names}): change a pool's nodeSelector, "
            "namespaceSelector or assignmentMode, or label the Node")


EXAMPLE = {
    4: "muslin create ippool workloads --cidr 10.65.0.0/16",
    6: "muslin create ippool workloads-6 --cidr fd65::/48",
}
"""How to make a first pool."""

"""Address assignment as a service: `ipam` says the next write, this shell tries it, and looks again when it lost.

Nothing is remembered between two looks, so any number of servers may assign from one store at once: the store's
compare-and-swap is the only referee. A lock per host keeps requests of ONE server for one host from racing each other,
which is a courtesy, not a safeguard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from weakref import WeakValueDictionary

import msgspec

from muslin.errors import Invalid
from muslin.ipam import account, affinity, assign, pools
from muslin.ipam.assign import Asker, Claim, Look, Picture, Reclaim, Take
from muslin.ipam.block import Ranges
from muslin.ipam.pools import Pool
from muslin.ipam.records import Exhausted, check_handle, stamp
from muslin.ipam.release import Condition
from muslin.model.ipam import BlockAttribute
from muslin.model.network import IPPool, IPReservation
from muslin.net import Cidr, bounds, contains, host_cidr, parse_address, parse_cidr, version_of
from muslin.server.address_books import Books
from muslin.server.address_records import Records
from muslin.server.address_tries import ATTEMPTS, Tries, crowded
from muslin.store import Store

MOST_AT_ONCE = 256
FAMILIES = (4, 6)


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /muslin/v1/addresses/assign. `v4` and `v6`: how many of each family, those in `addresses` counted in.
    Left out: those in `addresses`, or if there are none, one of each family that has a pool. `without`: prefixes that
    none of those that nobody names comes from, unless they cover all pools."""

    host: str
    handle: str
    v4: int | None = None
    v6: int | None = None
    addresses: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    namespace: str = ""
    attributes: dict[str, str] = {}

    def number(self, version: int) -> int | None:
        return self.v4 if version == 4 else self.v6


class Unwanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /muslin/v1/addresses/release: all that a handle has, or addresses (with `handle`: only if it has them; with
    `handlePrefix`: only if a handle that begins so has them), or the blocks of a host that is gone for good; addresses
    in those stay with their holders."""

    handle: str = ""
    host: str = ""
    addresses: tuple[str, ...] = ()
    sequence_number: int | None = msgspec.field(default=None, name="sequenceNumber")
    handle_prefix: str = msgspec.field(default="", name="handlePrefix")


class Addresses:
    """`clock` gives nanoseconds since 1970."""

    def __init__(self, store: Store, clock: Callable[[], int] = time.time_ns) -> None:
        self._records = Records(store)
        self._clock = clock
        self._tries = Tries(self._records, clock)
        self.books = Books(self._records, clock)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def on(self, store: Store) -> Addresses:
        """The same, of another store: a draft of this one."""
        return Addresses(store, self._clock)

    async def assign(self, wanted: Wanted) -> tuple[Cidr, ...]:
        """All that was asked for, or an error and nothing. Raises Invalid, Taken, Exhausted, Unreadable, Transient."""
        _check(wanted)
        got: list[str] = []
        turn = self._turns.setdefault(wanted.host, asyncio.Lock())
        async with turn:
            try:
                had = await self._assign(wanted, got)
            except BaseException:
                await self._release_each([Condition(address, wanted.handle) for address in got])
                raise
        return tuple(host_cidr(address) for address in (*had, *got))

    async def release(self, unwanted: Unwanted) -> tuple[Cidr, ...]:
        """What was released now; addresses that were free already are not an error."""
        if unwanted.addresses:
            number = unwanted.sequence_number
            conditions = [Condition(_address(text), unwanted.handle, number, unwanted.handle_prefix)
                          for text in unwanted.addresses]
            return tuple(map(host_cidr, await self._release_each(conditions)))
        if unwanted.host:
            return await self._release_host(unwanted.host)
        check_handle(unwanted.handle)
        held = await self._records.handle(unwanted.handle)
        gone: list[str] = []
        for cidr in held.value.block if held else ():
            gone += await self._tries.release(parse_cidr(cidr), unwanted.handle, ())
        return tuple(map(host_cidr, gone))

    async def of_handles(self, prefix: str) -> dict[str, tuple[Cidr, ...]]:
        """Handle -> its addresses, of all handles that begin so: whoever assigns under handles of his own finds again
        what he was given, also when he died before he heard of it. Raises Invalid, Unreadable."""
        check_handle(prefix)
        found = {}
        for handle, record in (await self._records.handles(prefix)).items():
            held = await self._records.blocks_of(parse_cidr(cidr) for cidr in record.block)
            found[handle] = tuple(host_cidr(address) for block in held.held.values()
                                  for address, holder in account.held(block.value) if holder.handle_id == handle)
        return found

    async def leave(self) -> None:
        """Blocks that a pool has left behind and that nobody uses."""
        await self._tries.leave([cidr for version in FAMILIES for cidr in await self._records.block_names(version)])

    async def _release_host(self, host: str) -> tuple[Cidr, ...]:
        """Its blocks lose their owner, and those that are empty go."""
        _check_host(host)
        gone: list[Cidr] = []
        for version in FAMILIES:
            for cidr in await self._records.affinities(host, version):
                await self._tries.give_up(host, cidr, force=True)
                gone.append(cidr)
        return tuple(gone)

    async def _assign(self, wanted: Wanted, got: list[str]) -> list[str]:
        """Appends what is new to `got`; returns what the handle had already, from a request whose answer was lost."""
        every = await self._records.resources("IPPool", IPPool)
        named = [_address(text) for text in wanted.addresses]
        asker = self._asker(wanted)
        had: list[str] = []
        for address in named:
            new = await self._specific(asker, pools.holding(every, address), address)
            (got if new else had).append(address)
        missing: Exhausted | None = None
        host_labels = await self._records.labels("Node", wanted.host)
        namespace_labels = await self._records.labels("Namespace", wanted.namespace)
        for version in FAMILIES:
            there = sum(version_of(address) == version for address in named)
            number = wanted.number(version)
            try:
                chosen = _chosen(wanted, every, version, host_labels, namespace_labels) if number != 0 else ()
            except Exhausted as none:
                if number is not None:
                    raise
                missing = missing or none
                continue
            automatic = (0 if named else 1) if number is None else max(0, number - there)
            await self._automatic(asker, chosen, version, automatic, got)
        if missing and not got and not named:
            raise missing
        return had

    def _asker(self, wanted: Wanted) -> Asker:
        about = {"node": wanted.host, "timestamp": stamp(self._clock())}
        if wanted.namespace:
            about["namespace"] = wanted.namespace
        attribute = BlockAttribute(handle_id=wanted.handle, secondary={**about, **wanted.attributes})
        return Asker(host=wanted.host, attribute=attribute)

    async def _automatic(
        self, asker: Asker, chosen: Sequence[Pool], version: int, number: int, got: list[str]
    ) -> None:
        """Appends `number` addresses of one family to `got`."""
        left, complete = number, False
        for _ in range(ATTEMPTS + number):
            if left <= 0:
                return
            picture = await self._picture(asker.host, version, complete)
            step = assign.automatic(asker, picture, chosen, left, self._clock())
            if isinstance(step, Take) and await self._tries.take(asker.attribute.handle_id or "", step):
                got += step.addresses
                left -= len(step.addresses)
            elif isinstance(step, Claim):
                await self._tries.claim(asker.host, step.cidr)
            elif isinstance(step, Reclaim):
                await self._tries.give_up(step.owner, step.cidr, force=False)
            complete = complete or isinstance(step, Look)
        raise crowded(f"an address for host {asker.host}")

    async def _specific(self, asker: Asker, pool: Pool, address: str) -> bool:
        """False when the asker had it already."""
        cidr = pool.block_of(address)
        for _ in range(ATTEMPTS):
            found = await self._records.blocks_of([cidr])
            picture = Picture(
                config=await self._records.config(), reserved=(), confirmed=frozenset(),
                blocks=found.held, unreadable=found.unreadable,
            )
            step = assign.specific(asker, picture, pool, address, self._clock())
            if step is None:
                return False
            if isinstance(step, Claim):
                await self._tries.claim(asker.host, cidr)
            elif await self._tries.take(asker.attribute.handle_id or "", step):
                return True
        raise crowded(f"address {address}")

    async def _picture(self, host: str, version: int, complete: bool) -> Picture:
        affinities = await self._records.affinities(host, version)
        found = await (self._records.all_blocks(version) if complete else self._records.blocks_of(affinities))
        return Picture(
            config=await self._records.config(),
            reserved=_ranges(await self._records.resources("IPReservation", IPReservation)),
            confirmed=frozenset(c for c, held in affinities.items() if held.value.state == affinity.CONFIRMED),
            blocks=found.held,
            unreadable=found.unreadable,
            complete=complete,
        )

    async def _release_each(self, conditions: Sequence[Condition]) -> list[str]:
        """Addresses one by one, block by block."""
        every = await self._records.resources("IPPool", IPPool)
        in_block: dict[Cidr, list[Condition]] = {}
        for condition in conditions:
            cidr = await self._block_of(every, condition.address)
            in_block.setdefault(cidr, []).append(condition)
        gone: list[str] = []
        for cidr, there in in_block.items():
            gone += await self._tries.release(cidr, "", there)
        return gone

    async def _block_of(self, every: Sequence[IPPool], address: str) -> Cidr:
        """The block that holds an address, also where its pool is disabled, gone, or was made anew."""
        for _, pool in pools.usable(every, version_of(address)):
            cidr = pool.block_of(address)
            if contains(pool.cidr, cidr) and await self._records.exists(cidr):
                return cidr
        for cidr in await self._records.block_names(version_of(address)):
            if contains(cidr, parse_cidr(address)):
                return cidr
        return parse_cidr(address)


def _chosen(wanted: Wanted, every: Sequence[IPPool], version: int, host_labels: Mapping[str, str],
            namespace_labels: Mapping[str, str]) -> tuple[Pool, ...]:
    """Pools of one family. A pool that was asked for by name restricts only its own family. Raises Exhausted."""
    other = {word for _, pool in pools.usable(every, 10 - version) for word in (pool.name, pool.cidr)}
    asked = [word for word in wanted.pools if word not in other and not _is_of_family(word, 10 - version)]
    if wanted.pools and not asked and wanted.number(version) is None:
        raise Exhausted(f"none of the pools {', '.join(wanted.pools)} gives IPv{version} addresses")
    found = pools.choose(every, version, wanted=asked, host=wanted.host, host_labels=host_labels,
                         namespace_labels=namespace_labels)
    return pools.without(found, [_prefix(text) for text in wanted.without]) or found


def _check(wanted: Wanted) -> None:
    """Raises Invalid."""
    check_handle(wanted.handle)
    _check_host(wanted.host)
    for version in FAMILIES:
        number = wanted.number(version)
        if number is not None and not 0 <= number <= MOST_AT_ONCE:
            raise Invalid(f"v{version} is {number}: write how many IPv{version} addresses, 0 to {MOST_AT_ONCE}")


def _check_host(host: str) -> None:
    if not host or "/" in host:
        raise Invalid(f"host {host!r}: write the name of the Node that routes the address")


def _is_of_family(word: str, version: int) -> bool:
    """Is it a prefix of that family, and no pool's name?"""
    try:
        return version_of(parse_cidr(word)) == version
    except ValueError:
        return False


def _prefix(text: str) -> Cidr:
    """Raises Invalid."""
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise Invalid(f"without: {error}: write prefixes, such as 10.65.8.0/24") from None


def _address(text: str) -> str:
    """One address, with or without its /32 or /128. Raises Invalid."""
    try:
        address = parse_address(text.partition("/")[0])
        whole = text in (text.partition("/")[0], text.partition("/")[0] + ("/128" if ":" in text else "/32"))
    except ValueError as error:
        raise Invalid(f"{error}: write one address, such as 10.65.0.7 or fd65::7") from None
    if not whole:
        raise Invalid(f"{text} is a prefix: write one address, such as {address}")
    return address


def _ranges(reservations: Iterable[IPReservation]) -> Ranges:
    """A prefix that cannot be read reserves nothing; the status of its object says so."""
    found = []
    for text in (text for each in reservations for text in each.spec.reserved_cidrs):
        try:
            found.append(bounds(parse_cidr(text)))
        except ValueError:
            continue
    return tuple(found)

"""What a change costs until it is in the kernel, by each backend: program runs and all, p50 of several.

A host with 1000 endpoints behind one policy list, policies of five rules, and a set of 100,000 addresses.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec

from bench import rig, table
from bench.dataplane import intent
from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.intent import AddressSet, Delta, Endpoint, EndpointKey, HostIntent, MemberChange, PolicyId, SetId
from muslin.net import Cidr
from muslin.render import iptables, nft

ENDPOINTS, POLICIES, MEMBERS, TIMES = 1000, 100, 100_000, 9
COLUMNS = ("backend", "all ms", "endpoint ms", "policy ms", "member ms", "read back ms")
SET, POLICY = SetId("set0"), PolicyId("GlobalNetworkPolicy/p0")

Apply = Callable[[Delta, HostIntent], Awaitable[None]]


def _whole() -> HostIntent:
    made = intent(ENDPOINTS, POLICIES)
    addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/32" for n in range(MEMBERS))
    made.sets[SET] = AddressSet(id=SET, members=frozenset(Cidr(address) for address in addresses))
    return made


def _nftables(space: str) -> tuple[Apply, Callable[[], Awaitable[object]]]:
    driver, state = Nft(space), nft.NftState()

    async def apply(delta: Delta, whole: HostIntent) -> None:
        await driver.apply(state.update(delta, whole))

    return apply, driver.read


def _iptables(space: str, flavour: Flavour) -> tuple[Apply, Callable[[], Awaitable[object]]]:
    driver, state = Iptables(flavour, space), iptables.IptablesState()

    async def apply(delta: Delta, whole: HostIntent) -> None:
        await driver.apply(state.update(delta, whole))

    return apply, driver.read


def _changes(made: HostIntent) -> dict[str, Callable[[int], Delta]]:
    """Each makes the change of that number, in the intent as well."""
    pattern = made.endpoints[EndpointKey("WorkloadEndpoint/default/w5")]

    def endpoint(number: int) -> Delta:
        key = EndpointKey(f"WorkloadEndpoint/default/new{number}")
        new: Endpoint = msgspec.structs.replace(
            pattern, key=key, interface=f"musnew{number}", addresses=(Cidr(f"10.99.0.{number}/32"),))
        made.endpoints[key] = new
        return Delta(endpoints={key: new})

    def policy(number: int) -> Delta:
        old = made.policies[POLICY]
        rules = (msgspec.structs.replace(old.ingress[0], protocol=6 if number % 2 else 17), *old.ingress[1:])
        made.policies[POLICY] = msgspec.structs.replace(old, ingress=rules)
        return Delta(policies={POLICY: made.policies[POLICY]})

    def member(number: int) -> Delta:
        new = frozenset({Cidr(f"192.0.2.{number}/32")})
        there = made.sets[SET]
        assert isinstance(there, AddressSet)
        made.sets[SET] = AddressSet(id=SET, members=there.members | new)
        return Delta(sets={SET: MemberChange(added=new)})

    return {"endpoint": endpoint, "policy": policy, "member": member}


async def _milliseconds(work: Awaitable[object]) -> float:
    before = time.perf_counter()
    await work
    return (time.perf_counter() - before) * 1000


async def _measured(apply: Apply, read: Callable[[], Awaitable[object]]) -> tuple[float, ...]:
    made = _whole()
    figures = [await _milliseconds(apply(Delta(snapshot=True), made))]
    for change in _changes(made).values():
        taken = []
        for number in range(TIMES):
            delta = change(number + 1)
            taken.append(await _milliseconds(apply(delta, made)))
        figures.append(statistics.median(taken))
    return (*figures, await _milliseconds(read()))


def main() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    with rig.rig() as spaces:
        rows.append(("nftables", *asyncio.run(_measured(*_nftables(spaces.host)))))
    for flavour in Flavour:
        with rig.rig() as spaces:
            rows.append((f"iptables-{flavour}", *asyncio.run(_measured(*_iptables(spaces.host, flavour)))))
    title = f"A change until it is in the kernel: {ENDPOINTS} endpoints, {POLICIES * 5} rules, a set of {MEMBERS}"
    table.show(title, COLUMNS, rows)
    return rows

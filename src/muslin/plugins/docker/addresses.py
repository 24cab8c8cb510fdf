"""Docker's address management: pools and addresses for networks of ours, asked of the server.

Every address is held under a handle of its own, named by this host and by dockerd's call. So a call that is repeated,
because the agent died in its middle, does not take a second address; and the server always knows all that this host
was given, also what dockerd never heard of (see `leftovers`).
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from muslin.client.refusal import ApiError
from muslin.errors import MuslinError, Transient
from muslin.net import Cidr, host_cidr, parse_address, parse_cidr, version_of
from muslin.plugins.docker import words
from muslin.plugins.docker.book import Book
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.keeping import Kept

Object = dict[str, Any]
CALICO = "/apis/projectcalico.org/v3"
CALL, AGAIN = "muslin.call", "muslin.again"
"""What the door adds to dockerd's words: the call's own name, and whether it has been tried before."""
GATEWAY_V6 = "fe80::1"
_GATEWAY_TYPE = "com.docker.network.gateway"
_ADDRESSES = "/muslin/v1/addresses"
_CONFLICT = 409

log = structlog.get_logger()


class Api(Protocol):
    """The server."""

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any: ...


class Addresses:
    def __init__(self, api: Api, book: Book, node: str) -> None:
        self._api = api
        self._book = book
        self._node = node
        self._taken_back: set[str] = set()
        self.given: dict[Cidr, str] = {}
        """Address -> handle, of what this process gave: whoever asked for it was answered, or will be."""
        self.kept = Kept(lambda: Daemon(book.pages.docker), self._release)
        self.reclaim: Callable[[Cidr, Daemon], Awaitable[bool]] = _never

    def calls(self) -> dict[str, Callable[[Object], Awaitable[Object]]]:
        return {"IpamDriver.RequestPool": self._request_pool, "IpamDriver.RequestAddress": self._request_address,
                "IpamDriver.ReleaseAddress": self._release_address, "IpamDriver.ReleasePool": self._release_pool}

    # ---- what dockerd asks for

    async def _request_pool(self, call: Object) -> Object:
        pool, part = str(call.get("Pool") or ""), str(call.get("SubPool") or "")
        if call.get("Options"):
            raise Refused(f"--ipam-opt {sorted(call['Options'])[0]} is not known to muslin")
        if not pool:
            whole = words.ANY[6 if call.get("V6") else 4]  # not compared with the host's routes, as any other would be
            return {"PoolID": words.pool_id(whole), "Pool": whole, "Data": {}}
        found = words.subnet(pool, part, await self._pools())
        return {"PoolID": found, "Pool": str(words.pool_of(found)[0]), "Data": {}}

    async def _pools(self) -> dict[str, tuple[Cidr, int]]:
        """Name -> prefix, and length of its blocks."""
        items = (await self._api.call("GET", f"{CALICO}/ippools"))["items"]
        return {item["metadata"]["name"]: (parse_cidr(item["spec"]["cidr"]), int(item["spec"].get("blockSize") or 0))
                for item in items if not item["spec"].get("disabled")}

    async def _require_ours(self, whole: Cidr) -> None:
        """Other drivers lay an address on a bridge, with its network beside it: ours is alone, behind a gateway.
        dockerd does not say whom an address is for, but who has networks of this subnet. Raises Refused, Transient."""
        if any(whole in network.subnets for network in self._book.pages.networks.values()):
            return
        of_pool = [each for each in await Daemon(self._book.pages.docker).networks() if any(
            str(config.get("Subnet")) == whole for config in (each.get("IPAM") or {}).get("Config") or ())]
        if of_pool and not any(each.get("Driver") == words.DRIVER for each in of_pool):
            raise Refused(f"network {of_pool[0].get('Name')} is of driver {of_pool[0].get('Driver')}, which cannot use"
                          f" muslin's addresses: create it with `docker network create --driver {words.DRIVER}"
                          f" --ipam-driver {words.DRIVER} ...`, or without --ipam-driver")

    async def _request_address(self, call: Object) -> Object:
        whole, part = words.pool_of(str(call.get("PoolID") or ""))
        asked = str(call.get("Address") or "")
        if (call.get("Options") or {}).get("RequestAddressType") == _GATEWAY_TYPE:
            return self._gateway(whole, asked)
        await self._require_ours(whole)
        address = await self._kept(asked, str(call["PoolID"])) or await self._new(call, asked, whole, part)
        self.kept.asked(address, by_name=bool(asked))
        return {"Address": address, "Data": {}}

    async def _kept(self, asked: str, pool: str) -> Cidr | None:
        """One that this host holds for a stopped container."""
        if not asked:
            return await self.kept.again(pool)
        return host_cidr(asked) if self.kept.take(host_cidr(asked)) else None

    async def _new(self, call: Object, asked: str, whole: Cidr, part: Cidr) -> Cidr:
        """One from the server."""
        handle = f"{self.prefix}{call.get(CALL) or uuid.uuid4().hex}"
        if call.get(AGAIN):
            await self.give_back(handle)
        version = version_of(whole)
        if asked:
            wanted: Object = {"addresses": [parse_address(asked)]}
        else:
            wanted = {"v4": int(version == 4), "v6": int(version == 6)}
            wanted |= self._apart(version) if whole in words.ANY.values() else {"pools": [part]}
        try:
            address = await self._assign(handle, wanted)
        except ApiError as error:
            if not asked and await self.kept.give_up():
                pass  # there are some now
            elif error.code != _CONFLICT or not asked:
                raise
            elif not await self._reclaimed(asked):
                raise self._taken(asked) or error from None
            address = await self._assign(handle, wanted)
        self._taken_back.discard(address)
        return address

    def _apart(self, version: int) -> Object:
        """Of a network without a subnet: none in the subnets of others, for a container may be in both, and dockerd
        refuses it an address to which a route of it leads already."""
        taken = {subnet for network in self._book.pages.networks.values() for subnet in words.own_subnets(network)
                 if version_of(subnet) == version}
        return {"without": sorted(taken)} if taken else {}

    def _taken(self, asked: str) -> Refused | None:
        """None: no container of this host has it."""
        address = host_cidr(asked)
        name = next((each.container for each in self._book.pages.endpoints.values() if address in each.addresses), "")
        return Refused(f"address {asked} is in use by container {name} of this host: take another, or stop that"
                       " container") if name else None

    async def _reclaimed(self, asked: str) -> bool:
        try:
            return await self.reclaim(host_cidr(asked), Daemon(self._book.pages.docker))
        except Transient as error:
            log.warning("docker_address_not_reclaimed", address=asked, why=str(error))
            return False

    def _gateway(self, whole: Cidr, asked: str) -> Object:
        """The host's own address on every link. Of IPv4 each network gets another."""
        if version_of(whole) == 6:
            if asked and asked != GATEWAY_V6:
                raise Refused(f"--gateway {asked}: the gateway of a muslin network is {GATEWAY_V6}; leave it out")
            return {"Address": f"{GATEWAY_V6}/64", "Data": {}}
        if asked:
            raise Refused(f"--gateway {asked}: the gateway is chosen, one of 169.254.1.x: leave it out")
        return {"Address": f"{self._book.take_gateway()}/32", "Data": {}}

    async def _release_address(self, call: Object) -> Object:
        text = str(call.get("Address") or "").partition("/")[0]
        if text == GATEWAY_V6 or self._book.give_gateway(text):
            return {}
        address = host_cidr(text)
        handle = await self._handle(address)
        if not handle:
            log.warning("docker_address_not_released", address=address, why="this host does not hold it")
        elif not self.kept.keep(address, str(call.get("PoolID") or ""), handle):
            await self._release(address, handle)
        return {}

    async def _handle(self, address: Cidr) -> str:
        """Under which this host holds it, "" if it does not. Of what was given before our start the server knows."""
        if address not in self.given:
            for handle, held in (await self.held()).items():
                if address in held:
                    self.given[address] = handle
        return self.given.get(address, "")

    async def _release_pool(self, call: Object) -> Object:
        try:
            await self.kept.give_up(pool=str(call.get("PoolID") or ""))
        except MuslinError as error:  # it is tried again
            log.warning("docker_address_not_released", pool=call.get("PoolID"), why=str(error))
        return {}

    async def _release(self, address: Cidr, handle: str) -> None:
        """By its handle: under another this host may hold it again by now."""
        if self.given.get(address) == handle:
            del self.given[address]
        try:
            await self._api.call("POST", f"{_ADDRESSES}/release",
                                 {"addresses": [address.partition("/")[0]], "handle": handle})
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
            log.warning("docker_address_not_released", address=address, why=str(error))  # it is somebody else's by now

    # ---- what this host holds for dockerd

    @property
    def prefix(self) -> str:
        return f"{words.DRIVER}.{words.NAMESPACE}.{self._node}."

    async def held(self) -> dict[str, tuple[Cidr, ...]]:
        """Handle -> addresses. A host whose name begins as ours does has handles that begin as ours do."""
        found = await self._api.call("GET", f"{_ADDRESSES}?handlePrefix={quote(self.prefix)}")
        return {handle: tuple(map(Cidr, addresses)) for handle, addresses in found["handles"].items()
                if "." not in handle.removeprefix(self.prefix)}

    async def give_back(self, handle: str) -> tuple[Cidr, ...]:
        found = await self._api.call("POST", f"{_ADDRESSES}/release", {"handle": handle})
        released = tuple(map(Cidr, found["released"]))
        for address in released:
            self.given.pop(address, None)
        self._taken_back |= set(released)
        return released

    async def still_ours(self, addresses: tuple[Cidr, ...]) -> None:
        """Taken again, if dockerd kept them longer to itself than `leftovers` waited. Raises ApiError: somebody else
        has them by now."""
        for address in addresses:
            if address in self._taken_back:
                await self._assign(f"{self.prefix}{uuid.uuid4().hex}", {"addresses": [address]})
                self._taken_back.discard(address)

    async def _assign(self, handle: str, wanted: Object) -> Cidr:
        [address] = (await self._api.call("POST", f"{_ADDRESSES}/assign", {
            "host": self._node, "handle": handle, "namespace": words.NAMESPACE,
            "attributes": {"namespace": words.NAMESPACE}, **wanted}))["addresses"]
        self.given[Cidr(address)] = handle
        self.kept.assigned(Cidr(address))
        return Cidr(address)


async def _never(_: Cidr, __: Daemon) -> bool:
    return False

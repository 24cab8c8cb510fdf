"""The agent's side of Docker: one call of dockerd after another.

    CreateEndpoint           noted
    Join                     labels asked of dockerd, link made, WorkloadEndpoint written, waited for: policy and routes
                             are in the kernel before dockerd hears of the interface
    Leave, DeleteEndpoint    link, policy and route are gone

dockerd may repeat a call, leave some out after a crash, and speak of things from before our own. So every call looks at
what is there: the book, or, where that was lost, dockerd itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from muslin.errors import MuslinError
from muslin.net import host_cidr
from muslin.plugins.docker import inside, leftovers, naming, ports, publishing, ways, words
from muslin.plugins.docker.addresses import AGAIN, CALL, Addresses
from muslin.plugins.docker.book import Book, Endpoint, Network
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.keeper import Keeper
from muslin.plugins.docker.leftovers import Leftovers, identity
from muslin.plugins.docker.naming import Api, Naming, Report
from muslin.plugins.docker.networks import Networks
from muslin.plugins.docker.profiles import Profiles
from muslin.plugins.docker.publishing import Publishing
from muslin.plugins.docker.reviving import Reviving

Object = dict[str, Any]
_LOOK_EVERY = 2.0

log = structlog.get_logger()


class Door(leftovers.Door, publishing.Door, Protocol):
    """What the agent's workloads offer."""


class Service:
    def __init__(self, door: Door, api: Api, book: Book, keepers: tuple[Keeper, Keeper], node: str,
                 report: Report) -> None:
        """`keepers`: of the door, of the resolver."""
        self._door = door
        self._api = api
        self._book = book
        self._keeper, self._resolver = keepers
        self._node = node
        self._addresses = Addresses(api, book, node)
        self._naming = Naming(api, book, self._resolver, node, report)
        self._networks = Networks(api, book, report)
        self._profiles = Profiles(api, book)
        self._leftovers = Leftovers(door, self._addresses, book, self._remove_network)
        self._addresses.reclaim = self._leftovers.reclaim
        self._reviving = Reviving(lambda: self._daemon if book.pages.enabled else None, lambda: door.why_not_ready,
                                  str(self._keeper.listen))
        self._joined: set[str] = set()
        """Endpoints of which we have not seen yet what dockerd did with them."""
        self._calls: dict[str, Callable[[Object], Awaitable[Object]]] = {
            "Plugin.Activate": _constant(Implements=["NetworkDriver", "IpamDriver"]),
            "NetworkDriver.GetCapabilities": _constant(Scope="local", ConnectivityScope="global"),
            "IpamDriver.GetCapabilities": _constant(RequiresMACAddress=False),
            "IpamDriver.GetDefaultAddressSpaces": _constant(
                LocalDefaultAddressSpace=words.DRIVER, GlobalDefaultAddressSpace=words.DRIVER),
            **self._addresses.calls(),
            "NetworkDriver.CreateNetwork": self._create_network,
            "NetworkDriver.DeleteNetwork": self._delete_network,
            "NetworkDriver.CreateEndpoint": self._create_endpoint,
            "NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "NetworkDriver.EndpointOperInfo": self._oper_info,
            "NetworkDriver.Join": self._join,
            "NetworkDriver.Leave": self._leave,
            **Publishing(door, book).calls(),
            **dict.fromkeys(("NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete",
                             "NetworkDriver.AllocateNetwork", "NetworkDriver.FreeNetwork"), _constant()),
        }

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/docker/{call}", self._answer), web.put("/v1/docker", self._configure),
                web.get("/v1/docker", self._configured)]

    async def run(self) -> None:
        """The door stays open while it should be, names are told, and what a broken call left is found."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._naming.run())
            tasks.create_task(self._addresses.kept.run())
            tasks.create_task(self._networks.run())
            tasks.create_task(self._reviving.run())
            tasks.create_task(self._keep())

    async def _keep(self) -> None:
        unknown = ""
        while True:
            if self._book.pages.enabled:
                try:
                    await self._keeper.open()
                    await self._leftovers.look(self._daemon)
                except TimeoutError:
                    log.error("docker_door_not_open", socket=str(self._keeper.listen))
                    unknown = ""
                except MuslinError as error:
                    if str(error) != unknown:
                        unknown = str(error)
                        log.warning("docker_leftovers_not_known", why=unknown)
            await asyncio.sleep(_LOOK_EVERY)

    async def _configure(self, request: web.Request) -> web.Response:
        """Where dockerd answers, and whether we do."""
        wanted = await request.json()
        self._book.pages.docker = str(wanted.get("docker") or "")
        self._book.pages.enabled = bool(wanted.get("enabled", True))
        self._book.write()
        if self._book.pages.enabled:
            await self._keeper.open()
        else:
            self._keeper.close()
            self._resolver.close()
        self._naming.changed()
        self._networks.changed()
        return await self._configured(request)

    async def _configured(self, _: web.Request) -> web.Response:
        return web.json_response({"node": self._node, "docker": self._daemon.address,
                                  "enabled": self._book.pages.enabled, "socket": str(self._keeper.listen),
                                  "published": self._published()})

    def _published(self) -> dict[str, list[str]]:
        """Container -> its ports, while it runs."""
        found: dict[str, list[str]] = {}
        for each in self._book.pages.endpoints.values():
            if each.sandbox and each.published:
                found.setdefault(each.container, []).extend(ports.spelled(each.published))
        return found

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self._book.pages.docker)

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["call"]
        try:
            body = await request.read()
            given = msgspec.json.decode(body, type=dict[str, Any]) if body.strip() else {}
            given |= {CALL: request.headers.get("Muslin-Call", ""), AGAIN: "Muslin-Again" in request.headers}
            if name not in self._calls:
                raise Refused(f"muslin does not know the call {name}")
            with self._leftovers.during(name):
                answer = await self._calls[name](given)
        except (MuslinError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            why = f"the call lacks {error}" if isinstance(error, KeyError) else str(error)
            log.warning("docker", call=name, why=why)
            return web.json_response({"Err": f"muslin: {why}"}, status=500)
        log.info("docker", call=name, answer=msgspec.json.encode(answer).decode())
        return web.json_response(answer)

    # ---- networks

    async def _create_network(self, call: Object) -> Object:
        network = words.network(call)
        if network.net:
            await self._profiles.ensure(network.net, network, {})
        self._book.put(network)
        self._book.keep_gateway(network.gateway)
        return {}

    async def _delete_network(self, call: Object) -> Object:
        await self._remove_network(call["NetworkID"])
        self._networks.removed()
        return {}

    async def _remove_network(self, key: str) -> None:
        """Known until its Profile is gone: else a call that is repeated would leave that."""
        network = self._book.pages.networks.get(key)
        if network is not None and network.net:
            await self._profiles.drop(network.net, key)
        self._book.forget(key)

    async def _network(self, network: str) -> Network:
        """Of the book, or, if that was lost, as dockerd has it."""
        known = self._book.pages.networks.get(network)
        if known is None:
            found = await self._daemon.network(network)
            if found is None:
                raise Refused(f"network {network} is known neither to muslin nor to dockerd: remove it, create it anew")
            known = words.inspected(found)
            if not known.gateway:  # dockerd keeps it to itself; another does as well for those who join from now on
                known = msgspec.structs.replace(known, gateway=self._book.take_gateway())
            self._book.put(known)
        return known

    # ---- endpoints

    async def _create_endpoint(self, call: Object) -> Object:
        network = await self._network(call["NetworkID"])
        given, options = call.get("Interface") or {}, call.get("Options") or {}
        addresses = tuple(host_cidr(str(given[field]).partition("/")[0]) for field in ("Address", "AddressIPv6")
                          if given.get(field))
        if not addresses:
            raise Refused("dockerd gave the endpoint no address: create the network with --ipam-driver muslin")
        endpoint = Endpoint(id=call["EndpointID"], network=network.id, addresses=addresses,
                            mac=str(given.get("MacAddress") or ""), labels=words.driver_labels(options))
        ports.wanted(options)  # what cannot be published at all is refused before there is anything
        await self._addresses.still_ours(addresses)
        self._book.put(endpoint)
        mac = "" if endpoint.mac else _mac(endpoint.id)
        return {"Interface": {"MacAddress": mac}} if mac else {}

    async def _join(self, call: Object) -> Object:
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is None:
            raise Refused(f"endpoint {call['EndpointID']} was never created here: start the container again")
        network = await self._network(endpoint.network)
        found = await self._daemon.network(network.id) or {}
        network = await self._named(network, found)
        sandbox = str(call.get("SandboxKey") or "")
        ways.require_apart(endpoint, network, sandbox, self._book)
        container = await self._container(endpoint, found)
        name, labels = container["Names"][0].lstrip("/"), dict(container.get("Labels") or {})
        names = words.first_names(name, container["Id"], labels)
        joining = msgspec.structs.replace(
            endpoint, container=name, container_id=container["Id"], names=names, sandbox=sandbox)
        self._book.put(joining)
        loose = f"dtmp{endpoint.id[:10]}"
        await self._door.add(msgspec.structs.replace(
            identity(endpoint.id),
            loose=loose, addresses=endpoint.addresses, foreign_addresses=True, mac=endpoint.mac or _mac(endpoint.id),
            mtu=network.mtu, gateway_v6=network.gateway_v6, profiles=(words.profile_name(network.net),),
            ports=words.ports(endpoint.published),
            labels={**words.labels(labels), **endpoint.labels, words.NETWORK_LABEL: network.net,
                    **words.labels({words.NAME_LABEL: name})},
            annotations={"muslin.dev/docker-network": str(found.get("Name") or network.net),
                         "muslin.dev/container-name": name, **naming.about(network.net, names)},
        ))
        self._naming.changed()
        self._joined.add(endpoint.id)
        return ways.joined(network, joining, loose, self._book)

    async def _named(self, network: Network, found: Object) -> Network:
        """With its name, and with a Profile for it. dockerd does not say the name when it makes the network."""
        name = str(found.get("Name") or "")
        net = network.net or words.net_name(name)
        if not net:
            raise Refused(f"dockerd does not tell the name of network {network.id}: create it with -o net=NAME")
        network = msgspec.structs.replace(network, net=net, name=name)
        self._book.put(network)
        await self._profiles.ensure(net, network, found.get("Labels") or {})
        return network

    async def _container(self, endpoint: Endpoint, found: Object) -> Object:
        """The container that the endpoint is for. Raises Refused: its labels are not known."""
        name = str(((found.get("Containers") or {}).get(f"ep-{endpoint.id}") or {}).get("Name") or "")
        container = await self._daemon.container(name) if name else None
        if container is None:
            raise Refused("dockerd does not tell which container this is, so its labels are not known and policy "
                          "cannot be right: try again")
        return {**container, "Names": [name]}

    async def _leave(self, call: Object) -> Object:
        self._joined.discard(call["EndpointID"])
        await self._door.detach(identity(call["EndpointID"]))
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is not None:
            self._book.put(msgspec.structs.replace(endpoint, sandbox="", named=False, link_local=""))
        self._naming.changed()
        return {}

    async def _delete_endpoint(self, call: Object) -> Object:
        """Without a Leave before it, when dockerd was killed."""
        self._joined.discard(call["EndpointID"])
        await self._door.detach(identity(call["EndpointID"]))
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is not None:
            self._addresses.kept.leave(endpoint)
        self._book.forget(call["EndpointID"])
        self._naming.changed()
        return {}

    async def _oper_info(self, call: Object) -> Object:
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is None:
            return {"Value": {}}
        await self._require_no_other_source(endpoint)
        return {"Value": {"muslin.addresses": ",".join(endpoint.addresses),
                          "muslin.published": ",".join(ports.spelled(endpoint.published))}}

    async def _require_no_other_source(self, endpoint: Endpoint) -> None:
        """Looked for once after each Join. Raises Refused."""
        if endpoint.id not in self._joined:
            return
        found = await asyncio.to_thread(
            inside.link_local, self._book.pages.docker, endpoint.sandbox, endpoint.mac or _mac(endpoint.id))
        if found:
            raise Refused(f"{inside.why(found)}: disconnect it (dockerd has connected it), and connect it without")
        self._joined.discard(endpoint.id)


def _mac(endpoint: str) -> str:
    return "02:" + bytes.fromhex(endpoint[:10]).hex(":")


def _constant(**answer: object) -> Callable[[Object], Awaitable[Object]]:
    async def call(_: Object) -> Object:
        return dict(answer)

    return call

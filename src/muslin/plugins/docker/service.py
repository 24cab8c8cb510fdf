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
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from muslin.client.refusal import ApiError
from muslin.client.workload import Request, Workload
from muslin.errors import MuslinError
from muslin.net import Cidr, host_cidr, parse_address, parse_cidr, version_of
from muslin.plugins.docker import words
from muslin.plugins.docker.book import Book, Endpoint, Network
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.keeper import Keeper

Object = dict[str, Any]
_CALICO = "/apis/projectcalico.org/v3"
_GATEWAY_TYPE = "com.docker.network.gateway"
_MERGE = "application/merge-patch+json"
GATEWAY_V6 = "fe80::1"
_LOOK_EVERY = 2.0

log = structlog.get_logger()


class Door(Protocol):
    """What the agent's workloads offer."""

    async def add(self, request: Request) -> Workload: ...

    async def detach(self, request: Request) -> None: ...


class Api(Protocol):
    """The server."""

    async def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> Any: ...


class Service:
    def __init__(self, door: Door, api: Api, book: Book, keeper: Keeper, node: str) -> None:
        self._door = door
        self._api = api
        self._book = book
        self._keeper = keeper
        self._node = node
        self._unanswered = list(book.pages.pending)
        self._turn = asyncio.Lock()
        """dockerd asks for one thing at a time mostly; what it asks at once must not race for gateways and ports."""
        self._calls: dict[str, Callable[[Object], Awaitable[Object]]] = {
            "Plugin.Activate": _constant(Implements=["NetworkDriver", "IpamDriver"]),
            "NetworkDriver.GetCapabilities": _constant(Scope="local", ConnectivityScope="global"),
            "IpamDriver.GetCapabilities": _constant(RequiresMACAddress=False),
            "IpamDriver.GetDefaultAddressSpaces": _constant(
                LocalDefaultAddressSpace=words.DRIVER, GlobalDefaultAddressSpace=words.DRIVER),
            "IpamDriver.RequestPool": self._request_pool,
            "IpamDriver.ReleasePool": _constant(),
            "IpamDriver.RequestAddress": self._request_address,
            "IpamDriver.ReleaseAddress": self._release_address,
            "NetworkDriver.CreateNetwork": self._create_network,
            "NetworkDriver.DeleteNetwork": self._delete_network,
            "NetworkDriver.CreateEndpoint": self._create_endpoint,
            "NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "NetworkDriver.EndpointOperInfo": self._oper_info,
            "NetworkDriver.Join": self._join,
            "NetworkDriver.Leave": self._leave,
            **dict.fromkeys(("NetworkDriver.ProgramExternalConnectivity", "NetworkDriver.RevokeExternalConnectivity",
                             "NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete",
                             "NetworkDriver.AllocateNetwork", "NetworkDriver.FreeNetwork"), _constant()),
        }

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/docker/{call}", self._answer), web.put("/v1/docker", self._configure),
                web.get("/v1/docker", self._configured)]

    async def run(self) -> None:
        """The door stays open while it should be."""
        while True:
            if self._book.pages.enabled:
                try:
                    await self._keeper.open()
                except TimeoutError:
                    log.error("docker_door_not_open", socket=str(self._keeper.listen))
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
        return await self._configured(request)

    async def _configured(self, _: web.Request) -> web.Response:
        return web.json_response({"node": self._node, "docker": self._daemon.address,
                                  "enabled": self._book.pages.enabled, "socket": str(self._keeper.listen)})

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self._book.pages.docker)

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["call"]
        try:
            body = await request.read()
            given = msgspec.json.decode(body, type=dict[str, Any]) if body.strip() else {}
            if name not in self._calls:
                raise Refused(f"muslin does not know the call {name}")
            answer = await self._calls[name](given)
        except (MuslinError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            why = f"the call lacks {error}" if isinstance(error, KeyError) else str(error)
            log.warning("docker", call=name, why=why)
            return web.json_response({"Err": f"muslin: {why}"}, status=500)
        log.info("docker", call=name, answer=msgspec.json.encode(answer).decode())
        return web.json_response(answer)

    # ---- addresses

    async def _request_pool(self, call: Object) -> Object:
        pool, part = str(call.get("Pool") or ""), str(call.get("SubPool") or "")
        if call.get("Options"):
            raise Refused(f"--ipam-opt {sorted(call['Options'])[0]} is not known to muslin")
        if not pool:
            whole = words.ANY[6 if call.get("V6") else 4]  # not compared with the host's routes, as any other would be
            return {"PoolID": words.pool_id(whole), "Pool": whole, "Data": {}}
        found = words.subnet(pool, part, await self._pools())
        return {"PoolID": found, "Pool": str(words.pool_of(found)[0]), "Data": {}}

    async def _pools(self) -> dict[str, Cidr]:
        items = (await self._api.call("GET", f"{_CALICO}/ippools"))["items"]
        return {item["metadata"]["name"]: parse_cidr(item["spec"]["cidr"]) for item in items
                if not item["spec"].get("disabled")}

    async def _request_address(self, call: Object) -> Object:
        whole, part = words.pool_of(str(call.get("PoolID") or ""))
        asked = str(call.get("Address") or "")
        options = call.get("Options") or {}
        if options.get("RequestAddressType") == _GATEWAY_TYPE:
            return self._gateway(whole, asked)
        handle = f"{self._handle_prefix}{uuid.uuid4().hex}"
        wanted: Object = {"host": self._node, "handle": handle, "namespace": words.NAMESPACE,
                          "attributes": {"namespace": words.NAMESPACE}}
        version = version_of(whole)
        if asked:
            wanted["addresses"] = [parse_address(asked)]
        else:
            wanted |= {"v4": int(version == 4), "v6": int(version == 6)}
            wanted |= {} if whole in words.ANY.values() else {"pools": [part]}
        await self._release_unanswered()
        self._book.pages.pending.append(handle)
        self._book.write()
        try:
            [address] = (await self._api.call("POST", "/muslin/v1/addresses/assign", wanted))["addresses"]
        except ApiError:
            self._answered(handle)  # the server says no: nothing was assigned
            raise
        self._answered(handle)
        return {"Address": address, "Data": {}}

    def _answered(self, handle: str) -> None:
        self._book.pages.pending.remove(handle)
        self._book.write()

    async def _release_unanswered(self) -> None:
        """What a predecessor was given in the middle of whose call it died: dockerd never heard of it."""
        while self._unanswered:
            handle = self._unanswered[-1]
            await self._api.call("POST", "/muslin/v1/addresses/release", {"handle": handle})
            self._unanswered.pop()
            self._book.pages.pending.remove(handle)

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
        address = str(call.get("Address") or "").partition("/")[0]
        if address == GATEWAY_V6 or self._book.give_gateway(address):
            return {}
        try:
            await self._api.call("POST", "/muslin/v1/addresses/release",
                                 {"addresses": [address], "handlePrefix": self._handle_prefix})
        except ApiError as error:
            log.warning("docker_address_not_released", address=address, why=str(error))  # it is somebody else's by now
        return {}

    @property
    def _handle_prefix(self) -> str:
        return f"{words.DRIVER}.{words.NAMESPACE}.{self._node}."

    # ---- networks

    async def _create_network(self, call: Object) -> Object:
        network = words.network(call)
        if network.net:
            await self._ensure_profile(network.net, network, {})
        self._book.put(network)
        return {}

    async def _delete_network(self, call: Object) -> Object:
        network = self._book.pages.networks.get(call["NetworkID"])
        self._book.forget(call["NetworkID"])
        if network is not None and network.net:
            await self._drop_profile(network.net)
        return {}

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

    async def _ensure_profile(self, net: str, network: Network, labels: dict[str, str]) -> None:
        """One for all hosts. Labels of a network are known only once it is made: they come with its first container."""
        wanted = words.profile(net, network, words.labels(labels))
        path = f"{_CALICO}/profiles"
        try:
            await self._api.call("POST", path, wanted)
        except ApiError as error:
            if error.code != 409:
                raise
            if labels:
                await self._api.call("PATCH", f"{path}/{words.profile_name(net)}",
                                     {"spec": {"labelsToApply": words.labels(labels)}}, content=_MERGE)

    async def _drop_profile(self, net: str) -> None:
        """If we made it, and no container of any host is under it."""
        users = await self._api.call(
            "GET", f"{_CALICO}/workloadendpoints?labelSelector={words.NETWORK_LABEL}%3D{net}&limit=1")
        if users["items"]:
            return
        path = f"{_CALICO}/profiles/{words.profile_name(net)}"
        try:
            found = await self._api.call("GET", path)
            if words.MADE_FOR in (found["metadata"].get("annotations") or {}):
                await self._api.call("DELETE", path)
        except ApiError as error:
            if error.code != 404:
                raise

    # ---- endpoints

    async def _create_endpoint(self, call: Object) -> Object:
        network = await self._network(call["NetworkID"])
        given, options = call.get("Interface") or {}, call.get("Options") or {}
        addresses = tuple(host_cidr(str(given[field]).partition("/")[0]) for field in ("Address", "AddressIPv6")
                          if given.get(field))
        if not addresses:
            raise Refused("dockerd gave the endpoint no address: create the network with --ipam-driver muslin")
        endpoint = Endpoint(id=call["EndpointID"], network=network.id, addresses=addresses,
                            mac=str(given.get("MacAddress") or ""), published=words.published(options),
                            labels=words.driver_labels(options))
        async with self._turn:
            others = [port for each in self._book.pages.endpoints.values() if each.id != endpoint.id
                      for port in each.published]
            if taken := words.clash(endpoint.published, others):
                raise Refused(f"port {taken} of this host is published by another container already: take another, or"
                              " stop that container")
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
        name, labels = await self._container(endpoint, found)
        self._book.put(msgspec.structs.replace(endpoint, container=name))
        loose = f"dtmp{endpoint.id[:10]}"
        await self._door.add(msgspec.structs.replace(
            _identity(endpoint.id),
            loose=loose, addresses=endpoint.addresses, foreign_addresses=True, mac=endpoint.mac or _mac(endpoint.id),
            mtu=network.mtu, profiles=(words.profile_name(network.net),), ports=words.ports(endpoint.published),
            labels={**words.labels(labels), **endpoint.labels, words.NETWORK_LABEL: network.net,
                    **words.labels({words.NAME_LABEL: name})},
            annotations={"muslin.dev/docker-network": str(found.get("Name") or network.net),
                         "muslin.dev/container-name": name},
        ))
        return _joined(network, endpoint, loose)

    async def _named(self, network: Network, found: Object) -> Network:
        """With its name, and with a Profile for it. dockerd does not say the name when it makes the network."""
        net = network.net or words.net_name(str(found.get("Name") or ""))
        if not net:
            raise Refused(f"dockerd does not tell the name of network {network.id}: create it with -o net=NAME")
        network = msgspec.structs.replace(network, net=net)
        self._book.put(network)
        await self._ensure_profile(net, network, found.get("Labels") or {})
        return network

    async def _container(self, endpoint: Endpoint, found: Object) -> tuple[str, dict[str, str]]:
        """(name, labels) of the container that the endpoint is for. Raises Refused where it asks for the impossible."""
        name = str(((found.get("Containers") or {}).get(f"ep-{endpoint.id}") or {}).get("Name") or "")
        container = await self._daemon.container(name) if name else None
        if container is None:
            raise Refused("dockerd does not tell which container this is, so its labels are not known and policy "
                          "cannot be right: try again")
        return name, dict(container.get("Labels") or {})

    async def _leave(self, call: Object) -> Object:
        await self._door.detach(_identity(call["EndpointID"]))
        return {}

    async def _delete_endpoint(self, call: Object) -> Object:
        """Without a Leave before it, when dockerd was killed."""
        await self._door.detach(_identity(call["EndpointID"]))
        self._book.forget(call["EndpointID"])
        return {}

    async def _oper_info(self, call: Object) -> Object:
        endpoint = self._book.pages.endpoints.get(call["EndpointID"])
        if endpoint is None:
            return {"Value": {}}
        published = [f"{each.host_ip or '0.0.0.0'}:{each.host_port}->{each.port}/{each.protocol.lower()}"
                     for each in endpoint.published]
        return {"Value": {"muslin.addresses": ",".join(endpoint.addresses), "muslin.published": ",".join(published)}}


def _identity(endpoint: str) -> Request:
    """Calico's names for endpoints of libnetwork."""
    return Request(name="libnetwork", namespace=words.NAMESPACE, orchestrator="libnetwork", endpoint=endpoint)


def _mac(endpoint: str) -> str:
    return "02:" + bytes.fromhex(endpoint[:10]).hex(":")


def _joined(network: Network, endpoint: Endpoint, loose: str) -> Object:
    """A way to the gateway on the link, and to the network by it; the default route is the gateway network's."""
    families = {version_of(address) for address in endpoint.addresses}
    answer: Object = {"InterfaceName": {"SrcName": loose, "DstPrefix": "eth"}, "StaticRoutes": []}
    if 4 in families:
        answer["Gateway"] = network.gateway
        answer["StaticRoutes"].append({"Destination": f"{network.gateway}/32", "RouteType": 1, "NextHop": ""})
        answer["StaticRoutes"] += [
            {"Destination": subnet, "RouteType": 0, "NextHop": network.gateway} for subnet in network.subnets
            if subnet and subnet not in words.ANY.values() and version_of(Cidr(subnet)) == 4
        ]
    if 6 in families:
        answer["GatewayIPv6"] = GATEWAY_V6
    return answer


def _constant(**answer: object) -> Callable[[Object], Awaitable[Object]]:
    async def call(_: Object) -> Object:
        return dict(answer)

    return call

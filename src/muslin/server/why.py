"""Would this packet pass, and by which line?

    GET /muslin/v1/why?source=web&destination=shop/db&protocol=tcp&port=5432[&source_port=][&family=6]

The answer is computed from the same intent that the hosts are sent, made whole in the same way, by `explain`, which
shares nothing with the code that writes kernel rules.
"""

from __future__ import annotations

from aiohttp import web

from muslin.errors import Invalid
from muslin.explain import Decision, Packet, Path, path, to_host
from muslin.explain.packet import EPHEMERAL
from muslin.intent import Action
from muslin.model.ipam import Block
from muslin.model.network import Node
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, contains, host_cidr, protocol_number, version_of
from muslin.server import ends
from muslin.server.decoding import decoded
from muslin.server.ends import End, Hosts
from muslin.server.hub import Hub
from muslin.server.refusals import Json, bad_request
from muslin.server.requests import answer, number
from muslin.server.sources import in_words, told
from muslin.store import Store, layout

ICMP = {4: 1, 6: 58}


class Why:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/why", self.why)]

    async def why(self, request: web.Request) -> web.Response:
        await self._hub.wait_revision(await self._store.revision())
        hosts = await self._hosts()
        source = ends.resolve(request.query.get("source", ""), self._hub.graph, hosts)
        destination = ends.resolve(request.query.get("destination", ""), self._hub.graph, hosts)
        packet = _packet(request, source, destination)
        found = self._path(source, destination, packet)
        egress, ingress = (self._in_words(decision) for decision in (found.egress, found.ingress))
        return answer({
            "verdict": str(found.verdict), "packet": str(packet),
            "source": source.shown(packet.source), "destination": destination.shown(packet.destination),
            "egress": await told(self._store, egress) if egress else None,
            "ingress": await told(self._store, ingress) if ingress else None,
            "route": await self._route(source, destination, packet),
        })

    def _path(self, source: End, destination: End, packet: Packet) -> Path:
        source_intent = self._hub.intent(source.host) if source.key else None
        if source_intent is not None and destination.sort == ends.HOST and destination.host == source.host:
            decision = to_host(source_intent, packet, source=source.key)
            return Path(verdict=decision.verdict, egress=decision)
        if source.sort == ends.HOST and source.host == destination.host:
            return Path(verdict=Action.ALLOW)  # a host always reaches its own workloads
        destination_intent = self._hub.intent(destination.host) if destination.key else None
        return path(source_intent, destination_intent, packet, source=source.key, destination=destination.key)

    def _in_words(self, decision: Decision | None) -> Decision | None:
        return None if decision is None else in_words(decision, self._hub.graph)

    async def _hosts(self) -> Hosts:
        found = {}
        for entry in (await self._store.list(layout.prefix("Node"))).entries:
            key = layout.parse(entry.key)
            if key is None:
                continue
            node = decoded(key, entry.value)
            found[key.name] = _addresses(node) if isinstance(node, Node) else ()
        return found

    async def _route(self, source: End, destination: End, packet: Packet) -> list[Json]:
        """The hops, in words. Only what this server knows: the fabric between the hosts is BGP's."""
        hops: list[Json] = []
        if source.sort == ends.WORKLOAD:
            hops.append({"at": source.name, "what": f"{packet.source}, by its gateway to {source.host}"})
        if destination.sort == ends.WORKLOAD:
            local = f"{packet.destination} is behind {destination.interface}"
            if source.host and source.host != destination.host:
                hops.append({"at": source.host, "what": await self._towards(destination, packet.destination)})
            hops.append({"at": destination.host, "what": local})
            hops.append({"at": destination.name, "what": packet.destination})
        elif destination.sort == ends.HOST:
            if source.host and source.host != destination.host:
                hops.append({"at": source.host, "what": f"by the fabric to {destination.host}"})
            hops.append({"at": destination.host, "what": f"{packet.destination} is its own address"})
        elif source.host:
            hops.append({"at": source.host, "what": f"{packet.destination} is outside: by the host's own routes"})
        return hops

    async def _towards(self, destination: End, address: str) -> str:
        block = await self._block(address)
        if block is None:
            return f"by BGP to {destination.host}, which announces {address}"
        if block.host == destination.host:
            return f"by BGP to {destination.host}, which announces its block {block.cidr}"
        owner = block.host or "nobody"
        return f"by BGP to {destination.host}, which announces {address} alone: {block.cidr} is {owner}'s"

    async def _block(self, address: str) -> Block | None:
        wanted = host_cidr(address)
        for entry in (await self._store.list(layout.blocks(version_of(address)))).entries:
            key = layout.parse(entry.key)
            if key is not None and contains(Cidr(key.name), wanted):
                block = decoded(key, entry.value)
                return block if isinstance(block, Block) else None
        return None


def _packet(request: web.Request, source: End, destination: End) -> Packet:
    """Raises Refusal (400)."""
    version = _version(request, source, destination)
    protocol = _protocol(request.query.get("protocol", "") or "tcp", version)
    port = number(request, "port")
    if protocol in PROTOCOLS_WITH_PORTS and not 1 <= port <= 65535:
        raise bad_request("say to which port, 1 to 65535, such as tcp/80")
    source_port = number(request, "source_port")
    if source_port > 65535:
        raise bad_request("a source port is 1 to 65535")
    with_ports = protocol in PROTOCOLS_WITH_PORTS
    try:
        return Packet(source.address(version), destination.address(version), protocol,
                      destination_port=port if with_ports else 0, source_port=source_port or EPHEMERAL)
    except Invalid as error:
        raise bad_request(str(error)) from None


def _version(request: web.Request, source: End, destination: End) -> int:
    """The family of the question: the one asked for, else IPv4 if both ends have it, else IPv6."""
    wanted = number(request, "family")
    if wanted not in (0, 4, 6):
        raise bad_request("family is 4 or 6")
    if request.query.get("protocol", "").lower() == "icmpv6":
        wanted = wanted or 6
    for version in (wanted,) if wanted else (4, 6):
        if source.address(version) and destination.address(version):
            return version
    for end in (source, destination):
        if not end.addresses:
            raise bad_request(f"{end.sort} {end.name} has no address")
    raise bad_request(
        f"no packet goes from {source.name} ({', '.join(source.addresses)}) to {destination.name} "
        f"({', '.join(destination.addresses)}): they have no family in common"
    )


def _protocol(text: str, version: int) -> int:
    if text.lower() in ("icmp", "ping", "icmpv6"):
        return ICMP[version]
    try:
        return protocol_number(text)
    except ValueError as error:
        raise bad_request(str(error)) from None


def _addresses(node: Node) -> tuple[str, ...]:
    bgp = node.spec.bgp
    given = [bgp.ipv4_address, bgp.ipv6_address] if bgp else []
    given += [address.address for address in node.spec.addresses]
    found = []
    for text in given:
        try:
            found.append(host_cidr(text).partition("/")[0])
        except ValueError:
            continue  # its own fault names it; here it is only one address fewer to be found by
    return tuple(dict.fromkeys(found))

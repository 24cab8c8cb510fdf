"""Would this packet pass, and by which line?

    GET /muslin/v1/why?source=web&destination=shop/db&protocol=tcp&port=5432[&source_port=][&family=6]

The answer is computed from the same intent that the hosts are sent, made whole in the same way, by `explain`, which
shares nothing with the code that writes kernel rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from muslin.calc.cluster import Graph
from muslin.errors import Invalid
from muslin.explain import question
from muslin.explain.packet import Packet
from muslin.explain.question import Question
from muslin.intent import HostIntent
from muslin.model.ipam import Block
from muslin.net import Cidr, contains, host_cidr, version_of
from muslin.server import ends
from muslin.server.decoding import decoded
from muslin.server.ends import End, Hosts
from muslin.server.hub import Hub
from muslin.server.places import hosts_of
from muslin.server.refusals import bad_request
from muslin.server.requests import answer, number
from muslin.server.sources import positions
from muslin.store import Store, layout


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the server knows, for `explain.question`."""

    hub: Hub
    hosts: Hosts

    @property
    def graph(self) -> Graph:
        return self.hub.graph

    def intent(self, host: str) -> HostIntent:
        return self.hub.intent(host)


class Why:
    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/why", self.why)]

    async def why(self, request: web.Request) -> web.Response:
        await self._hub.wait_revision(await self._store.revision())
        cluster = Cluster(self._hub, await hosts_of(self._store))
        source = ends.resolve(request.query.get("source", ""), cluster.graph, cluster.hosts)
        destination = ends.resolve(request.query.get("destination", ""), cluster.graph, cluster.hosts)
        packet = _packet(request, source, destination)
        found = question.decided(cluster, source, destination, packet)
        deciding = [one.decided_by for one in (found.egress, found.ingress) if one is not None]
        lines = await positions(self._store, deciding)
        between = source.host and source.host != destination.host and destination.sort == ends.WORKLOAD
        block = await self._block(packet.destination) if between else None
        return answer(question.answer(cluster, source, destination, packet, found, where=lines.__getitem__,
                                      block=block))

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
    asked = Question(protocol=request.query.get("protocol", ""), port=number(request, "port"),
                     source_port=number(request, "source_port"), family=number(request, "family"))
    try:
        return question.packet_of(asked, source, destination)
    except (Invalid, ValueError) as error:
        raise bad_request(str(error)) from None


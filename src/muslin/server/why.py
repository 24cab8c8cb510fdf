"""Would this packet pass, and by which line?

    GET /muslin/v1/why?source=web&destination=shop/db&protocol=tcp&port=5432[&source_port=][&family=6]
                                                     &protocol=icmp[&icmp_type=3&icmp_code=4]

A port may be a name that the destination gives it.

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
from muslin.server import ends
from muslin.server.ends import End, Hosts
from muslin.server.feeds import Feeds
from muslin.server.hub import Hub
from muslin.server.places import Places
from muslin.server.refusals import Json, bad_request
from muslin.server.requests import answer, number
from muslin.server.sources import positions
from muslin.store import Store


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the server knows, for `explain.question`."""

    hub: Hub
    hosts: Hosts

    @property
    def graph(self) -> Graph:
        return self.hub.graph


class Why:
    def __init__(self, store: Store, hub: Hub, feeds: Feeds) -> None:
        self._store = store
        self._hub = hub
        self._feeds = feeds
        self._places = Places()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/muslin/v1/why", self.why)]

    async def why(self, request: web.Request) -> web.Response:
        await self._hub.wait_revision(await self._store.revision())
        cluster = Cluster(self._hub, self._places.hosts(self._hub.graph))
        source = ends.resolve(request.query.get("source", ""), cluster.graph, cluster.hosts)
        destination = ends.resolve(request.query.get("destination", ""), cluster.graph, cluster.hosts)
        packet = _packet(request, cluster.graph, source, destination)
        found = question.decided(cluster, source, destination, packet)
        lines = await positions(self._store, question.origins(found))
        told = question.answer(cluster, source, destination, packet, found, where=lines.__getitem__)
        return answer({**told, "mtu": self._mtu(source, destination)})

    def _mtu(self, *ends_: End) -> Json:
        """As the hosts reported it: of each, and the smallest on the way, 0 where none has said."""
        hosts = {end.host: heard.report.mtu for end in ends_
                 if (heard := self._feeds.heard.get(end.host)) is not None and heard.report.mtu}
        return {"smallest": min(hosts.values(), default=0), "hosts": hosts}


def _packet(request: web.Request, graph: Graph, source: End, destination: End) -> Packet:
    """Raises Refusal (400)."""
    protocol, port = request.query.get("protocol", ""), request.query.get("port", "")
    icmp = (number(request, "icmp_type"), number(request, "icmp_code")) if request.query.get("icmp_type") else None
    try:
        named = port[:1].isalpha()
        asked = Question(
            protocol=protocol, source_port=number(request, "source_port"), family=number(request, "family"), icmp=icmp,
            port=question.port_named(graph, destination, protocol, port) if named else number(request, "port"))
        return question.packet_of(asked, source, destination)
    except (Invalid, ValueError) as error:
        raise bad_request(str(error)) from None


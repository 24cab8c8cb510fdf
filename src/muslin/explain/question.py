"""A question as people ask it, the packet that it means, and the answer as data: one text for server and files.

    web db tcp/5432   ->   two ends, one packet   ->   verdict, what decided (file and line), steps, route

Whoever asks brings what he knows as an `Informant`: the server its graph and store, a `muslin why --offline` its files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from muslin.calc.cluster import Graph
from muslin.errors import Invalid
from muslin.explain import ends
from muslin.explain.bgp import learnt
from muslin.explain.course import behind, course
from muslin.explain.decision import Decision, Gate, Outcome, Passage, Path, Place, named
from muslin.explain.ends import End, Hosts
from muslin.explain.packet import EPHEMERAL, ICMP, Packet
from muslin.explain.text import origin_text, text
from muslin.intent import Action, Origin, PolicyId, SetId
from muslin.model.ipam import Block
from muslin.net import PROTOCOLS_WITH_PORTS, protocol_name, protocol_number, version_of

Json = dict[str, Any]
Where = Callable[[Origin], tuple[str, int]]
"""File and line of what decided, ("", 0) when nobody knows."""


class Informant(Protocol):
    """Who knows the cluster."""

    @property
    def graph(self) -> Graph: ...

    @property
    def hosts(self) -> Hosts: ...


@dataclass(frozen=True, slots=True)
class Reckoning:
    """A graph of one's own, and the hosts' addresses."""

    graph: Graph
    hosts: Hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What of a packet people say. `protocol` by name or number, `family` 0: the one that both ends have. `icmp`: type
    and code; none: an echo request."""

    protocol: str = "tcp"
    port: int = 0
    source_port: int = 0
    family: int = 0
    icmp: tuple[int, int] | None = None


def packet_of(question: Question, source: End, destination: End) -> Packet:
    """Raises Invalid, with what to write."""
    if source.key is not None and source.key == destination.key:
        raise Invalid(f"{source.called} speaks to itself within its own network: no host sees the packet, and no "
                      "policy is asked")
    version = _version(question, source, destination)
    protocol = protocol_of(question.protocol or "tcp", version)
    if protocol in PROTOCOLS_WITH_PORTS and not 1 <= question.port <= 65535:
        raise Invalid("say to which port, 1 to 65535, such as tcp/80")
    if question.source_port > 65535:
        raise Invalid("a source port is 1 to 65535")
    with_ports = protocol in PROTOCOLS_WITH_PORTS
    kind, code = question.icmp or (None, 0)
    if kind is not None and protocol != ICMP[version]:
        raise Invalid(f"only icmp has types, and {question.protocol} is not that of IPv{version}")
    if (kind or 0) > 255 or code > 255:
        raise Invalid("an ICMP type and its code are 0 to 255, such as icmp/3/4")
    return Packet(source.address(version), destination.address(version), protocol,
                  destination_port=question.port if with_ports else 0,
                  source_port=question.source_port or EPHEMERAL, icmp_type=kind, icmp_code=code)


def port_named(graph: Graph, end: End, protocol: str, name: str) -> int:
    """The port that a workload calls so. Raises Invalid, with the names that there are."""
    named = graph.named_ports(end.key) if end.key is not None else ()
    wanted = protocol_of(protocol, 4)
    for other, of, port in named:
        if (other, of) == (name, wanted):
            return port
    known = ", ".join(f"{other} ({protocol_name(of).lower()}/{port})" for other, of, port in named)
    raise Invalid(f"{end.called} has no {protocol} port named {name!r}: " + (
        f"it has {known}" if known else f"write the number, such as {protocol}/80"))


def decided(informant: Informant, source: End, destination: End, packet: Packet) -> Path:
    """What everybody on the way says."""
    target = behind(informant.graph, destination, packet)
    return course(informant.graph, informant.hosts, source, target, packet)


def answer(informant: Informant, source: End, destination: End, packet: Packet, found: Path, *, where: Where,
           block: Block | None = None) -> Json:
    """All of it, as `muslin why -o json` prints it. Its fields are told in docs/json.md."""
    graph = informant.graph
    egress, ingress = (told(in_words(one, graph), where) if one else None for one in (found.egress, found.ingress))
    target = behind(graph, destination, packet)
    return {
        "verdict": str(found.verdict), "packet": str(packet),
        "fields": {"family": packet.version, **msgspec.to_builtins(packet)},
        "source": source.shown(packet.source), "destination": destination.shown(packet.destination),
        "egress": egress, "ingress": ingress,
        "gates": [_gate_told(host, one, graph, where) for host, way in found.journeys for one in way.passages
                  if one.gate is not Gate.TRANSLATION],
        "translations": [{"host": host, **msgspec.to_builtins(one), "text": str(one)}
                         for host, way in found.journeys for one in way.translations],
        "route": route(graph, source, target, packet, block or _block(graph, source, target)),
    }


def origins(found: Path) -> list[Origin]:
    """Everything that decided somewhere, for whoever looks up where it was written."""
    return [*(one.decided_by for one in (found.egress, found.ingress) if one is not None),
            *(one.decided_by for _, way in found.journeys for one in way.passages)]


def _gate_told(host: str, passage: Passage, graph: Graph, where: Where) -> Json:
    decision = Decision(
        endpoint=passage.endpoint, direction=passage.decided_by.direction, decided_by=passage.decided_by,
        steps=passage.steps, verdict=Action.DENY if passage.outcome is Outcome.DENY else Action.ALLOW)
    lines = text(in_words(decision, graph)) if passage.steps else []
    told_already = passage.gate in (Gate.SENDER, Gate.RECEIVER)  # with the workloads' own policy
    return {"host": host, "gate": str(passage.gate), "interface": passage.interface, "endpoint": passage.endpoint,
            "outcome": str(passage.outcome), "decided_by": origin_told(passage.decided_by, where), "text": lines,
            "steps": [] if told_already else msgspec.to_builtins(in_words(decision, graph).steps)}


def _block(graph: Graph, source: End, target: End) -> Block | None:
    between = source.host and source.host != target.host and target.sort == ends.WORKLOAD
    return graph.block_of(target.addresses[0]) if between and target.addresses else None


def told(decision: Decision, where: Where) -> Json:
    """A decision as JSON, with the file and line of what decided, and as lines of text."""
    shown: Json = msgspec.to_builtins(decision)
    return {**shown, "decided_by": origin_told(decision.decided_by, where), "text": text(decision)}


def origin_told(origin: Origin, where: Where) -> Json:
    file, line = where(origin)
    return {
        "kind": origin.kind, "name": origin.name, "namespace": origin.namespace, "tier": origin.tier,
        "direction": str(origin.direction), "rule": origin.rule, "note": origin.note, "file": file, "line": line,
        "text": origin_text(origin),
    }


def in_words(decision: Decision, graph: Graph) -> Decision:
    """Sets have numbers in the intent; people know them by the selectors that they wrote."""
    names: dict[SetId, str] = {}
    for step in decision.steps:
        if step.place in (Place.POLICY, Place.PROFILE) and step.outcome is Outcome.ENTERED:
            for definition in graph.compiled(PolicyId(step.name)).sets:
                names[definition.id] = definition.words
    return named(decision, names)


def route(graph: Graph, source: End, destination: End, packet: Packet, block: Block | None) -> list[Json]:
    """The hops, in words, and how each knows the next. `block`: the destination's, where that is known."""
    hops: list[Json] = []
    if source.sort == ends.WORKLOAD:
        hops.append({"at": source.name, "what": f"{packet.source}, by its gateway to {source.host}"})
    if destination.sort == ends.WORKLOAD:
        address = destination.address(version_of(packet.destination)) or packet.destination
        local = f"{address} is behind {destination.interface}"
        if source.host and source.host != destination.host:
            what = _towards(destination, address, block)
            hops.append({"at": source.host, "what": what, **learnt(graph, source.host, destination.host, address)})
        hops.append({"at": destination.host, "what": local})
        hops.append({"at": destination.name, "what": address})
    elif destination.sort == ends.HOST:
        if source.host and source.host != destination.host:
            hops.append({"at": source.host, "what": f"by the fabric to {destination.host}"})  # no route of ours
        hops.append({"at": destination.host, "what": f"{packet.destination} is its own address"})
    elif source.host:
        hops.append({"at": source.host, "what": f"{packet.destination} is outside: by the host's own routes"})
    return hops


def _towards(destination: End, address: str, block: Block | None) -> str:
    if block is None:
        return f"by BGP to {destination.host}, which announces {address}"
    if block.host == destination.host:
        return f"by BGP to {destination.host}, which announces its block {block.cidr}"
    owner = block.host or "nobody"
    return f"by BGP to {destination.host}, which announces {address} alone: {block.cidr} is {owner}'s"


def _version(question: Question, source: End, destination: End) -> int:
    """The family of the question: the one asked for, else IPv4 if both ends have it, else IPv6."""
    wanted = question.family
    if wanted not in (0, 4, 6):
        raise Invalid("family is 4 or 6")
    if question.protocol.lower() == "icmpv6":
        wanted = wanted or 6
    for version in (wanted,) if wanted else (4, 6):
        if source.address(version) and destination.address(version):
            return version
    for end in (source, destination):
        if not end.addresses:
            raise Invalid(f"{end.sort} {end.name} has no address")
        if wanted and not end.address(wanted):
            raise Invalid(f"{end.called} has no IPv{wanted} address, only {', '.join(end.addresses)}")
    raise Invalid(
        f"no packet goes from {source.name} ({', '.join(source.addresses)}) to {destination.name} "
        f"({', '.join(destination.addresses)}): they have no family in common"
    )


def protocol_of(text: str, version: int) -> int:
    """`icmp` and `ping` mean that of the family. Raises ValueError."""
    if text.lower() in ("icmp", "ping", "icmpv6"):
        return ICMP[version]
    return protocol_number(text)

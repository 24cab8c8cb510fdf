"""Who holds an address? A person sees one in a log and asks everything that the cluster knows of it.

The graph knows workloads, host endpoints and network sets; pools, blocks, nodes and reservations are handed in as
resources, because they are small and whoever asks has just read them. An address that nobody holds is answered too: by
the pool, block or reservation that it lies in, or that it is outside all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from muslin.calc.cluster import Graph
from muslin.calc.identity import resource_key
from muslin.calc.members import Member, Sort
from muslin.errors import Invalid
from muslin.explain.naming import workload_title
from muslin.model.ipam import Block
from muslin.model.meta import Resource
from muslin.model.network import IPPool, IPReservation, Node
from muslin.model.service import Service
from muslin.net import Cidr, bounds, contains, host_cidr, is_host, parse_address, parse_cidr


class Holder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who has the address. `how`: own, floating (`internal` is his own one), or the prefix of a network set
    that it lies in."""

    kind: str
    name: str
    namespace: str = ""
    title: str = ""
    host: str = ""
    interface: str = ""
    how: str = "own"
    internal: str = ""
    labels: dict[str, str] = {}


class PoolPlace(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    cidr: Cidr


class BlockPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`state` of the address: free, in use, or released. `handle` and `attributes`: of whoever holds or held it."""

    cidr: Cidr
    host: str
    state: str
    handle: str = ""
    attributes: dict[str, str] = {}


class Whois(msgspec.Struct, frozen=True, kw_only=True):
    """`holders`: workloads, then hosts, then network sets. `nodes`: hosts whose own address it is."""

    address: str
    holders: tuple[Holder, ...]
    nodes: tuple[str, ...]
    pool: PoolPlace | None
    block: BlockPlace | None
    reservations: tuple[str, ...]
    services: tuple[str, ...] = ()
    """Whose cluster address, or external address, it is."""

    @property
    def text(self) -> str:
        """One sentence."""
        return f"{self.address} is {' and '.join(_parts(self))}"


def whois(graph: Graph, address: str, resources: Iterable[Resource | Block] = ()) -> Whois:
    """`resources`: the cluster's nodes, pools, blocks and reservations; others are passed over. Raises Invalid."""
    try:
        text = parse_address(address.strip())
    except ValueError:
        raise Invalid(f"{address!r} is no address: write one such as 10.65.0.7 or fd65::7, without a length") from None
    wanted = host_cidr(text)
    nodes, pool, block, reservations, services = [], None, None, [], []
    for one in resources:
        match one:
            case Node() if text in node_addresses(one):
                nodes.append(one.metadata.name)
            case IPPool() if _within(wanted, one.spec.cidr):
                pool = PoolPlace(name=one.metadata.name, cidr=parse_cidr(one.spec.cidr))
            case IPReservation() if any(_within(wanted, net) for net in one.spec.reserved_cidrs):
                reservations.append(one.metadata.name)
            case Service() if text in _served(one):
                services.append(f"{one.metadata.namespace}/{one.metadata.name}")
            case Block() if not one.deleted and _within(wanted, one.cidr):
                block = _place(one, wanted)
    holders = sorted(_holders(graph, wanted), key=lambda found: (_ORDER[found.kind], found.namespace, found.name))
    return Whois(address=text, holders=tuple(holders), nodes=tuple(sorted(nodes)), pool=pool, block=block,
                 reservations=tuple(sorted(reservations)), services=tuple(sorted(services)))


def node_addresses(node: Node) -> tuple[str, ...]:
    """A host's own addresses, the ones that BGP uses first; what cannot be read has its own fault."""
    bgp = node.spec.bgp
    given = [bgp.ipv4_address, bgp.ipv6_address] if bgp else []
    found: dict[str, None] = {}
    for text in (*given, *(address.address for address in node.spec.addresses)):
        try:
            found[host_cidr(text).partition("/")[0]] = None
        except ValueError:
            continue
    return tuple(found)


_ORDER: Mapping[str, int] = {"WorkloadEndpoint": 0, "HostEndpoint": 1, "NetworkSet": 2, "GlobalNetworkSet": 3}


def _holders(graph: Graph, wanted: Cidr) -> Iterable[Holder]:
    text = wanted.partition("/")[0]
    for found in graph.label_classes():
        for member in found.members.values():
            if wanted in member.held:
                yield _holder(member, found.labels, "own" if found.sort is not Sort.NETWORK_SET else wanted)
            elif found.sort is Sort.NETWORK_SET:
                inside = [net for net in member.held if not is_host(net) and contains(net, wanted)]
                if inside:
                    yield _holder(member, found.labels, max(inside, key=lambda net: int(net.partition("/")[2])))
            for external, internal in member.nat:
                if external == text:
                    yield _holder(member, found.labels, "floating", internal)


def _holder(member: Member, labels: Mapping[str, str], how: str, internal: str = "") -> Holder:
    key = resource_key(member.key)
    return Holder(
        kind=key.kind, name=key.name, namespace=key.namespace, host=member.host, interface=member.interface, how=how,
        internal=internal, labels=dict(labels),
        title=workload_title(member.key) if key.kind == "WorkloadEndpoint" else key.name,
    )


def _place(block: Block, wanted: Cidr) -> BlockPlace:
    cidr = parse_cidr(block.cidr)
    ordinal = bounds(wanted)[1] - bounds(cidr)[1]
    index = block.allocations[ordinal] if ordinal < len(block.allocations) else None
    if index is None or index >= len(block.attributes):
        return BlockPlace(cidr=cidr, host=block.host, state="free")
    held = block.attributes[index]
    return BlockPlace(cidr=cidr, host=block.host, state="released" if held.released_at else "in use",
                      handle=held.handle_id or "", attributes=dict(held.secondary or {}))


def _served(service: Service) -> set[str]:
    spec, found = service.spec, set()
    for one in (spec.cluster_ip, *spec.cluster_ips, *spec.external_ips):
        with suppress(ValueError):  # "None", of a service without an address
            found.add(parse_address(one))
    return found


def _within(address: Cidr, prefix: str) -> bool:
    try:
        return contains(parse_cidr(prefix), address)
    except ValueError:
        return False  # its own fault names it; here it holds nothing


def _parts(found: Whois) -> Iterable[str]:
    for one in found.holders:
        match one.kind, one.how:
            case "WorkloadEndpoint", "own":
                yield f"workload {one.title} on {one.host}"
            case "WorkloadEndpoint", _:
                yield f"the floating address of workload {one.title} ({one.internal}) on {one.host}"
            case "HostEndpoint", _:
                yield f"host endpoint {one.name} of {one.host}"
            case kind, how:
                name = f"{one.namespace}/{one.name}" if one.namespace else one.name
                yield f"in {kind} {name}" + (f" by {how}" if not is_host(Cidr(how)) else "")
    yield from (f"host {name}" for name in found.nodes)
    yield from (f"the address of Service {name}, which others lead to its endpoints" for name in found.services)
    somebody = found.holders or found.nodes or found.services
    if not somebody:
        yield "nobody's"
    if found.block is not None and found.block.state != "in use":
        yield f"{found.block.state} in block {found.block.cidr} of {found.block.host or 'nobody'}"
    if found.pool is not None:
        yield f"in pool {found.pool.name} ({found.pool.cidr})"
    elif not somebody:
        yield "outside every pool"
    yield from (f"reserved by {name}" for name in found.reservations)

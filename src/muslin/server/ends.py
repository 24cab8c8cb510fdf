"""What a person means by SRC or DST: a workload by any of its names, a host, or an address.

    web               the workload of that name, if only one namespace has one
    shop/web          with its namespace
    h1-muslin-web-eth0, shop/h1-muslin-web-eth0     the endpoint's full name
    h1                the host itself, by the addresses of its Node
    10.65.0.7         whoever has the address, or the outside

A name that nobody has is answered with those that look like it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from muslin.calc.cluster import Graph, Known
from muslin.errors import Invalid
from muslin.intent import EndpointKey
from muslin.model.names import parse_workload_endpoint_name
from muslin.net import parse_address, version_of
from muslin.server.refusals import Json, Refusal, bad_request

WORKLOAD, HOST, OUTSIDE = "workload", "host", "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """`sort` is workload, host or outside. `addresses` are without lengths; `host` is "" for the outside."""

    sort: str
    name: str
    addresses: tuple[str, ...]
    namespace: str = ""
    host: str = ""
    key: EndpointKey | None = None
    interface: str = ""

    def address(self, version: int) -> str:
        """Its first address of a family, "" when it has none."""
        return next((one for one in self.addresses if version_of(one) == version), "")

    def shown(self, address: str) -> Json:
        return {"kind": self.sort, "name": self.name, "namespace": self.namespace, "host": self.host,
                "address": address, "key": self.key or "", "interface": self.interface}


Hosts = Mapping[str, tuple[str, ...]]
"""Node -> its own addresses."""


def resolve(text: str, graph: Graph, hosts: Hosts) -> End:
    """Raises Refusal: 404 with suggestions, 400 when the name could mean several."""
    text = text.strip()
    if not text:
        raise bad_request("say from where to where: a workload, a host or an address")
    try:
        return _by_address(parse_address(text), graph, hosts)
    except ValueError:
        pass
    bare = text.rpartition("/")[2]
    inside = bare.replace("-", "--")  # how the name stands within an endpoint's: looking there first is quicker
    found = [known for known in graph.endpoints()
             if (inside in known.key.name or bare == known.key.name) and text in _names(known)]
    if len(found) > 1:
        choices = ", ".join(sorted(f"{known.key.namespace}/{known.key.name}" for known in found)[:5])
        raise bad_request(f"{text!r} could be {len(found)} workloads: {choices}. Write the one that is meant")
    if found:
        return workload(found[0])
    host = text.removeprefix("host/")
    if host in hosts:
        return End(sort=HOST, name=host, host=host, addresses=hosts[host])
    raise _unknown(text, graph, hosts)


def workload(known: Known) -> End:
    return End(
        sort=WORKLOAD, name=short_name(known), namespace=known.key.namespace, host=known.host,
        addresses=tuple(cidr.partition("/")[0] for cidr in known.addresses),
        key=EndpointKey(f"WorkloadEndpoint/{known.key.namespace}/{known.key.name}"), interface=known.interface,
    )


def short_name(known: Known) -> str:
    """What people call the workload: the third part of its endpoint's name."""
    try:
        return parse_workload_endpoint_name(known.key.name)[2]
    except Invalid:
        return known.key.name


def _names(known: Known) -> tuple[str, ...]:
    short, namespace, full = short_name(known), known.key.namespace, known.key.name
    return short, f"{namespace}/{short}", full, f"{namespace}/{full}"


def _by_address(address: str, graph: Graph, hosts: Hosts) -> End:
    for known in graph.at(address):
        if known.key.kind == "WorkloadEndpoint":
            found = workload(known)
            return End(sort=WORKLOAD, name=found.name, namespace=found.namespace, host=found.host, key=found.key,
                       addresses=(address,), interface=found.interface)
    for host, addresses in hosts.items():
        if address in addresses:
            return End(sort=HOST, name=host, host=host, addresses=(address,))
    return End(sort=OUTSIDE, name=address, addresses=(address,))


def _unknown(text: str, graph: Graph, hosts: Hosts) -> Refusal:
    known = [name for one in graph.endpoints() for name in _names(one)[:2]]
    near = difflib.get_close_matches(text, _once([*known, *hosts]), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "`muslin get wep -A` lists what there is"
    message = f"there is no workload, host or address {text!r}: {hint}"
    return Refusal(404, "NotFound", message, {"name": text, "kind": "workloadendpoints"})


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

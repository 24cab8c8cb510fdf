"""What a person means by one end of a packet: a workload by any of its names, a host, an address, or many at once.

    web               the workload of that name, if only one namespace has one
    shop/web          with its namespace
    h1-muslin-web-eth0, shop/h1-muslin-web-eth0     the endpoint's full name
    h1, host/h1       the host itself, by the addresses of its Node
    10.65.0.7         whoever has the address, or the outside
    outside           an address that no workload, host, pool or network set has

A name that nobody has is answered with those that look like it. Names are looked up one by one by walking over all
endpoints, or, by whoever has many questions, in a `Directory`.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from muslin.calc.cluster import Graph, Known
from muslin.errors import Invalid
from muslin.intent import EndpointKey
from muslin.model.names import parse_workload_endpoint_name
from muslin.net import Cidr, contains, host_cidr, parse_address, parse_cidr, version_of

WORKLOAD, HOST, OUTSIDE = "workload", "host", "outside"
_FAR_AWAY = {4: ("203.0.113.1", "198.51.100.1", "192.0.2.1", "8.8.8.8"), 6: ("2001:db8::1", "2001:db8:ffff::1")}
"""Addresses that stand for the outside: the documentation's, unless somebody here uses them."""
MANY = 1000
"""Endpoints whose names are all looked at for one that looks like another."""


class Unknown(Invalid):
    """Nobody has that name."""


class Ambiguous(Invalid):
    """Several have that name, or it is none at all."""


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

    @property
    def called(self) -> str:
        """`shop/web`, `host/h1`, `203.0.113.1`."""
        if self.sort == WORKLOAD:
            return f"{self.namespace}/{self.name}"
        return f"host/{self.name}" if self.sort == HOST else self.name

    def shown(self, address: str) -> dict[str, object]:
        return {"kind": self.sort, "name": self.name, "namespace": self.namespace, "host": self.host,
                "address": address, "key": self.key or "", "interface": self.interface}


Hosts = Mapping[str, tuple[str, ...]]
"""Node -> its own addresses."""


class Directory:
    """All names of a graph as it is now, for whoever looks up many."""

    def __init__(self, graph: Graph, hosts: Hosts) -> None:
        self.graph = graph
        self.hosts = hosts
        self.known: Sequence[Known] = tuple(graph.endpoints())
        self.workloads: Sequence[End] = tuple(map(workload, self.known))
        self._named: dict[str, list[Known]] = {}
        for one in self.known:
            for name in dict.fromkeys(_names(one)):
                self._named.setdefault(name, []).append(one)
        self._found: dict[str, End] = {}

    def resolve(self, text: str) -> End:
        """Raises Unknown, Ambiguous."""
        found = self._found.get(text)
        if found is None:
            found = self._found[text] = _resolved(text, self._named.get(text.strip(), ()), self.graph, self.hosts)
        return found


def resolve(text: str, graph: Graph, hosts: Hosts) -> End:
    """Raises Unknown with suggestions, Ambiguous when the name could mean several."""
    text = text.strip()
    bare = text.rpartition("/")[2]
    inside = bare.replace("-", "--")  # how the name stands within an endpoint's: looking there first is quicker
    found = () if not bare or _address(text) else [
        known for known in graph.search(f"-{inside}-", f"/{bare}") if text in _names(known)]
    return _resolved(text, found, graph, hosts)


def _resolved(text: str, named: Sequence[Known], graph: Graph, hosts: Hosts) -> End:
    text = text.strip()
    if not text:
        raise Ambiguous("say from where to where: a workload, a host or an address")
    if address := _address(text):
        return _by_address(address, graph, hosts)
    if len(named) > 1:
        choices = ", ".join(sorted(f"{known.key.namespace}/{known.key.name}" for known in named)[:5])
        raise Ambiguous(f"{text!r} could be {len(named)} workloads: {choices}. Write the one that is meant")
    if named:
        return workload(named[0])
    host = text.removeprefix("host/")
    if host in hosts:
        return End(sort=HOST, name=host, host=host, addresses=hosts[host])
    if text == OUTSIDE:
        return End(sort=OUTSIDE, name=OUTSIDE, addresses=tuple(filter(None, (far_away(graph, hosts, 4),
                                                                           far_away(graph, hosts, 6)))))
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


def far_away(graph: Graph, hosts: Hosts, version: int, taken: Iterable[Cidr] = ()) -> str:
    """An address of nobody here; "" if none of those that we try is free."""
    own = {address for addresses in hosts.values() for address in addresses}
    shut = tuple(taken)
    return next((one for one in _FAR_AWAY[version] if one not in own and not graph.at(one)
                 and not any(contains(net, host_cidr(one)) for net in shut)), "")


def _names(known: Known) -> tuple[str, ...]:
    short, namespace, full = short_name(known), known.key.namespace, known.key.name
    return short, f"{namespace}/{short}", full, f"{namespace}/{full}"


def _address(text: str) -> str:
    """The canonical address that the text is, "" when it is none. Raises Ambiguous for a prefix."""
    try:
        return parse_address(text)
    except ValueError:
        pass
    try:
        cidr = parse_cidr(text) if "/" in text and text[:1].isalnum() else None
    except ValueError:
        return ""
    if cidr is None:
        return ""
    raise Ambiguous(f"{text} is a prefix: name one address of it, such as {cidr.partition('/')[0]}")


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


def _unknown(text: str, graph: Graph, hosts: Hosts) -> Unknown:
    near = difflib.get_close_matches(text, list(dict.fromkeys(_names_like(text, graph, hosts))), n=3, cutoff=0.6)
    if text.replace(".", "").isdigit() or (":" in text and "/" not in text):
        hint = "an address is written as 10.65.0.7 or fd65::7"
    else:
        hint = f"did you mean {' or '.join(near)}?" if near else "`muslin get wep -A` lists what there is"
    return Unknown(f"there is no workload, host or address {text!r}: {hint}")


def _names_like(text: str, graph: Graph, hosts: Hosts) -> Iterator[str]:
    """All names; where there are very many, those that begin or end as the text does, for a slip of a finger is at one
    place only. Comparing with each of 100,000 takes a second."""
    yield from hosts
    bare = text.rpartition("/")[2].replace("-", "--")
    part = max(1, (len(bare) + 1) // 3)
    known = graph.endpoints() if graph.statistics()["members"] <= MANY else itertools.chain(*(
        graph.search(piece, piece, MANY) for piece in (f"-{bare[:part]}", f"{bare[-part:]}-")))
    for one in known:
        yield _names(one)["/" in text]

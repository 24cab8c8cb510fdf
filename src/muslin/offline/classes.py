"""Which addresses are the same to every rule, so that one of them answers for all.

A rule asks of an address only in which sets and prefixes it lies. A thousand workloads fall into a few dozen classes,
and the whole of the outside into as many as there are prefixes in the policies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Iterator

from muslin.explain.packet import covering
from muslin.intent import AddressSet, HostIntent, PortSet, SetId
from muslin.net import Cidr, bounds, host_cidr, is_host, version_of

_NEVER = tuple(bounds(net) for net in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
"""What no packet comes from or goes to, as far as policy is concerned."""
_GLOBAL6 = tuple(bounds(net) for net in ("2000::/3", "fc00::/7"))


class Classes:
    def __init__(self, intents: Iterable[HostIntent]) -> None:
        self._sets: dict[Cidr, set[SetId | tuple[SetId, int, int]]] = {}
        self._nets: set[Cidr] = set()
        for intent in intents:
            self._take(intent)
        edges = {*self._nets, *self._sets}
        self._lengths = {version: sorted({32 if version == 4 else 128} | {int(net.partition("/")[2]) for net in edges
                                         if version_of(net) == version and not is_host(net)}) for version in (4, 6)}
        self._edges = {version: [bounds(net) for net in edges if version_of(net) == version] for version in (4, 6)}
        self._known: dict[str, Hashable] = {}

    def _take(self, intent: HostIntent) -> None:
        for policy in intent.policies.values():
            for rule in (*policy.ingress, *policy.egress):
                for match in (rule.source, rule.destination):
                    self._nets.update(match.nets, match.not_nets)
        self._nets.update(intent.settings.pools, intent.settings.masquerade)
        for name, found in intent.sets.items():
            match found:
                case AddressSet(members=members):
                    for member in members:
                        self._sets.setdefault(member, set()).add(name)
                case PortSet(members=ports):
                    for address, protocol, port in ports:
                        self._sets.setdefault(address, set()).add((name, protocol, port))

    def of(self, address: str) -> Hashable:
        """All that rules can learn of the address."""
        found = self._known.get(address)
        if found is None:
            within = covering(address, self._lengths[version_of(address)])
            sets = frozenset[SetId | tuple[SetId, int, int]]().union(*(self._sets.get(net, ()) for net in within))
            found = self._known[address] = (version_of(address), within & self._nets, sets)
        return found

    def within(self, cidr: Cidr) -> Iterator[str]:
        """An address of each class that has one in the prefix, and of workloads and hosts there every one."""
        version, low, high = bounds(cidr)
        make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        points = {low} | {point for _, first, last in self._edges[version] for point in (first, last + 1)
                          if low <= point <= high}
        for point in sorted(points):
            yield str(make(point))


def is_plain(address: str) -> bool:
    """May a packet of the outside have it?"""
    version, point, _ = bounds(host_cidr(address))
    if version == 4:
        return not any(low <= point <= high for _, low, high in _NEVER)
    return any(low <= point <= high for _, low, high in _GLOBAL6)

"""A container's ways to the networks that it is in.

    the network's gateway    on the link of this network alone: each network has gateways of its own, by which dockerd
                             finds the link
    the network's subnets    by its gateway
    169.254.0.0/16           by the gateway of the first network that leads outside: see `joined`
    all else                 by the gateway of one network, which dockerd chooses
"""

from __future__ import annotations

from itertools import product
from typing import Any

from muslin.net import Cidr, contains, host_cidr, version_of
from muslin.plugins.docker import words
from muslin.plugins.docker.book import Book, Endpoint, Network
from muslin.plugins.docker.faults import Refused

Object = dict[str, Any]


LINK_LOCAL = Cidr("169.254.0.0/16")


def joined(network: Network, endpoint: Endpoint, loose: str, book: Book) -> Object:
    """The answer to Join.

    Of 169.254.0.0/16 is said again what is true of all else: it is behind the gateway. With `--link-local-ip` dockerd
    has given the interface that prefix on-link, and told no driver; so it finds that such a route is there, and
    refuses. Else the container would speak to everybody from that address, which no workload may (see `inside`).
    """
    answer: Object = {"InterfaceName": {"SrcName": loose, "DstPrefix": "eth"}, "StaticRoutes": []}
    for version in sorted({version_of(address) for address in endpoint.addresses}):
        gateway, field = (network.gateway, "Gateway") if version == 4 else (network.gateway_v6, "GatewayIPv6")
        answer[field] = gateway
        answer["StaticRoutes"].append({"Destination": host_cidr(gateway), "RouteType": 1, "NextHop": ""})
        answer["StaticRoutes"] += [{"Destination": subnet, "RouteType": 0, "NextHop": gateway}
                                   for subnet in words.own_subnets(network) if version_of(subnet) == version]
        if version == 4 and _is_first_outside(network, endpoint, book):
            answer["StaticRoutes"].append({"Destination": LINK_LOCAL, "RouteType": 0, "NextHop": gateway})
    return answer


def _is_first_outside(network: Network, endpoint: Endpoint, book: Book) -> bool:
    """A second route to one prefix would be refused, too."""
    return not network.internal and not any(
        each.sandbox == endpoint.sandbox and each.id != endpoint.id and not other.internal
        for each in book.pages.endpoints.values()
        if each.sandbox and (other := book.pages.networks.get(each.network)) is not None)


def require_apart(endpoint: Endpoint, network: Network, sandbox: str, book: Book) -> None:
    """dockerd gives no container an address to which it has a route already, by another network; and where a subnet
    holds another, whichever was joined first, their addresses would be on the wrong link. Raises Refused."""
    for each in book.pages.endpoints.values():
        other = book.pages.networks.get(each.network)
        if not sandbox or each.sandbox != sandbox or each.id == endpoint.id or other is None:
            continue
        mine, theirs = _places(network, endpoint), _places(other, each)
        for here, there in product(mine, theirs):
            if contains(mine[here], theirs[there]) or contains(theirs[there], mine[here]):
                raise Refused(
                    f"{here} of network {network.name or network.net} and {there} of network"
                    f" {other.name or other.net}, in which this container is, too, overlap: give networks"
                    " that have containers in common subnets that lie apart")


def _places(network: Network, endpoint: Endpoint) -> dict[str, Cidr]:
    """In words: where its routes lead, and its addresses."""
    return ({f"subnet {subnet}": subnet for subnet in words.own_subnets(network)}
            | {f"address {address.partition('/')[0]}": host_cidr(address) for address in endpoint.addresses})

"""A host's side of workloads' links, without an agent."""

from __future__ import annotations

from contextlib import ExitStack

from muslin.drivers import links, netns, plug, rtnetlink, sysctl
from muslin.drivers.netlink import Netlink
from muslin.drivers.plug import Cable
from muslin.drivers.rtnetlink import Address, Change
from muslin.intent import EndpointKey, Neighbour, Route, RouteKind
from muslin.net import Cidr

ADDRESSES = (Cidr("10.65.0.1/32"), Cidr("fd00:65::1/128"))


class Host:
    """A namespace that plays the host; the test's own calls run inside it, as the agent's do."""

    def __init__(self, name: str) -> None:
        self.name = name
        with self.inside():
            self.netlink = Netlink()
            sysctl.prepare_host()
        self.route(plug.GATEWAY_ROUTE)

    def inside(self) -> ExitStack:
        stack = ExitStack()
        descriptor = stack.enter_context(netns.opened(self.name))
        stack.enter_context(netns.inside(descriptor))
        return stack

    def route(self, *items: rtnetlink.Item) -> None:
        indexes = {name: link.index for name, link in links.read_links(self.netlink).items()}
        assert rtnetlink.apply(self.netlink, [Change(item) for item in items], indexes) == []

    def plug(self, cable: Cable, *addresses: Cidr) -> None:
        with self.inside():
            plug.lay(self.netlink, cable)
            self.route(Address(interface=cable.interface, address=f"{plug.GATEWAY_V6}/64"))
            for address in addresses:
                bare = address.partition("/")[0]
                self.route(
                    Neighbour(address=bare, interface=cable.interface, mac=cable.inner_mac),
                    Route(destination=address, kind=RouteKind.DEVICE, interface=cable.interface),
                )
            plug.connect(self.netlink, cable, addresses)


def cable(space: str, number: int = 1, inner: str = "eth0") -> Cable:
    owner = EndpointKey(f"WorkloadEndpoint/default/w{number}")
    return Cable(owner=owner, interface=f"mus{number:011x}", namespace=space, inner=inner)

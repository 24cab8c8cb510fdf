"""A packet's way through one host, read off Calico's pages: which policies it meets, in which order, and where it ends.

The second half of the naive oracle. The first half, `oracle`, says what one list of policies says; this one knows
interfaces. It shares nothing with muslin either.

    untracked    doNotTrack policies of the host endpoint, in the raw table: before conntrack, before translation
    pre-DNAT     preDNAT policies of the host endpoint, with addresses as they were sent
    normal       a host's own traffic; a workload's egress and ingress
    forward      policies with applyOnForward, of the host endpoints at both ends
"""

from __future__ import annotations

from typing import Any

from prove import site
from prove.oracle import (
    EGRESS,
    FORWARD,
    INGRESS,
    NORMAL,
    PRE_DNAT,
    UNTRACKED,
    Object,
    World,
    by_policy,
    holds,
    is_tunnel,
    number,
    owns,
    verdict,
    version,
)

NOWHERE = ""
"""Where a denied packet comes out."""

CLUSTER_PORTS = (179, 2379, 2380, 5473, 6443, 6666, 6667)
FAILSAFE_IN = [("TCP", port) for port in (22, *CLUSTER_PORTS)] + [("UDP", 68)]
FAILSAFE_OUT = [("UDP", 53), ("UDP", 67)] + [("TCP", port) for port in CLUSTER_PORTS]
LINK_ICMP6 = (130, 131, 132, 133, 135, 136)


def comes_out(world: World, arrives: str, packet: Any, *, seen: list[str] | None = None) -> str:
    """The interface by which the packet leaves, `site.HOST` if the host gets it, NOWHERE if it is denied.
    `seen` gets the names of the lists that were asked."""
    return _Way(world, packet, [] if seen is None else seen).fate(arrives)


class _Way:
    def __init__(self, world: World, packet: Any, seen: list[str]) -> None:
        self.world, self.packet, self.seen = world, packet, seen

    def fate(self, arrives: str) -> str:
        if arrives == site.HOST:
            return self.from_host()
        sender = workload_at(self.world, arrives)
        door = host_endpoint(self.world, arrives)
        false = arrives in site.WORKLOADS and (sender is None or not owns(sender, self.packet.source))
        if false and not (self.to_host() and link_need(sender, self.packet)):
            return NOWHERE
        said = "Pass"
        if door is not None:
            said = self.at_the_door(door)
        if said == "Deny":
            return NOWHERE
        if said != "untracked":
            self.packet = translated(self.world, self.packet)
        accepted = said in ("untracked", "Allow")
        if self.to_host():
            let_in = self.from_workload(sender) if arrives in site.WORKLOADS else self.input(door, accepted)
            return site.HOST if let_in else NOWHERE
        leaves = site.exit_to(self.packet.destination)
        return leaves if self.forward(sender, door, accepted, leaves) else NOWHERE

    def to_host(self) -> bool:
        return site.exit_to(self.packet.destination) == site.HOST

    def ask(self, endpoint: Object, direction: str, sort: Any, name: str) -> str:
        said = by_policy(self.world, endpoint, direction, self.packet, sort)
        self.seen.append(f"{name}:{said}")
        return said

    def at_the_door(self, door: Object) -> str:
        """untracked: let in, and never tracked. Allow: let in. Deny, or Pass: others will say."""
        if is_star(door):
            pass  # Calico knows no doNotTrack policy for `*`, and leaves it out
        elif self.untracked_failsafe(INGRESS):
            self.seen.append("untracked ingress:failsafe")
        elif (said := self.ask(door, INGRESS, UNTRACKED, "untracked ingress")) != "Pass":
            return "untracked" if said == "Allow" else "Deny"
        if is_failsafe(self.world, INGRESS, self.packet):
            return "Pass"
        return self.ask(door, INGRESS, PRE_DNAT, "pre-DNAT")

    def untracked_failsafe(self, direction: str) -> bool:
        """Conntrack is not asked yet, so that answers must pass as well: from the port of the other direction."""
        other = EGRESS if direction == INGRESS else INGRESS
        return is_failsafe(self.world, direction, self.packet) or is_failsafe(
            self.world, other, self.packet, answer=True
        )

    def from_workload(self, sender: Object | None) -> bool:
        """To its host: no host endpoint is asked, not even the one for all interfaces."""
        if link_need(sender, self.packet):
            return True
        self.seen.append("workload to host")
        said = verdict(self.world, sender, EGRESS, self.packet) if sender is not None else "Deny"
        return said == "Allow" and felix(self.world, "defaultEndpointToHostAction", "Drop") in ("Accept", "Return")

    def input(self, door: Object | None, accepted: bool) -> bool:
        if door is None or accepted:
            return True
        if is_failsafe(self.world, INGRESS, self.packet):
            self.seen.append("input:failsafe")
            return True
        return self.ask(door, INGRESS, NORMAL, "input") == "Allow"

    def forward(self, sender: Object | None, door: Object | None, accepted: bool, leaves: str) -> bool:
        """Allow in an untracked or pre-DNAT policy answers for the forward policy of that interface too."""
        if door is not None and not accepted and self.ask(door, INGRESS, FORWARD, "forward ingress") == "Deny":
            return False
        if sender is not None and self.of_workload(sender, EGRESS) == "Deny":
            return False
        receiver = workload_at(self.world, leaves)
        if leaves in site.WORKLOADS and (receiver is None or self.of_workload(receiver, INGRESS) == "Deny"):
            return False
        beyond = host_endpoint(self.world, leaves)
        return beyond is None or self.ask(beyond, EGRESS, FORWARD, "forward egress") != "Deny"

    def of_workload(self, workload: Object, direction: str) -> str:
        said = self.ask(workload, direction, NORMAL, f"workload {direction}")
        return "Deny" if direction == EGRESS and is_tunnel(self.packet) else said

    def from_host(self) -> str:
        leaves = site.exit_to(self.packet.destination)
        door = host_endpoint(self.world, leaves)
        if door is None or leaves in site.WORKLOADS:
            return leaves
        if is_star(door):
            pass
        elif self.untracked_failsafe(EGRESS):
            self.seen.append("untracked egress:failsafe")
        elif (said := self.ask(door, EGRESS, UNTRACKED, "untracked egress")) != "Pass":
            return leaves if said == "Allow" else NOWHERE
        if is_failsafe(self.world, EGRESS, self.packet):
            self.seen.append("output:failsafe")
            return leaves
        return leaves if self.ask(door, EGRESS, NORMAL, "output") == "Allow" else NOWHERE


def workload_at(world: World, interface: str) -> Object | None:
    for each in world.of("WorkloadEndpoint"):
        if each["spec"]["node"] == site.NODE and each["spec"]["interfaceName"] == interface:
            return each
    return None


def host_endpoint(world: World, interface: str) -> Object | None:
    """Which host endpoint governs the interface: one that names it, or names nothing and expects one of its addresses,
    by name the first; else the one for all interfaces, which are workloads' too."""
    asked = ("door", interface)
    if asked not in world.kept:
        world.kept[asked] = _host_endpoint(world, interface)
    found: Object | None = world.kept[asked]
    return found


def _host_endpoint(world: World, interface: str) -> Object | None:
    here = sorted((each for each in world.of("HostEndpoint") if each["spec"]["node"] == site.NODE),
                  key=lambda each: each["metadata"]["name"])
    for each in here:
        name = each["spec"].get("interfaceName", "")
        expected = each["spec"].get("expectedIPs", ())
        if interface not in site.INTERFACES:
            continue  # a workload's: only its own policy, and what is for all interfaces
        if name == interface or (not name and any(address in site.INTERFACES[interface] for address in expected)):
            return each
    return next((each for each in here if each["spec"].get("interfaceName") == "*"), None)


def is_star(door: Object) -> bool:
    return door["spec"].get("interfaceName") == "*"


def felix(world: World, field: str, otherwise: Any) -> Any:
    """Settings of this node go before those of all."""
    for name in (f"node.{site.NODE}", "default"):
        for each in world.of("FelixConfiguration"):
            if each["metadata"]["name"] == name and field in each["spec"]:
                return each["spec"][field]
    return otherwise


def is_failsafe(world: World, direction: str, packet: Any, *, answer: bool = False) -> bool:
    """`answer`: does it come from such a port, rather than go to one? A net says who is at the other end: the source
    of what comes in, the destination of what goes out."""
    field, known = {
        INGRESS: ("failsafeInboundHostPorts", FAILSAFE_IN), EGRESS: ("failsafeOutboundHostPorts", FAILSAFE_OUT),
    }[direction]
    listed = felix(world, field, [{"protocol": protocol, "port": port} for protocol, port in known])
    inwards = (direction == INGRESS) != answer
    other_end = packet.source if inwards else packet.destination
    port = packet.source_port if answer else packet.destination_port
    return any(
        number(each["protocol"]) == packet.protocol and each["port"] == port
        and (not each.get("net") or (version(each["net"]) == version(other_end) and holds(each["net"], other_end)))
        for each in listed
    )


def link_need(sender: Object | None, packet: Any) -> bool:
    """Without it the workload's link does not work, whatever the policy: neighbour discovery and DHCP."""
    own = sender is not None and owns(sender, packet.source)
    nobody_yet = ("0.0.0.0/32",) if version(packet.source) == 4 else ("::/128", "fe80::/10")
    if not own and not any(holds(net, packet.source) for net in nobody_yet):
        return False
    if version(packet.source) == 6 and packet.protocol == 58 and packet.icmp_type in LINK_ICMP6:
        return True
    dhcp = (68, 67) if version(packet.source) == 4 else (546, 547)
    return packet.protocol == 17 and (packet.source_port, packet.destination_port) == dhcp


def translated(world: World, packet: Any) -> Any:
    """What is sent to a workload's floating address goes to the address that it stands for."""
    if felix(world, "floatingIPs", "Disabled") != "Enabled":
        return packet
    for each in world.of("WorkloadEndpoint"):
        for nat in each["spec"].get("ipNATs", ()) if each["spec"]["node"] == site.NODE else ():
            if nat["externalIP"] == packet.destination:
                return packet._replace(destination=nat["internalIP"])
    return packet

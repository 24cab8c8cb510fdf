"""The naive oracle's reading of policies of Kubernetes' administrators, from that project's pages.

The first rule that matches decides; Pass leaves the packet to the other policies (and behind those, to the baseline),
as does a policy of which no rule matches. What a rule says of a port by its name holds for whichever protocol the
destination has it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prove.kubernetes import chosen, is_pod
from prove.oracle import EGRESS, INGRESS, OTHER_LANGUAGES, Object, Reading, World, holds, number, version

GROUP = "policy.networking.k8s.io"
BASELINE_ORDER = 1000.0


def administrators(world: World, staged: bool) -> list[Reading]:
    """Nobody stages them."""
    del staged
    return [*_readings(world)]


OTHER_LANGUAGES.append(administrators)


def _readings(world: World) -> Iterator[Reading]:
    for each in world.of("AdminNetworkPolicy", group=GROUP):
        yield _reading(world, each, "kube-admin", each["spec"]["priority"], "kanp.adminnetworkpolicy.")
    for each in world.of("BaselineAdminNetworkPolicy", group=GROUP):
        yield _reading(world, each, "kube-baseline", BASELINE_ORDER, "kbanp.baselineadminnetworkpolicy.")
    for each in world.of("ClusterNetworkPolicy", group=GROUP):
        tier = {"Admin": "kube-admin", "Baseline": "kube-baseline"}[each["spec"]["tier"]]
        yield _reading(world, each, tier, each["spec"]["priority"], "kcnp.")


def _reading(world: World, policy: Object, tier: str, order: float, prefix: str) -> Reading:
    spec = policy["spec"]

    def says(direction: str, packet: Any) -> str:
        peers, other = ("from", packet.source) if direction == INGRESS else ("to", packet.destination)
        for rule in spec.get(direction, ()):
            for peer in rule[peers]:
                if _is_peer(world, peer, other) and _goes_there(world, rule, peer, direction, packet):
                    return {"Accept": "Allow"}.get(rule["action"], rule["action"])
        return ""

    place = (float(order), prefix + policy["metadata"]["name"], "", "GlobalNetworkPolicy")
    return Reading(place, tier, {}, [INGRESS, EGRESS], "",
                   lambda endpoint: is_pod(endpoint) and _meant(spec["subject"], world.labels(endpoint)), says)


def _meant(pods: Object, labels: dict[str, str]) -> bool:
    """All pods of some namespaces, or some of them."""
    if "namespaces" in pods:
        return chosen(pods["namespaces"], labels, "pcns.")
    return chosen(pods["pods"]["namespaceSelector"], labels, "pcns.") and chosen(pods["pods"]["podSelector"], labels)


def _is_peer(world: World, peer: Object, address: str) -> bool:
    if "networks" in peer:
        return any(version(net) == version(address) and holds(net, address) for net in peer["networks"])
    return any(is_pod(each) and _meant(peer, world.labels(each)) for each in world.at(address))


def _goes_there(world: World, rule: Object, peer: Object, direction: str, packet: Any) -> bool:
    ports = [*rule.get("ports", ()), *rule.get("protocols", ())]
    return not ports or any(_is_port(world, port, peer, direction, packet) for port in ports)


def _is_port(world: World, port: Object, peer: Object, direction: str, packet: Any) -> bool:
    name = port.get("namedPort") or port.get("destinationNamedPort")
    if name:
        there = [each for each in world.at(packet.destination) if direction == INGRESS or "networks" in peer or (
            is_pod(each) and _meant(peer, world.labels(each)))]
        return any((known["name"], number(known["protocol"]), known["port"]) == (
            name, packet.protocol, packet.destination_port)
            for each in there for known in each["spec"].get("ports", ()))
    for protocol, first, last in _ranges(port):
        if number(protocol) == packet.protocol and (first is None or first <= packet.destination_port <= last):
            return True
    return False


def _ranges(port: Object) -> Iterator[tuple[str, int | None, int]]:
    """(protocol, first, last); first None: every port there is."""
    if found := port.get("portNumber"):
        yield found.get("protocol", "TCP"), found["port"], found["port"]
    if found := port.get("portRange"):
        yield found.get("protocol", "TCP"), found["start"], found["end"]
    for protocol in ("tcp", "udp", "sctp"):
        if protocol in port:
            where = port[protocol].get("destinationPort", {})
            span = where.get("range") or {"start": where.get("number"), "end": where.get("number", 0)}
            yield protocol.upper(), span["start"], span["end"]

"""The naive oracle's reading of Kubernetes' own policies, from Kubernetes' pages; it imports nothing of muslin either.

A NetworkPolicy isolates the pods that it selects, in the directions that it names; what none of its rules allows is
denied. Calico asks it in the default tier, with order 1000.
"""

from __future__ import annotations

from typing import Any

from prove.oracle import EGRESS, INGRESS, OTHER_LANGUAGES, Object, Reading, World, holds, number, version

NETWORKING = "networking.k8s.io"
NAMESPACE = "projectcalico.org/namespace"


def network_policies(world: World, staged: bool) -> list[Reading]:
    found = {(each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"]
             for each in world.of("NetworkPolicy", group=NETWORKING)}
    for each in world.of("StagedKubernetesNetworkPolicy") if staged else ():
        key = each["metadata"]["namespace"], each["metadata"]["name"]
        action = each["spec"].get("stagedAction") or "Set"
        if action == "Delete":
            found.pop(key, None)
        elif action == "Set":
            found[key] = each["spec"]
    return [_reading(world, namespace, name, spec) for (namespace, name), spec in found.items()]


OTHER_LANGUAGES.append(network_policies)


def _reading(world: World, namespace: str, name: str, spec: Object) -> Reading:
    directions = [word.lower() for word in spec.get("policyTypes", ())]
    if not directions:
        directions = [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]

    def applies(endpoint: Object) -> bool:
        labels = world.labels(endpoint)
        return is_pod(endpoint) and labels[NAMESPACE] == namespace and chosen(spec["podSelector"], labels)

    def says(direction: str, packet: Any) -> str:
        peers, other = ("from", packet.source) if direction == INGRESS else ("to", packet.destination)
        for rule in spec.get(direction, ()):
            if is_peer(world, rule.get(peers, ()), namespace, other) and is_port(world, rule.get("ports", ()), packet):
                return "Allow"
        return ""

    place = (1000.0, f"knp.default.{name}", namespace, "NetworkPolicy")
    return Reading(place, "default", {}, directions, namespace, applies, says)


def is_pod(endpoint: Object) -> bool:
    return bool(endpoint["kind"] == "WorkloadEndpoint")


def is_peer(world: World, peers: list[Object], namespace: str, address: str) -> bool:
    """No peer at all means everybody."""
    return not peers or any(_is_one(world, peer, namespace, address) for peer in peers)


def _is_one(world: World, peer: Object, namespace: str, address: str) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return version(block["cidr"]) == version(address) and holds(block["cidr"], address) and not any(
            holds(net, address) for net in block.get("except", ()))
    for endpoint in world.at(address):
        labels = world.labels(endpoint)
        if not is_pod(endpoint) or not chosen(peer.get("podSelector", {}), labels):
            continue
        if "namespaceSelector" in peer:
            if chosen(peer["namespaceSelector"], labels, "pcns."):
                return True
        elif labels[NAMESPACE] == namespace:
            return True
    return False


def is_port(world: World, ports: list[Object], packet: Any) -> bool:
    """No port at all means all of them, and protocols that have none."""
    return not ports or any(
        number(port.get("protocol", "TCP")) == packet.protocol and _is_number(world, port, packet) for port in ports)


def _is_number(world: World, port: Object, packet: Any) -> bool:
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return bool(wanted <= packet.destination_port <= port.get("endPort", wanted))
    return any(
        known["name"] == wanted and known["port"] == packet.destination_port
        and number(known["protocol"]) == packet.protocol
        for each in world.at(packet.destination) for known in each["spec"].get("ports", ())
    )


def chosen(selector: Object, labels: dict[str, str], prefix: str = "") -> bool:
    """A label selector: every label and every expression must hold."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(prefix + key) != value:
            return False
    for expression in selector.get("matchExpressions", ()):
        has = labels.get(prefix + expression["key"])
        holds_true = {
            "In": has in expression.get("values", ()), "NotIn": has not in expression.get("values", ()),
            "Exists": has is not None, "DoesNotExist": has is None,
        }
        if not holds_true[expression["operator"]]:
            return False
    return True

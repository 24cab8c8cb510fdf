"""Worlds that administrators have a say in, with all that stands beside policy and must not change it.

The same world once more: with policies of Kubernetes' administrators before and after all others, with packet rates,
connection limits and DSCP that no packet here comes near, and with masquerade for what leaves the pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from prove.worlds import NAMED, NETS4, NETS6, PORTS, _label_selector

Object = dict[str, Any]

GROUP = "policy.networking.k8s.io"
TIERS = (("kube-admin", 1000), ("kube-baseline", 10_000_000))
POOLS = ("10.65.0.0/16", "10.65.0.0/24", "fd65::/32", "fd65::/64")


def governed(random: Random, objects: list[Object]) -> list[Object]:
    made = [_with_limits(random, each) if each["kind"] == "WorkloadEndpoint" else each for each in objects]
    return [*made, *_tiers(), *_administrators(random), *_pools(random)]


def _tiers() -> Iterator[Object]:
    """As every cluster has them."""
    for name, order in TIERS:
        yield {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name},
               "spec": {"order": order, "defaultAction": "Pass"}}


def _with_limits(random: Random, endpoint: Object) -> Object:
    if random.random() < 0.5:
        return endpoint
    wide = {"PacketRate": 1_000_000, "PacketBurst": 1_000_000, "MaxConnections": 100_000}
    controls: Object = {f"{way}{what}": most for way in ("ingress", "egress") for what, most in wide.items()
                        if random.random() < 0.5}
    for way in ("ingress", "egress"):  # a burst of no rate is refused
        if f"{way}PacketRate" not in controls:
            controls.pop(f"{way}PacketBurst", None)
    if random.random() < 0.3:
        controls["dscp"] = random.choice((10, 46))
    return endpoint | {"spec": endpoint["spec"] | {"qosControls": controls}}


def _pools(random: Random) -> Iterator[Object]:
    for number, cidr in enumerate(random.sample(POOLS[:2], 1) + random.sample(POOLS[2:], 1)):
        if random.random() < 0.7:
            yield {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": f"pool{number}"},
                   "spec": {"cidr": cidr, "natOutgoing": random.random() < 0.7}}


def _administrators(random: Random) -> Iterator[Object]:
    for number in range(random.choice((0, 1, 1, 2))):
        yield _policy("AdminNetworkPolicy", f"a{number}", {
            "priority": number * 10 + random.randint(0, 9), **_rules(random, ("Allow", "Deny", "Pass"), _ports)})
    if random.random() < 0.5:
        yield _policy("BaselineAdminNetworkPolicy", "default", _rules(random, ("Allow", "Deny"), _ports))
    for number in range(random.choice((0, 1, 1, 2))):
        yield _policy("ClusterNetworkPolicy", f"c{number}", {
            "tier": random.choice(("Admin", "Baseline")), "priority": 100 + number * 10 + random.randint(0, 9),
            **_rules(random, ("Accept", "Deny", "Pass"), _protocols)})


def _policy(kind: str, name: str, spec: Object) -> Object:
    version = "v1alpha2" if kind == "ClusterNetworkPolicy" else "v1alpha1"
    return {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _rules(random: Random, actions: tuple[str, ...], ports: Any) -> Object:
    spec: Object = {"subject": _pods(random)}
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        if random.random() < 0.75:
            spec[direction] = [
                {"action": random.choice(actions), peers: [_peer(random, peers) for _ in range(random.randint(1, 2))],
                 **ports(random)} for _ in range(random.randint(1, 3))]
    return spec


def _pods(random: Random) -> Object:
    if random.random() < 0.5:
        return {"namespaces": _labels(random, "team")}
    return {"pods": {"namespaceSelector": _labels(random, "team"), "podSelector": _labels(random, "role", "zone")}}


def _labels(random: Random, *labels: str) -> Object:
    """Often everybody: else few are meant, and little is tried."""
    return {} if random.random() < 0.5 else _label_selector(random, labels)


def _peer(random: Random, peers: str) -> Object:
    if peers == "to" and random.random() < 0.4:
        return {"networks": random.sample(NETS4 + NETS6, random.randint(1, 3))}
    return _pods(random)


def _ports(random: Random) -> Object:
    return {"ports": [_port(random) for _ in range(random.randint(1, 2))]} if random.random() < 0.6 else {}


def _port(random: Random) -> Object:
    name, protocol, port = random.choice(NAMED)
    words: Object = {} if protocol == "TCP" and random.random() < 0.5 else {"protocol": protocol}
    match random.choice(("number", "number", "range", "name")):
        case "number":
            return {"portNumber": {**words, "port": port}}
        case "range":
            return {"portRange": {**words, "start": port, "end": random.choice([top for top in PORTS if top >= port])}}
        case _:
            return {"namedPort": name}


def _protocols(random: Random) -> Object:
    return {"protocols": [_protocol(random) for _ in range(random.randint(1, 2))]} if random.random() < 0.6 else {}


def _protocol(random: Random) -> Object:
    name, protocol, port = random.choice(NAMED)
    match random.choice(("number", "range", "all", "name")):
        case "number":
            return {protocol.lower(): {"destinationPort": {"number": port}}}
        case "range":
            top = random.choice([top for top in PORTS if top >= port])
            return {protocol.lower(): {"destinationPort": {"range": {"start": port, "end": top}}}}
        case "all":
            return {protocol.lower(): {}}
        case _:
            return {"destinationNamedPort": name}

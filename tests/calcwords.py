"""Tiny words for the tests of `calc`: resources in a line, a cluster that tells what happens to a packet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from muslin.calc import cluster, host
from muslin.calc.cluster import ClusterDelta, Illegible
from muslin.explain import Decision, Packet, journey, why
from muslin.intent import Action, AddressSet, Direction, EndpointKey, HostIntent, PortSet, SetId
from muslin.model.ipam import Block
from muslin.model.kinds import BY_NAME
from muslin.model.meta import Resource, ResourceKey
from muslin.net import protocol_number

Value = Resource | Block | Illegible | None
Things = dict[ResourceKey, Value]
Object = dict[str, Any]


def thing(kind: str, name: str, spec: Object | None = None, *, ns: str = "", labels: Mapping[str, str] = {}) -> Things:
    """Any resource, from its JSON."""
    metadata = {"name": name, "namespace": ns, "labels": dict(labels)}
    found = msgspec.convert({"kind": kind, "metadata": metadata, "spec": spec or {}}, BY_NAME[kind].struct)
    return {ResourceKey(kind, ns, name): found}


def whole(kind: str, name: str, *, ns: str = "", labels: Mapping[str, str] = {}, fields: Object) -> Things:
    """A resource of a kind that has no spec, from its JSON."""
    metadata = {"name": name, "namespace": ns, "labels": dict(labels)}
    found = msgspec.convert({"kind": kind, "metadata": metadata, **fields}, BY_NAME[kind].struct)
    return {ResourceKey(kind, ns, name): found}


def wl(name: str, at: str = "h1", *ips: str, ns: str = "shop", profiles: tuple[str, ...] = ("open",),
       interface: str | None = None, spec: Object | None = None, **labels: str) -> Things:
    """A workload's endpoint. `ips` without a length."""
    return thing("WorkloadEndpoint", name, {
        "node": at, "orchestrator": "muslin", "workload": name, "endpoint": "eth0",
        "interfaceName": f"mus{name}" if interface is None else interface, "profiles": list(profiles),
        "ipNetworks": [ip if "/" in ip else f"{ip}/{128 if ':' in ip else 32}" for ip in ips], **(spec or {}),
    }, ns=ns, labels=labels)


def hep(name: str, at: str = "h1", *ips: str, interface: str = "", profiles: tuple[str, ...] = (),
        spec: Object | None = None, **labels: str) -> Things:
    """A host's endpoint."""
    return thing("HostEndpoint", name, {
        "node": at, "interfaceName": interface, "expectedIPs": list(ips), "profiles": list(profiles), **(spec or {}),
    }, labels=labels)


def np(name: str, selector: str = "", *, ns: str = "shop", **spec: Any) -> Things:
    return thing("NetworkPolicy", name, {"selector": selector, **spec}, ns=ns)


def gnp(name: str, selector: str = "", **spec: Any) -> Things:
    return thing("GlobalNetworkPolicy", name, {"selector": selector, **spec})


def tier(name: str, order: float | None = None, action: str | None = None) -> Things:
    spec: Object = {} if order is None else {"order": order}
    return thing("Tier", name, spec if action is None else {**spec, "defaultAction": action})


def profile(name: str, *, ingress: list[Object] | None = None, egress: list[Object] | None = None,
            labels: Mapping[str, str] = {}) -> Things:
    return thing("Profile", name, {
        "ingress": ingress or [], "egress": egress or [], "labelsToApply": dict(labels)})


def namespace(name: str, **labels: str) -> Things:
    return thing("Namespace", name, labels=labels)


def netset(name: str, *nets: str, ns: str = "", **labels: str) -> Things:
    """Global without `ns`."""
    return thing("NetworkSet" if ns else "GlobalNetworkSet", name, {"nets": list(nets)}, ns=ns, labels=labels)


def allow(frm: str | Object = "", to: str | Object = "", **rule: Any) -> Object:
    return _rule("Allow", frm, to, rule)


def deny(frm: str | Object = "", to: str | Object = "", **rule: Any) -> Object:
    return _rule("Deny", frm, to, rule)


def passing(frm: str | Object = "", to: str | Object = "", **rule: Any) -> Object:
    return _rule("Pass", frm, to, rule)


def _rule(action: str, frm: str | Object, to: str | Object, rule: Object) -> Object:
    """A side is a selector, or the words of an EntityRule."""
    sides = {name: {"selector": side} if isinstance(side, str) else side
             for name, side in (("source", frm), ("destination", to)) if side}
    return {"action": action, **sides, **rule}


OPEN = profile("open", ingress=[allow()], egress=[allow()])
"""What `wl` gives its workloads if nothing else is said: a profile that allows."""


def gone(*things: Things) -> Things:
    return {key: None for each in things for key in each}


def illegible(things: Things, reason: str = "spec: cannot be decoded", obj: Object | None = None) -> Things:
    """The same keys, but what is stored there does not decode; `obj` is what JSON can still be read."""
    return {key: Illegible(key, reason, obj) for key in things}


class Cluster:
    """A graph, and the hosts that listen to it. What a packet meets is asked of the hosts' intents."""

    def __init__(self, *things: Things, hosts: tuple[str, ...] = ("h1",)) -> None:
        self.graph = cluster.Graph()
        self.hosts = {name: host.Graph() for name in hosts}
        for name, agent in self.hosts.items():
            agent.update(self.graph.subscribe(name))
            agent.flush()
        self.put(OPEN, *things)

    def put(self, *things: Things) -> ClusterDelta:
        for each in things:
            self.graph.update(each)
        delta = self.graph.flush()
        for name, change in delta.hosts.items():
            self.hosts[name].update(change)
            self.hosts[name].flush()
        return delta

    def drop(self, *things: Things) -> ClusterDelta:
        return self.put(gone(*things))

    def intent(self, at: str = "h1") -> HostIntent:
        return self.hosts[at].intent

    def members(self, set_id: SetId, at: str = "h1") -> set[object]:
        found = self.intent(at).sets[set_id]
        assert isinstance(found, AddressSet | PortSet)
        return set(found.members)

    def plug(self, at: str = "h1", **interfaces: tuple[str, ...]) -> None:
        """From now on the host has exactly these interfaces, with these addresses."""
        self.hosts[at].update_interfaces({name: frozenset(found) for name, found in interfaces.items()})
        self.hosts[at].flush()

    def passes(self, frm: str, to: str, what: str = "tcp/80", *, arrives_by: str | None = None,
               leaves_by: str | None = None, at: str = "h1") -> bool:
        """A new flow: `arrives_by` alone to the host itself, `leaves_by` alone from it, both through it."""
        protocol, _, port = what.partition("/")
        packet = Packet(frm, to, protocol_number(protocol), int(port or 0))
        return journey(self.intent(at), packet, arrives_by=arrives_by, leaves_by=leaves_by).verdict is Action.ALLOW

    def why(self, name: str, direction: str, other: str, what: str = "tcp/80", *, at: str = "h1",
            ns: str = "shop") -> Decision:
        """Of a packet that enters (`ingress`, from `other`) or leaves (`egress`, to `other`) the workload."""
        endpoint = self.intent(at).endpoints[EndpointKey(f"WorkloadEndpoint/{ns}/{name}")]
        family = ":" in other
        own = next(a.partition("/")[0] for a in endpoint.addresses if (":" in a) == family)
        protocol, _, port = what.partition("/")
        source, destination = (other, own) if direction == "ingress" else (own, other)
        packet = Packet(source, destination, protocol_number(protocol), int(port or 0))
        return why(self.intent(at), endpoint.key, Direction(direction), packet)

    def lets_in(self, name: str, frm: str, what: str = "tcp/80", *, at: str = "h1", ns: str = "shop") -> bool:
        return str(self.why(name, "ingress", frm, what, at=at, ns=ns).verdict) == "Allow"

    def lets_out(self, name: str, to: str, what: str = "tcp/80", *, at: str = "h1", ns: str = "shop") -> bool:
        return str(self.why(name, "egress", to, what, at=at, ns=ns).verdict) == "Allow"

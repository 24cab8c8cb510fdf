"""Kubernetes' policies of administrators, and the Calico policies that they mean.

    AdminNetworkPolicy            before all other policy    tier kube-admin     order: priority
    BaselineAdminNetworkPolicy    after all other policy     tier kube-baseline
    ClusterNetworkPolicy          either, by spec.tier                           order: priority

The first two are v1alpha1 of policy.networking.k8s.io, the third is what v1alpha2 made of both. They are kept as Calico
keeps them: as GlobalNetworkPolicies in tiers that pass on what no rule decides, one rule for every pair of protocol and
peer. Their names become `kanp.adminnetworkpolicy.NAME`, `kbanp.baselineadminnetworkpolicy.default` and `kcnp.NAME`.

Peers are workloads and prefixes. Nodes and names of hosts are refused: Calico replaces rules that have them by others,
which is not what was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from muslin.errors import Invalid
from muslin.model.kubernetes import LabelSelector, kept_metadata, namespace_selector, pod_selector, simplified
from muslin.model.meta import Resource
from muslin.model.nulls import without_nulls
from muslin.model.policy import Spec
from muslin.model.shape import about
from muslin.net import parse_cidr, version_of

GROUP = "policy.networking.k8s.io"
V1ALPHA1, V1ALPHA2 = f"{GROUP}/v1alpha1", f"{GROUP}/v1alpha2"
ADMIN_TIER, BASELINE_TIER = "kube-admin", "kube-baseline"
ADMIN_PREFIX, BASELINE_PREFIX, CLUSTER_PREFIX = (
    "kanp.adminnetworkpolicy.", "kbanp.baselineadminnetworkpolicy.", "kcnp.")
BASELINE_ORDER = 1000
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TIERS = {"Admin": ADMIN_TIER, "Baseline": BASELINE_TIER}

Object = dict[str, Any]


class NamespacedPods(Spec, frozen=True, kw_only=True):
    """Pods by their labels, in namespaces by theirs."""

    namespace_selector: Annotated[LabelSelector, about("Labels of the namespaces; {} for all.", required=True)] = (
        LabelSelector())
    pod_selector: Annotated[LabelSelector, about("Labels of the pods; {} for all.", required=True)] = LabelSelector()


class AdminSubject(Spec, frozen=True, kw_only=True):
    """Whom the policy applies to: one of the two."""

    namespaces: Annotated[LabelSelector | None, about("All pods of these namespaces.")] = None
    pods: Annotated[NamespacedPods | None, about("These pods.")] = None


class AdminIngressPeer(Spec, frozen=True, kw_only=True):
    """One of the two."""

    namespaces: Annotated[LabelSelector | None, about("All pods of these namespaces.")] = None
    pods: Annotated[NamespacedPods | None, about("These pods.")] = None


class AdminEgressPeer(Spec, frozen=True, kw_only=True):
    """One of these."""

    namespaces: Annotated[LabelSelector | None, about("All pods of these namespaces.")] = None
    pods: Annotated[NamespacedPods | None, about("These pods.")] = None
    networks: Annotated[tuple[Annotated[str, about(form="cidr")], ...], about("Prefixes.", most=25)] = ()
    nodes: Annotated[LabelSelector | None, about("Not supported: refused.")] = None
    domain_names: Annotated[tuple[str, ...], about("Not supported: refused.", most=25)] = ()


class AdminPortNumber(Spec, frozen=True, kw_only=True):
    """One port of one protocol."""

    protocol: Annotated[str, about("TCP when left out.", enum=_PROTOCOLS)] = ""
    port: Annotated[int, about("Its number.", least=1, most=65535, required=True)] = 0


class AdminPortRange(Spec, frozen=True, kw_only=True):
    """Ports of one protocol, both ends included."""

    protocol: Annotated[str, about("TCP when left out.", enum=_PROTOCOLS)] = ""
    start: Annotated[int, about("The first.", least=1, most=65535, required=True)] = 0
    end: Annotated[int, about("The last.", least=1, most=65535, required=True)] = 0


class AdminPort(Spec, frozen=True, kw_only=True):
    """One of the three."""

    port_number: Annotated[AdminPortNumber | None, about("A number.")] = None
    named_port: Annotated[str, about("Name of the pods' port, in whatever protocol they have it.",
                                     form="port_name")] = ""
    port_range: Annotated[AdminPortRange | None, about("A range.")] = None


class AdminIngressRule(Spec, frozen=True, kw_only=True):
    """Traffic from any of the peers to any of the ports."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Allow", "Deny", "Pass"), required=True)] = ""
    peers: Annotated[tuple[AdminIngressPeer, ...], about("Where it comes from.", most=100, required=True)] = (
        msgspec.field(default=(), name="from"))
    ports: Annotated[tuple[AdminPort, ...], about("Which ports it goes to; none: all.", most=100)] = ()


class AdminEgressRule(Spec, frozen=True, kw_only=True):
    """Traffic to any of the peers and any of the ports."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Allow", "Deny", "Pass"), required=True)] = ""
    peers: Annotated[tuple[AdminEgressPeer, ...], about("Where it goes.", most=100, required=True)] = (
        msgspec.field(default=(), name="to"))
    ports: Annotated[tuple[AdminPort, ...], about("Which ports it goes to; none: all.", most=100)] = ()


class AdminPolicySpec(Spec, frozen=True, kw_only=True):
    """Whom it applies to, and its rules. What no rule matches is left to other policy."""

    priority: Annotated[int | None, about("Lower numbers are asked first.", least=0, most=1000, required=True)] = None
    subject: Annotated[AdminSubject, about("Whom it applies to.", required=True)] = AdminSubject()
    ingress: Annotated[tuple[AdminIngressRule, ...], about("Rules for traffic in, in order.", most=100)] = ()
    egress: Annotated[tuple[AdminEgressRule, ...], about("Rules for traffic out, in order.", most=100)] = ()


class AdminNetworkPolicy(Resource, frozen=True, kw_only=True):
    """Policy of administrators, before all others."""

    spec: Annotated[AdminPolicySpec, about("Whom it applies to, and its rules.", required=True)] = AdminPolicySpec()
    status: Any = None


class BaselineIngressRule(Spec, frozen=True, kw_only=True):
    """Traffic from any of the peers to any of the ports."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Allow", "Deny"), required=True)] = ""
    peers: Annotated[tuple[AdminIngressPeer, ...], about("Where it comes from.", most=100, required=True)] = (
        msgspec.field(default=(), name="from"))
    ports: Annotated[tuple[AdminPort, ...], about("Which ports it goes to; none: all.", most=100)] = ()


class BaselineEgressRule(Spec, frozen=True, kw_only=True):
    """Traffic to any of the peers and any of the ports."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Allow", "Deny"), required=True)] = ""
    peers: Annotated[tuple[AdminEgressPeer, ...], about("Where it goes.", most=100, required=True)] = (
        msgspec.field(default=(), name="to"))
    ports: Annotated[tuple[AdminPort, ...], about("Which ports it goes to; none: all.", most=100)] = ()


class BaselinePolicySpec(Spec, frozen=True, kw_only=True):
    """Whom it applies to, and its rules, where no other policy decides."""

    subject: Annotated[AdminSubject, about("Whom it applies to.", required=True)] = AdminSubject()
    ingress: Annotated[tuple[BaselineIngressRule, ...], about("Rules for traffic in, in order.", most=100)] = ()
    egress: Annotated[tuple[BaselineEgressRule, ...], about("Rules for traffic out, in order.", most=100)] = ()


class BaselineAdminNetworkPolicy(Resource, frozen=True, kw_only=True):
    """Policy of administrators, after all others. There is one, named default."""

    spec: Annotated[BaselinePolicySpec, about("Whom it applies to, and its rules.", required=True)] = (
        BaselinePolicySpec())
    status: Any = None


class ClusterPortRange(Spec, frozen=True, kw_only=True):
    """Both ends included."""

    start: Annotated[int, about("The first.", least=1, most=65535, required=True)] = 0
    end: Annotated[int, about("The last.", least=1, most=65535, required=True)] = 0


class ClusterPort(Spec, frozen=True, kw_only=True):
    """One of the two."""

    number: Annotated[int | None, about("A number.", least=1, most=65535)] = None
    range: Annotated[ClusterPortRange | None, about("A range.")] = None


class ClusterProtocolPort(Spec, frozen=True, kw_only=True):
    """Ports of the protocol; none: all."""

    destination_port: Annotated[ClusterPort | None, about("Which port it goes to.")] = None


class ClusterProtocol(Spec, frozen=True, kw_only=True):
    """One of these."""

    tcp: Annotated[ClusterProtocolPort | None, about("TCP.")] = None
    udp: Annotated[ClusterProtocolPort | None, about("UDP.")] = None
    sctp: Annotated[ClusterProtocolPort | None, about("SCTP.")] = None
    destination_named_port: Annotated[str, about("Name of the pods' port, in whatever protocol they have it.",
                                                 form="port_name")] = ""


class ClusterIngressRule(Spec, frozen=True, kw_only=True):
    """Traffic from any of the peers by any of the protocols."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Accept", "Deny", "Pass"), required=True)] = ""
    peers: Annotated[tuple[AdminIngressPeer, ...], about("Where it comes from.", most=25, required=True)] = (
        msgspec.field(default=(), name="from"))
    protocols: Annotated[tuple[ClusterProtocol, ...], about("By which protocols; none: all.", most=25)] = ()


class ClusterEgressRule(Spec, frozen=True, kw_only=True):
    """Traffic to any of the peers by any of the protocols."""

    name: Annotated[str, about("A note.", most=100)] = ""
    action: Annotated[str, about("What becomes of it.", enum=("Accept", "Deny", "Pass"), required=True)] = ""
    peers: Annotated[tuple[AdminEgressPeer, ...], about("Where it goes.", most=25, required=True)] = (
        msgspec.field(default=(), name="to"))
    protocols: Annotated[tuple[ClusterProtocol, ...], about("By which protocols; none: all.", most=25)] = ()


class ClusterPolicySpec(Spec, frozen=True, kw_only=True):
    """Before or after all others, whom it applies to, and its rules."""

    tier: Annotated[str, about("Admin: before all other policy. Baseline: after it.", enum=tuple(_TIERS),
                               required=True)] = ""
    priority: Annotated[int | None, about("Lower numbers are asked first.", least=0, most=1000, required=True)] = None
    subject: Annotated[AdminSubject, about("Whom it applies to.", required=True)] = AdminSubject()
    ingress: Annotated[tuple[ClusterIngressRule, ...], about("Rules for traffic in, in order.", most=25)] = ()
    egress: Annotated[tuple[ClusterEgressRule, ...], about("Rules for traffic out, in order.", most=25)] = ()


class ClusterNetworkPolicy(Resource, frozen=True, kw_only=True):
    """Policy of administrators, before or after all others."""

    spec: Annotated[ClusterPolicySpec, about("Whom it applies to, and its rules.", required=True)] = (
        ClusterPolicySpec())
    status: Any = None


AdminPolicy = AdminNetworkPolicy | BaselineAdminNetworkPolicy | ClusterNetworkPolicy
_STRUCTS: dict[str, type[AdminPolicy]] = {
    "AdminNetworkPolicy": AdminNetworkPolicy, "BaselineAdminNetworkPolicy": BaselineAdminNetworkPolicy,
    "ClusterNetworkPolicy": ClusterNetworkPolicy,
}
_AnyRule = (
    AdminIngressRule | AdminEgressRule | BaselineIngressRule | BaselineEgressRule | ClusterIngressRule
    | ClusterEgressRule)
_AnyPeer = AdminIngressPeer | AdminEgressPeer


def to_calico(obj: Object) -> Object:
    """The GlobalNetworkPolicy that such a policy means. Raises Invalid when it is not legible as one."""
    policy = _decoded(obj)
    match policy:
        case AdminNetworkPolicy(spec=AdminPolicySpec(priority=priority)):
            prefix, tier, order = ADMIN_PREFIX, ADMIN_TIER, priority
        case BaselineAdminNetworkPolicy():
            prefix, tier, order = BASELINE_PREFIX, BASELINE_TIER, BASELINE_ORDER
        case ClusterNetworkPolicy(spec=ClusterPolicySpec(tier=word, priority=priority)):
            prefix, tier, order = CLUSTER_PREFIX, _TIERS.get(word, ADMIN_TIER), priority
    spec: Object = {"tier": tier, "order": order, **_subject(policy.spec.subject)}
    types = []
    for direction, rules in (("ingress", policy.spec.ingress), ("egress", policy.spec.egress)):
        if rules:
            spec[direction] = [rule for _, rule in _rules(rules, direction)]
            types.append(direction.capitalize())
    if types:  # without rules it says nothing, and its tier passes on
        spec["types"] = types
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": kept_metadata(policy.metadata, prefix), "spec": spec}


def rule_sources(obj: Object) -> dict[str, tuple[int, ...]]:
    """Direction -> for each rule that `to_calico` makes, the index of the rule it comes from. Raises Invalid."""
    spec = _decoded(obj).spec
    return {"ingress": tuple(index for index, _ in _rules(spec.ingress, "ingress")),
            "egress": tuple(index for index, _ in _rules(spec.egress, "egress"))}


def _decoded(obj: Object) -> AdminPolicy:
    kind = str(obj.get("kind"))
    try:
        return msgspec.convert(without_nulls(obj), _STRUCTS[kind])
    except msgspec.ValidationError as error:
        raise Invalid(f"the {kind} cannot be converted: {error}: mend that field") from None


def _subject(subject: AdminSubject) -> Object:
    if subject.pods is not None:
        return {"selector": pod_selector(subject.pods.pod_selector),
                "namespaceSelector": namespace_selector(subject.pods.namespace_selector)}
    if subject.namespaces is not None:
        return {"selector": pod_selector(None), "namespaceSelector": namespace_selector(subject.namespaces)}
    raise Invalid("spec.subject: write namespaces or pods")


def _rules(rules: Sequence[_AnyRule], direction: str) -> Iterator[tuple[int, Object]]:
    """For every rule its index, and one rule for each pair of protocol and peer."""
    side = "source" if direction == "ingress" else "destination"
    for index, rule in enumerate(rules):
        action = "Allow" if rule.action == "Accept" else rule.action
        for protocol, ports in _ports(rule).items():
            for peer in rule.peers:
                for entity in _entities(peer):
                    made: Object = {"action": action}
                    if protocol:
                        made["protocol"] = protocol
                    made[side] = entity
                    if ports:
                        made["destination"] = {**made.get("destination", {}), "ports": ports}
                    yield index, made


def _entities(peer: _AnyPeer) -> Iterator[Object]:
    """Prefixes of both families become two: no packet has both."""
    if peer.namespaces is not None:
        yield {"selector": pod_selector(None), "namespaceSelector": namespace_selector(peer.namespaces)}
    elif peer.pods is not None:
        yield {"selector": pod_selector(peer.pods.pod_selector),
               "namespaceSelector": namespace_selector(peer.pods.namespace_selector)}
    elif isinstance(peer, AdminEgressPeer) and peer.networks:
        try:
            nets = list(dict.fromkeys(parse_cidr(text) for text in peer.networks))
        except ValueError as error:
            raise Invalid(f"networks: {error}: write prefixes such as 10.0.0.0/24") from None
        for version in (4, 6):
            if found := [net for net in nets if version_of(net) == version]:
                yield {"nets": found}
    else:
        raise Invalid("a peer is namespaces, pods or networks: write one of them")


def _ports(rule: _AnyRule) -> dict[str, list[int | str]]:
    """Protocol -> ports, none for all. Under "" are names, which mean any protocol; alone and empty: everything."""
    given = list(_given_ports(rule))
    if not given:
        return {"": []}
    found: dict[str, list[int | str] | None] = {}
    for protocol, port in given:
        if port is None:
            found[protocol] = None
        elif (before := found.setdefault(protocol, [])) is not None:
            before.append(port)
    return {protocol: simplified(found[protocol] or []) for protocol in sorted(found)}


def _given_ports(rule: _AnyRule) -> Iterator[tuple[str, int | str | None]]:
    if isinstance(rule, ClusterIngressRule | ClusterEgressRule):
        for one in rule.protocols:
            if one.destination_named_port:
                yield "", one.destination_named_port
            for name, found in (("TCP", one.tcp), ("UDP", one.udp), ("SCTP", one.sctp)):
                if found is not None:
                    yield name, _cluster_port(found.destination_port)
        return
    for port in rule.ports:
        if port.named_port:
            yield "", port.named_port
        if port.port_number is not None:
            yield port.port_number.protocol or "TCP", port.port_number.port
        if port.port_range is not None:
            yield port.port_range.protocol or "TCP", f"{port.port_range.start}:{port.port_range.end}"


def _cluster_port(port: ClusterPort | None) -> int | str | None:
    if port is None:
        return None
    return f"{port.range.start}:{port.range.end}" if port.range is not None else port.number

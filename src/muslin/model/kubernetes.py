"""Kubernetes' own NetworkPolicy, and the Calico policy that it means.

`networking.k8s.io/v1` NetworkPolicies are what most people write first. They are kept as Calico policies, as Calico
keeps them: named `knp.default.NAME`, in the tier default, at order 1000, each rule of theirs as one rule for every
pair of peer and protocol.

One thing differs. Calico lets such a policy select workloads of the orchestrator `k8s` only; here that would be no
workload at all, and a policy that selects nothing protects nothing. So it selects workloads of any orchestrator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from muslin.errors import Invalid
from muslin.model import labels
from muslin.model.meta import Meta, Resource
from muslin.model.nulls import without_nulls
from muslin.model.policy import DIRECTIONS, Spec
from muslin.model.shape import Labels, about
from muslin.net import parse_cidr

GROUP_VERSION = "networking.k8s.io/v1"
NAME_PREFIX = "knp.default."
ORDER = 1000
WORKLOADS = f"has({labels.ORCHESTRATOR})"
"""What `podSelector: {}` means: endpoints of orchestrators, but no network sets."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Object = dict[str, Any]


class LabelSelectorRequirement(Spec, frozen=True, kw_only=True):
    """One condition on one label."""

    key: Annotated[str, about("The label.", form="label_name", required=True)] = ""
    operator: Annotated[str, about("How the label compares with the values.",
                                   enum=("In", "NotIn", "Exists", "DoesNotExist"), required=True)] = ""
    values: Annotated[tuple[Annotated[str, about(form="label_value")], ...], about("For In and NotIn only.")] = ()


class LabelSelector(Spec, frozen=True, kw_only=True):
    """All conditions must hold; none: everything."""

    match_labels: Annotated[Labels, about("Labels and their values.")] = msgspec.field(default_factory=dict)
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], about("Further conditions.")] = ()


class IPBlock(Spec, frozen=True, kw_only=True):
    """A prefix with exceptions."""

    cidr: Annotated[str, about("The prefix.", form="cidr", required=True)] = ""
    exceptions: Annotated[tuple[Annotated[str, about(form="cidr")], ...], about(
        "Prefixes inside it that do not count.")] = msgspec.field(default=(), name="except")


class KubernetesPeer(Spec, frozen=True, kw_only=True):
    """Pods, or addresses."""

    pod_selector: Annotated[LabelSelector | None, about("Labels of the pods.")] = None
    namespace_selector: Annotated[LabelSelector | None, about("Labels of their namespaces; none: the policy's.")] = None
    ip_block: Annotated[IPBlock | None, about("Addresses; nothing else beside it.")] = msgspec.field(
        default=None, name="ipBlock")


class KubernetesPort(Spec, frozen=True, kw_only=True):
    """A port, or a range of ports."""

    protocol: Annotated[str, about("TCP when left out.", enum=("TCP", "UDP", "SCTP"))] = ""
    port: Annotated[int | str | None, about("A number or a name; none: all ports.", form="kubernetes_port")] = None
    end_port: Annotated[int | None, about("End of a range that begins at port.", least=1, most=65535)] = None


class KubernetesIngressRule(Spec, frozen=True, kw_only=True):
    """Traffic from any of the peers to any of the ports; none: any."""

    peers: Annotated[tuple[KubernetesPeer, ...], about("Where it comes from.")] = msgspec.field(
        default=(), name="from")
    ports: Annotated[tuple[KubernetesPort, ...], about("Which ports it goes to.")] = ()


class KubernetesEgressRule(Spec, frozen=True, kw_only=True):
    """Traffic to any of the peers and any of the ports; none: any."""

    peers: Annotated[tuple[KubernetesPeer, ...], about("Where it goes.")] = msgspec.field(default=(), name="to")
    ports: Annotated[tuple[KubernetesPort, ...], about("Which ports it goes to.")] = ()


class KubernetesPolicySpec(Spec, frozen=True, kw_only=True):
    """Which pods, and what is allowed for them."""

    pod_selector: Annotated[LabelSelector, about("Which workloads it applies to; {} for all.")] = LabelSelector()
    policy_types: Annotated[tuple[Annotated[str, about(enum=DIRECTIONS)], ...], about(
        "The directions it applies to. Default: Ingress, and Egress if it has such rules.", most=2)] = ()
    ingress: Annotated[tuple[KubernetesIngressRule, ...], about("What is allowed in.")] = ()
    egress: Annotated[tuple[KubernetesEgressRule, ...], about("What is allowed out.")] = ()


class KubernetesPolicy(Resource, frozen=True, kw_only=True):
    """NetworkPolicy of Kubernetes: whatever it does not allow is denied, for those that it selects."""

    spec: Annotated[KubernetesPolicySpec, about("Which workloads, and what is allowed.")] = KubernetesPolicySpec()
    status: Annotated[Any, about("Withdrawn by Kubernetes.")] = None


def to_calico(obj: Object) -> Object:
    """The Calico NetworkPolicy that a Kubernetes one means. Raises Invalid when it is not legible as one."""
    policy = _decoded(obj)
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": kept_metadata(policy.metadata, NAME_PREFIX), "spec": calico_spec(policy.spec)}


def kept_metadata(given: Meta, prefix: str) -> Object:
    """What of a Kubernetes policy's metadata the Calico policy has too."""
    annotations = {key: value for key, value in given.annotations.items() if key != _LAST_APPLIED}
    metadata = {"name": prefix + given.name, "namespace": given.namespace, "labels": given.labels,
                "annotations": annotations}
    return {key: value for key, value in metadata.items() if value}


def calico_spec(spec: KubernetesPolicySpec) -> Object:
    """The spec of the Calico NetworkPolicy. Raises Invalid."""
    made: Object = {"order": ORDER, "selector": pod_selector(spec.pod_selector), "types": _types(spec)}
    for direction, rules in (("ingress", spec.ingress), ("egress", spec.egress)):
        if rules:
            made[direction] = [rule for _, rule in _rules(rules)]
    return made


def rule_sources(obj: Object) -> dict[str, tuple[int, ...]]:
    """Direction -> for each rule that `to_calico` makes, the index of the rule it comes from. Raises Invalid."""
    spec = _decoded(obj).spec
    return {"ingress": tuple(index for index, _ in _rules(spec.ingress)),
            "egress": tuple(index for index, _ in _rules(spec.egress))}


def _decoded(obj: Object) -> KubernetesPolicy:
    try:
        return msgspec.convert(without_nulls(obj), KubernetesPolicy)
    except msgspec.ValidationError as error:
        raise Invalid(f"the NetworkPolicy of Kubernetes cannot be converted: {error}: mend that field") from None


def _types(spec: KubernetesPolicySpec) -> list[str]:
    """Kubernetes' own defaults, for it fills them in before Calico sees the policy."""
    if spec.policy_types:
        return [direction for direction in DIRECTIONS if direction in spec.policy_types]
    return ["Ingress", "Egress"] if spec.egress else ["Ingress"]


def pod_selector(selector: LabelSelector | None) -> str:
    """Workloads with these labels."""
    return " && ".join((WORKLOADS, *_conditions(selector or LabelSelector())))


def namespace_selector(selector: LabelSelector | None) -> str:
    """Namespaces with these labels; "" for the policy's own."""
    return "" if selector is None else " && ".join(_conditions(selector)) or "all()"


def _conditions(selector: LabelSelector) -> Iterator[str]:
    for name, value in sorted(selector.match_labels.items()):
        yield f"{name} == '{value}'"
    for one in selector.match_expressions:
        values = "', '".join(one.values)
        match one.operator:
            case "In":
                yield f"{one.key} in {{ '{values}' }}"
            case "NotIn":
                yield f"{one.key} not in {{ '{values}' }}"
            case "Exists":
                yield f"has({one.key})"
            case "DoesNotExist":
                yield f"! has({one.key})"
            case operator:
                raise Invalid(f"there is no operator {operator!r} for labels: write In, NotIn, Exists or DoesNotExist")


def _rules(rules: Sequence[KubernetesIngressRule | KubernetesEgressRule]) -> Iterator[tuple[int, Object]]:
    """Calico's rules, each with the index of the rule it comes from."""
    for index, rule in enumerate(rules):
        peers = [_peer(peer) for peer in rule.peers] or [{}]
        to_the_peer = isinstance(rule, KubernetesEgressRule)
        for protocol, ports in sorted(_ports_by_protocol(rule.ports).items()):
            for peer in peers:
                made: Object = {"action": "Allow"}
                if protocol:
                    made["protocol"] = protocol
                source, destination = ({}, {**peer}) if to_the_peer else (peer, {})
                if ports:
                    destination["ports"] = ports
                sides = {"source": source, "destination": destination}
                yield index, made | {side: entity for side, entity in sides.items() if entity}


def _peer(peer: KubernetesPeer) -> Object:
    if peer.ip_block is not None:
        nets, exceptions = [_prefix(peer.ip_block.cidr)], [_prefix(text) for text in peer.ip_block.exceptions]
        return {"nets": nets, "notNets": exceptions} if exceptions else {"nets": nets}
    namespaces = namespace_selector(peer.namespace_selector)
    entity = {"selector": pod_selector(peer.pod_selector)}
    return {**entity, "namespaceSelector": namespaces} if namespaces else entity


def _prefix(text: str) -> str:
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is no prefix ({error}): write one such as 10.0.0.0/24") from None


def _ports_by_protocol(ports: Sequence[KubernetesPort]) -> dict[str, list[int | str]]:
    """Protocol -> ports, none for all ports; the protocol "" for all protocols."""
    if not ports:
        return {"": []}
    by_protocol: dict[str, list[int | str] | None] = {}
    for port in ports:
        protocol = port.protocol or "TCP"
        if port.port is None:
            by_protocol[protocol] = None
        elif (before := by_protocol.setdefault(protocol, [])) is not None:
            before.append(port.port if port.end_port is None else f"{port.port}:{port.end_port}")
    return {protocol: simplified(ports or []) for protocol, ports in by_protocol.items()}


def simplified(ports: Sequence[int | str]) -> list[int | str]:
    """Names first, then the fewest ranges that hold the numbers: 80, http, 81 and 82 are http and 80:82."""
    names: list[int | str] = []
    numbers: list[int] = []
    for port in ports:
        bounds = [int(text) for text in str(port).split(":") if text.isascii() and text.isdigit()]
        if bounds:
            numbers += range(bounds[0], bounds[-1] + 1)
        else:
            names.append(port)
    if len(numbers) < 2:
        return list(ports)
    distinct = set(numbers)
    firsts = sorted(number for number in distinct if number - 1 not in distinct)
    lasts = sorted(number for number in distinct if number + 1 not in distinct)
    return names + [first if first == last else f"{first}:{last}" for first, last in zip(firsts, lasts, strict=True)]

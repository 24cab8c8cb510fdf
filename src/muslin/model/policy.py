"""Policy kinds: who may talk to whom. Fields, names and defaults are Calico v3's, field for field."""

from __future__ import annotations

import msgspec

from muslin.model.meta import Resource


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all spec structs: camelCase on the wire, defaults left out."""


class ICMP(Spec, frozen=True, kw_only=True):
    """`type` 0..254; `code` 0..255, only together with `type`."""

    type: int | None = None
    code: int | None = None


class ServiceAccountMatch(Spec, frozen=True, kw_only=True):
    names: tuple[str, ...] = ()
    selector: str = ""


class ServiceMatch(Spec, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""


class EntityRule(Spec, frozen=True, kw_only=True):
    """One side of a rule. All given fields must match (AND); each has its not-form.

    `ports` holds numbers, "first:last" ranges and port names.
    """

    nets: tuple[str, ...] = ()
    not_nets: tuple[str, ...] = ()
    selector: str = ""
    not_selector: str = ""
    namespace_selector: str = ""
    ports: tuple[int | str, ...] = ()
    not_ports: tuple[int | str, ...] = ()
    service_accounts: ServiceAccountMatch | None = None
    services: ServiceMatch | None = None


class HTTPPath(Spec, frozen=True, kw_only=True):
    exact: str = ""
    prefix: str = ""


class HTTPMatch(Spec, frozen=True, kw_only=True):
    methods: tuple[str, ...] = ()
    paths: tuple[HTTPPath, ...] = ()


class RuleMetadata(Spec, frozen=True, kw_only=True):
    annotations: dict[str, str] = {}


class Rule(Spec, frozen=True, kw_only=True):
    """`action` is Allow, Deny, Pass or Log. The first terminal match wins; Log goes on."""

    action: str = ""
    ip_version: int | None = msgspec.field(default=None, name="ipVersion")
    protocol: int | str | None = None
    not_protocol: int | str | None = None
    icmp: ICMP | None = None
    not_icmp: ICMP | None = msgspec.field(default=None, name="notICMP")
    source: EntityRule = EntityRule()
    destination: EntityRule = EntityRule()
    http: HTTPMatch | None = None
    metadata: RuleMetadata | None = None


class TierSpec(Spec, frozen=True, kw_only=True):
    order: float | None = None
    default_action: str | None = None


class Tier(Resource, frozen=True, kw_only=True):
    spec: TierSpec = TierSpec()


class NetworkPolicySpec(Spec, frozen=True, kw_only=True):
    tier: str = ""
    order: float | None = None
    selector: str = ""
    types: tuple[str, ...] = ()
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    service_account_selector: str = ""
    performance_hints: tuple[str, ...] = ()


class NetworkPolicy(Resource, frozen=True, kw_only=True):
    """Selects workloads of its own namespace."""

    spec: NetworkPolicySpec = NetworkPolicySpec()


class GlobalNetworkPolicySpec(Spec, frozen=True, kw_only=True):
    tier: str = ""
    order: float | None = None
    selector: str = ""
    namespace_selector: str = ""
    service_account_selector: str = ""
    types: tuple[str, ...] = ()
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    do_not_track: bool = False
    pre_dnat: bool = msgspec.field(default=False, name="preDNAT")
    apply_on_forward: bool = False
    performance_hints: tuple[str, ...] = ()


class GlobalNetworkPolicy(Resource, frozen=True, kw_only=True):
    """Selects workloads of every namespace, and host endpoints."""

    spec: GlobalNetworkPolicySpec = GlobalNetworkPolicySpec()


class ProfileSpec(Spec, frozen=True, kw_only=True):
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels_to_apply: dict[str, str] = {}


class Profile(Resource, frozen=True, kw_only=True):
    """Rules of last resort, and labels that its endpoints inherit."""

    spec: ProfileSpec = ProfileSpec()


class NetworkSetSpec(Spec, frozen=True, kw_only=True):
    nets: tuple[str, ...] = ()


class NetworkSet(Resource, frozen=True, kw_only=True):
    """Named prefixes of one namespace, matched by rule selectors like endpoints."""

    spec: NetworkSetSpec = NetworkSetSpec()


class GlobalNetworkSet(Resource, frozen=True, kw_only=True):
    """Named prefixes outside every namespace."""

    spec: NetworkSetSpec = NetworkSetSpec()

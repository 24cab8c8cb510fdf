"""Policy kinds: who may talk to whom. Fields, names and defaults are Calico v3's, field for field."""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.meta import Condition, Resource
from muslin.model.shape import Annotations, Labels, Name, Net, Port, Protocol, Selector, about

ACTIONS = ("Allow", "Deny", "Pass", "Log")
DIRECTIONS = ("Ingress", "Egress")
MOST_RULES = 1024
MOST_NETS = 256
MOST_PORTS = 50


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all spec structs: camelCase on the wire, defaults left out."""


class Status(Spec, frozen=True, kw_only=True):
    """What controllers have found out. Readers of a spec never need it."""

    conditions: Annotated[tuple[Condition, ...], about("What controllers have found out.")] = ()


class ICMP(Spec, frozen=True, kw_only=True):
    """`type` 0..254; `code` 0..255, only together with `type`."""

    type: Annotated[int | None, about("ICMP type, 8 is echo request.", least=0, most=254)] = None
    code: Annotated[int | None, about("ICMP code; needs the type.", least=0, most=255)] = None


class ServiceAccountMatch(Spec, frozen=True, kw_only=True):
    """Workloads that run as one of these service accounts: by name and by label, both must hold."""

    names: Annotated[tuple[str, ...], about("Names of service accounts.", unique=True)] = ()
    selector: Annotated[Selector, about("Labels of service accounts.")] = ""


class ServiceMatch(Spec, frozen=True, kw_only=True):
    """The endpoints of one service, and their ports."""

    name: Annotated[Name, about("Name of the service.")] = ""
    namespace: Annotated[Name, about("Its namespace; empty: the policy's.")] = ""


class EntityRule(Spec, frozen=True, kw_only=True):
    """One side of a rule. All given fields must match (AND); each has its not-form.

    `ports` holds numbers, "first:last" ranges and port names.
    """

    nets: Annotated[tuple[Annotated[str, about(form="rule_net")], ...],
                    about("The address is in one of these prefixes.", most=MOST_NETS, unique=True)] = ()
    not_nets: Annotated[tuple[Annotated[str, about(form="rule_net")], ...],
                        about("The address is in none of these prefixes.", most=MOST_NETS, unique=True)] = ()
    selector: Annotated[Selector, about(
        "The address belongs to an endpoint or network set with these labels, such as role == 'db'.")] = ""
    not_selector: Annotated[Selector, about(
        "The address belongs to no endpoint or network set with these labels; matches the outside world too.")] = ""
    namespace_selector: Annotated[Selector, about(
        "Labels of the namespace that the endpoint is in. Without it a NetworkPolicy sees its own namespace only. "
        "global() means network sets and host endpoints outside every namespace.")] = ""
    ports: Annotated[tuple[Port, ...], about(
        "The port is one of these: 80, \"8000:9000\", or the name of a port of the endpoint.", most=MOST_PORTS)] = ()
    not_ports: Annotated[tuple[Port, ...], about("The port is none of these.", most=MOST_PORTS)] = ()
    service_accounts: Annotated[ServiceAccountMatch | None, about(
        "The endpoint runs as one of these service accounts.")] = None
    services: Annotated[ServiceMatch | None, about(
        "The address and port belong to this service. Excludes every other way to name endpoints.")] = None


class HTTPPath(Spec, frozen=True, kw_only=True):
    """One of the two."""

    exact: Annotated[str, about("The whole path.", most=1024)] = ""
    prefix: Annotated[str, about("The beginning of the path.", most=1024)] = ""


class HTTPMatch(Spec, frozen=True, kw_only=True):
    """Only in an ingress rule with action Allow, for TCP."""

    methods: Annotated[tuple[str, ...], about("GET, PUT, ...: one of them.", most=20)] = ()
    paths: Annotated[tuple[HTTPPath, ...], about("One of them.", most=20)] = ()


class RuleMetadata(Spec, frozen=True, kw_only=True):
    """Notes on a rule."""

    annotations: Annotated[Annotations, about("Notes that travel with the rule.")] = {}


class Rule(Spec, frozen=True, kw_only=True):
    """`action` is Allow, Deny, Pass or Log. The first terminal match wins; Log goes on."""

    action: Annotated[str, about(
        "What happens to a packet that matches: Allow and Deny are final, Pass goes on with the next tier, "
        "Log writes to the kernel log and goes on with the next rule.", enum=ACTIONS, required=True)] = ""
    ip_version: Annotated[int | None, about("Only this family.", enum=(4, 6))] = msgspec.field(
        default=None, name="ipVersion")
    protocol: Annotated[Protocol | None, about(
        "TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or a number 1-255. Ports need TCP, UDP or SCTP.")] = None
    not_protocol: Annotated[Protocol | None, about("Any protocol but this.")] = None
    icmp: Annotated[ICMP | None, about("Only this ICMP type and code; needs protocol ICMP or ICMPv6.")] = None
    not_icmp: Annotated[ICMP | None, about("Any ICMP type and code but this.")] = msgspec.field(
        default=None, name="notICMP")
    source: Annotated[EntityRule, about("Where the packet comes from.")] = EntityRule()
    destination: Annotated[EntityRule, about("Where the packet goes.")] = EntityRule()
    http: Annotated[HTTPMatch | None, about("Only these HTTP requests.")] = None
    metadata: Annotated[RuleMetadata | None, about("Notes on this rule.")] = None


class TierSpec(Spec, frozen=True, kw_only=True):
    """Where a tier stands among the tiers."""

    order: Annotated[float | None, about("Tiers with a lower order are asked first.")] = None
    default_action: Annotated[str | None, about(
        "What happens to traffic of an endpoint that policies of the tier select but none of their rules match.",
        enum=("Deny", "Pass"))] = None


class Tier(Resource, frozen=True, kw_only=True):
    """Policies that are asked together, before or after those of other tiers."""

    spec: Annotated[TierSpec, about("Order and default action.")] = TierSpec()
    status: Annotated[Status, about("Whether the tier is ready.")] = Status()


class NetworkPolicySpec(Spec, frozen=True, kw_only=True):
    """The endpoints a policy selects, and its rules."""

    tier: Annotated[Name, about("The tier it is in; default: default.")] = ""
    order: Annotated[float | None, about("Policies with a lower order are asked first; none: last.")] = None
    selector: Annotated[Selector, about(
        "Labels of the endpoints that it applies to, such as role == 'db' && has(zone); empty: all.")] = ""
    types: Annotated[tuple[Annotated[str, about(enum=DIRECTIONS)], ...], about(
        "The directions it applies to. Default: those that it has rules for, else Ingress.", most=2, unique=True)] = ()
    ingress: Annotated[tuple[Rule, ...], about("Rules for traffic to the endpoint, in order.", most=MOST_RULES)] = ()
    egress: Annotated[tuple[Rule, ...], about("Rules for traffic from the endpoint, in order.", most=MOST_RULES)] = ()
    service_account_selector: Annotated[Selector, about(
        "Labels of the service accounts whose endpoints it applies to.")] = ""
    performance_hints: Annotated[tuple[Annotated[str, about(enum=("AssumeNeededOnEveryNode",))], ...], about(
        "Hints that never change what is enforced.", unique=True)] = ()


class NetworkPolicy(Resource, frozen=True, kw_only=True):
    """Selects workloads of its own namespace."""

    spec: Annotated[NetworkPolicySpec, about("Whom it applies to, and its rules.")] = NetworkPolicySpec()
    status: Annotated[Status, about("Whether the policy is valid.")] = Status()


class GlobalNetworkPolicySpec(Spec, frozen=True, kw_only=True):
    """The endpoints a policy selects in all namespaces, and its rules."""

    tier: Annotated[Name, about("The tier it is in; default: default.")] = ""
    order: Annotated[float | None, about("Policies with a lower order are asked first; none: last.")] = None
    selector: Annotated[Selector, about(
        "Labels of the endpoints that it applies to, such as role == 'db' && has(zone); empty: all.")] = ""
    namespace_selector: Annotated[Selector, about("Labels of the namespaces whose workloads it applies to.")] = ""
    service_account_selector: Annotated[Selector, about(
        "Labels of the service accounts whose endpoints it applies to.")] = ""
    types: Annotated[tuple[Annotated[str, about(enum=DIRECTIONS)], ...], about(
        "The directions it applies to. Default: those that it has rules for, else Ingress.", most=2, unique=True)] = ()
    ingress: Annotated[tuple[Rule, ...], about("Rules for traffic to the endpoint, in order.", most=MOST_RULES)] = ()
    egress: Annotated[tuple[Rule, ...], about("Rules for traffic from the endpoint, in order.", most=MOST_RULES)] = ()
    do_not_track: Annotated[bool, about(
        "Host endpoints: apply before connection tracking; needs applyOnForward.")] = False
    pre_dnat: Annotated[bool, about(
        "Host endpoints: apply before destination NAT, ingress only; needs applyOnForward.")] = msgspec.field(
        default=False, name="preDNAT")
    apply_on_forward: Annotated[bool, about("Host endpoints: apply to forwarded traffic too.")] = False
    performance_hints: Annotated[tuple[Annotated[str, about(enum=("AssumeNeededOnEveryNode",))], ...], about(
        "Hints that never change what is enforced.", unique=True)] = ()


class GlobalNetworkPolicy(Resource, frozen=True, kw_only=True):
    """Selects workloads of every namespace, and host endpoints."""

    spec: Annotated[GlobalNetworkPolicySpec, about("Whom it applies to, and its rules.")] = GlobalNetworkPolicySpec()
    status: Annotated[Status, about("Whether the policy is valid.")] = Status()


class ProfileSpec(Spec, frozen=True, kw_only=True):
    """Rules and labels of a profile."""

    ingress: Annotated[tuple[Rule, ...], about("Rules for traffic to the endpoint, in order.", most=MOST_RULES)] = ()
    egress: Annotated[tuple[Rule, ...], about("Rules for traffic from the endpoint, in order.", most=MOST_RULES)] = ()
    labels_to_apply: Annotated[Labels, about(
        "Labels that endpoints with this profile inherit; their own win.")] = {}


class Profile(Resource, frozen=True, kw_only=True):
    """Rules of last resort, and labels that its endpoints inherit."""

    spec: Annotated[ProfileSpec, about("Rules and labels.")] = ProfileSpec()


class NetworkSetSpec(Spec, frozen=True, kw_only=True):
    """The prefixes of a set."""

    nets: Annotated[tuple[Net, ...], about("Prefixes and addresses, IPv4 and IPv6.", most=100_000, unique=True)] = ()


class NetworkSet(Resource, frozen=True, kw_only=True):
    """Named prefixes of one namespace, matched by rule selectors like endpoints."""

    spec: Annotated[NetworkSetSpec, about("The prefixes.")] = NetworkSetSpec()


class GlobalNetworkSet(Resource, frozen=True, kw_only=True):
    """Named prefixes outside every namespace."""

    spec: Annotated[NetworkSetSpec, about("The prefixes.")] = NetworkSetSpec()

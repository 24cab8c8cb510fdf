"""KubeControllersConfiguration: what Calico's controllers do by themselves, field for field as Calico v3's.

muslin has no controllers beside its server, and needs few: the server makes host endpoints for hosts
(`controllers.node.hostEndpoint`). The rest is taken, so that an operator's file applies unchanged, and not used.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from muslin.model.meta import Resource
from muslin.model.policy import Spec
from muslin.model.shape import Duration, Labels, Name, Net, Regex, Selector, about

ENABLED = "Enabled"
_LEVELS = ("None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic")

_Switch = Annotated[str, about(enum=("Enabled", "Disabled"))]


class HostEndpointTemplate(Spec, frozen=True, kw_only=True):
    """One host endpoint for each host that it selects, or for each of its interfaces whose name fits the pattern."""

    generate_name: Annotated[Name, about("Middle of the name: NODE-THIS-auto-hep.", required=True)] = ""
    interface_cidrs: Annotated[tuple[Net, ...], about(
        "The host's addresses within these prefixes are its expectedIPs.", unique=True)] = msgspec.field(
        default=(), name="interfaceCIDRs")
    interface_pattern: Annotated[Regex, about(
        "One host endpoint for each interface of the Node whose name this regular expression fits.")] = ""
    labels: Annotated[Labels, about("Labels beside those of the Node; these win.")] = msgspec.field(
        default_factory=dict)
    node_selector: Annotated[Selector, about("Labels of the Nodes that it is for; empty: all.")] = ""


class AutoHostEndpointConfig(Spec, frozen=True, kw_only=True):
    """Host endpoints that the server makes and keeps in step with the Nodes."""

    auto_create: Annotated[_Switch, about("Make them. Default: Disabled.")] = ""
    create_default_host_endpoint: Annotated[_Switch, about(
        "For each host one on all interfaces, NODE-auto-hep. Default: Enabled.")] = ""
    templates: Annotated[tuple[HostEndpointTemplate, ...], about("Further ones.")] = ()


class NodeControllerConfig(Spec, frozen=True, kw_only=True):
    """What follows from Nodes. `host_endpoint` is used, the rest is taken."""

    reconciler_period: Duration | None = None
    sync_labels: _Switch = ""
    host_endpoint: Annotated[AutoHostEndpointConfig | None, about("Host endpoints made for hosts.")] = None
    leak_grace_period: Duration | None = None


class PeriodConfig(Spec, frozen=True, kw_only=True):
    """A controller that muslin does not need."""

    reconciler_period: Duration | None = None


class LoadBalancerControllerConfig(Spec, frozen=True, kw_only=True):
    assign_ips: Annotated[str, about(enum=("AllServices", "RequestedServicesOnly"))] = msgspec.field(
        default="", name="assignIPs")


class MigrationControllerConfig(Spec, frozen=True, kw_only=True):
    enabled: _Switch = ""


class ControllersConfig(Spec, frozen=True, kw_only=True):
    """The controllers, by what they follow."""

    node: Annotated[NodeControllerConfig | None, about("What follows from Nodes.")] = None
    policy: PeriodConfig | None = None
    workload_endpoint: PeriodConfig | None = None
    service_account: PeriodConfig | None = None
    namespace: PeriodConfig | None = None
    load_balancer: LoadBalancerControllerConfig | None = None
    policy_migration: MigrationControllerConfig | None = None


class KubeControllersConfigurationSpec(Spec, frozen=True, kw_only=True):
    """A field without words is taken and not used."""

    log_severity_screen: Annotated[str, about(enum=_LEVELS)] = ""
    health_checks: _Switch = ""
    etcd_v3_compaction_period: Duration | None = None
    prometheus_metrics_port: Annotated[int | None, about(least=0, most=65535)] = None
    controllers: Annotated[ControllersConfig, about("The controllers.")] = ControllersConfig()
    debug_profile_port: Annotated[int | None, about(least=0, most=65535)] = None


class KubeControllersConfigurationStatus(Spec, frozen=True, kw_only=True):
    """As Calico's controllers tell it."""

    running_config: KubeControllersConfigurationSpec | None = None
    environment_vars: dict[str, str] = msgspec.field(default_factory=dict)


class KubeControllersConfiguration(Resource, frozen=True, kw_only=True):
    """What is made for hosts by itself. There is one, named `default`."""

    spec: Annotated[KubeControllersConfigurationSpec, about("The settings.")] = KubeControllersConfigurationSpec()
    status: Annotated[KubeControllersConfigurationStatus, about("What Calico's controllers run with.")] = (
        KubeControllersConfigurationStatus())

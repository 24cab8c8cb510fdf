"""One table of all kinds: names people type, where each lives in the API, and the struct that holds it.

CLI, server, store and validation read this table; nothing else in the project lists kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

from muslin.model import endpoint, network, policy, service, staged
from muslin.model.cluster_configuration import GROUP_VERSION, ClusterConfiguration
from muslin.model.controllers import KubeControllersConfiguration
from muslin.model.docker import DockerNetwork
from muslin.model.felix import FelixConfiguration
from muslin.model.meta import Resource
from muslin.model.service_account import ServiceAccount

CALICO = "projectcalico.org/v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`name` is the CamelCase kind; `short` are the short names of calicoctl and kubectl."""

    name: str
    plural: str
    struct: type[Resource]
    namespaced: bool = False
    short: tuple[str, ...] = ()
    group_version: str = CALICO

    @property
    def group(self) -> str:
        """"" for the core group."""
        return self.group_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.group_version.rpartition("/")[2]

    @property
    def singular(self) -> str:
        return self.name.lower()


# Short names: kubectl's (from Calico's resource definitions) first, then calicoctl's aliases.
KINDS: tuple[Kind, ...] = (
    Kind(name="Tier", plural="tiers", struct=policy.Tier),
    Kind(name="NetworkPolicy", plural="networkpolicies", struct=policy.NetworkPolicy, namespaced=True,
         short=("np", "cnp", "caliconetworkpolicy", "policy", "policies", "pol", "pols", "netpol")),
    Kind(name="GlobalNetworkPolicy", plural="globalnetworkpolicies", struct=policy.GlobalNetworkPolicy,
         short=("gnp", "cgnp", "gnps")),
    Kind(name="StagedNetworkPolicy", plural="stagednetworkpolicies", struct=staged.StagedNetworkPolicy, namespaced=True,
         short=("snp", "snps")),
    Kind(name="StagedGlobalNetworkPolicy", plural="stagedglobalnetworkpolicies",
         struct=staged.StagedGlobalNetworkPolicy, short=("sgnp", "sgnps")),
    Kind(name="StagedKubernetesNetworkPolicy", plural="stagedkubernetesnetworkpolicies",
         struct=staged.StagedKubernetesNetworkPolicy, namespaced=True, short=("sknp", "sknps")),
    Kind(name="NetworkSet", plural="networksets", struct=policy.NetworkSet, namespaced=True,
         short=("netset", "netsets")),
    Kind(name="GlobalNetworkSet", plural="globalnetworksets", struct=policy.GlobalNetworkSet, short=("gns", "gnetset")),
    Kind(name="Profile", plural="profiles", struct=policy.Profile, short=("pro", "pros")),
    Kind(name="WorkloadEndpoint", plural="workloadendpoints", struct=endpoint.WorkloadEndpoint, namespaced=True,
         short=("wep", "weps")),
    Kind(name="HostEndpoint", plural="hostendpoints", struct=endpoint.HostEndpoint, short=("hep", "heps")),
    Kind(name="Node", plural="nodes", struct=network.Node, short=("no", "nos")),
    Kind(name="IPPool", plural="ippools", struct=network.IPPool, short=("ipp", "ipps", "pool", "pools")),
    Kind(name="IPReservation", plural="ipreservations", struct=network.IPReservation,
         short=("ipr", "reservation", "reservations")),
    Kind(name="BGPConfiguration", plural="bgpconfigurations", struct=network.BGPConfiguration,
         short=("bgpconfig", "bgpconfigs")),
    Kind(name="BGPPeer", plural="bgppeers", struct=network.BGPPeer, short=("bgpp", "bgpps", "bp", "bps")),
    Kind(name="BGPFilter", plural="bgpfilters", struct=network.BGPFilter, short=("bgpf",)),
    Kind(name="FelixConfiguration", plural="felixconfigurations", struct=FelixConfiguration,
         short=("felixconfig", "felixconfigs")),
    Kind(name="KubeControllersConfiguration", plural="kubecontrollersconfigurations",
         struct=KubeControllersConfiguration, short=("kcc", "kccs", "kubecontrollersconfig", "kubecontrollersconfigs")),
    Kind(name="ClusterInformation", plural="clusterinformations", struct=network.ClusterInformation,
         short=("clusterinfo", "clusterinfos")),
    Kind(name="ClusterConfiguration", plural="clusterconfigurations", struct=ClusterConfiguration,
         short=("clusterconfig",), group_version=GROUP_VERSION),
    Kind(name="DockerNetwork", plural="dockernetworks", struct=DockerNetwork, short=("dnet", "dnets"),
         group_version=GROUP_VERSION),
    Kind(name="Namespace", plural="namespaces", struct=network.Namespace, short=("ns",), group_version="v1"),
    Kind(name="ServiceAccount", plural="serviceaccounts", struct=ServiceAccount, namespaced=True, short=("sa",),
         group_version="v1"),
    Kind(name="Service", plural="services", struct=service.Service, namespaced=True, short=("svc",),
         group_version="v1"),
    Kind(name="EndpointSlice", plural="endpointslices", struct=service.EndpointSlice, namespaced=True,
         group_version="discovery.k8s.io/v1"),
)

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}


def find(word: str) -> Kind | None:
    """The kind that a user means by its name in any case, plural, or short name."""
    return _WORDS.get(word.lower())


_WORDS: dict[str, Kind] = {
    word.lower(): kind for kind in KINDS for word in (kind.name, kind.plural, *kind.short)
}

"""The table of kinds: names that people type, and fields that Calico v3 has."""

import msgspec
import pytest

from muslin.model import kinds
from muslin.model.felix import FelixConfigurationSpec

CALICOCTL = {
    "bgpconfig": "BGPConfiguration", "bgpconfigs": "BGPConfiguration", "bgpp": "BGPPeer", "bgpps": "BGPPeer",
    "bp": "BGPPeer", "clusterinfo": "ClusterInformation", "felixconfig": "FelixConfiguration",
    "gnp": "GlobalNetworkPolicy", "gnps": "GlobalNetworkPolicy", "hep": "HostEndpoint", "heps": "HostEndpoint",
    "ipp": "IPPool", "ipps": "IPPool", "pool": "IPPool", "pools": "IPPool", "reservation": "IPReservation",
    "np": "NetworkPolicy", "policy": "NetworkPolicy", "policies": "NetworkPolicy", "pol": "NetworkPolicy",
    "pols": "NetworkPolicy", "netsets": "NetworkSet", "netset": "NetworkSet", "no": "Node", "nos": "Node",
    "pro": "Profile", "pros": "Profile", "wep": "WorkloadEndpoint", "weps": "WorkloadEndpoint",
}


@pytest.mark.parametrize(("word", "kind"), CALICOCTL.items())
def test_calicoctl_aliases_name_the_same_kinds(word: str, kind: str) -> None:
    """Muscle memory."""
    found = kinds.find(word)

    assert found is not None
    assert found.name == kind


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_a_kind_answers_to_its_name_in_any_case_and_number(kind: kinds.Kind) -> None:
    """GlobalNetworkPolicy, globalnetworkpolicy and globalnetworkpolicies are one."""
    assert {kinds.find(word) for word in (kind.name, kind.name.lower(), kind.plural, kind.singular)} == {kind}


def test_no_word_means_two_kinds() -> None:
    """A short name that hides another kind would apply to the wrong objects."""
    words = [word for kind in kinds.KINDS for word in {kind.name.lower(), kind.plural, *kind.short}]

    assert len(words) == len(set(words))


def test_felix_configuration_has_all_fields_of_calico() -> None:
    """188 of them; the spelling of the odd ones is what goes wrong first."""
    names = {field.encode_name for field in msgspec.structs.fields(FelixConfigurationSpec)}

    assert len(names) == 188
    assert {
        "bpfCTLBLogFilter", "bpfDSROptoutCIDRs", "bpfMapSizePerCpuConntrack", "bpfPSNATPorts", "ipv6Support",
        "externalNodesList", "goGCThreshold", "wireguardKeepAlive", "vxlanMTUV6", "natOutgoingAddress", "istioDSCPMark",
        "localSubnetL2Reachability", "prometheusWireGuardMetricsEnabled", "deviceRouteSourceAddressIPv6",
        "nodeSelector",
    } <= names

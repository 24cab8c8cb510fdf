"""Keys are Calico's, letter for letter: these are copied from what Calico's own tools write."""

from __future__ import annotations

import pytest

from muslin.model.kinds import KINDS
from muslin.model.meta import ResourceKey
from muslin.store import layout

WRITTEN_BY_CALICO = {
    ResourceKey("GlobalNetworkPolicy", "", "allow-dns"):
        "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/allow-dns",
    ResourceKey("NetworkPolicy", "openstack", "ossg.default.6f1c2a"):
        "/calico/resources/v3/projectcalico.org/networkpolicies/openstack/ossg.default.6f1c2a",
    ResourceKey("WorkloadEndpoint", "default", "n1-k8s-web--1-eth0"):
        "/calico/resources/v3/projectcalico.org/workloadendpoints/default/n1-k8s-web--1-eth0",
    ResourceKey("ClusterInformation", "", "default"):
        "/calico/resources/v3/projectcalico.org/clusterinformations/default",
    ResourceKey("IPAMBlock", "", "10.9.0.64/26"): "/calico/ipam/v2/assignment/ipv4/block/10.9.0.64-26",
    ResourceKey("IPAMBlock", "", "fd00::40/122"): "/calico/ipam/v2/assignment/ipv6/block/fd00::40-122",
    ResourceKey("Namespace", "", "prod"): "/muslin/v1/namespaces/prod",
}


@pytest.mark.parametrize(("key", "path"), WRITTEN_BY_CALICO.items(), ids=str)
def test_a_resource_lies_where_calico_puts_it(key: ResourceKey, path: str) -> None:
    assert layout.path(key) == path
    assert layout.parse(path) == key


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_a_place_and_is_found_there_again(kind) -> None:  # type: ignore[no-untyped-def]
    key = ResourceKey(kind.name, "ns" if kind.namespaced else "", "a.b-c")
    assert layout.parse(layout.path(key)) == key
    assert layout.path(key).startswith(layout.prefix(kind.name, key.namespace))


@pytest.mark.parametrize("path", [
    "/calico/resources/v3/projectcalico.org/networkpolicies/without-namespace",
    "/calico/resources/v3/projectcalico.org/tiers/a/b",
    "/calico/resources/v3/projectcalico.org/tiers/",
    "/calico/resources/v3/projectcalico.org/unheardof/a",
    "/calico/ipam/v2/handle/h1",
    "/calico/ipam/v2/assignment/ipv4/block/",
    "/calico/ipam/v2/assignment/ipv5/block/10.9.0.64-26",
    "/calico/felix/v2/no-region/host/h1/status",
    "/muslin/v1/namespaces/a/b",
    "", "/", "x",
])
def test_keys_of_other_things_are_no_resources(path: str) -> None:
    """Calico keeps much else in the same etcd; it is passed over, not an error."""
    assert layout.parse(path) is None


def test_ipam_records_lie_where_calico_puts_them() -> None:
    assert layout.affinity("n1", "10.9.0.64/26") == "/calico/ipam/v2/host/n1/ipv4/block/10.9.0.64-26"
    assert layout.affinity("n1", "fd00::40/122") == "/calico/ipam/v2/host/n1/ipv6/block/fd00::40-122"
    assert layout.affinity_block(layout.affinity("a-1", "10.9.0.64/26")) == "10.9.0.64/26"
    assert layout.handle("net.c0ffee") == "/calico/ipam/v2/handle/net.c0ffee"
    assert layout.IPAM_CONFIG == "/calico/ipam/v2/config"
    assert layout.block("10.9.0.64/26").startswith(layout.blocks(4))

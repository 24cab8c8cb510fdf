"""CNI in company: other address plugins, plugins that are chained after us, pods of a Kubernetes API."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrig import V3, Site, deny_to, ping, site
from cnirig import Failed, Runtime, endpoints, path
from netrig import in_ns, ip_json, namespace
from podsapi import api_in

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PLUGINS = "/usr/lib/cni"


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@pytest.fixture
def runtime(place: Site) -> Runtime:
    return Runtime(place.run / "agents" / "h1.sock", place.state)


def test_addresses_of_another_plugin(place: Site, runtime: Runtime, tmp_path: Path) -> None:
    ipam = {"type": "host-local", "dataDir": str(tmp_path), "ranges": [[{"subnet": "10.77.0.0/24"}]]}
    with namespace("a") as one, namespace("b") as two:
        first, second = (
            runtime.call("ADD", name, path(space), ipam=ipam, cni_path=PLUGINS)
            for name, space in (("own1", one), ("own2", two))
        )
        assert first["ips"][0]["address"].startswith("10.77.0.")
        assert ping(one, second["ips"][0]["address"])
        reserved = {file.name for file in (tmp_path / "net").iterdir() if file.name.startswith("10.")}
        assert len(reserved) == 2
        for name, space in (("own1", one), ("own2", two)):
            runtime.call("DEL", name, path(space), ipam=ipam, cni_path=PLUGINS)
        assert not [file for file in (tmp_path / "net").iterdir() if file.name.startswith("10.")]


def test_another_plugins_address_goes_back_when_we_refuse(runtime: Runtime, tmp_path: Path) -> None:
    ipam = {"type": "host-local", "dataDir": str(tmp_path), "ranges": [[{"subnet": "10.77.0.0/24"}]]}
    with pytest.raises(Failed, match="/nowhere"):
        runtime.call("ADD", "c", "/nowhere", ipam=ipam, cni_path=PLUGINS)
    assert (tmp_path / "net").is_dir(), "it was asked"
    assert not [file for file in (tmp_path / "net").iterdir() if file.name.startswith("10.")]


@pytest.mark.parametrize("says", ["", "null", "{}", '{"ips": []}'])
def test_another_plugins_silence_is_not_filled_by_ours(
    place: Site, runtime: Runtime, tmp_path: Path, says: str
) -> None:
    plugin = tmp_path / "silent"
    plugin.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf %s '{says}'\n")
    plugin.chmod(0o755)
    with namespace("a") as space, pytest.raises(Failed, match="without any address"):
        runtime.call("ADD", "c", path(space), ipam={"type": "silent"}, cni_path=str(tmp_path))
    assert endpoints(place) == []


@pytest.mark.parametrize(("address", "says"), [
    ("127.0.0.1", "loopback"), ("224.0.0.5", "multicast"), ("0.0.0.0", "no address"), ("169.254.1.7", "of the link"),
    ("fe80::7", "of the link"), ("255.255.255.255", "broadcast"), ("192.0.2.7", "host elsewhere"),
    ("2001:db8:0::07", "host elsewhere"),
])
def test_no_plugin_gives_a_container_what_is_a_hosts_or_nobodys(
    place: Site, runtime: Runtime, tmp_path: Path, address: str, says: str
) -> None:
    """With a host's, its neighbours would send the container what they mean for that host."""
    place.declare({"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": "elsewhere"},
                   "spec": {"bgp": {"ipv4Address": "192.0.2.7/24", "ipv6Address": "2001:db8::7/64"}}})
    ipam = {"type": "static", "addresses": [{"address": f"{address}/{128 if ':' in address else 32}"}]}
    with namespace("a") as space, pytest.raises(Failed, match=says):
        runtime.call("ADD", "c", path(space), ipam=ipam, cni_path=PLUGINS)
    assert endpoints(place) == []
    place.api.delete(f"{V3}/nodes/elsewhere")


def test_check_of_addresses_that_static_wrote_with_subnet_and_gateway(runtime: Runtime) -> None:
    """static compares the result with its configuration, and finds a gateway and a length that it does not know."""
    ipam = {"type": "static", "addresses": [{"address": "10.77.1.5/24", "gateway": "10.77.1.1"}]}
    with namespace("a") as space:
        added = runtime.call("ADD", "c", path(space), ipam=ipam, cni_path=PLUGINS)
        assert [each["address"] for each in added["ips"]] == ["10.77.1.5/32"]
        runtime.call("CHECK", "c", path(space), ipam=ipam, cni_path=PLUGINS, prevResult=added)
        in_ns(space, "ip", "addr", "del", "10.77.1.5/32", "dev", "eth0")
        with pytest.raises(Failed, match=r"10\.77\.1\.5"):
            runtime.call("CHECK", "c", path(space), ipam=ipam, cni_path=PLUGINS, prevResult=added)
        runtime.call("DEL", "c", path(space), ipam=ipam, cni_path=PLUGINS)


def test_a_configuration_that_we_refuse_costs_no_address(runtime: Runtime, tmp_path: Path) -> None:
    ipam = {"type": "host-local", "dataDir": str(tmp_path), "ranges": [[{"subnet": "10.77.0.0/24"}]]}
    with namespace("a") as space, pytest.raises(Failed, match="mtu"):
        runtime.call("ADD", "c", path(space), ipam=ipam, cni_path=PLUGINS, mtu="wide")
    assert not (tmp_path / "net").exists(), "the other plugin was not even asked"


def test_chained_tuning_finds_our_interface(runtime: Runtime) -> None:
    with namespace("t") as space:
        before = runtime.call("ADD", "tuned", path(space))
        chained = {"cniVersion": "1.0.0", "name": "net", "type": "tuning", "prevResult": before, "mtu": 1400,
                   "sysctl": {"net.ipv4.conf.eth0.arp_announce": "2"}}
        environment = {**os.environ, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "tuned", "CNI_NETNS": path(space),
                       "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS}
        done = subprocess.run([f"{PLUGINS}/tuning"], input=json.dumps(chained), capture_output=True, text=True,
                              check=False, env=environment)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["ips"] == before["ips"]
        assert ip_json(space, "link", "show", "eth0")[0]["mtu"] == 1400
        assert in_ns(space, "sysctl", "-n", "net.ipv4.conf.eth0.arp_announce").strip() == "2"
        runtime.call("DEL", "tuned", path(space))


POD = {
    "metadata": {"labels": {"app": "web", "muslin.dev/network": "other"}, "annotations": {
        "cni.projectcalico.org/ipAddrs": '["10.65.9.9"]', "kubernetes.io/ingress-bandwidth": "10M"}},
    "spec": {"serviceAccountName": "runner",
             "containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}]},
}


def test_a_pods_labels_and_annotations_count_before_its_first_packet(
    place: Site, runtime: Runtime, tmp_path: Path
) -> None:
    with (api_in(place.space("h1"), tmp_path, {"shop/web-0": POD}) as kubeconfig, namespace("w") as web,
          namespace("p") as peer):
        place.declare(deny_to("no-web", "app == 'web'"))
        args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={}"
        answer = runtime.call("ADD", "s1", path(web), args=args.format("web-0"), kubernetes={"kubeconfig": kubeconfig})
        assert answer["ips"][0]["address"] == "10.65.9.9/32"
        [endpoint] = endpoints(place)
        spec, labels = endpoint["spec"], endpoint["metadata"]["labels"]
        assert labels["app"] == "web"
        assert labels["muslin.dev/network"] == "net", "a pod cannot claim another network's"
        assert spec["serviceAccountName"] == "runner"
        assert [(port["name"], port["port"]) for port in spec["ports"]] == [("http", 8080)]
        assert spec["qosControls"]["ingressBandwidth"] == 10_000_000
        runtime.call("ADD", "s2", path(peer))
        assert not ping(peer, "10.65.9.9")
        with pytest.raises(Failed) as absent:
            runtime.call("ADD", "s3", path(web), "eth1", args=args.format("nobody"),
                         kubernetes={"kubeconfig": kubeconfig})
        assert absent.value.code == 3
        runtime.call("DEL", "s1", path(web), args=args.format("web-0"))
        runtime.call("DEL", "s2", path(peer))
        place.api.delete(f"{V3}/globalnetworkpolicies/no-web")


def test_a_pods_namespace_may_name_its_pools(place: Site, runtime: Runtime, tmp_path: Path) -> None:
    place.declare({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "of-shop"},
                   "spec": {"cidr": "10.98.0.0/24", "nodeSelector": "!all()"}})
    above = {"metadata": {"annotations": {"cni.projectcalico.org/ipv4pools": '["of-shop"]',
                                          "kubernetes.io/egress-bandwidth": "1M"}}}
    plain, own = ({"metadata": {"annotations": notes}} for notes in (
        {}, {"cni.projectcalico.org/ipv4pools": '["four"]'}))
    things = {"shop": above, "shop/plain": plain, "shop/own": own}
    with api_in(place.space("h1"), tmp_path, things) as kubeconfig, namespace("p") as one, namespace("o") as two:
        for pod, space, prefix in (("plain", one, "10.98.0."), ("own", two, "10.65.")):
            args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}"
            answer = runtime.call("ADD", pod, path(space), args=args, kubernetes={"kubeconfig": kubeconfig})
            assert answer["ips"][0]["address"].startswith(prefix)
            assert not endpoints(place)[0]["spec"].get("qosControls"), "a namespace names pools and nothing else"
            runtime.call("DEL", pod, path(space), args=args)
    place.api.delete(f"{V3}/ippools/of-shop")


@pytest.mark.parametrize(("settings", "forwards"), [({}, "0"), ({"allow_ip_forwarding": True}, "1")])
def test_a_container_forwards_where_the_configuration_allows_it(
    runtime: Runtime, settings: dict[str, bool], forwards: str
) -> None:
    with namespace("f") as space:
        in_ns(space, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        runtime.call("ADD", "router", path(space), container_settings=settings)
        for switch in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            assert in_ns(space, "sysctl", "-n", switch).strip() == forwards
        runtime.call("DEL", "router", path(space))

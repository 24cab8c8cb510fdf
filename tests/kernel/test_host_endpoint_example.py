"""examples/hosts/host-endpoints.yaml as a reader would use it: applied with the command, tried from outside.

The world outside is one namespace with the addresses of an administrator, a stranger and a scanner, behind eth0.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agentrig import MUSLIN, V3, Site, site
from netrig import in_ns, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts" / "host-endpoints.yaml"
HOST, OUTSIDE = "172.16.0.1", "172.16.0.2"
ADMINISTRATOR, STRANGER, SCANNER = "192.0.2.10", "203.0.113.5", "198.51.100.66"
PORTS = (22, 23, 80, 8443, 9000)
LISTEN = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for port in sys.argv[1:]:
    chosen.register(socket.create_server(("", int(port))), selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        key.fileobj.accept()[0].close()
"""
CONNECT = """
import socket, sys
socket.create_connection((sys.argv[2], int(sys.argv[3])), 0.4, (sys.argv[1], 0)).close()
"""


class Stage:
    def __init__(self, place: Site, outside: str, workload: str) -> None:
        self.place = place
        self.outside = outside
        self.workload = workload

    def reaches(self, source: str, destination: str, port: int) -> bool:
        done = subprocess.run(
            ["ip", "netns", "exec", self.outside, sys.executable, "-c", CONNECT, source, destination, str(port)],
            capture_output=True, check=False)
        return done.returncode == 0

    def pings(self, source: str, destination: str) -> bool:
        return "1 received" in in_ns(self.outside, "ping", "-c1", "-W0.5", "-I", source, destination, check=False)

    def endpoint(self, name: str) -> dict[str, str]:
        """What the agent says of this host endpoint."""
        return dict(self.place.report("h1").get("endpoints", {}).get(f"HostEndpoint/{name}", {}))

    def muslin(self, *words: str) -> str:
        environment = {**os.environ, "MUSLIN_RUN": str(self.place.run), "MUSLIN_STATE": str(self.place.state),
                       "MUSLIN_SERVER": f"unix:{self.place.run / 'server.sock'}"}
        done = subprocess.run([MUSLIN, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


BACKENDS = {"nftables": {}, "iptables-nft": {"nftablesMode": "Disabled", "iptablesBackend": "NFT"},
            "iptables-legacy": {"nftablesMode": "Disabled", "iptablesBackend": "Legacy"}}


@pytest.fixture(params=BACKENDS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Once for each kernel interface: what a host endpoint means does not depend on it."""
    with site() as place, namespace("out") as outside, ExitStack() as stack:
        place.api.post(f"{V3}/felixconfigurations", {
            "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
            "spec": BACKENDS[request.param]})
        place.start_agent("h1")
        guest = place.guest("h1", "shop")
        space, workload = place.space("h1"), guest.addresses[0].partition("/")[0]
        run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside)
        for name, own, other in ((space, HOST, OUTSIDE), (outside, OUTSIDE, HOST)):
            run("ip", "-n", name, "address", "add", f"{own}/24", "dev", "eth0")
            run("ip", "-n", name, "address", "add", f"fd10::{own[-1]}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "route", "add", "default", "via", other)
        for address in (ADMINISTRATOR, STRANGER, SCANNER):
            run("ip", "-n", outside, "address", "add", f"{address}/32", "dev", "lo")
        for name in (space, guest.network):
            stack.enter_context(_listening(name))
        wait_for("the backend", lambda: request.param != "nftables" or "inet muslin" in _tables(space))
        assert ("inet muslin" in _tables(space)) == (request.param == "nftables")
        yield Stage(place, outside, workload)


def _tables(space: str) -> str:
    return in_ns(space, "nft", "list", "tables")


@contextmanager
def _listening(space: str) -> Iterator[None]:
    """On all of PORTS."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", space, sys.executable, "-c", LISTEN, *map(str, PORTS)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_the_example_does_what_it_says(stage: Stage) -> None:
    for source in (ADMINISTRATOR, STRANGER, SCANNER):
        assert all(stage.reaches(source, HOST, port) for port in PORTS), "open before"
        assert stage.reaches(source, stage.workload, 23)

    stage.muslin("apply", "-f", str(EXAMPLE))
    stage.place.guest("h1", "later")  # it is there only when all that was written before it is in the kernel

    assert not stage.reaches(STRANGER, HOST, 8443)
    assert stage.reaches(ADMINISTRATOR, HOST, 8443)
    for source in (ADMINISTRATOR, STRANGER):
        assert stage.pings(source, HOST)
        assert stage.reaches(source, HOST, 22), "failsafe"
        assert not stage.reaches(source, HOST, 9000)
        assert stage.reaches(source, stage.workload, 80), "what is passed on is not asked of hosts.input"
        assert not stage.reaches(source, stage.workload, 23)
    run("ip", "-n", stage.outside, "neighbour", "flush", "all")
    run("ip", "-n", stage.place.space("h1"), "neighbour", "flush", "dev", "eth0")
    assert stage.pings("fd10::2", "fd10::1"), "neighbours are found"
    assert not stage.pings(SCANNER, HOST)
    assert not stage.reaches(SCANNER, stage.workload, 80), "before anything else"
    assert stage.reaches(SCANNER, HOST, 22), "but for failsafes, which nothing closes"
    assert "h1-eth0" in stage.muslin("get", "hep")
    wait_for("word of it", lambda: stage.endpoint("h1-eth0") == {"state": "up"})

    stage.place.api.delete(f"{V3}/hostendpoints/h1-eth0")
    wait_for("the end of it", lambda: stage.reaches(STRANGER, HOST, 9000))
    wait_for("its end for what passes", lambda: stage.reaches(SCANNER, stage.workload, 23))


def test_host_endpoints_made_by_themselves_open_and_a_policy_closes(stage: Stage) -> None:
    stage.place.api.post(f"{V3}/kubecontrollersconfigurations", {
        "apiVersion": "projectcalico.org/v3", "kind": "KubeControllersConfiguration", "metadata": {"name": "default"},
        "spec": {"controllers": {"node": {"hostEndpoint": {"autoCreate": "Enabled"}}}}})
    wait_for("h1-auto-hep", lambda: stage.endpoint("h1-auto-hep") == {"state": "up"})
    assert stage.reaches(STRANGER, HOST, 9000), "its profile allows all"

    stage.place.declare({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "hosts"},
        "spec": {"selector": "projectcalico.org/created-by == 'calico-kube-controllers'", "types": ["Ingress"],
                 "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [8443]}}]}})

    wait_for("policy", lambda: not stage.reaches(STRANGER, HOST, 9000))
    assert stage.reaches(STRANGER, HOST, 8443)
    assert stage.reaches(STRANGER, HOST, 22)
    assert stage.reaches(STRANGER, stage.workload, 23), "forwarding is asked only of applyOnForward"

"""CNI called by a real podman (CNI backend), in the host's network namespace: containers that reach each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentrig import MUSLIN, V3, Site, deny_to, site
from dockerrig import asking, page
from netrig import in_ns, namespace, run, wait_for
from rootfs import archive

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


class Podman:
    def __init__(self, directory: Path, space: str, environment: dict[str, str]) -> None:
        self._space = space
        self._environment = environment
        self._directory = directory

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(["nsenter", f"--net=/run/netns/{self._space}", "podman", *words], capture_output=True,
                              text=True, env=self._environment, timeout=60, check=False)
        assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
        return done.stdout

    def start(self, name: str, *words: str) -> str:
        """A container that sleeps; its address."""
        self("run", "-d", *LIMITS, "--name", name, *words, "localhost/bb:1", "/bin/sleep", "1000")
        [inspected] = json.loads(self("inspect", name))
        return next(net["IPAddress"] for net in inspected["NetworkSettings"]["Networks"].values())


@contextmanager
def podman(place: Site, directory: Path) -> Iterator[Podman]:
    environment = {**os.environ, "MUSLIN_RUN": str(place.run), "MUSLIN_STATE": str(place.state)}
    run("env", f"MUSLIN_RUN={place.run}", f"MUSLIN_STATE={place.state}", MUSLIN, "cni", "install", "--name", "muslin",
        "--host", "h1", "--bin-dir", str(directory / "bin"), "--conf-dir", str(directory / "net.d"),
        "--cni-version", "0.4.0", "--label", "from=podman")
    containers, storage = directory / "containers.conf", directory / "storage.conf"
    containers.write_text(
        f'[network]\nnetwork_backend="cni"\ncni_plugin_dirs=["{directory}/bin", "/usr/lib/cni"]\n'
        f'network_config_dir="{directory}/net.d"\n'
        '[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nruntime="runc"\n')
    storage.write_text(f'[storage]\ndriver="vfs"\ngraphroot="{directory}/graph"\nrunroot="{directory}/run"\n')
    environment |= {"CONTAINERS_CONF": str(containers), "CONTAINERS_STORAGE_CONF": str(storage)}
    tool = Podman(directory, place.space("h1"), environment)
    tool("import", str(archive(directory)), "bb:1")
    try:
        yield tool
    finally:
        tool("rm", "-f", "-t", "0", "--all", check=False)
        shutil.rmtree(directory / "graph", ignore_errors=True)


def test_podmans_containers_reach_each_other_until_policy_says_no(place: Site, tmp_path: Path) -> None:
    with podman(place, tmp_path) as tool:
        one, two = (tool.start(name, "--network", "muslin") for name in ("p1", "p2"))
        assert one.startswith("10.65."), one
        assert "1 packets received" in tool("exec", "p1", "/bin/ping", "-c1", "-W1", two)
        [endpoint] = [each for each in place.api.get(f"{V3}/workloadendpoints")["items"]
                      if each["spec"]["ipNetworks"][0] == f"{one}/32"]
        assert endpoint["metadata"]["labels"]["from"] == "podman"

        place.declare(deny_to("no-ping", "from == 'podman'", protocol="ICMP"))
        wait_for("the policy", lambda: "1 packets received" not in tool(
            "exec", "p1", "/bin/ping", "-c1", "-W1", two, check=False))
        place.api.delete(f"{V3}/globalnetworkpolicies/no-ping")

        fixed = tool.start("p3", "--network", "muslin:ip=10.65.0.77,mac=02:00:00:00:00:77")
        assert fixed == "10.65.0.77"
        tool("restart", "-t", "0", "p3")
        assert "1 packets received" in tool("exec", "p1", "/bin/ping", "-c1", "-W1", fixed)
        for name in ("p1", "p2", "p3"):
            tool("rm", "-f", "-t", "0", name)
    assert place.api.get(f"{V3}/workloadendpoints")["items"] == []


def test_podmans_published_ports_lead_to_the_container(place: Site, tmp_path: Path) -> None:
    """As installed, without portmap: podman shows them in any case."""
    host = place.space("h1")
    with podman(place, tmp_path) as tool, namespace("out") as outside:
        run("ip", "link", "add", "up0", "netns", host, "type", "veth", "peer", "name", "up0", "netns", outside)
        for number, where in ((1, host), (2, outside)):
            run("ip", "-n", where, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", where, "link", "set", "up0", "up")
        tool("run", "-d", *LIMITS, "--name", "web", "--network", "muslin", "-p", "8080:80", "-p", "192.0.2.1:8081:80",
             "localhost/bb:1", "/bin/sh", "-c", "/bin/echo hello >/page; exec /bin/httpd -f -p 80 -h /")

        def says(port: int) -> str:
            asked = asking("192.0.2.1", port, "busybox nc")
            return page(in_ns(outside, "busybox", "sh", "-c", asked, check=False))

        for port in (8080, 8081):
            wait_for(f"port {port}", lambda port=port: says(port) == "hello")
        tool("rm", "-f", "-t", "0", "web")
        assert says(8080) == ""

"""CNI called by a real containerd's CRI, as kubelet has it called: pod sandboxes over gRPC, without any Kubernetes.

containerd lives in a mount namespace of its own, so the pods' network namespaces, which it mounts below /run/netns,
are to be found by nobody else: not by the agent either. That is why our executable opens them for it.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from agentrig import MUSLIN, V3, Site, ping, site
from cri import Cri, pause_image
from netrig import namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CONFIG = """
version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
  address = "{0}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_cgroup = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{0}/bin"
    conf_dir = "{0}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@contextmanager
def containerd(place: Site, directory: Path) -> Iterator[Cri]:
    run("env", f"MUSLIN_RUN={place.run}", f"MUSLIN_STATE={place.state}", MUSLIN, "cni", "install", "--host", "h1",
        "--bin-dir", str(directory / "bin"), "--conf-dir", str(directory / "net.d"))
    (directory / "bin" / "loopback").symlink_to("/usr/lib/cni/loopback")  # containerd calls it for each pod
    (directory / "config.toml").write_text(CONFIG.format(directory))
    Path("/run/netns").mkdir(exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((directory / "containerd.log").open("wb"))
        inside = ("nsenter", f"--net=/run/netns/{place.space('h1')}", "unshare", "-m", "--propagation", "private")
        process = subprocess.Popen([*inside, "containerd", "--config", str(directory / "config.toml")],
                                   stdout=log, stderr=log)
        stack.callback(_end, process)
        socket, image = directory / "containerd.sock", pause_image(directory, "localhost/pause:1")
        ctr = ("ctr", "-a", str(socket), "-n", "k8s.io")
        wait_for("containerd", lambda: "Version" in run(*ctr, "version", check=False), 30)
        run(*ctr, "image", "import", "--snapshotter", "native", str(image))
        cri = Cri(socket)
        stack.callback(cri.close)
        wait_for("its network", lambda: "NetworkReady" in cri.status(), 30)
        yield cri


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def test_pods_of_a_cri_get_what_their_annotations_say_and_give_it_back(place: Site) -> None:
    with tempfile.TemporaryDirectory(prefix="mut-") as made, containerd(place, Path(made)) as cri, \
            namespace("w") as peer:
        place.add("h1", "peer", peer)
        pods: list[str] = []
        try:
            pods.append(cri.run_pod("shop", "web", {"cni.projectcalico.org/ipAddrs": '["10.65.3.3", "fd00:65::33"]'}))
            assert set(cri.addresses(pods[0])) == {"10.65.3.3", "fd00:65::33"}
            assert ping(peer, "10.65.3.3")
            assert ping(peer, "fd00:65::33")
            pods.append(cri.run_pod("shop", "api"))
            items = place.api.get(f"{V3}/namespaces/shop/workloadendpoints")["items"]
            found = {one["spec"]["pod"]: one for one in items}
            assert {*found} == {"web", "api"}
            assert {address.partition("/")[0] for address in found["api"]["spec"]["ipNetworks"]} == {
                *cri.addresses(pods[1])}
            with pytest.raises(grpc.RpcError, match=r"10\.65\.3\.3"):
                cri.run_pod("shop", "thief", {"cni.projectcalico.org/ipAddrs": '["10.65.3.3"]'})
        finally:
            for pod in pods:
                cri.remove_pod(pod)
        assert place.api.get(f"{V3}/namespaces/shop/workloadendpoints")["items"] == []

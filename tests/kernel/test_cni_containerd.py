"""CNI called by a real containerd: `ctr run --cni`.

ctr reads /etc/cni/net.d and /opt/cni/bin and nothing else, so containerd and ctr live in a mount namespace of their
own, with ours in those places. containerd's processes run in the host's network namespace.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agentrig import MUSLIN, V3, Site, site
from cnirig import Runtime
from netrig import run, wait_for
from rootfs import image

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


class Containerd:
    """Runs in mount and network namespaces that a holder keeps."""

    def __init__(self, directory: Path, holder: int) -> None:
        self._directory = directory
        self._inside = ("nsenter", "-t", str(holder), "-m", "-n")
        self.socket = directory / "containerd.sock"

    def start(self) -> subprocess.Popen[bytes]:
        with (self._directory / "containerd.log").open("ab") as words:
            return subprocess.Popen(
                (*self._inside, "containerd", "--root", str(self._directory / "root"), "--state",
                 str(self._directory / "state"), "--address", str(self.socket)), stdout=words, stderr=words)

    def ctr(self, *words: str, check: bool = True) -> str:
        return run(*self._inside, "ctr", "-a", str(self.socket), *words, check=check)


@contextmanager
def containerd(place: Site, directory: Path) -> Iterator[Containerd]:
    run("env", f"MUSLIN_RUN={place.run}", f"MUSLIN_STATE={place.state}", MUSLIN, "cni", "install", "--host", "h1",
        "--bin-dir", str(directory / "bin"), "--conf-dir", str(directory / "net.d"))
    script = (f"mount --make-rprivate / && mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni /etc/cni/net.d && "
              f"ln -s {directory}/bin /opt/cni/bin && mount --bind {directory}/net.d /etc/cni/net.d && exec sleep 600")
    Path("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        holder = subprocess.Popen(["nsenter", f"--net=/run/netns/{place.space('h1')}", "unshare", "-m", "sh", "-c",
                                   script])
        stack.callback(_end, holder)
        wait_for("the mounts", lambda: Path(f"/proc/{holder.pid}/root/opt/cni/bin").exists()
                 and Path(f"/proc/{holder.pid}/comm").read_text().strip() == "sleep")
        daemon = Containerd(directory, holder.pid)
        process = daemon.start()
        stack.callback(_end, process)
        wait_for("containerd", lambda: "Version" in daemon.ctr("version", check=False))
        try:
            yield daemon
        finally:
            for name in daemon.ctr("task", "ls", "-q").split():
                daemon.ctr("task", "kill", "-s", "9", name, check=False)
                daemon.ctr("task", "rm", "-f", name, check=False)
            for name in daemon.ctr("container", "ls", "-q").split():
                daemon.ctr("container", "rm", name, check=False)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def test_ctrs_containers_get_addresses_and_give_them_back(place: Site) -> None:
    with tempfile.TemporaryDirectory(prefix="mut-") as made, containerd(place, Path(made)) as daemon:
        rootfs = image(Path(made))
        for name in ("k1", "k2"):
            daemon.ctr("run", "-d", "--cni", "--rootfs", str(rootfs), name, "/bin/sleep", "500")
        found = place.api.get(f"{V3}/workloadendpoints")["items"]
        addresses = [each["spec"]["ipNetworks"][0].partition("/")[0] for each in found]
        assert len(addresses) == 2
        said = daemon.ctr("task", "exec", "--exec-id", "e1", "k1", "/bin/ping", "-c1", "-W1", addresses[1])
        assert "1 packets received" in said
        said = daemon.ctr("run", "--cni", "--rootfs", str(rootfs), "k3", "/bin/ping", "-c1", "-W1", addresses[0])
        assert "1 packets received" in said, "from its first packet on"
        for name in ("k1", "k2"):
            daemon.ctr("task", "kill", "-s", "9", name)
        # ctr asks for no DEL of containers that it did not wait for: what GC is for.
        runtime = Runtime(place.run / "agents" / "h1.sock", place.state, cniVersion="1.1.0", name="muslin")
        runtime.call("GC", **{"cni.dev/valid-attachments": []})
        assert place.api.get(f"{V3}/workloadendpoints")["items"] == []


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made

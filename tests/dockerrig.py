"""Real dockerds as hosts: each in its host's network namespace and a mount namespace of its own.

A holder process keeps the mount namespace: dockerd's own mounts (its containers' namespaces) must outlive dockerd.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agentrig import MUSLIN, Site
from muslin.client import Unreachable
from netrig import run, wait_for
from rootfs import archive

CLIENT = "/usr/bin/docker"
NO_BRIDGE = ("--bridge=none", "--iptables=false", "--ip6tables=false")


class Failed(AssertionError):
    """docker said no; the text is what its user sees."""


def asking(address: str, port: int, nc: str) -> str:
    """A shell's words that get /page from there (Debian's static busybox has a wget that crashes)."""
    return f"printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | {nc} -w 1 {address} {port}"


def page(answer: str) -> str:
    return answer.rpartition("\n\n")[2].strip() if "200 OK" in answer else ""


class Docker:
    """One dockerd of one host."""

    def __init__(self, place: Site, host: str, directory: Path, options: tuple[str, ...] = NO_BRIDGE) -> None:
        self.host = host
        self.socket, self.plugins = directory / "docker.sock", directory / "plugins"
        self._place = place
        self._directory = directory
        self._options = options
        self._holder = 0
        self.process: subprocess.Popen[bytes] | None = None

    def hold(self) -> subprocess.Popen[bytes]:
        plugins = self.plugins
        plugins.mkdir()
        script = (f"mount --make-rprivate / && mkdir -p /run/docker /etc/docker && mount -t tmpfs tmpfs /run/docker && "
                  f"mkdir -p /run/docker/plugins && mount -t tmpfs tmpfs /etc/docker && mkdir /etc/docker/plugins && "
                  f"mount --bind {plugins} /etc/docker/plugins && exec sleep 900")
        holder = subprocess.Popen(["nsenter", f"--net=/run/netns/{self._place.space(self.host)}", "unshare", "-m",
                                   "sh", "-c", script])
        self._holder = holder.pid
        wait_for("the mounts", lambda: Path(f"/proc/{holder.pid}/comm").read_text().strip() == "sleep")
        return holder

    def start(self) -> None:
        config = self._directory / "daemon.json"
        config.write_text("{}")
        # Where nobody reaps orphans, a dead containerd stays a zombie, and dockerd takes that for a running one.
        (self._directory / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self._directory / "dockerd.log").open("ab") as words:
            self.process = subprocess.Popen(
                ["nsenter", "-t", str(self._holder), "-m", "-n", "dockerd",
                 "--data-root", str(self._directory / "data"), "--exec-root", str(self._directory / "exec"),
                 "--pidfile", str(self._directory / "docker.pid"), "-H", f"unix://{self.socket}",
                 "--exec-opt", "native.cgroupdriver=cgroupfs", "--config-file", str(config), "--live-restore",
                 "--storage-driver", "vfs", *self._options], stdout=words, stderr=words,
                env={**os.environ, "TMPDIR": str(self._directory)})  # containerd, when late, writes stacks there
        wait_for("dockerd", self._answers, 60)

    def _answers(self) -> bool:
        done = subprocess.run([CLIENT, "-H", f"unix://{self.socket}", "info"], capture_output=True, check=False,
                              timeout=20)
        return done.returncode == 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def __call__(self, *words: str) -> str:
        """Raises Failed."""
        done = subprocess.run([CLIENT, "-H", f"unix://{self.socket}", *words], capture_output=True, text=True,
                              check=False, timeout=60, env={**os.environ, "DOCKER_CONFIG": str(self._directory)})
        if done.returncode:
            raise Failed(f"docker {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command under way."""
        process = subprocess.Popen([CLIENT, "-H", f"unix://{self.socket}", *words], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def container(self, name: str, *words: str) -> str:
        """A container that sleeps."""
        self("run", "-d", "--name", name, *words, "bb:1", "/bin/sleep", "900")
        return name

    def inspect(self, name: str) -> Any:
        return json.loads(self("inspect", name))[0]

    def address(self, name: str, network: str) -> str:
        return str(self.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def clear(self) -> None:
        """No container, and no network of ours."""
        ids = self("ps", "-aq").split()
        if ids:
            self("rm", "-f", *ids)
        self.remove(*self("network", "ls", "-q", "--filter", "driver=muslin").split())

    def remove(self, *networks: str) -> None:
        """Networks whose containers are gone. dockerd may count a container's endpoint a little longer than it has the
        container, with its own drivers too (moby issue 19261)."""
        for name in networks:
            wait_for(f"the end of {name}'s endpoints", lambda name=name: self._removes(name))  # type: ignore[misc]

    def _removes(self, network: str) -> bool:
        try:
            self("network", "rm", network)
        except Failed as error:
            if "has active endpoints" in str(error):
                return False
            raise
        return True

    def ping(self, name: str, address: str) -> bool:
        return self.say(name, "ping", "-c1", "-W1", address)

    def hears(self, name: str, address: str, port: int) -> str:
        """The page of a web server as a container gets it, "" when it does not answer."""
        try:
            return page(self("exec", name, "/bin/sh", "-c", asking(address, port, "/bin/nc")))
        except Failed:
            return ""

    def say(self, name: str, *words: str) -> bool:
        try:
            self("exec", name, f"/bin/{words[0]}", *words[1:])
        except Failed:
            return False
        return True

    def words(self) -> str:
        return (self._directory / "dockerd.log").read_text()


@contextmanager
def docker(place: Site, host: str, options: tuple[str, ...] = NO_BRIDGE) -> Iterator[Docker]:
    """dockerd with muslin installed, and the image `bb:1`."""
    directory = place.directory / f"docker-{host}"
    directory.mkdir()
    made = Docker(place, host, directory, options)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        holder = made.hold()
        stack.callback(_end, holder)
        stack.callback(_shut_door, place, host)
        stack.callback(_leave_nothing, made, directory)
        install(place, host, "install", "--docker", f"unix:{made.socket}", "--plugin-dir", str(directory / "plugins"))
        made.start()
        made("import", str(archive(directory)), "bb:1")
        yield made


def compose(host: Docker, directory: Path, *words: str) -> None:
    """Of the docker-compose.yaml that is there, as project `shop`."""
    done = subprocess.run(
        ["docker-compose", "-H", f"unix://{host.socket}", "-p", "shop", *words], cwd=directory, capture_output=True,
        text=True, timeout=120, check=False, env={**os.environ, "DOCKER_CONFIG": str(directory)})
    assert done.returncode == 0, done.stderr


def install(place: Site, host: str, verb: str, *options: str) -> str:
    return run("env", f"MUSLIN_RUN={place.run}", f"MUSLIN_STATE={place.state}", MUSLIN, "docker", verb, "--host", host,
               *options)


def _shut_door(place: Site, host: str) -> None:
    """It and the resolver outlive their agent, which a failed test may have left dead."""
    pids = [place.run / "agents" / f"{host}.{what}.pid" for what in ("docker", "docker-names")]
    try:
        place.agent(host).put("/v1/docker", {"enabled": False})
    except Unreachable:
        for pid in filter(Path.exists, pids):
            os.kill(int(pid.read_text()), signal.SIGTERM)
    wait_for("the end of the door", lambda: not any(map(Path.exists, pids)))


def _leave_nothing(made: Docker, directory: Path) -> None:
    """Containers outlive a dockerd with live-restore: they end first; then whatever dockerd had started."""
    if made.process is not None:
        try:
            ids = made("ps", "-aq").split()
            if ids:
                made("rm", "-f", *ids)
        except (Failed, subprocess.TimeoutExpired) as error:
            print(error)
    made.stop()
    for pid in _below(directory):
        os.kill(pid, signal.SIGKILL)
    wait_for("the end of dockerd's children", lambda: not _below(directory))


def _below(directory: Path) -> list[int]:
    """containerd and the shims of this dockerd, which name its directory in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in command and b"containerd" in command:
            found.append(int(path.parent.name))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)

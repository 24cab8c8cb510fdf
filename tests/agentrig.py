"""A whole small data centre for agent tests: a real server process, real agents in namespaces, workloads, traffic."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from muslin.client import ApiError, Client, Unreachable
from muslin.drivers.bird import running_below
from muslin.lab.crowd import Crowd
from muslin.lab.record import Workload
from netrig import in_ns, namespace, wait_for

MUSLIN = str(Path(sys.executable).with_name("muslin"))
V3 = "/apis/projectcalico.org/v3"


class Site:
    """One server, hosts by name. Everything ends with the test."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.run, self.state = directory / "run", directory / "state"
        self._stack = stack
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._hosts: dict[str, str] = {}
        self.api = Client(f"unix:{self.run / 'server.sock'}")
        self.crowd = Crowd(self.run / "traffic.sock")
        self.run.mkdir()
        self.state.mkdir()

    # ---- processes

    def start_server(self) -> None:
        store, listen = f"sqlite:///{self.state / 'store.db'}", f"unix:{self.run / 'server.sock'}"
        self.start("server", sys.executable, "-m", "muslin.server", "--store", store, "--listen", listen)
        self.wait_for_server()

    def wait_for_server(self) -> None:
        wait_for("the server", lambda: self._answers(self.api, "/healthz"))

    def make_host(self, host: str) -> str:
        """Its namespace, without an agent."""
        if host not in self._hosts:
            self._hosts[host] = self._stack.enter_context(namespace(host))
        return self._hosts[host]

    def use_host(self, host: str, space: str) -> None:
        self._hosts[host] = space

    def start_agent(self, host: str, *options: str, healthy: bool = True) -> None:
        command = (MUSLIN, "agent", "--node", host, *(options or ("--no-bgp",)))
        self.start(f"agent-{host}", "ip", "netns", "exec", self.make_host(host), *command)
        if healthy:
            self.wait_for_agent(host)

    def wait_for_agent(self, host: str) -> None:
        wait_for(f"the agent of {host}", lambda: self._answers(self.agent(host), "/healthz"))

    def start(self, name: str, *command: str) -> None:
        environment = {
            **os.environ, "MUSLIN_RUN": str(self.run), "MUSLIN_STATE": str(self.state),
            "MUSLIN_SERVER": f"unix:{self.run / 'server.sock'}",
        }
        with (self.directory / f"{name}.log").open("ab") as words:
            self._processes[name] = subprocess.Popen(command, stdout=words, stderr=words, env=environment)

    def signal(self, name: str, number: signal.Signals) -> None:
        """SIGKILL and SIGTERM are waited for."""
        process = self._processes[name]
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(10)

    def wait(self, name: str) -> None:
        """Until it has ended by itself."""
        self._processes[name].wait(10)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def words(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def bird_pid(self, host: str) -> int:
        """0 while there is none."""
        file = self.run / "bird" / host / "bird.pid"
        return int(file.read_text().strip() or 0) if file.exists() else 0

    def end(self) -> None:
        """Agents first: while one lives, it starts its BIRD again."""
        for process in self._processes.values():
            process.kill()
            process.wait(10)
        wait_for("the end of all BIRDs", self._no_bird)

    def _no_bird(self) -> bool:
        found = running_below(self.run / "bird")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    @staticmethod
    def _answers(client: Client, path: str) -> bool:
        try:
            client.get(path)
        except (ApiError, Unreachable):
            return False
        return True

    # ---- what users do

    def agent(self, host: str) -> Client:
        return Client(f"unix:{self.run / 'agents' / f'{host}.sock'}", timeout=30)

    def space(self, host: str) -> str:
        return self._hosts[host]

    def declare(self, *objects: dict[str, Any]) -> None:
        for thing in objects:
            namespaced = thing["metadata"].get("namespace")
            prefix = f"{V3}/namespaces/{namespaced}" if namespaced else V3
            self.api.post(f"{prefix}/{PLURALS[thing['kind']]}", thing)

    def guest(self, host: str, name: str, **more: Any) -> Workload:
        """A workload in a new namespace."""
        return self.add(host, name, self._stack.enter_context(namespace("w")), **more)

    def add(self, host: str, name: str, space: str, **more: Any) -> Workload:
        added = self.agent(host).post("/v1/workloads", {"name": name, "netns": space, **more})
        return Workload(name=name, namespace=more.get("namespace", "default"), host=host, network=space,
                        addresses=tuple(added["addresses"]))

    def remove(self, workload: Workload) -> None:
        self.agent(workload.host).delete(f"/v1/workloads/{workload.namespace}/{workload.name}")

    def report(self, host: str) -> dict[str, Any]:
        return self.agent(host).get("/v1/status")

    def repairs(self, host: str) -> list[str]:
        return [repair["what"] for repair in self.report(host).get("repairs", ())]


PLURALS = {"GlobalNetworkPolicy": "globalnetworkpolicies", "HostEndpoint": "hostendpoints",
           "NetworkPolicy": "networkpolicies", "IPPool": "ippools",
           "Node": "nodes", "WorkloadEndpoint": "workloadendpoints"}

POOLS = (
    {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "four"},
     "spec": {"cidr": "10.65.0.0/16"}},
    {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "six"},
     "spec": {"cidr": "fd00:65::/64"}},
)


def deny_to(name: str, selector: str, **rule: Any) -> dict[str, Any]:
    """A policy that denies one thing and allows the rest, to those that the selector selects."""
    return {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
        "spec": {"selector": selector, "types": ["Ingress"],
                 "ingress": [{"action": "Deny", **rule}, {"action": "Allow"}]},
    }


@contextmanager
def site(start_server: Callable[[Site], None] = Site.start_server) -> Iterator[Site]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mut-")))
        made = Site(directory, stack)
        stack.callback(made.end)
        start_server(made)
        made.declare(*POOLS)
        made.start("traffic", sys.executable, "-m", "muslin.lab.traffic", str(made.run / "traffic.sock"))
        wait_for("traffic", (made.run / "traffic.sock").exists)
        try:
            yield made
        except BaseException:
            for name in made._processes:
                print(f"--- {name}\n{made.words(name)[-6000:]}", file=sys.stderr)
            raise


def ping(space: str, address: str) -> bool:
    return "1 received" in in_ns(space, "ping", "-c1", "-W0.5", address.partition("/")[0], check=False)


def play(coroutine: Any) -> Any:
    return asyncio.run(coroutine)

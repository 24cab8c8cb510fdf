"""Hosts on one switch, each a namespace with its own BIRD: `with switched("h1", "h2") as hosts: ...`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from muslin.drivers.bird import Bird, BirdState
from muslin.intent import SessionState
from netrig import in_ns, ip_json, namespace, run, wait_for


class Host:
    """`number` gives the addresses 10.0.0.N/24 and fd00::N/64 on eth0."""

    def __init__(self, name: str, number: int, ns: str, directory: Path) -> None:
        self.name, self.number, self.ns = name, number, ns
        self.bird = Bird(name, directory=directory, enter=("ip", "netns", "exec", ns))

    def apply(self, conf: str) -> bool:
        return asyncio.run(self.bird.apply(conf))

    def read(self) -> BirdState:
        return asyncio.run(self.bird.read())

    def sessions(self) -> dict[str, SessionState]:
        return {session.name: session for session in self.read().sessions}

    def established(self) -> set[str]:
        return {name for name, session in self.sessions().items() if session.state == "Established"}

    def routes(self, version: int = 4) -> dict[str, str]:
        """Destination -> gateway (or "blackhole") of the kernel routes that BIRD made."""
        found = ip_json(self.ns, f"-{version}", "route", "show", "proto", "bird")
        return {route["dst"]: route.get("gateway") or route.get("type", "") for route in found}

    def stop(self) -> None:
        asyncio.run(self.bird.stop())


@contextmanager
def switched(*names: str) -> Iterator[list[Host]]:
    """One namespace is the switch; the hosts hang on its bridge."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="mut-bird-"))
        stack.callback(shutil.rmtree, directory)
        switch = stack.enter_context(namespace("sw"))
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        hosts = []
        for number, name in enumerate(names, 1):
            ns = stack.enter_context(namespace(name))
            in_ns(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            run("ip", "-n", switch, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", ns)
            run("ip", "-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            run("ip", "-n", ns, "link", "set", "eth0", "up")
            run("ip", "-n", ns, "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
            run("ip", "-n", ns, "addr", "add", f"fd00::{number}/64", "dev", "eth0", "nodad")
            host = Host(name, number, ns, directory / name)
            stack.callback(host.stop)
            hosts.append(host)
        yield hosts


def wait_established(*hosts: Host, sessions: int) -> None:
    for host in hosts:
        wait_for(f"{sessions} sessions of {host.name}", lambda host=host: len(host.established()) == sessions)  # type: ignore[misc]

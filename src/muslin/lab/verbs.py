"""`muslin lab up|down|list|exec|test`, as functions: each says what it did on the terminal and returns an exit code."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.table import Table

from muslin.errors import Invalid
from muslin.lab import screen
from muslin.lab.lab import Lab
from muslin.lab.matrix import Service, matrix, mentioned
from muslin.lab.record import load, recorded
from muslin.lab.shop import EXAMPLES, SERVICES
from muslin.lab.topology import Topology


async def up(topology: Topology) -> int:
    """A lab with nobody in it yet: fabric, server, agents, BGP."""
    began = time.monotonic()
    console = screen.console()
    lab = await Lab.up(topology)
    await lab.wait_sessions()
    console.print(f"lab {topology.name} is up after {time.monotonic() - began:.1f} s: "
                  f"hosts: {len(topology.hosts)}, routers: {len(topology.routers)}")
    host = topology.hosts[0].name
    for line in (
        f"export MUSLIN_SERVER={lab.daemons.server}",
        f"muslin apply -f {EXAMPLES}",
        f"ip netns add web; muslin lab exec {topology.name} {host} muslin workload add web --netns web --host {host}",
        f"muslin lab exec {topology.name} {host} ip route",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    return 0


async def down(name: str) -> int:
    await Lab.open(name).down()
    screen.console().print(f"lab {name} is gone")
    return 0


def listing() -> int:
    table = Table()
    for heading in ("Lab", "Hosts", "Workloads", "Alive", "Server"):
        table.add_column(heading)
    for name in recorded():
        lab = Lab(load(name))
        processes = lab.record.processes.values()
        alive = f"{sum(process.alive for process in processes)} of {len(processes)} processes"
        table.add_row(name, str(len(lab.topology.hosts)), str(len(lab.record.workloads)), alive, lab.daemons.server)
    screen.console().print(table if table.rows else "no lab is up; make one: muslin lab up")
    return 0


def execute(name: str, machine: str, words: Sequence[str]) -> int:
    """Become a command inside a router, host or workload; a shell when no words are given. Returns only if it fails."""
    lab = Lab.open(name)
    os.environ.update(lab.daemons.environment)
    command = list(words) or [os.environ.get("SHELL", "/bin/sh")]
    os.execvp("ip", ["ip", "netns", "exec", lab.network(machine), *command])


async def probe(name: str, services: Sequence[Service]) -> int:
    """The same for any services; none: those that policies speak of. Only differences are shown. 1 when there are."""
    lab = Lab.open(name)
    if not lab.record.workloads:
        raise Invalid(f"nobody lives in lab {name}: there is nothing to probe")
    chosen = list(services) or await mentioned(lab)
    console = screen.console()
    found = await matrix(lab, chosen)
    told = ", ".join(protocol if protocol == "icmp" else f"{protocol}/{port}" for protocol, port in chosen)
    agree = len(found.computed) - len(found.differences)
    console.print(screen.matrices(found, {_heading(service): service for service in chosen}))
    console.print(f"{agree} of {len(found.computed)} verdicts agree ({told}; {len(lab.record.workloads)} workloads)")
    for question in found.differences:
        console.print(f"[bold red]differs: {question}[/bold red]")
    return 1 if found.differences else 0


def _heading(service: Service) -> str:
    protocol, port = service
    return "ping" if protocol == "icmp" else str(port) if protocol == "tcp" else f"{protocol}/{port}"


async def test(name: str) -> int:
    """Computed beside probed, for the demo's services. 1 when they differ anywhere."""
    lab = Lab.open(name)
    if not lab.record.workloads:
        raise Invalid(f"nobody lives in lab {name}: there is nothing to probe")
    console = screen.console()
    found = await matrix(lab, SERVICES.values())
    console.print(screen.matrices(found, SERVICES))
    agree = len(found.computed) - len(found.differences)
    console.print(f"{agree} of {len(found.computed)} verdicts agree")
    for question in found.differences:
        console.print(f"[bold red]differs: {question}[/bold red]")
    return 1 if found.differences else 0

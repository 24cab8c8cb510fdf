"""From nothing to a data centre that one can look at, in seconds: `muslin lab demo`, and `--check` for machines.

    lab up  ->  examples/ applied  ->  workloads, while BGP converges  ->  matrix computed || probed  ->  what to try

It leaves the lab up, for whoever wants to try what it suggests. With `check` it says how long each stage took, takes
everything down again, and answers with an exit code: 0 only if computed and probed agree in every cell.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from muslin.errors import Broken
from muslin.lab import screen
from muslin.lab.lab import Lab
from muslin.lab.matrix import Matrix, matrix
from muslin.lab.record import recorded
from muslin.lab.shop import EXAMPLES, SERVICES, WORKLOADS
from muslin.lab.topology import Topology
from muslin.lab.waiting import together, wait_for

NAME = "demo"


class Stages:
    """Says what is going on, and remembers how long each took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - began
        self._console.print(f"[green]✓[/green] {what} [dim]{self.seconds[what]:.1f} s[/dim]")

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


async def demo(check: bool, name: str = NAME) -> int:
    """Exit code: 0 when computed and probed agree."""
    console = screen.console(plain=check)
    stages = Stages(console)
    if name in recorded():
        with stages.stage(f"former lab {name} taken down"):
            await Lab.open(name).down()
    with stages.stage("fabric, server and agents: 2 racks with 2 hosts each, a router per rack, a spine"):
        lab = await Lab.up(Topology(name=name))
    try:
        found = await _filled(lab, stages)
        await _show(lab, found, console)
    except BaseException:
        if check:
            await lab.down()
        else:
            console.print(f"[red]The lab stays as it is, to be looked at. To remove it: muslin lab down {name}[/red]")
        raise
    agree = not found.differences
    if check:
        with stages.stage("everything taken down"):
            await lab.down()
        _report(stages, found, console)
    else:
        console.print(_suggestions(lab), soft_wrap=True, highlight=False)
    return 0 if agree else 1


async def _filled(lab: Lab, stages: Stages) -> Matrix:
    """Policy, workloads, routes; then who reaches whom."""
    with stages.stage("examples applied"):
        await lab.apply(EXAMPLES)
    with stages.stage(f"{len(WORKLOADS)} workloads plugged, BGP sessions up"):
        await together(lab.add(*WORKLOADS), lab.wait_sessions())
    with stages.stage("routes to every workload in every host's kernel"):
        await lab.wait_routes()
    with stages.stage("status: all in sync"):
        await wait_for("a status without red lines", lambda: _all_well(lab))
    with stages.stage("matrix computed, and probed with real packets"):
        found = await matrix(lab, SERVICES.values())
    if not found.computed:
        raise Broken("the server computed an empty matrix: nothing would have been compared")
    return found


async def _all_well(lab: Lab) -> bool:
    status = await lab.get("/muslin/v1/status")
    return bool(status["ok"])


async def _show(lab: Lab, found: Matrix, console: Console) -> None:
    names = [host.name for host in lab.topology.hosts]
    states = await together(*(lab.daemons.bird(name).read() for name in names))
    console.print()
    console.print(screen.hosts(lab.topology, {n: s.sessions for n, s in zip(names, states, strict=True)}))
    console.print(screen.workloads(lab.record.workloads.values()))
    console.print(screen.matrices(found, SERVICES))
    console.print(f"{len(found.computed) - len(found.differences)} of {len(found.computed)} verdicts agree"
                  " (every pair, port and family)")
    for question in found.differences[:20]:
        console.print(f"[bold red]computed {_word(found.computed.get(question))}, probed"
                      f" {_word(found.probed.get(question))}: {question}[/bold red]")


def _word(reached: bool | None) -> str:
    return {True: "allowed", False: "denied", None: "nothing"}[reached]


def _report(stages: Stages, found: Matrix, console: Console) -> None:
    console.print()
    for what, seconds in stages.seconds.items():
        console.print(f"{seconds:7.2f} s  {what}")
    console.print(f"{stages.total:7.2f} s  in all")
    console.print(f"{len(found.differences)} differences in {len(found.probed)} verdicts")


def suggestions(lab: Lab) -> list[tuple[str, str]]:
    """(what for, command): each works as it stands."""
    name = lab.topology.name
    api, db = lab.workload("shop/api1"), lab.workload("shop/db1")
    control = lab.daemons.bird("r1").directory / "bird.ctl"
    return [
        ("talk to this lab's server", f"export MUSLIN_SERVER={lab.daemons.server}{_on_path()}"),
        ("everything on one screen", "muslin status"),
        ("why may web1 not reach the database?", "muslin why shop/web1 shop/db1 tcp/5432"),
        ("and why the API: by which line of which file?", "muslin why shop/web1 shop/api1 tcp/8080"),
        ("policies, in all namespaces", "muslin get networkpolicy -A"),
        ("a packet across the racks", f"muslin lab exec {name} api1 ping -c 3 {db.address(4)}"),
        ("a host's routes, as the kernel has them", f"muslin lab exec {name} r1h1 ip route"),
        ("a host's policy, as the kernel has it", f"muslin lab exec {name} {api.host} nft list table inet muslin"),
        ("what a rack's router has learnt", f"birdc -s {control} show route"),
        ("cut the web tier off, and see", "muslin label wep -n shop -l role=web quarantine=yes"),
        ("computed beside probed, again", f"muslin lab test {name}"),
        ("when you have seen enough", f"muslin lab down {name}"),
    ]


def _on_path() -> str:
    """What else to export, so that a bare `muslin` is this one."""
    found = shutil.which("muslin")
    own = Path(sys.executable).parent
    return "" if found and Path(found).parent == own else f" PATH={own}:$PATH"


def _suggestions(lab: Lab) -> str:
    lines = [f"  [dim]# {what}[/dim]\n  {command}" for what, command in suggestions(lab)]
    return "\n".join(["", "The lab is up. Try:", "", *lines])

"""What a lab looks like, for people: hosts and sessions, workloads and addresses, and the two matrices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from muslin.intent import SessionState
from muslin.lab.matrix import Matrix, Question, Service
from muslin.lab.record import Workload
from muslin.lab.topology import Topology

_HIGH = {4: "⁴", 6: "⁶"}
"""Behind a service that only one family has."""


def hosts(topology: Topology, sessions: Mapping[str, tuple[SessionState, ...]]) -> Table:
    table = Table(title="Hosts and BGP sessions", title_justify="left")
    for heading in ("Host", "Rack", "AS", "Addresses", "Peer", "State", "Routes in/out"):
        table.add_column(heading)
    for host in topology.hosts:
        found = sessions.get(host.name, ())
        table.add_row(
            host.name, host.rack, str(host.local_as), f"{host.v4}\n{host.v6}",
            "\n".join(session.peer for session in found),
            Text("\n").join(_coloured(session.state) for session in found),
            "\n".join(f"{session.imported}/{session.exported}" for session in found),
        )
    return table


def _coloured(state: str) -> Text:
    return Text(state, style="green" if state == "Established" else "red")


def workloads(some: Iterable[Workload]) -> Table:
    table = Table(title="Workloads and addresses", title_justify="left")
    for heading in ("Workload", "Host", "IPv4", "IPv6"):
        table.add_column(heading)
    for workload in sorted(some, key=lambda one: one.full_name):
        table.add_row(workload.full_name, workload.host, workload.address(4), workload.address(6))
    return table


def matrices(matrix: Matrix, services: Mapping[str, Service]) -> RenderableType:
    """Side by side where there is room. A service stands in a cell when it is reached; ⁴ or ⁶: only by that family."""
    wrong = set(matrix.differences)
    return Columns([
        _Verdicts(matrix.computed, services, wrong).table("Computed from policy"),
        _Verdicts(matrix.probed, services, wrong).table("Probed with packets"),
    ])


@dataclass(frozen=True)
class _Verdicts:
    """One of the two matrices. `wrong`: where the other one says something else."""

    reached: Mapping[Question, bool]
    services: Mapping[str, Service]
    wrong: Set[Question]

    def table(self, title: str) -> Table:
        names = sorted({question.source for question in self.reached})
        table = Table(title=title, title_justify="left", padding=(0, 0))
        table.add_column("from \\ to")
        for name in names:
            table.add_column(name.partition("/")[2])
        for source in names:
            table.add_row(source, *(self._cell(source, destination) for destination in names))
        return table

    def _cell(self, source: str, destination: str) -> Text:
        if source == destination:
            return Text("-", style="dim")
        words = [self._word(word, source, destination, *service) for word, service in self.services.items()]
        return Text(" ").join(word for word in words if word) or Text("·", style="dim")

    def _word(self, word: str, source: str, destination: str, protocol: str, port: int) -> Text:
        asked = [Question(source, destination, version, protocol, port) for version in (4, 6)]
        reached = [question.version for question in asked if self.reached.get(question)]
        shown = word + (_HIGH[reached[0]] if len(reached) == 1 else "") if reached else ""
        if self.wrong.isdisjoint(asked):
            return Text(shown, "green")
        return Text(shown or f"no {word}", "bold red")


def console(*, plain: bool = False) -> Console:
    """`plain`: no colours, no terminal, wide enough."""
    return Console(width=160, no_color=True, force_terminal=False) if plain else Console()

"""Everything an agent is told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muslin import paths
from muslin.client.address import Identity
from muslin.intent import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """`node` names this host; everything it owns in the kernel lies in the namespace that the process runs in.

    `servers`: `unix:PATH`, `https://HOST:PORT` or `http://127.0.0.1:PORT`; the next is tried when one does not answer.
    `ipv4_address`, `ipv6_address`: what BGP speaks from, as address/length; "" takes the uplink's.
    `as_number` "" leaves what the Node resource or BGPConfiguration say. `labels` are added to the Node resource.
    `bgp` False: no BIRD, and no BGP addresses in the Node resource.
    `dataplane`: what enforces policy, whatever FelixConfiguration says; None leaves it to that.
    """

    node: str
    servers: tuple[str, ...] = field(default_factory=lambda: (paths.server_address(),))
    identity: Identity = field(default_factory=Identity)
    socket: Path | None = None
    state: Path | None = None
    ipv4_address: str = ""
    ipv6_address: str = ""
    as_number: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    bgp: bool = True
    dataplane: Backend | None = None

    @property
    def socket_path(self) -> Path:
        return self.socket or paths.agent_socket(self.node)

    @property
    def behind_path(self) -> Path:
        """There while the snapshot is behind what the kernel was told. Beside the socket: it must go when the machine
        starts anew, as the kernel's state does."""
        return self.socket_path.with_suffix(".behind")

    @property
    def state_path(self) -> Path:
        """Snapshot and journal of this agent."""
        return self.state or paths.state_dir() / "agents" / self.node

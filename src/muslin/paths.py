"""Where things lie on a machine. One home for every default path; `MUSLIN_RUN` and `MUSLIN_STATE` move them."""

from __future__ import annotations

import os
from pathlib import Path


def run_dir() -> Path:
    """Sockets and pid files: /run/muslin."""
    return Path(os.environ.get("MUSLIN_RUN", "/run/muslin"))


def state_dir() -> Path:
    """The store and the agents' snapshots: /var/lib/muslin."""
    return Path(os.environ.get("MUSLIN_STATE", "/var/lib/muslin"))


def server_socket() -> Path:
    return run_dir() / "server.sock"


def agent_socket(node: str) -> Path:
    """Each agent of this machine answers here; a lab has many."""
    return run_dir() / "agents" / f"{node}.sock"


def cni_pending(node: str) -> Path:
    """Removals of containers that were asked for while no agent ran, or no server answered."""
    return state_dir() / "cni-pending" / node


def docker_socket(node: str) -> Path:
    """Where dockerd finds this host's driver."""
    return run_dir() / "agents" / f"{node}.docker"


def docker_names_socket(node: str) -> Path:
    """Where the resolver of containers' names is told them."""
    return run_dir() / "agents" / f"{node}.docker-names"


def server_address() -> str:
    """How clients find the server: $MUSLIN_SERVER, or the unix socket. `unix:PATH`, `http://H:P` or `https://H:P`."""
    return os.environ.get("MUSLIN_SERVER", f"unix:{server_socket()}")

"""Which orchestrators an agent serves. Wired here, because agent and plugins know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence

from muslin import paths
from muslin.agent.run import Host, Service
from muslin.plugins import cni, docker


def services(host: Host) -> Sequence[Service]:
    node = host.options.node
    return (
        cni.Service(host.workloads, host.options.socket_path, paths.cni_pending(node)),
        docker.Service(host.workloads, host.upstream, docker.Book(host.options.state_path / "docker.json"),
                       docker.Keeper(paths.docker_socket(node), host.options.socket_path), node),
    )

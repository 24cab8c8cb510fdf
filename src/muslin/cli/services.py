"""Which orchestrators an agent serves. Wired here, because agent and plugins know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence

from muslin import paths
from muslin.agent.run import Host, Service
from muslin.plugins import cni
from muslin.plugins.docker import keeper
from muslin.plugins.docker.book import Book
from muslin.plugins.docker.service import Service as Docker


def services(host: Host) -> Sequence[Service]:
    node = host.options.node
    return (
        cni.Service(host.workloads, host.options.socket_path, paths.cni_pending(node)),
        Docker(host.workloads, host.upstream, Book(host.options.state_path / "docker.json"),
               (keeper.door(paths.docker_socket(node), host.options.socket_path),
                keeper.resolver(paths.docker_names_socket(node))), node, host.reporter),
    )

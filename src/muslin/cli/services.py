"""Which orchestrators an agent serves. Wired here, because agent and plugins know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence

from muslin import paths
from muslin.agent.options import AgentOptions
from muslin.agent.run import Service
from muslin.agent.workloads import Workloads
from muslin.plugins import cni


def services(workloads: Workloads, options: AgentOptions) -> Sequence[Service]:
    return (cni.Service(workloads, paths.cni_pending(options.node)),)

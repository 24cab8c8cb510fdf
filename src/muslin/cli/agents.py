"""The agents of this machine: each answers at a unix socket of its own."""

from __future__ import annotations

from muslin import paths
from muslin.cli.faults import Misused, Refused, meant
from muslin.client.blocking import Client


def agent(node: str) -> Client:
    """The one named, or the only one there is. Raises Refused."""
    directory = paths.agent_socket("x").parent
    there = sorted(path.stem for path in directory.glob("*.sock")) if directory.is_dir() else []
    if not node and len(there) == 1:
        node = there[0]
    if not there:
        raise Refused(f"no agent runs on this machine (no socket in {directory}): start one with `muslin up`, or "
                      "`muslin agent --node NAME`")
    if not node:
        raise Misused(f"{len(there)} agents run on this machine: say which with --host, one of {', '.join(there)}")
    if node not in there:
        raise Refused(f"no agent of host {node!r} runs on this machine, only of {', '.join(there)}{meant(node, there)}")
    return Client(f"unix:{paths.agent_socket(node)}", timeout=60, mend=f"start it with `muslin agent --node {node}`")

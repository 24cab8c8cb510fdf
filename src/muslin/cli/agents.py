"""The agents of this machine: each answers at a unix socket of its own."""

from __future__ import annotations

from pathlib import Path

from muslin import paths
from muslin.cli.faults import Misused, Refused, meant
from muslin.client.address import parse
from muslin.client.blocking import Client


def agent(node: str) -> Client:
    """The one named, or the only one there is. Raises Refused."""
    there = {path.stem: path for directory in reversed(_directories()) for path in sorted(directory.glob("*.sock"))}
    if not node and len(there) == 1:
        node = next(iter(there))
    if not there:
        looked = " or ".join(map(str, _directories()))
        raise Refused(f"no agent runs on this machine (no socket in {looked}): start one with `muslin up`, or "
                      "`muslin agent --node NAME`")
    if not node:
        raise Misused(f"{len(there)} agents run on this machine: say which with --host, one of {', '.join(there)}")
    if node not in there:
        raise Refused(f"no agent of host {node!r} runs on this machine, only of {', '.join(there)}{meant(node, there)}")
    return Client(f"unix:{there[node]}", timeout=60, mend=f"start it with `muslin agent --node {node}`")


def _directories() -> list[Path]:
    """Where this machine's agents listen; also beside the server that is spoken to, as in a lab."""
    found = [paths.agent_socket("x").parent]
    server = parse(paths.server_address())
    if server.path:
        found.append(Path(server.path).parent / found[0].name)
    return list(dict.fromkeys(found))

"""The agents of this machine: each answers at a unix socket of its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from muslin import paths
from muslin.cli.faults import Misused, Refused, meant
from muslin.client.address import parse
from muslin.client.blocking import Client


def agent(node: str) -> Client:
    """The one named, or the only one there is. Raises Refused."""
    there = _there()
    if not there:
        looked = " or ".join(map(str, _directories()))
        raise Refused(f"no agent runs on this machine (no socket in {looked}): start one with `muslin up`, or "
                      "`muslin agent --node NAME`")
    node = node or _only(there)
    if node not in there:
        raise Refused(f"no agent of host {node!r} runs on this machine, only of {', '.join(there)}{meant(node, there)}")
    return Client(f"unix:{there[node]}", timeout=60, mend=f"start it with `muslin agent --node {node}`")


def socket(node: str) -> Path:
    """Where the agent of that name answers, or the only one there is, or will once it runs. Raises Misused."""
    there = _there()
    if not node and there:
        node = _only(there)
    node = node or os.environ.get("NODENAME") or platform.node().lower()
    return there.get(node, paths.agent_socket(node))


def _there() -> dict[str, Path]:
    return {path.stem: path for directory in reversed(_directories()) for path in sorted(directory.glob("*.sock"))}


def _only(there: Mapping[str, Path]) -> str:
    if len(there) > 1:
        raise Misused(f"{len(there)} agents run on this machine: say which with --host, one of {', '.join(there)}")
    return next(iter(there))


def _directories() -> list[Path]:
    """Where this machine's agents listen; also beside the server that is spoken to, as in a lab."""
    found = [paths.agent_socket("x").parent]
    server = parse(paths.server_address())
    if server.path:
        found.append(Path(server.path).parent / found[0].name)
    return list(dict.fromkeys(found))

"""`muslin staged`: what staged policies would change, if they were enforced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muslin.cli import changes, output, worlds
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.cli.screen import BOLD, DIM, RED, paint

EXAMPLES = """
muslin staged                             each staged policy, and all of them at once
muslin staged --offline -f policies/      of files
muslin staged -o json                     by classes, as data
"""
MORE = """\
Reckoned from the model, for all ports and protocols: what would be gained and lost if a staged policy were enforced
(one with stagedAction Delete: if the enforced one of its name were gone). Of hosts whose agent is on this machine,
flows that are under way and that staged policies would end are told too. Enforced they are by applying them as policies
that are not staged."""
FEW = 5
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("staged", "What would staged policies change?", usage="[options]", examples=EXAMPLES, more=MORE)
    worlds.options(parser)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    if worlds.is_offline(words):
        from muslin.offline.compare import staged

        found = staged(worlds.world(words.filename, quiet=words.quiet))
    else:
        found = connect(words).get("/muslin/v1/staged")
        found["flows"] = list(_flows())
    print(json.dumps(found, indent=2) if form == "json" else "\n".join(lines(found)))
    return 0


def lines(found: Json) -> Iterator[str]:
    """Each by itself, then all of them, where they are several."""
    each = found.get("each") or []
    if not each:
        yield "no staged policy selects anything: nothing would change"
        return
    for one in each:
        yield paint(one["policy"], BOLD)
        yield from (f"  {line}" for line in changes.lines(one))
        yield f"  if it were enforced, {changes.summary(one)}"
    if len(each) > 1:
        yield paint("all of them", BOLD)
        yield from (f"  {line}" for line in changes.lines(found))
        yield f"  if they were enforced, {changes.summary(found)}"
    for host in found.get("flows") or ():
        yield from _of_host(host)


def _of_host(host: Json) -> Iterator[str]:
    ending = host["ending"]
    yield f"{paint(host['host'], BOLD)}: {len(ending)} of {host['total']} flows under way would be ended"
    for flow in ending[:FEW]:
        port = f"/{flow['destinationPort']}" if flow.get("destinationPort") else ""
        by = flow["staged"].get("by") or "policy"
        told = f"{flow['source']} -> {flow['destination']} {flow['protocol'].lower()}{port}"
        yield f"  {paint('-', RED)} {told}  {paint(f'by {by}', DIM)}"
    if len(ending) > FEW:
        yield f"  ... and {len(ending) - FEW} more; -o json has all"


def _flows() -> Iterator[Json]:
    """Of each agent of this machine: flows that are allowed now, and that staged policy would deny."""
    from muslin.client.blocking import Client
    from muslin.client.refusal import ApiError
    from muslin.errors import Transient

    sockets = Path(os.environ.get("MUSLIN_RUN", "/run/muslin")) / "agents"
    for socket in sorted(sockets.glob("*.sock")) if sockets.is_dir() else ():
        try:
            seen = Client(f"unix:{socket}", timeout=10).get("/v1/flows", limit="100000")
        except (Transient, ApiError):
            continue  # an agent that is not running has no say; `muslin status` tells of it
        ending = [flow for flow in seen["items"] if flow["enforced"]["verdict"] == "Allow"
                  and (flow.get("staged") or {}).get("verdict") == "Deny"]
        yield {"host": socket.stem, "total": seen["total"], "ending": ending}

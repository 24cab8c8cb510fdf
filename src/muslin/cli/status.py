"""`muslin status`: one screen; each red line says what to do. Exit code 0 when all is well, 1 when not."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from muslin.cli import output, screen
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.cli.screen import BOLD, DIM, GREEN, RED, YELLOW, paint

EXAMPLES = """
muslin status
muslin status --all                      each host, and each fault, of a thousand
muslin status || echo "something is wrong"
muslin status -o json
"""
Json = dict[str, Any]
HOSTS_SHOWN, FAULTS_SHOWN, NAMES_SHOWN, REPAIRS_SHOWN = 20, 20, 5, 3
COUNTED = (
    ("host", "hosts", ("Node",)), ("workload", "workloads", ("WorkloadEndpoint",)),
    ("policy", "policies", ("NetworkPolicy", "GlobalNetworkPolicy")),
    ("address pool", "address pools", ("IPPool",)), ("block", "blocks", ("IPAMBlock",)),
)


def run(arguments: list[str]) -> int:
    parser = Parser("status", "Hosts, agents, BGP sessions, and what is not as it should be.",
                    usage="[--all] [-o json]", examples=EXAMPLES)
    parser.add_argument("--all", action="store_true", help="more than one screen: of many hosts each, and each fault")
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    client = connect(words)
    found = client.get("/muslin/v1/status")
    if form == "json":
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(lines(found, str(client.address), everything=words.all)))
    return 0 if found.get("ok") else 1


def lines(status: Json, address: str, *, everything: bool = False) -> Iterator[str]:
    """The screen; longer than one only when everything is asked for."""
    server, hosts = status.get("server") or {}, status.get("hosts") or []
    known = ", ".join(_counted(server.get("objects") or {}))
    facts = [address, f"muslin {server.get('version', '?')}", f"up {_span(server.get('uptime'))}"]
    yield f"{paint('server', BOLD)}  {', '.join([*facts, _megabytes(server.get('rss'))])}"
    if known:
        yield paint(f"        {known}", DIM)
    yield ""
    if hosts:
        yield from _hosts(hosts, None if everything else HOSTS_SHOWN)
    else:
        yield "no hosts yet: start an agent on one with `muslin agent`, or `muslin up` on this machine"
    wrong = [*_problems(hosts, None if everything else NAMES_SHOWN), *_faults(status.get("faults") or [])]
    if wrong:
        yield ""
        yield paint("Not as it should be:", BOLD)
    for one in wrong if everything else wrong[:FAULTS_SHOWN]:
        yield from one
    if not everything and len(wrong) > FAULTS_SHOWN:
        yield f"  and {len(wrong) - FAULTS_SHOWN} more: muslin status --all"
    yield from _repairs(hosts)
    yield ""
    yield paint("all is well", GREEN) if status.get("ok") else paint("not all is well", RED)


def _problems(hosts: Sequence[Json], names: int | None) -> Iterator[list[str]]:
    """What is wrong with several hosts is said once, of the first of them; without a number of names, of each."""
    alike: dict[object, list[tuple[str, Json]]] = defaultdict(list)
    for host in hosts:
        for number, problem in enumerate(host.get("problems") or []):
            name = rf"(?<![\w.-]){re.escape(host['name'])}(?![\w-])"
            general = tuple(re.sub(name, "\0", str(problem.get(part, ""))) for part in ("what", "mend"))
            alike[general if names is not None else (host["name"], number)].append((host["name"], problem))
    for together in alike.values():
        name, problem = together[0]
        others = [other for other, _ in together[1:]]
        yield [*_red(f"{name}: {problem['what']}", problem.get("mend", "")), *_likewise(others, names or 0)]


def _likewise(others: list[str], names: int) -> Iterator[str]:
    if others:
        more = f" and {len(others) - names} more" if len(others) > names else ""
        yield f"      likewise {', '.join(others[:names])}{more}"


def _faults(faults: Sequence[Json]) -> Iterator[list[str]]:
    for fault in faults:
        yield [*_red(f"{fault['object']}: {fault['message']}", fault.get("mend", ""))]


def _counted(objects: dict[str, int]) -> Iterator[str]:
    for one, many, kinds in COUNTED:
        if number := sum(objects.get(kind, 0) for kind in kinds):
            yield f"{number} {one if number == 1 else many}"


def _hosts(hosts: Sequence[Json], most: int | None) -> Iterator[str]:
    """All, or the first of those that are not as they should be, where there are more than that."""
    shown = hosts if most is None or len(hosts) <= most else list(islice(filter(_is_wrong, hosts), most))
    head = ["HOST", "AGENT", "KERNEL", "BGP", "WORKLOADS"]
    rows = [[host["name"], *(text for text, _ in _cells(host))] for host in shown]
    widths = screen.widths_of([head, *rows])
    if shown:
        yield "   ".join(word.ljust(width) for word, width in zip(head, widths, strict=True)).rstrip()
    for host in shown:
        cells = [(host["name"], ""), *_cells(host)]
        padded = [(text.ljust(width), colour) for (text, colour), width in zip(cells, widths, strict=True)]
        yield "   ".join(paint(text, colour) if colour else text for text, colour in padded).rstrip()
    if left := len(hosts) - len(shown):
        well = sum(not _is_wrong(host) for host in hosts)
        others = left - well
        told = [f"{well} hosts as they should be"] * bool(well) + [f"{others} more that are not"] * bool(others)
        yield f"{'and ' if shown else ''}{', '.join(told)}: muslin status --all shows each"


def _is_wrong(host: Json) -> bool:
    return bool(host.get("problems")) or any(colour in (RED, YELLOW) for _, colour in _cells(host))


def _cells(host: Json) -> list[tuple[str, str]]:
    workloads = [state for key, state in (host.get("endpoints") or {}).items() if key.startswith("WorkloadEndpoint/")]
    up = sum(state.get("state") == "up" for state in workloads)
    sessions = host.get("sessions") or []
    established = sum(session.get("state") == "Established" for session in sessions)
    speaks = bool(host.get("bgp"))
    return [
        ("connected", GREEN) if host.get("connected") else ("gone", RED),
        ("in sync", GREEN) if host.get("in_sync") else (f"{host.get('behind') or '?'} behind", YELLOW),
        _bgp(established, len(sessions)) if speaks else ("none", DIM),
        (f"{up}/{len(workloads)} up" if workloads else "0", "" if up == len(workloads) else RED),
    ]


def _bgp(established: int, sessions: int) -> tuple[str, str]:
    if not sessions:
        return "no peers", DIM
    return f"{established}/{sessions} established", GREEN if established == sessions else RED


def _red(what: str, mend: str) -> Iterator[str]:
    yield f"  {paint(what, RED)}"
    if mend:
        yield f"      {mend}"


def _repairs(hosts: Sequence[Json]) -> Iterator[str]:
    """Drift that the agents have mended: nothing to do, but somebody else writes to our kernel tables."""
    found = sorted(((each["at"], host["name"], each["what"]) for host in hosts for each in host.get("repairs") or []),
                   reverse=True)
    if found:
        yield ""
        yield f"Repaired by the agents ({len(found)}):"
    for at, name, what in found[:REPAIRS_SHOWN]:
        yield f"  {at}  {name}: {what}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    whole = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def _megabytes(size: int | None) -> str:
    return f"{(size or 0) / 1e6:.0f} MB"

"""`muslin why --live` and `--trace`: the agents of this machine say what their kernels do with the packet.

Agents dial servers, never the other way round, and each answers at a socket of its own host. So the command asks those
that it finds here, and says plainly which host it could not ask, and what to run there.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from muslin.cli.agents import agent
from muslin.cli.faults import Refused
from muslin.cli.screen import BOLD, DIM, GREEN, RED, paint
from muslin.client import ApiError, Unreachable

Json = dict[str, Any]
_HEAD_START = 0.5
"""Seconds that the receiver's host listens before the sender's sends."""
_FATES = {"left": GREEN, "taken": GREEN, "died": RED, "lost": RED, "unseen": RED}


def hosts_on_the_way(found: Json) -> list[str]:
    """Sender's first."""
    ends = (found["source"].get("host", ""), found["destination"].get("host", ""))
    gates = [gate["host"] for gate in found.get("gates") or []]
    return list(dict.fromkeys(host for host in (ends[0], *gates, ends[1]) if host))


def live(found: Json) -> list[Json]:
    """What each host's kernel holds, and whether that is what the answer was reckoned from."""
    told = []
    for host in hosts_on_the_way(found):
        seen = _asked(host, "/v1/why", _packet(found, host))
        if "unasked" not in seen:
            seen["drift"] = [*_differs(found, seen), *seen["drift"]]
        told.append(seen)
    return told


def trace(found: Json) -> list[Json]:
    """What became of one packet, host by host. The sender's host sends it, the others listen."""
    hosts = hosts_on_the_way(found)
    if not hosts:
        return []
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        waiting = [
            pool.submit(_asked, host, "/v1/trace", {
                **_packet(found, host), "send": not number, "after": 0.0 if number else _HEAD_START})
            for number, host in enumerate(hosts)
        ]
        return [one.result() for one in waiting]


def _asked(host: str, path: str, body: Json) -> Json:
    try:
        answer: Json = agent(host).post(path, body)
    except (Refused, Unreachable) as error:
        return {"host": host, "unasked": f"{error}; run the same command on {host}"}
    except ApiError as error:
        return {"host": host, "unasked": str(error)}
    return answer


def _packet(found: Json, host: str) -> Json:
    """As the host sees it arrive: what an earlier one has translated."""
    fields = {name: value for name, value in found["fields"].items() if name != "family"}
    for one in found.get("translations") or []:
        if one["host"] != host and one["new"] and hosts_on_the_way(found).index(one["host"]) < (
                hosts_on_the_way(found).index(host)):
            fields[one["field"]] = one["new"]
            fields["destination_port"] = one.get("port") or fields["destination_port"]
    return fields


def _differs(found: Json, seen: Json) -> list[str]:
    gates = [gate for gate in found.get("gates") or [] if gate["host"] == seen["host"]]
    reckoned = "Deny" if any(gate["outcome"] == "Deny" for gate in gates) else "Allow"
    if reckoned == seen["verdict"]:
        return []
    return [f"the host was told otherwise: there it is {seen['verdict']}, the server says {reckoned}"]


def live_lines(told: list[Json]) -> Iterator[str]:
    yield ""
    yield "in the kernels:"
    for one in told:
        if "unasked" in one:
            yield f"  {one['host']}: {paint('not asked', DIM)}, {one['unasked']}"
            continue
        mtu = f", mtu {one['mtu']}" if one.get("mtu") else ""
        word = paint("drift", RED) if one["drift"] else paint("as reckoned", GREEN)
        yield f"  {one['host']}: {word} ({one['backend']}{mtu})"
        yield from (f"    {paint('drift', RED)}: {what}" for what in one["drift"])
        for gate in one["gates"]:
            if gate["packets"] is not None:
                yield f"    {gate['text']}: {paint(str(gate['packets']), BOLD)} packets so far"


def trace_lines(told: list[Json]) -> Iterator[str]:
    yield ""
    yield "one packet, sent now:"
    for one in told:
        if "unasked" in one:
            yield f"  {one['host']}: {paint('not asked', DIM)}, {one['unasked']}"
            continue
        yield f"  {one['host']}: {paint(one['text'], _FATES[one['fate']])}"
        for event in one["events"]:
            if event["what"] != "packet":
                what = event.get("comment") or event.get("text", "")
                target = f" {event['target']}" if event.get("target") else ""
                does = f"{event.get('verdict', '')}{target}"
                more = "" if what == does else f"  {what}"
                yield paint(f"    {event['table']} {event['chain']}: {does}{more}", DIM)

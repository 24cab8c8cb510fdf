"""Following one packet through the kernel's rules: a table of its own that marks it, and what nft tells of it.

    arrives, sent     before everybody: the packet that is meant gets the kernel's trace mark
    taken, leaves     behind everybody: nothing, but that the packet is seen there says that it was let through

The mark makes the kernel tell of every rule that the packet matches, in everybody's tables. The table is there for two
seconds at most; whoever finds one of a dead predecessor takes it away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from muslin.net import PROTOCOLS_WITH_PORTS, version_of

TRACE_TABLE = "muslin-trace"
_FIRST, _LAST = -500, 500
_EVENT = re.compile(r"trace id (\S+) (\S+) (\S+) (\S+) (packet:|rule|verdict|policy|unknown)\s?(.*)")
_VERDICT = re.compile(r"\(verdict (\w+)(?: (\S+))?\)\s*$")
_COMMENT = re.compile(r'comment "([^"]*)"')
_TAIL = re.compile(r"(# handle \d+ )?\(verdict [^)]*\)\s*$")
_HANDLE = re.compile(r"# handle (\d+)")
_LEAVES_BY = re.compile(r'\boif "([^"]*)"')


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the kernel tells: a rule that matched, or the end of a chain. `verdict`: drop, accept, continue,
    jump, goto, return."""

    packet: str
    family: str
    table: str
    chain: str
    what: str
    verdict: str = ""
    target: str = ""
    comment: str = ""
    text: str = ""
    leaves_by: str = ""
    handle: int = 0

    @property
    def ours(self) -> bool:
        """Of the table that only marks?"""
        return self.table == TRACE_TABLE


def trace_table(source: str, destination: str, protocol: int, port: int, source_port: int) -> str:
    """For nft -f: the table, marking this packet."""
    ip = "ip6" if version_of(source) == 6 else "ip"
    match = f"{ip} saddr {source} {ip} daddr {destination} meta l4proto {protocol}"
    if protocol in PROTOCOLS_WITH_PORTS:
        match += f" th sport {source_port} th dport {port}"
    mark = f"{match} meta nftrace set 1"
    chains = "".join(
        f"add chain inet {TRACE_TABLE} {name} {{ type filter hook {hook} priority {priority}; }}\n"
        for name, hook, priority in (("arrives", "prerouting", _FIRST), ("sent", "output", _FIRST),
                                     ("taken", "input", _LAST), ("leaves", "postrouting", _LAST)))
    rules = "".join(f"add rule inet {TRACE_TABLE} {name} {mark}\n" for name in ("arrives", "sent"))
    return f"{gone()}add table inet {TRACE_TABLE}\n{chains}{rules}"


def gone() -> str:
    """For nft -f: away with it, whether or not it is there."""
    return f"add table inet {TRACE_TABLE}\ndelete table inet {TRACE_TABLE}\n"


def events(lines: Iterable[str]) -> list[Event]:
    """From `nft monitor trace`, of one packet: the first that our table marked."""
    found = [event for line in lines if (event := _event(line)) is not None]
    first = next((event.packet for event in found if event.ours), None)
    return [event for event in found if event.packet == first]


def _event(line: str) -> Event | None:
    told = _EVENT.match(line.strip())
    if told is None:
        return None
    packet, family, table, chain, what, rest = told.groups()
    what = what.rstrip(":")
    verdict = _VERDICT.search(rest)
    comment, leaves = _COMMENT.search(rest), _LEAVES_BY.search(rest)
    return Event(
        packet=packet, family=family, table=table, chain=chain, what=what,
        verdict=verdict[1] if verdict else rest.strip().split(" ")[0] if what in ("policy", "verdict") else "",
        target=(verdict[2] or "") if verdict else "",
        comment=comment[1] if comment else "", text=_TAIL.sub("", rest).strip() if what != "packet" else "",
        leaves_by=leaves[1] if leaves and what == "packet" else "",
        handle=int(handle[1]) if (handle := _HANDLE.search(rest)) else 0,
    )

"""What this host's kernel really does with a packet, beside what it was told to do.

    live    the verdict of the intent in force here, whether the kernel still holds just that, how often the rules that
            decide have met a packet, and by which interfaces the kernel's own routes lead
    trace   one such packet put on its way, and where it died, or that it left

`why` is reckoned from what hosts are told; this is the check on it. Where the two differ, that is drift.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from muslin.agent.kernel import Kernel
from muslin.agent.worker import Worker
from muslin.drivers.program import Program
from muslin.drivers.tracing import Probe, follow, handles
from muslin.errors import Invalid, Transient
from muslin.explain import Packet, endpoint_at, journey
from muslin.explain.decision import Journey, Passage
from muslin.explain.text import origin_text
from muslin.explain.translation import applied, of_destination
from muslin.intent import Backend, HostIntent
from muslin.render.nft.names import comment
from muslin.render.nft.tracing import Event

Json = dict[str, Any]
LONGEST_WAIT = 2.0


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A packet. `send` False: only listen, for what comes from another host. `after`: seconds to wait before."""

    source: str
    destination: str
    protocol: int
    destination_port: int = 0
    source_port: int = 49152
    icmp_type: int | None = None
    icmp_code: int = 0
    send: bool = True
    after: float = 0.0

    @property
    def packet(self) -> Packet:
        """Raises Invalid."""
        return Packet(self.source, self.destination, self.protocol, self.destination_port, self.source_port,
                      self.icmp_type, self.icmp_code)


class Witness:
    def __init__(self, node: str, worker: Worker, kernel: Kernel) -> None:
        self._node = node
        self._worker = worker
        self._kernel = kernel
        self._tracing = asyncio.Lock()

    async def live(self, asked: Asked) -> Json:
        """Raises Invalid, Transient."""
        intent, packet = self._worker.intent, asked.packet
        ways = await _ways(intent, packet)
        found = _judged(intent, packet, ways)
        async with self._worker.writing:
            drift = await self._kernel.firewall.drift()
            counted = await self._kernel.firewall.counters()
        return {
            "host": self._node, "backend": str(self._kernel.firewall.backend), "applied": self._worker.applied,
            "in_sync": self._worker.in_sync, "verdict": str(found.verdict), "packet": str(found.packet),
            "drift": [*self._stale(), *drift], "arrives_by": ways["arrives_by"], "leaves_by": ways["leaves_by"],
            "mtu": ways["mtu"], "gates": [_gate(one, counted) for one in found.passages],
        }

    async def trace(self, asked: Asked) -> Json:
        """Raises Invalid, Transient. One at a time."""
        if self._kernel.firewall.backend is Backend.IPTABLES_LEGACY:
            raise Invalid(f"{self._node} enforces policy by iptables-legacy, whose rules the kernel does not trace; "
                          "muslin why --live reads their counters")
        if not 0 <= asked.after <= LONGEST_WAIT:
            raise Invalid(f"after is 0 to {LONGEST_WAIT} seconds")
        intent, packet = self._worker.intent, asked.packet
        ways = await _ways(intent, packet)
        kind = packet.icmp_type if packet.icmp_type is not None else 8
        probe = Probe(
            source=packet.source, destination=packet.destination, protocol=packet.protocol,
            port=packet.destination_port, source_port=packet.source_port, icmp=(kind, packet.icmp_code),
            arrives_by=ways["arrives_by"])
        async with self._tracing:
            await asyncio.sleep(asked.after)
            events = await follow(probe, send=asked.send)
        async with self._worker.writing:
            events = await _commented(events, await self._kernel.firewall.comments())
        return {"host": self._node, "backend": str(self._kernel.firewall.backend), **_fate(events),
                "events": [msgspec.to_builtins(event) for event in events if not event.ours]}

    def _stale(self) -> list[str]:
        """What the kernel was not told yet."""
        if self._worker.fault:
            return [f"the kernel was not brought to the intent: {self._worker.fault}"]
        if self._kernel.firewall.fault:
            return [f"policy is not in the kernel: {self._kernel.firewall.fault}"]
        return [] if self._worker.in_sync else ["the host has not taken all that the server says"]


async def _commented(
    events: list[Event], comments: dict[tuple[str, str, str], tuple[str, ...]]
) -> list[Event]:
    """By their places in their chains."""
    known: dict[tuple[str, str, str], dict[int, str]] = {}
    for event in events:
        where = (event.family, event.table, event.chain)
        if event.handle and where in comments and where not in known:
            known[where] = dict(zip(await handles(*where), comments[where], strict=False))
    return [msgspec.structs.replace(event, comment=event.comment or known.get(
        (event.family, event.table, event.chain), {}).get(event.handle, "")) for event in events]


def _judged(intent: HostIntent, packet: Packet, ways: Json) -> Journey:
    return journey(intent, packet, arrives_by=ways["arrives_by"] or None, leaves_by=ways["leaves_by"] or None)


def _gate(passage: Passage, counted: dict[str, tuple[int, int]]) -> Json:
    met = counted.get(comment(passage.decided_by))
    return {"gate": str(passage.gate), "outcome": str(passage.outcome), "interface": passage.interface,
            "text": origin_text(passage.decided_by),
            "packets": met[0] if met else None, "bytes": met[1] if met else None}


def _fate(events: list[Event]) -> Json:
    """What became of it: died (and by which rule), left (by which interface), taken (by the host itself), lost (the
    kernel itself let go of it: no route, or a false source), unseen (it never came)."""
    if not events:
        return {"fate": "unseen", "text": "the packet did not come here"}
    dead = next((event for event in events if event.verdict in ("drop", "reject")), None)
    if dead is not None:
        where = f"{dead.family} {dead.table} {dead.chain}"
        return {"fate": "died", "rule": dead.comment, "chain": where,
                "text": f"it died in {where}" + (f", by {dead.comment}" if dead.comment else f": {dead.text}")}
    ours = {event.chain: event for event in events if event.ours}
    if "leaves" in ours:
        by = next((event.leaves_by for event in events if event.ours and event.leaves_by), "")
        return {"fate": "left", "text": f"it left by {by}" if by else "it left", "leaves_by": by}
    if "taken" in ours:
        return {"fate": "taken", "text": "the host itself took it"}
    last = next((event for event in reversed(events) if not event.ours), events[-1])
    return {"fate": "lost", "text": f"no rule dropped it, and yet it went no further than {last.family} {last.table} "
                                    f"{last.chain}: no route, or a source that may not come this way"}


async def _ways(intent: HostIntent, packet: Packet) -> Json:
    """By which interfaces it comes and goes, "" for the host itself, and the smallest MTU of them."""
    inside = applied(packet, of_destination(intent, packet))
    arrives, leaves = (_interface(intent, address) for address in (packet.source, inside.destination))
    arrives = arrives if arrives is not None else await _routed(packet.source)
    leaves = leaves if leaves is not None else await _routed(inside.destination) or _published(intent, packet)
    sizes = [size for name in (arrives, leaves) if name and (size := await _mtu(name))]
    if not arrives and not leaves:
        raise Invalid(f"{packet.source} and {packet.destination} are both this host's own addresses")
    return {"arrives_by": arrives, "leaves_by": leaves, "mtu": min(sizes, default=0)}


def _published(intent: HostIntent, packet: Packet) -> str:
    """The interface of the workload that a port of the host leads to, "" for none."""
    return next((endpoint.interface for _, endpoint in sorted(intent.endpoints.items()) for port in endpoint.published
                 if port.host_address in ("", packet.destination)
                 and (port.protocol, port.host_port) == (packet.protocol, packet.destination_port)), "")


def _interface(intent: HostIntent, address: str) -> str | None:
    key = endpoint_at(intent, address)
    return intent.endpoints[key].interface if key is not None else None


async def _routed(address: str) -> str:
    """The interface towards an address, "" for one of the host's own. Raises Transient when no route leads there."""
    code, output, errors = await Program().run("ip", "-j", "route", "get", address)
    if code:
        raise Transient(f"no route leads to {address}: {errors.strip()}")
    found = msgspec.json.decode(output)[0]
    return "" if found.get("type") == "local" or found.get("dev") == "lo" else str(found.get("dev", ""))


async def _mtu(interface: str) -> int:
    code, output, _ = await Program().run("ip", "-j", "link", "show", "dev", interface)
    return int(msgspec.json.decode(output)[0].get("mtu", 0)) if not code else 0

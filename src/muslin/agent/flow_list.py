"""Which flows are under way, and what policy says of them: `GET /v1/flows`.

A flow that policy denies is ended within a second where flows are followed; the verdict under staged policies tells,
before they are enforced, which flows that would be.
"""

from __future__ import annotations

import asyncio

from muslin.agent.flows import Follower, judge_of, still
from muslin.agent.worker import Worker
from muslin.client.flows import SeenFlow, SeenFlows, Verdict
from muslin.drivers import conntrack
from muslin.drivers.netlink import Netlink
from muslin.errors import Invalid
from muslin.explain.census import enacted
from muslin.explain.flow_classes import Denial, packed, text
from muslin.explain.flows import Judge
from muslin.explain.text import origin_text
from muslin.intent import HostIntent
from muslin.net import PROTOCOLS_WITH_PORTS, TrackedFlow, protocol_name

_ICMP = (1, 58)
ALLOW = Verdict(verdict="Allow")


class FlowList:
    def __init__(self, worker: Worker, follower: Follower) -> None:
        self._worker = worker
        self._follower = follower

    async def seen(self, address: str, limit: int) -> SeenFlows:
        """`address` "": of any of this host's workloads, or of all that pass where it has host endpoints. Raises
        Invalid, Transient."""
        intent, wanted = still(self._worker.intent), None
        if address:
            try:
                wanted = {packed(address)}
            except ValueError:
                raise Invalid(f"address={address}: write one address, such as 10.65.0.7") from None
        elif not intent.host_interfaces and not any(one.spoofable for one in intent.endpoints.values()):
            wanted = {packed(each) for one in intent.endpoints.values() for each in one.addresses}
        found, total = await asyncio.to_thread(_seen, intent, wanted, limit)
        return SeenFlows(items=found, total=total, ended=self._follower.ended)


def _seen(intent: HostIntent, wanted: set[bytes] | None, limit: int) -> tuple[tuple[SeenFlow, ...], int]:
    """In a thread."""
    if wanted is not None and not wanted:
        return (), 0
    flows = sorted(conntrack.read(wanted, few=tuple(wanted or ())), key=lambda flow: flow[:5])
    with Netlink() as netlink:
        enforced = judge_of(intent, netlink)
        staged = judge_of(enacted(intent), netlink) if _has_staged(intent) else None
        return tuple(_words(flow, enforced, staged) for flow in flows[:limit]), len(flows)


def _has_staged(intent: HostIntent) -> bool:
    return any(policy.staged or policy.replaced_by for policy in intent.policies.values())


def _words(flow: TrackedFlow, enforced: Judge, staged: Judge | None) -> SeenFlow:
    ported, icmp = flow.protocol in PROTOCOLS_WITH_PORTS, flow.protocol in _ICMP
    moved, hidden = flow.receiver != flow.destination, flow.answered != flow.source
    moved |= ported and flow.receiver_port != flow.destination_port
    hidden |= ported and flow.answered_port != flow.source_port
    return SeenFlow(
        protocol=protocol_name(flow.protocol), source=text(flow.source), destination=text(flow.destination),
        source_port=flow.source_port if ported else 0, destination_port=flow.destination_port if ported else 0,
        receiver=text(flow.receiver) if moved else "", receiver_port=flow.receiver_port if moved and ported else 0,
        answered=text(flow.answered) if hidden else "", answered_port=flow.answered_port if hidden and ported else 0,
        icmp_type=flow.destination_port >> 8 if icmp else None,
        icmp_code=flow.destination_port & 0xFF if icmp else None,
        enforced=_verdict(enforced.denial(flow)), staged=_verdict(staged.denial(flow)) if staged is not None else None,
    )


def _verdict(denial: Denial | None) -> Verdict:
    if denial is None:
        return ALLOW
    return Verdict(verdict="Deny", endpoint=denial.endpoint, direction=denial.direction, by=origin_text(denial.origin))

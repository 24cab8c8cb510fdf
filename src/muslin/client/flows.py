"""The answer of `GET /v1/flows` on an agent's socket: flows that conntrack knows, and what policy says of them.

    ?address=A    only those of which A is an end        ?limit=N    at most so many, 1000 when nobody says
"""

from __future__ import annotations

import msgspec


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What policy would say of the flow's first packet now. Deny: of which endpoint, and by which line."""

    verdict: str
    endpoint: str = ""
    direction: str = ""
    by: str = ""


class SeenFlow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Who began it, and to whom. `receiver`, `answered`: the other ends behind translation, where there is any: who
    gets the packets, and to whom the answers go. Ports of protocols that have ports, type and code of ICMP.

    `staged`: the verdict if every staged policy were enforced; absent where there is none on this host.
    """

    protocol: str
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0
    receiver: str = ""
    receiver_port: int = 0
    answered: str = ""
    answered_port: int = 0
    icmp_type: int | None = None
    icmp_code: int | None = None
    enforced: Verdict
    staged: Verdict | None = None


class SeenFlows(msgspec.Struct, frozen=True, kw_only=True):
    """`total`: how many there are; `items` may be fewer. `ended`: flows that policy has ended and that an end may still
    be trying."""

    items: tuple[SeenFlow, ...]
    total: int
    ended: int
